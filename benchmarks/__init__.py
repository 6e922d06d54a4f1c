"""Speed as ratios: both sides measured in one run, turn by turn, so that a drift hits both."""
