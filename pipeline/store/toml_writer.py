"""Write plain values as TOML: the standard library only reads it."""

import json
from collections.abc import Mapping
from typing import Any


def toml_text(values: Mapping[str, Any], prefix: str = "") -> str:
    """Write nested tables as TOML; what is None is left out, as TOML has no such value."""
    lines, tables = [], []
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = prefix + _key(key)
            tables.append(f"\n[{name}]\n{toml_text(value, f'{name}.')}")
        elif value is not None:
            lines.append(f"{_key(key)} = {toml_value(value)}\n")
    return "".join(lines + tables)


def toml_value(value: Any) -> str:
    """Write a value on one line; a pattern as a literal string, free of doubled backslashes."""
    if isinstance(value, Mapping):
        pairs = (
            f"{_key(key)} = {toml_value(one)}" for key, one in value.items() if one is not None
        )
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    is_pattern = isinstance(value, str) and "\\" in value
    if is_pattern and "'" not in value and value.isprintable():
        return f"'{value}'"
    return _scalar(value)


def _key(key: str) -> str:
    is_bare = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    return key if is_bare and key else _scalar(key)


def _scalar(value: bool | int | float | str) -> str:  # noqa: FBT001
    """Write a scalar: JSON's are TOML's, but for the control character DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
