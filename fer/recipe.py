"""What a model's file says about itself, in plain values; it may come from anyone, so it is checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer.emotions import EMOTIONS
from fer.errors import UserError

FORMAT = 1
"""Goes up when the recipe changes in a way that older code cannot read."""

_Share = Annotated[float, Field(ge=0, le=1)]


class _Plain(BaseModel):
    model_config = ConfigDict(strict=True)


class _Image(_Plain):
    size: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3]


class _Test(_Plain):
    accuracy: _Share
    faces: Annotated[int, Field(ge=0)]
    recall: Annotated[list[_Share], Field(min_length=len(EMOTIONS), max_length=len(EMOTIONS))]


class _Recipe(_Plain):
    format: int
    network: dict[str, Any]
    emotions: list[str]
    image: _Image
    config: dict[str, Any] = {}
    data: str = ""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    tta: Literal["flip", "tencrop"] | None = None
    metrics: dict[str, float] = {}
    tests: dict[str, _Test] = {}


def checked(described: Any, file: Path, tests: Any = None) -> dict[str, Any]:
    """Checks what a file says about its model.

    Args:
        described: Its recipe (see `fer.model.checkpoint`).
        file: The file, for the error.
        tests: How the model did on its test sets, where that stands beside the recipe: name -> `accuracy`, `faces`, `recall`.

    Returns:
        The recipe.

    Raises:
        UserError: It is none, or one of another version or for other emotions.
    """
    if not isinstance(described, Mapping):
        raise UserError(f"{file} is no model of this project: it does not describe its network and emotions")
    if described.get("format") != FORMAT:
        raise UserError(f"{file} has format {described.get('format')}, but this version reads {FORMAT}: use a version that fits")
    try:
        _Recipe.model_validate({**described, **({} if tests is None else {"tests": tests})})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{file} describes itself in a way that cannot be right ({'.'.join(map(str, first['loc']))}: {first['msg']})"
        ) from None
    if described["emotions"] != list(EMOTIONS):
        raise UserError(f"{file} was trained for the emotions {described['emotions']}; this version knows {list(EMOTIONS)}")
    return dict(described)
