"""The page of a competition: what its data are, what was tried, how sure the scores are."""
