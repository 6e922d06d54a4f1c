"""Images: decoded, compared, transformed and drawn."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # before its import: it calls home otherwise
