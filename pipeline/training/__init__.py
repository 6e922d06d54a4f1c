"""Train heads on cached features of frozen layers, or fine-tune the networks themselves."""
