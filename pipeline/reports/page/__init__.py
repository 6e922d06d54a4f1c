"""Make the page of a competition: its data, what was tried, how sure the scores are."""
