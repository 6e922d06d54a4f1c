"""Search for better values of an experiment, scored out of fold (Optuna)."""
