"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from fer.emotions import EMOTIONS
from fer.metrics import PER_CLASS

console = Console(highlight=False)


def counts_table(counts: pd.DataFrame, title: str) -> Table:
    """Makes a table of faces per data set (rows) and emotion (columns), with totals."""
    table = Table(title=title, title_justify="left", header_style="")
    table.add_column("data set")
    for name in [*EMOTIONS, "all"]:
        table.add_column(name, justify="right")
    for source, row in counts.iterrows():
        table.add_row(str(source), *(f"{count:,}" for count in row), f"{row.sum():,}")
    if len(counts) > 1:
        table.add_section()
        total = counts.sum()
        table.add_row("all", *(f"{count:,}" for count in total), f"{total.sum():,}")
    return table


def summary_table(counts: Mapping[str, pd.DataFrame]) -> Table:
    """Makes a table of faces per data set (columns) at each stage: found, balanced, train, val, test (rows)."""
    sources = list(counts["found"].index)
    table = Table(title="Faces", title_justify="left", header_style="")
    table.add_column("")
    for source in [*sources, "all"]:
        table.add_column(source, justify="right")
    table.add_column("per emotion", justify="right")
    for stage, frame in counts.items():
        sizes = [int(frame.loc[source].sum()) if source in frame.index else 0 for source in sources]
        total = frame.sum()
        each = f"{total.min():,}" if total.min() == total.max() else f"{total.min():,} to {total.max():,}"
        table.add_row(stage, *(f"{size:,}" for size in sizes), f"{sum(sizes):,}", each)
    return table


def metrics_table(name: str, metrics: Mapping[str, Any]) -> Table:
    """Makes the classification report of one test set.

    Args:
        name: The test set.
        metrics: What `fer.metrics.plain` gives.
    """
    title = f"{name}: accuracy {metrics['accuracy']:.3f} on {sum(metrics['support']):,} faces"
    table = Table(title=title, title_justify="left", header_style="")
    table.add_column("emotion")
    for column in (*PER_CLASS, "support"):
        table.add_column(column, justify="right")
    for label, emotion in enumerate(EMOTIONS):
        table.add_row(emotion, *(f"{metrics[m][label]:.3f}" for m in PER_CLASS), f"{metrics['support'][label]:,}")
    table.add_section()
    table.add_row("mean", *(f"{metrics['macro'][m]:.3f}" for m in PER_CLASS), f"{sum(metrics['support']):,}")
    return table
