"""Draw animals that don't exist, for competitions that need no network.

From brush to archive: surfaces → pen → heads, profiles → poses make the picture of a species; files
encodes it, oddities chooses what is damaged, layout (for CIFAR-10 with batches) packs it all.
"""
