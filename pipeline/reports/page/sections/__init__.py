"""The sections of the page, a file each: what was found → blocks to show, or None."""
