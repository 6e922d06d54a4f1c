"""Which recipe of augmentation is better: the same training with each, compared."""
