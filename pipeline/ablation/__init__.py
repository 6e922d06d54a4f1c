"""Compare augmentation recipes: the same training with each of them."""
