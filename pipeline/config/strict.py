"""Make strict pydantic models of TOML files, with errors of one line; write values as TOML."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from pipeline.errors import ConfigError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MAX_NAME_LENGTH = 100
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME_LENGTH)]
Text = Annotated[str, Field(min_length=1)]
Separator = Annotated[str, Field(pattern=r'^[^"\r\n]$')]


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys, wrong types, `nan` and `inf`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)

OFF = "off"


class _OffIsNone:
    """Reads "off" as None, which TOML can't write, and says so in the JSON schema."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """See pydantic."""
        return core_schema.no_info_before_validator_function(
            lambda value: None if value == OFF else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """See pydantic."""
        described = handler(schema)
        described["anyOf"].append({"const": OFF, "type": "string"})
        return described


Value = TypeVar("Value")
OrOff = Annotated[Value | None, _OffIsNone()]
"""A value that may be left out, or written as "off", so that variants and searches can."""

# No file of ours nests so deeply; what does would exhaust Python's stack somewhere.
MAX_NESTING = 32


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: The file is missing, isn't UTF-8 or isn't TOML, or nests too deeply.
    """
    too_deep = f"{path}: must nest at most {MAX_NESTING} tables and arrays, nests more; flatten it"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # of TOML, of UTF-8, or of a number with thousands of digits
        raise ConfigError(f"{path}: must be TOML in UTF-8: {error}") from error
    except RecursionError as error:
        raise ConfigError(too_deep) from error
    level: list[Any] = [values]
    for _ in range(MAX_NESTING):
        level = [child for parent in level for child in _children(parent)]
    if level:
        raise ConfigError(too_deep)
    return values


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def parse(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Build `model` from plain TOML values.

    Values go through JSON, where strict pydantic takes arrays as tuples and strings as enums, as
    TOML has neither.

    Raises:
        ConfigError: A key is unknown, missing or of the wrong type; names the first one.
    """
    try:
        text = json.dumps(values, default=str)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{where}: numbers and nesting must be of usual size ({error})"
        ) from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        # A misspelled key is also a missing one: what the file says comes before what it lacks.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        first, *rest = faults
        more = f" (and {len(rest)} more)" if rest else ""
        key = _dotted_key(first["loc"], values)
        raise ConfigError(f"{where}: {_explain(first, key, known_keys(model))}{more}") from error


def _dotted_key(location: tuple[int | str, ...], values: Any) -> str:
    """Name a place in a file; pydantic's location also holds the tags of unions, no file does."""
    key = []
    for depth, part in enumerate(location, start=1):
        is_tag = isinstance(values, dict) and part not in values and depth < len(location)
        if not is_tag:
            key.append(str(part))
            values = _item(values, part)
    return ".".join(key)


def _item(values: Any, part: int | str) -> Any:
    try:
        return values[part]
    except (KeyError, IndexError, TypeError):
        return None


def _explain(error: ErrorDetails, key: str, known: list[str]) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'{did_you_mean(key, known)}"
    if error["type"] in ("missing", "union_tag_not_found"):
        tag = error.get("ctx", {}).get("discriminator", "").strip("'")  # says which table it is
        return f"key '{'.'.join(filter(None, (key, tag)))}' is missing"
    message = error["msg"].removeprefix("Value error, ")
    if not key:  # a rule about several keys: what they hold together would fill the screen
        return message
    is_rule_of_table = error["type"] == "value_error" and isinstance(error["input"], dict)
    found = "" if is_rule_of_table else f", got {error['input']!r}"
    return f"'{key}': {message[0].lower()}{message[1:]}{found}"


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the dotted keys of a model, those of its nested models included."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for part in (field.annotation, *get_args(field.annotation)):  # a union nests several
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys.extend(known_keys(part, f"{prefix}{name}."))
    return keys


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def built_in_names(folder: str) -> list[str]:
    """List the TOML files shipped in `pipeline/<folder>`, without their suffix."""
    files = resources.files("pipeline").joinpath(folder).iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def locate_toml(name_or_path: str, folder: str) -> Path:
    """Find a TOML file by the name of a shipped one or by its path.

    Raises:
        ConfigError: There is neither such a name nor such a file.
    """
    known = built_in_names(folder)
    if name_or_path in known:
        return Path(str(resources.files("pipeline").joinpath(folder, f"{name_or_path}.toml")))
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return path
    if path.suffix == ".toml":
        near = did_you_mean(path.stem, known) or "; check the path"
        raise ConfigError(f"{name_or_path}: must be a TOML file, there is none{near}")
    raise ConfigError(
        f"{name_or_path}: must be one of {', '.join(known)} or the path of a .toml file"
        f"{did_you_mean(name_or_path, known)}"
    )


def is_plain(text: str) -> bool:
    """Whether a name can stand in a line of a CSV and be recognised by its looks."""
    return text.isprintable() and text == text.strip() != ""


class Table(StrictModel):
    """A strict model whose fields' docstrings also describe them in the JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


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
