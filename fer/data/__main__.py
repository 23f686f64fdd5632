"""Says what is in the data: `python -m fer.data data=thesis` (any override of train.py works)."""

from __future__ import annotations

import pandas as pd
from omegaconf import DictConfig
from rich.table import Table

from fer.config import command


@command("data")
def main(config: DictConfig) -> None:
    """Prints the faces found, balanced and split, beside the thesis's tables 3.4 to 3.6."""
    from hydra.utils import instantiate

    from fer.data import thesis
    from fer.data.counts import beside, parts_beside
    from fer.report.console import console

    data = instantiate(config.data, _convert_="all")
    data.prepare_data()
    data.setup()
    share = "" if data.scale is None or data.scale == 1 else f" x {data.scale}"
    console.print(beside(data.counts["found"], thesis.FOUND, data.scale or 1, f"Found (expected: table 3.4{share})"))
    for reason, count in data.faces.left_out.groupby(["source", "reason"]).size().items():
        console.print(f"{count:,} left out of {reason[0]}: {reason[1]}", soft_wrap=True)
