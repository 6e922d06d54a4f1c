"""Read and check what people write: a competition's TOML, an experiment's TOML, `--set key=value`."""
