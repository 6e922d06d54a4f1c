"""What a user has, looked at: from folders, archives and lists to a competition's TOML file."""
