"""Load experiments from TOML files: shipped ones by name, others by path; variants and --set.

`python -m pipeline.config.experiment_files` prints the JSON schema of such files, for editors.
"""

import contextlib
import copy
import json
import tomllib
from pathlib import Path
from typing import Any

from pipeline.config.experiment import Experiment
from pipeline.config.search_space import Parameter, SearchSpace, parse_space
from pipeline.config.strict import did_you_mean, known_keys, locate_toml, parse, read_toml
from pipeline.errors import ConfigError


def load_experiments(name_or_path: str, overrides: list[str]) -> list[Experiment]:
    """Load a shipped experiment by its name, or any by the path of its TOML file.

    A file may hold variants, tables `[variants.<name>]` of what each changes: every one is an
    experiment of its own, `<file>-<name>`, and the file's name stands for them all.

    Args:
        name_or_path: `lite0-probe` or `my/experiment.toml`; `large-probe`, or one variant of it,
            `large-probe-lite0`.
        overrides: `key=value` with dotted keys; values are TOML, bare words are text.

    Raises:
        ConfigError: There is no such experiment, its file is faulty, or an override is.
    """
    return [experiment for experiment, _ in _load(name_or_path, overrides)]


def load_experiment(name_or_path: str, overrides: list[str]) -> Experiment:
    """Load one experiment; see `load_experiments`.

    Raises:
        ConfigError: As there; or the file's variants are several.
    """
    return load_search(name_or_path, overrides)[0]


def load_search(name_or_path: str, overrides: list[str]) -> tuple[Experiment, SearchSpace]:
    """Load one experiment and its table `[tune]`, which decides nothing but what `tune` tries.

    Raises:
        ConfigError: As `load_experiment`.
    """
    found = _load(name_or_path, overrides)
    if len(found) > 1:
        names = ", ".join(experiment.name for experiment, _ in found)
        raise ConfigError(
            f"expected one experiment, '{name_or_path}' has {len(found)} variants; name one of "
            f"them: {names}"
        )
    return found[0]


def _load(name_or_path: str, overrides: list[str]) -> list[tuple[Experiment, SearchSpace]]:
    path, only = _locate(name_or_path)
    values: dict[str, Any] = {"name": path.stem, **read_toml(path)}
    variants: dict[str, Any] = values.pop("variants", None) or {"": {}}
    found = []
    for variant, changes in variants.items():
        if only in ("", variant):
            merged = _merged(values, changes)
            if variant:
                merged["name"] = f"{values['name']}-{variant}"
            space = parse_space(merged.pop("tune", {}), known_keys(Experiment), path.name)
            if space.parameters:  # as the file stands: an override may leave the space
                space.check(parse(Experiment, merged, path.name), path.name)
            for override in overrides:
                _apply(merged, override)
            found.append((parse(Experiment, merged, path.name), space))
    return found


def _locate(name_or_path: str) -> tuple[Path, str]:
    """Find the file, and the variant where `<file>-<variant>` was named."""
    try:
        return locate_toml(name_or_path, "experiments"), ""
    except ConfigError:
        stem, _, variant = name_or_path.rpartition("-")
        while stem:
            with contextlib.suppress(ConfigError):
                path = locate_toml(stem, "experiments")
                if variant in read_toml(path).get("variants", {}):
                    return path, variant
            stem, _, more = stem.rpartition("-")
            variant = f"{more}-{variant}"
        raise


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return new tables with the changes in them."""
    merged = copy.deepcopy(values)
    for key, change in changes.items():
        both_tables = isinstance(change, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], change) if both_tables else change
    return merged


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    known = known_keys(Experiment)
    if not equals:
        raise ConfigError(f"--set {override}: must be KEY=VALUE, has no '='")
    if key not in known:
        raise ConfigError(f"--set {override}: unknown key '{key}'{did_you_mean(key, known)}")
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: '{table}' must be a table, is {values!r}")
    values[last] = _toml_value(text)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def json_schema() -> dict[str, Any]:
    """Describe the files for editors: an experiment's keys, `[tune]` and `[variants]`.

    The name may be left out, as the file has one, and so may the network, which variants may name.
    """
    schema = Experiment.model_json_schema()
    del schema["required"]
    schema["$defs"] |= {
        "Parameter": Parameter.model_json_schema(),
        # A dotted key without quotes is a table in a table.
        "Tune": {
            "additionalProperties": {
                "anyOf": [{"$ref": "#/$defs/Parameter"}, {"$ref": "#/$defs/Tune"}]
            },
            "type": "object",
        },
    }
    schema["properties"] |= {
        "tune": {
            "$ref": "#/$defs/Tune",
            "description": "What `tune` may change: a range or choices by a value's dotted key.",
        },
        "variants": {
            "additionalProperties": {"type": "object"},
            "description": "Experiments side by side: what each changes, by its name.",
            "type": "object",
        },
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201
