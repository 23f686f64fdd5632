"""Says what is in the data: `python -m fer.data [audit] data=thesis` (any override of train.py works)."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from fer import thesis
from fer.config import composed, friendly
from fer.console import per_emotion, plain_table
from fer.data import audit
from fer.data.balance import ThesisBalance
from fer.data.datamodule import FacesDataModule
from fer.data.sheet import contact_sheet
from fer.data.split import ThesisSplit
from fer.emotions import EMOTIONS
from fer.errors import UserError


@friendly
def main() -> None:
    """Prints what is in the data, or audits it."""
    auditing = sys.argv[1:2] == ["audit"]
    _audit(sys.argv[2:]) if auditing else _tables(sys.argv[1:])


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    parser.add_argument("overrides", nargs="*", help="as for train.py, such as data=thesis dataset.kdef.root=/data/kdef")
    return parser.parse_intermixed_args(words)


def _data(overrides: list[str]) -> FacesDataModule:
    from hydra.utils import instantiate

    data: FacesDataModule = instantiate(composed(overrides).data, _convert_="all")
    data.prepare_data()
    return data


def _tables(words: list[str]) -> None:
    """Prints the faces found, balanced and split, beside the thesis's tables 3.4 to 3.6."""
    epilog = "python -m fer.data audit ... looks for copies, conflicting labels and faces on two sides of the split"
    parser = argparse.ArgumentParser(prog="python -m fer.data", description=__doc__, epilog=epilog)
    data = _data(_parsed(parser, words).overrides)
    data.setup()
    _print(Console(highlight=False), data)


def _audit(words: list[str]) -> None:
    """Prints what is doubtful about the data and the chosen split, and writes it as tables and a contact sheet."""
    parser = argparse.ArgumentParser(prog="python -m fer.data audit", description=_audit.__doc__)
    parser.add_argument(
        "--distance", type=int, default=audit.DISTANCE, help="bits of 64 that may differ between near-identical ones"
    )
    parser.add_argument("--out", type=Path, help="folder for audit.csv, summary.csv and contact_sheet.png")
    arguments = _parsed(parser, words)
    if not 0 <= arguments.distance < 64:
        raise UserError(f"--distance {arguments.distance}: expected 0..63; {audit.DISTANCE} finds near copies and little else")
    console, data, parts = Console(highlight=False), _data(arguments.overrides), None
    try:
        data.setup()
        parts = data.parts.rows
    except UserError as error:  # what cannot be balanced or split can still be looked at
        if not hasattr(data, "faces"):
            raise
        console.print(f"The split is not looked at: {error}", soft_wrap=True)
    found = audit.audit(data.faces, parts, arguments.distance)

    table = plain_table(f"{len(data.faces):,} faces of {', '.join(data.faces.sources)}", ["groups", "affected"])
    table.add_column("meaning", justify="left")
    for row in found.summary.to_dict("records"):
        table.add_row(row["check"], f"{row['groups']:,}", f"{row['affected']:,}", row["meaning"])
    console.print(table)
    for source, subjects in data.faces.table.groupby("source")["subject"]:
        if (subjects == "").all():
            console.print(
                f"{source} does not name its people, so it cannot be known whether one stands on two sides.", soft_wrap=True
            )
    folder = arguments.out or Path(f"runs/audit_{datetime.now():%Y-%m-%d_%H-%M-%S}")
    folder.mkdir(parents=True, exist_ok=True)
    found.summary.to_csv(folder / "summary.csv", index=False)
    found.findings.to_csv(folder / "audit.csv", index=False)
    contact_sheet(data.faces, found).savefig(folder / "contact_sheet.png", dpi=90)
    console.print(f"Every face concerned is in {folder}/audit.csv, examples are in {folder}/contact_sheet.png", soft_wrap=True)


def _print(console: Console, data: FacesDataModule) -> None:
    scale = data.scale or 1.0
    factor = "" if scale == 1 else f" x {scale:g}"
    found, balanced = data.counts["found"], data.counts.get("balanced", data.counts["found"])
    console.print(beside(found, thesis.FOUND, scale, f"Found (in brackets: table 3.4{factor})"))
    for (source, reason), count in Counter(zip(data.faces.left_out["source"], data.faces.left_out["reason"], strict=True)).items():
        console.print(f"{count:,} left out of {source}: {reason}", soft_wrap=True)
    as_thesis = isinstance(data.balance, ThesisBalance) and isinstance(data.split, ThesisSplit)
    as_thesis = as_thesis and data.balance.before_split and set(found.index) == set(thesis.FOUND.index)
    if not balanced.equals(found):
        title = f"Balanced (in brackets: table 3.5{factor})" if as_thesis else "Balanced"
        console.print(beside(balanced, thesis.BALANCED if as_thesis else balanced, scale if as_thesis else 1, title))
    for reason, count in data.dropped.items():
        console.print(f"{count:,} faces dropped: {reason}")
    title = f"Split (in brackets: table 3.6{factor})" if as_thesis else "Split"
    console.print(parts(data, thesis.PARTS if as_thesis else thesis.PARTS[[]], scale, title))
    console.print("Numbers of the thesis that are wrong, and why:")
    for sentence in thesis.ERRORS:
        console.print(f"- {sentence}", soft_wrap=True)


def beside(counts: pd.DataFrame, expected: pd.DataFrame, scale: float, title: str) -> Table:
    """Makes a table of faces per data set (rows) and emotion (columns), the thesis's count in brackets where it differs."""
    table = plain_table(title, [*EMOTIONS, "all"])
    wanted = expected.reindex(counts.index).fillna(counts)  # a data set the thesis did not use is beside itself
    for name, found, thesis_found in (
        *((str(name), counts.loc[name], wanted.loc[name]) for name in counts.index),
        ("all", counts.sum(), wanted.sum()),
    ):
        pairs = zip([*found, found.sum()], [*thesis_found, thesis_found.sum()], strict=True)
        table.add_row(name, *(_cell(int(ours), int(theirs), scale) for ours, theirs in pairs))
    return table


def parts(data: FacesDataModule, expected: pd.DataFrame, scale: float, title: str) -> Table:
    """Makes a table of faces per part (rows) and data set (columns), the thesis's count in brackets where it differs."""
    sources = list(data.counts["found"].index)
    table = plain_table(title, [*sources, "all", "per emotion"])
    for part in expected.index:
        frame = data.counts[part]
        sizes = {source: int(frame.loc[source].sum()) if source in frame.index else 0 for source in sources}
        wanted = {source: int(expected[source].loc[part]) for source in expected}
        cells = [_cell(size, wanted.get(source, size), scale if wanted else 1) for source, size in sizes.items()]
        every = _cell(sum(sizes.values()), sum((sizes | wanted).values()), scale if wanted else 1)
        table.add_row(part, *cells, every, per_emotion(frame))
    return table


def _cell(count: int, expected: int, scale: float) -> str:
    scaled = round(expected * scale)
    return f"{count:,}" if count == scaled else f"{count:,} ({scaled:,})"


if __name__ == "__main__":
    sys.exit(main())
