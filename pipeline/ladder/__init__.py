"""Climb a plan's rungs by a deadline, for the best file that can be made until then."""
