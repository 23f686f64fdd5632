"""A table of the page, and how its numbers are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Args:
        key: Name of its CSV.
        title: Its heading.
        frame: Rows and columns; numbers as they are, missing ones NaN.
        note: Where its numbers come from and what to keep in mind.
    """

    key: str
    title: str
    frame: pd.DataFrame
    note: str


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The cells of a table as text."""
    columns = {}
    for name in frame:
        column = frame[name]
        if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all() and column.max() > 1:
            column = column.astype("Int64")  # counts, some of them missing
        columns[name] = [_cell(value, signed=str(name).endswith("difference")) for value in column.astype(object)]
    return pd.DataFrame(columns)


def markdown(cells: pd.DataFrame) -> str:
    """Writes cells that are text as a table in Markdown."""
    text: str = cells.to_markdown(index=False, disable_numparse=True, tablefmt="pipe")
    return text


def _cell(value: Any, signed: bool) -> str:
    """A number as the page shows it: counts whole, shares with three digits, tiny p-values as such, nothing for NaN."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    sign = "+" if signed else ""
    if isinstance(value, int | np.integer):
        return f"{value:{sign},}"
    return f"{value:{sign}.3f}" if abs(value) >= 0.001 or value == 0 or signed else f"{value:.0e}"
