"""Time and memory of everything that is done with data, from 10,000 to 4,000,000 faces: linear, or it says where not.

    python tests/bench/growth.py                                  # up to 1,000,000 faces: 10 GB of disk
    python tests/bench/growth.py --sizes 10000,4000000 --folder /scratch       # 45 GB

The faces are drawn ones, each repetition with other pixels in a corner, in one fer2013.csv. Every size has a process of its
own. Memory is the largest amount that was the process's own (RssAnon): the cache is mapped from disk, and its pages are the
system's to take back; start-up's 0.6 GiB, most of it PyTorch's, are not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measured import arguments, show, timed

from fer.data.demo import draw_data_sets


def write(folder: Path, base: list[bytes], size: int) -> Path:
    """Writes a fer2013.csv of `size` faces: the lines of `base` again and again, four pixels of each new."""
    folder.mkdir(parents=True)
    with open(folder / "fer2013.csv", "wb", 1 << 24) as file:
        file.write(b"emotion,pixels,Usage\n")
        for number in range(size):
            label, pixels = base[number % len(base)].split(b",", 1)
            time_round = number // len(base)
            corner = b"%d %d %d %d" % (time_round % 256, time_round // 256 % 256, number % 251, number % 241)
            file.write(label + b"," + corner + b" " + pixels.split(b" ", 4)[4])
    return folder


class Peak(threading.Thread):
    """Samples this process's own memory twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.kib = 0
        self.start()

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.kib = max(self.kib, int(status.split("RssAnon:")[1].split()[0]))
            time.sleep(0.05)


def measure(raw: str, folder: str) -> None:
    """Prints seconds and MiB of every step on one file as JSON."""
    from fer.data import cache
    from fer.data.audit import audit
    from fer.data.balance import ThesisBalance
    from fer.data.datamodule import FacesDataModule
    from fer.data.fer2013 import FER2013
    from fer.data.split import SubjectSplit

    reader = FER2013(raw)
    result: dict[str, list[float]] = {}
    peak = Peak()

    time.sleep(0.1)
    before = peak.kib

    def step(name: str, function: Callable[[], object]) -> None:
        peak.kib = 0
        seconds = timed(function)[0]
        time.sleep(0.1)
        result[name] = [seconds, max(0, peak.kib - before) / 1024]

    step("first read, cache written", lambda: cache.read(reader, 48, 1, "stop", folder))
    step("start from the cache", lambda: cache.read(reader, 48, 1, "stop", folder))
    faces = cache.read(reader, 48, 1, "stop", folder)
    step("balance=thesis", lambda: ThesisBalance()(faces, 0))
    step("split=subject", lambda: SubjectSplit()(faces, 0))
    step("audit", lambda: audit(faces, SubjectSplit()(faces, 0).rows))
    data = FacesDataModule({"fer2013": reader}, ThesisBalance(), SubjectSplit(), cache_dir=folder)
    data.setup()
    data.parts = type(data.parts)(np.arange(len(faces)), data.parts.val[:0], data.parts.test[:0], {})
    step("an epoch's batches, all faces", lambda: sum(len(batch.images) for batch in data.train_dataloader()))
    print(json.dumps(result))


def main() -> None:
    parser = arguments(__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--folder", help="where the files are written meanwhile")
    parser.add_argument("--work", nargs=2)
    given = parser.parse_args()
    if given.work:
        return measure(*given.work)
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        draw_data_sets(Path(folder, "demo"), 0.28)
        base = Path(folder, "demo/fer2013/fer2013.csv").read_bytes().splitlines(keepends=True)[1:10_001]
        for size in map(int, given.sizes.split(",")):
            with tempfile.TemporaryDirectory(dir=folder) as here:
                raw = write(Path(here, "raw"), base, size)
                words = [sys.executable, __file__, "--work", str(raw), str(Path(here, "cache"))]
                rows.setdefault("pixels: MiB", []).append(size * 2304 / 2**20)
                told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
                for name, (seconds, mib) in json.loads(told.splitlines()[-1]).items():
                    rows.setdefault(f"{name}: s", []).append(seconds)
                    rows.setdefault(f"{name}: MiB", []).append(mib)
    show("Growth", "s, MiB", rows, given.json, columns=[f"{int(size):,} faces" for size in given.sizes.split(",")])


if __name__ == "__main__":
    main()
