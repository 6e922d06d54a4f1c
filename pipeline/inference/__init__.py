"""Prediction of images that no training has seen."""
