"""Files on the disk: written whole, known by their content, one writer at a time."""
