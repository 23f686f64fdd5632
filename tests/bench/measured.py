"""What the benchmarks share: timing, and one table with the machine, versions and commit under it."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fer.report.run import environment


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="file to write all of it to")
    return parser


def timed(function: Callable[[], object], times: int = 1) -> list[float]:
    """Seconds that each of some calls takes."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return seconds


def show(
    title: str,
    unit: str,
    rows: Mapping[str, Sequence[float]],
    path: Path | None,
    columns: Sequence[str] | None = None,
    **more: object,
) -> None:
    """Prints a table with the machine under it, and writes every value as JSON where that is wanted.

    Args:
        title: What was measured.
        unit: Of all values.
        rows: Name -> values. Their median, mean, standard deviation, least and number are shown.
        path: The JSON file; None writes none.
        columns: What each value of a row is, where they are not of one kind; they are then shown as they are.
        more: Words to say under the table.
    """
    began = environment(0.0)
    machine = {key: began[key] for key in ("device", "threads", "git", "python")} | {
        name: began["versions"][name] for name in ("torch", "lightning")
    }
    table = Table(title=f"{title} ({unit})", title_justify="left", box=SIMPLE_HEAD)
    for name in ("", *(columns or ("median", "mean", "sd", "least", "n"))):
        table.add_column(name, justify="right" if name else "left")
    for name, values in rows.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells = values if columns else (statistics.median(values), statistics.fmean(values), spread, min(values), len(values))
        table.add_row(name, *(f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in cells))
    console = Console(width=120)
    console.print(table)
    for name, value in more.items():
        console.print(f"{name.replace('_', ' ')}: {value}")
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()) + time.strftime(", %Y-%m-%d"), soft_wrap=True)
    if path:
        content = {"title": title, "unit": unit, "columns": columns, "rows": {name: list(values) for name, values in rows.items()}}
        path.write_text(json.dumps(content | {"more": more, "machine": machine, "versions": began["versions"]}, indent=1))
