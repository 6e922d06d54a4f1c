"""Read and check what people write: competitions and experiments in TOML, `--set key=value`."""
