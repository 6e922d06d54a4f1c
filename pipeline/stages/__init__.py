"""Run one stage per module; stages meet only through the files that they read and write."""
