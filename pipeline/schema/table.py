"""What all tables of a competition's file have in common."""

from typing import Annotated

from pydantic import ConfigDict, Field

from pipeline.strict import StrictModel

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MAX_NAME_LENGTH = 100
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=MAX_NAME_LENGTH)]
Text = Annotated[str, Field(min_length=1)]
Separator = Annotated[str, Field(pattern=r'^[^"\r\n]$')]


def is_plain(text: str) -> bool:
    """Whether a name can stand in a line of a CSV and be recognised by its looks."""
    return text.isprintable() and text == text.strip() != ""


class Table(StrictModel):
    """A strict model whose fields' docstrings also describe them in the JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)
