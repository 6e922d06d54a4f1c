"""`python -m pipeline`, for launchers that start modules."""

from pipeline.cli import main

main()
