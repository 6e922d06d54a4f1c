"""Search: which values of an experiment are best, judged out of fold."""
