"""Find out which files are which images, with what label, in which fold."""
