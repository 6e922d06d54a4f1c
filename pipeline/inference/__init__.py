"""Predict and explain images that a trained experiment didn't learn from."""
