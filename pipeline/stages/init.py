"""Write a competition's TOML file from a user's files."""

import re
import shlex
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import console
from pipeline.config.competition import NAME_PATTERN, parse_competition
from pipeline.data.init.draft import Section, describe_line, to_toml
from pipeline.data.init.file_roles import GivenPaths
from pipeline.data.init.infer import infer
from pipeline.data.init.user_files import scan_user_files
from pipeline.errors import ConfigError
from pipeline.store.atomic import write_text

GUIDE = "docs/competitions.md explains every key"


def run(name: str, given: GivenPaths, root: Path | None, out: Path | None, *, force: bool) -> None:
    """Infer a competition's keys from folders, lists and a sample submission, and write its file.

    Reads what is named: folders and archives of images, lists of labels, a sample submission.

    Writes the file; prints what each line was inferred from.

    Fails if the file is there, nothing was named or what was inferred contradicts itself
    (ConfigError), or if there are no images or an archive or list can't be used (DataError).

    Args:
        name: The competition's name.
        given: The paths that the user named.
        root: A folder that holds what isn't named; None for what is named alone.
        out: The file to write; None for NAME.toml.
        force: Whether to replace one that is there.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(
            f"init: the name must be letters, digits, '.', '_' and '-', as it names folders, is "
            f"{name!r}; choose another, the file's key 'title' may hold any text"
        )
    target = out or Path(f"{name}.toml")
    if target.exists() and not force:
        raise ConfigError(f"{target}: must not be there yet; choose another --out or add --force")
    with TemporaryDirectory(prefix="pipeline-init-") as scratch:
        user_files = scan_user_files(name, given.places, root, Path(scratch))
        inferred = infer(name, user_files, given)
    begin = [
        f"# Written by 'pipeline init {name}'. Above each line stands what it was inferred from;",
        f"# look through the guesses before you train. {GUIDE}.",
    ]
    begin += [f"# {note}" for note in inferred.notes]
    text = to_toml([*begin, f'name = "{name}"'], inferred.sections)
    parse_competition(tomllib.loads(text), str(target))
    write_text(target, text)
    _print_lines(inferred.sections)
    for note in inferred.notes:
        console.warn(note)
    console.result(
        f"{target}: written; look through it and run 'pipeline download "
        f"{shlex.quote(str(target))} --from {shlex.quote(str(user_files.root))}'"
    )


def _print_lines(sections: list[Section]) -> None:
    for section in sections:
        for line in section.lines:
            console.say(describe_line(section, line))
