"""Decode images, cache them and make views of them."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # before its import: it calls home otherwise
