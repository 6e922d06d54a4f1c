"""Scripts that use the package as a library."""
