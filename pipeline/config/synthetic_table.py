"""Check the table `[synthetic]`: the parameters of a competition that is drawn."""

from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.config.strict import Table

TEMPLATE_FIELDS = ("label", "index", "number")


def _checked_template(template: str) -> str:
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
        strangers = [name for name in fields if name not in TEMPLATE_FIELDS]
        template.format(label="cat", index=0, number=1)
    except (KeyError, IndexError, ValueError, AttributeError):
        strangers = [template]
    if strangers:
        known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
        raise ValueError(f"must be a file name with no fields but {known}")
    return template


Template = Annotated[str, AfterValidator(_checked_template)]


class Synthetic(Table):
    """Parameters of archives that are drawn instead of fetched."""

    num_train: Annotated[int, Field(ge=1)]
    """Number of training images."""

    num_test: Annotated[int, Field(ge=1)]
    """Number of test images."""

    min_side_px: Annotated[int, Field(ge=16)] = 96
    """Smallest width and height."""

    max_side_px: Annotated[int, Field(ge=16)] = 200
    """Largest width and height."""

    odd_files: bool = True
    """Whether duplicates, wrong types, broken files and the like are among them."""

    seed: int = 0
    """Another seed draws other images."""

    name_template: Template | None = None
    """Names the training images, from `{label}`, `{index}` (from 0) and `{number}` (from 1), both
    counted per class where the label is in the name; left out, the names are 32 random letters."""

    test_name_template: Template | None = None
    """Names the test images, from `{index}` and `{number}`; left out, the names are indices where
    the judge's ids are integers, else 32 random letters."""
