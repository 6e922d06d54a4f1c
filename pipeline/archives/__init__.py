"""Archives: fetched, checked and unpacked."""
