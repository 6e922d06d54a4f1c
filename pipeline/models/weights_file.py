"""The weights file that a path names. Light: it is asked for by what never loads a network."""

from pathlib import Path

from pipeline.errors import ConfigError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def find_weights_file(place: str) -> Path:
    """Find the weights file that a path names: itself, or the one of that folder.

    Args:
        place: As given by `model.weights`; `~` is the home folder.

    Raises:
        ConfigError: There is nothing, or no one file of weights.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise ConfigError(
            f"model.weights: must be 'package', 'hub', 'auto', 'none' or a file that exists, "
            f"'{place}' doesn't (from {Path.cwd()}); correct the path"
        )
    if path.is_dir():
        return _only_file(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"model.weights: must end in one of {', '.join(SUFFIXES)}, is '{place}'; convert it"
        )
    return path


def _only_file(folder: Path) -> Path:
    preferred = folder / "model.safetensors"
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if preferred in files:
        return preferred
    if len(files) == 1:
        return files[0]
    found = f"{len(files)} ({', '.join(file.name for file in files[:3])})" if files else "none"
    raise ConfigError(
        f"model.weights: folder '{folder}' must hold model.safetensors or exactly one file of "
        f"{', '.join(SUFFIXES)}, holds {found}; name the file"
    )
