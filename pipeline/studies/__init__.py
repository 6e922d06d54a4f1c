"""Experiments on networks themselves, after the ResNet paper."""
