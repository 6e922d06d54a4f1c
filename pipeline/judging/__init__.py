"""What the judge knows, was sent and said."""
