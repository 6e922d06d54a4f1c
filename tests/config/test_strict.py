from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from pipeline.config.strict import (
    StrictModel,
    built_in_names,
    did_you_mean,
    known_keys,
    locate_toml,
    parse,
    read_toml,
)
from pipeline.errors import ConfigError


class Wheel(StrictModel):
    size: float = 1.0


class Engine(StrictModel):
    kind: Literal["engine"]
    power: int


class Sail(StrictModel):
    kind: Literal["sail"]
    area: int


class Car(StrictModel):
    title: str
    wheel: Wheel = Wheel()
    drive: Annotated[Engine | Sail, Field(discriminator="kind")] = Engine(kind="engine", power=1)
    doors: tuple[int, ...] = ()
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def _is_consistent(self):
        if self.low > self.high:
            raise ValueError(f"low must be at most high, {self.low} is more than {self.high}")
        return self


FAULTS: dict[str, dict[str, Any]] = {
    "unknown key 'wheel.sise'; did you mean 'wheel.size'?": {"wheel": {"sise": 1.0}},
    "unknown key 'zzz'": {"zzz": 1},
    "key 'drive.power' is missing": {"drive": {"kind": "engine"}},
    "key 'drive.kind' is missing": {"drive": {"power": 1}},
    "unknown key 'drive.powr'; did you mean 'drive.power'? (and 1 more)": {
        "drive": {"kind": "engine", "powr": 3}
    },
    "'wheel.size': input should be a valid number, got 'big'": {"wheel": {"size": "big"}},
    "'wheel.size': input should be a finite number, got nan": {"wheel": {"size": float("nan")}},
    "'wheel.size': input should be a finite number, got inf": {"wheel": {"size": float("inf")}},
    "'doors.1': input should be a valid integer, got 'two'": {"doors": [1, "two"]},
    "'low': input should be a valid integer, got True": {"low": True},
    "low must be at most high, 10 is more than 9": {"low": 10},
}


@pytest.mark.parametrize("line", FAULTS)
def test_each_fault_gives_its_one_line(line):
    with pytest.raises(ConfigError, match=r"^car\.toml: ") as caught:
        parse(Car, {"title": "x"} | FAULTS[line], "car.toml")
    assert str(caught.value) == f"car.toml: {line}"


def test_a_misspelled_required_key_is_named_before_the_missing_one():
    with pytest.raises(
        ConfigError, match=r"^a: unknown key 'titel'; did you mean 'title'"
    ) as caught:
        parse(Car, {"titel": "x"}, "a")
    assert str(caught.value).endswith(" (and 1 more)")


def test_arrays_become_tuples_and_models_cannot_be_changed():
    car = parse(Car, {"title": "x", "doors": [2, 4]}, "a")
    assert car.doors == (2, 4)
    with pytest.raises(ValueError, match="frozen"):
        car.title = "y"


def test_known_keys_reach_into_tables_and_unions():
    keys = known_keys(Car)
    assert {"title", "wheel", "wheel.size", "doors"} <= set(keys)
    assert {"drive", "drive.power", "drive.area"} <= set(keys)


def test_far_words_are_not_suggested():
    assert did_you_mean("lerning_rate", ["learning_rate", "seed"]) == (
        "; did you mean 'learning_rate'?"
    )
    assert did_you_mean("qqq", ["learning_rate", "seed"]) == ""


def test_shipped_files_are_found_by_name():
    assert {"cat-12", "cat-dog", "demo", "demo-12"} <= set(built_in_names("competitions"))
    assert locate_toml("demo", "competitions").is_file()


def test_any_toml_file_is_found_by_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.touch()
    assert locate_toml(str(path), "competitions") == path


def test_an_unknown_name_lists_the_known_ones():
    known = ", ".join(built_in_names("competitions"))
    with pytest.raises(ConfigError, match=f"^dmo: must be one of {known} or the path of a"):
        locate_toml("dmo", "competitions")


def test_a_file_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(ConfigError, match=r"^away\.toml: must be a TOML file, there is none"):
        locate_toml("away.toml", "competitions")
    with pytest.raises(ConfigError, match="there is none; did you mean 'demo'"):
        locate_toml("demo.toml", "competitions")


def test_a_near_miss_is_suggested():
    with pytest.raises(ConfigError, match="did you mean 'cat-dog'"):
        locate_toml("catdog", "competitions")


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("title 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.toml: must be TOML in UTF-8: .*line 1"):
        read_toml(path)
    path.write_bytes(b"title = '\xff'\n")
    with pytest.raises(ConfigError, match=r"bad\.toml: must be TOML in UTF-8: .*0xff"):
        read_toml(path)


@pytest.mark.parametrize("depth", [33, 300, 5000])
@pytest.mark.parametrize("opening", ["[", "{a="])
def test_a_file_that_nests_deeply_is_refused(opening, depth, tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text(f"key = {opening * depth}0{'}' * depth if '{' in opening else ']' * depth}")
    with pytest.raises(ConfigError, match=r"deep\.toml: must nest at most 32 .*; flatten it$"):
        read_toml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")
