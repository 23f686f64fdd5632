"""Times drawing, reading, splitting and auditing: `uv run python tests/bench/data.py [FOLDER WITH fer2013.csv]`."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fer.data import cache
from fer.data.audit import audit
from fer.data.demo import draw_data_sets
from fer.data.fer2013 import FER2013
from fer.data.images import cores
from fer.data.split import OfficialSplit, SubjectSplit


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            raw = sys.argv[1]
        else:
            print(f"drawing 37,358 faces: {timed(lambda: draw_data_sets(Path(folder, 'demo'), 1.0)):.1f} s, n=1, {cores()} cores")
            raw = f"{folder}/demo/fer2013"
        reads = [timed(lambda: FER2013(raw).read(48, 1, "stop")) for _ in range(5)]
        print(f"reading fer2013.csv: first {reads[0]:.2f} s, then {statistics.mean(reads[1:]):.2f} s, n=4")
        cache.read(FER2013(raw), 48, 1, "stop", f"{folder}/cache")
        starts = [timed(lambda: cache.read(FER2013(raw), 48, 1, "stop", f"{folder}/cache")) for _ in range(10)]
        print(f"start from the cache: {statistics.mean(starts):.3f} s +- {statistics.stdev(starts):.3f}, n=10")
        faces = cache.read(FER2013(raw), 48, 1, "stop", f"{folder}/cache")
        print(f"split=subject: {timed(lambda: SubjectSplit()(faces, 0)):.2f} s, n=1")
        print(f"audit: {timed(lambda: audit(faces, OfficialSplit()(faces, 0).rows)):.2f} s, n=1")


if __name__ == "__main__":
    main()
