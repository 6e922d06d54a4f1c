"""Build the page's sections, a module each, from the report's data."""
