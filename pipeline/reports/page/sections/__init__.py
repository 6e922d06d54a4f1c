"""Build the page's sections, a module each, from the report's data.

One is added by a file here and its line of `SECTIONS` in build_page.py.
"""
