"""Enter an image-classification competition: from archives to a submission the judge accepts."""

__version__ = "0.2.0"
