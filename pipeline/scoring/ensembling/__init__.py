"""Ensembles: ways to make one prediction of several, fitted on OOF predictions."""
