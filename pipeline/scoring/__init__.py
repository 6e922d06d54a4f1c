"""Score predictions, compare them and blend them; nothing here imports torch."""
