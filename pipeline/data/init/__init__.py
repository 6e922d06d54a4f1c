"""Infer a competition's TOML from the folders, archives and lists that a user has."""
