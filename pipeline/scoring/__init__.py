"""Measures, ensembles and submissions; nothing here imports torch."""
