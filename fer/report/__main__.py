"""Compares runs: `python -m fer.report RUNS...` writes tables, figures, a Markdown document and one HTML page."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from fer.config import friendly
from fer.report import page


@friendly
def main() -> None:
    """Reports the runs that are named."""
    parser = argparse.ArgumentParser(prog="python -m fer.report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders of runs such as runs/sweep_...")
    parser.add_argument("--out", type=Path, help="where to write; else runs/report_<time>")
    arguments = parser.parse_args()
    page.write(arguments.runs, arguments.out or Path(f"runs/report_{datetime.now():%Y-%m-%d_%H-%M-%S}"))


if __name__ == "__main__":
    main()
