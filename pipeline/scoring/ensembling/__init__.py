"""Blend several experiments' predictions, by weights that are fitted on OOF predictions."""
