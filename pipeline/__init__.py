"""Enter an image-classification competition: from archives to a submission the judge accepts."""
