"""What learns: features of frozen trunks and heads upon them."""
