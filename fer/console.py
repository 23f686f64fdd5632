"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import rich
from rich.box import SIMPLE_HEAD
from rich.table import Table

from fer.emotions import EMOTIONS
from fer.results import PER_CLASS

console = rich.get_console()  # the one Lightning's progress bar draws on, so that lines and bar do not mix


def plain_table(title: str, columns: Iterable[str], first: str = "") -> Table:
    """Makes an empty table in the style of all of them.

    Args:
        title: Its title.
        columns: Headings of the columns of numbers.
        first: Heading of the column of names before them.
    """
    table = Table(title=title, title_justify="left", header_style="", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def per_emotion(counts: pd.DataFrame) -> str:
    """Says how many faces there are of each emotion (columns) over all data sets (rows): "56", or "7 to 91"."""
    total = counts.sum()
    return f"{total.min():,}" if total.min() == total.max() else f"{total.min():,} to {total.max():,}"


def summary_table(counts: Mapping[str, pd.DataFrame]) -> Table:
    """Makes a table of faces per data set (columns) at each stage: found, balanced, train, val, test (rows)."""
    sources = list(counts["found"].index)
    table = plain_table("Faces", [*sources, "all", "per emotion"])
    for stage, frame in counts.items():
        sizes = [int(frame.loc[source].sum()) if source in frame.index else 0 for source in sources]
        table.add_row(stage, *(f"{size:,}" for size in sizes), f"{sum(sizes):,}", per_emotion(frame))
    return table


def metrics_table(name: str, metrics: Mapping[str, Any], clean: Mapping[str, Any] | None) -> Table:
    """Makes the classification report of one test set.

    Args:
        name: The test set.
        metrics: What `fer.metrics.plain` gives.
        clean: The same for its clean faces, of which nothing stands in training or validation; None if all are.
    """
    title = f"{name}: accuracy {metrics['accuracy']:.3f} on {sum(metrics['support']):,} faces"
    table = plain_table(title, (*PER_CLASS, "support"), first="emotion")
    for label, emotion in enumerate(EMOTIONS):
        table.add_row(emotion, *(f"{metrics[m][label]:.3f}" for m in PER_CLASS), f"{metrics['support'][label]:,}")
    table.add_section()
    table.add_row("mean", *(f"{metrics['macro'][m]:.3f}" for m in PER_CLASS), f"{sum(metrics['support']):,}")
    if clean:
        faces = sum(clean["support"])
        table.caption = f"{clean['accuracy']:.3f} on the {faces:,} of them whose image and person stand in no other part"
        table.caption_justify = "left"
    return table
