"""Which image has which label, and which fold."""
