"""Says what is in the data: `python -m fer.data data=thesis` (any override of train.py works)."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import pandas as pd
from rich.console import Console
from rich.table import Table

from fer.config import composed, friendly
from fer.data import thesis
from fer.data.datamodule import FacesDataModule
from fer.emotions import EMOTIONS


@friendly
def main() -> None:
    """Prints the faces found, balanced and split, beside the thesis's tables 3.4 to 3.6."""
    from hydra.utils import instantiate

    parser = argparse.ArgumentParser(prog="python -m fer.data", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="as for train.py, such as data=thesis dataset.kdef.root=/data/kdef")
    config = composed(parser.parse_args().overrides)
    data: FacesDataModule = instantiate(config.data, _convert_="all")
    data.prepare_data()
    data.setup()
    console = Console(highlight=False)
    _print(console, data)


def _print(console: Console, data: FacesDataModule) -> None:
    scale = data.scale or 1.0
    factor = "" if scale == 1 else f" x {scale:g}"
    console.print(beside(data.counts["found"], thesis.FOUND, scale, f"Found (in brackets: table 3.4{factor})"))
    for (source, reason), count in Counter(zip(data.faces.left_out["source"], data.faces.left_out["reason"], strict=True)).items():
        console.print(f"{count:,} left out of {source}: {reason}", soft_wrap=True)
    if "balanced" in data.counts:
        console.print(beside(data.counts["balanced"], thesis.BALANCED, scale, f"Balanced (in brackets: table 3.5{factor})"))
    for reason, count in data.dropped.items():
        console.print(f"{count:,} faces dropped: {reason}")
    console.print(parts(data, scale, f"Split (in brackets: table 3.6{factor})"))
    console.print("Numbers of the thesis that are wrong, and why:")
    for sentence in thesis.ERRORS:
        console.print(f"- {sentence}", soft_wrap=True)


def beside(counts: pd.DataFrame, expected: pd.DataFrame, scale: float, title: str) -> Table:
    """Makes a table of faces per data set (rows) and emotion (columns), the thesis's count in brackets where it differs."""
    table = _table(title, [*EMOTIONS, "all"])
    wanted = expected.reindex(counts.index).fillna(counts)  # a data set the thesis did not use is beside itself
    for name, found, thesis_found in (
        *((str(name), counts.loc[name], wanted.loc[name]) for name in counts.index),
        ("all", counts.sum(), wanted.sum()),
    ):
        pairs = zip([*found, found.sum()], [*thesis_found, thesis_found.sum()], strict=True)
        table.add_row(name, *(_cell(int(ours), int(theirs), scale) for ours, theirs in pairs))
    return table


def parts(data: FacesDataModule, scale: float, title: str) -> Table:
    """Makes a table of faces per part (rows) and data set (columns), the thesis's count in brackets where it differs."""
    sources = list(data.counts["found"].index)
    table = _table(title, [*sources, "all", "per emotion"])
    for part in thesis.PARTS.index:
        frame = data.counts[part]
        sizes = {source: int(frame.loc[source].sum()) if source in frame.index else 0 for source in sources}
        known = [source for source in sources if source in thesis.PARTS]
        wanted = {source: int(thesis.PARTS[source].loc[part]) for source in known}
        cells = [_cell(size, wanted.get(source, size), scale) for source, size in sizes.items()]
        each = frame.sum()
        span = f"{each.min():,}" if each.min() == each.max() else f"{each.min():,} to {each.max():,}"
        table.add_row(part, *cells, _cell(sum(sizes.values()), sum(wanted.values()), scale), span)
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _cell(count: int, expected: int, scale: float) -> str:
    scaled = round(expected * scale)
    return f"{count:,}" if count == scaled else f"{count:,} ({scaled:,})"


if __name__ == "__main__":
    sys.exit(main())
