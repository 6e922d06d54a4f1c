"""Draw and tabulate results for people."""
