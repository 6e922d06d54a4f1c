"""Images: decoded, compared, transformed and drawn."""
