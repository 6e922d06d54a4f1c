"""Read and write the project's files: paths, tables, predictions; whole files, locks, stamps."""
