"""What the images of a competition are, taken together."""
