"""The stages of a run, one verb each; they meet only through files."""
