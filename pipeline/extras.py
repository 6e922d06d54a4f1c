"""Packages that are needed for some competitions only."""

import importlib.util
import sys

from pipeline.errors import DataError

SEVEN_ZIP = "py7zr"


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def require_seven_zip(archive: str) -> None:
    """Check that what reads and writes 7z archives is installed (LGPL, so it is optional).

    Raises:
        DataError: It isn't.
    """
    if not is_installed(SEVEN_ZIP):
        raise DataError(
            f"{archive}: a 7z needs the package {SEVEN_ZIP} (the extra 'sevenzip'), which isn't "
            f"installed; run '{sys.executable} -m pip install {SEVEN_ZIP}', or unpack it by hand "
            "into a folder of its name beside it"
        )
