"""Plain values as TOML: the standard library reads it, and doesn't write it."""

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
            lines.append(f"{_key(key)} = {_value(value)}\n")
    return "".join(lines + tables)


def _key(key: str) -> str:
    is_bare = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    return key if is_bare and key else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value)


def _text(value: bool | int | float | str) -> str:  # noqa: FBT001
    """Write a scalar: JSON's are TOML's, but for the control character DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
