"""What a competition's TOML file may say, table by table; `docs/competitions.md` explains it."""
