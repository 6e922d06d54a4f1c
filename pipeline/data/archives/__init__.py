"""Fetch, check and unpack a competition's archives."""
