"""Files from the network: resumed, bounded, verified."""
