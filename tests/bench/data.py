"""Times drawing, reading, splitting, auditing and augmenting: `python tests/bench/data.py [FOLDER WITH fer2013.csv]`.

2026-11-24, 2 cores of an AMD EPYC, the real fer2013.csv: see README.md, "Speed".
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from hydra.utils import instantiate
from measured import arguments, show, timed
from omegaconf import OmegaConf

from fer.config import CONF
from fer.data import cache
from fer.data.audit import audit
from fer.data.demo import draw_data_sets
from fer.data.fer2013 import FER2013
from fer.data.kdef import KDEF
from fer.data.split import OfficialSplit, SubjectSplit

BATCHES, SIZE = 20, 64


def main() -> None:
    parser = arguments(__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", help="a folder with fer2013.csv; without it, drawn faces")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder, "demo")
        rows = {"draw 37,358 images, as many as the real sets have": timed(lambda: draw_data_sets(drawn, 1.0))}
        reader = FER2013(given.folder or str(drawn / "fer2013"))
        reads = timed(lambda: reader.read(48, 1, "stop"), 5)
        rows["first read of fer2013.csv"] = reads
        rows["first read of 4,900 KDEF files, 562x762 JPEG"] = timed(lambda: KDEF(str(drawn / "kdef")).read(48, 1, "stop"), 3)
        faces = cache.read(reader, 48, 1, "stop", folder)
        rows["fer2013.csv from the cache"] = timed(lambda: cache.read(reader, 48, 1, "stop", folder), 10)
        rows["split=subject of it"] = timed(lambda: SubjectSplit()(faces, 0), 5)
        rows["audit of it"] = timed(lambda: audit(faces, OfficialSplit()(faces, 0).rows), 3)
        show(f"Data, {len(faces):,} faces in fer2013.csv", "s", rows, given.json and given.json.with_suffix(".data.json"))
        batch, row = torch.from_numpy(faces.images[:SIZE].copy()).unsqueeze(1), torch.arange(SIZE)
        each: dict[str, list[float]] = {}
        for name in ("light", "strong", "device"):
            augment = instantiate(OmegaConf.load(CONF / f"augment/{name}.yaml"), _convert_="all")
            if name == "device":
                seconds = timed(lambda augment=augment: augment(batch, row, (0, 0)), BATCHES)
            else:
                seconds = timed(
                    lambda augment=augment: [augment(face, (0, 0, n)) for n, face in enumerate(faces.images[:SIZE])], BATCHES
                )
            each[f"augment={name}"] = [1000 * value for value in seconds[1:]]
        show(f"Augmentation of a batch of {SIZE} on the CPU", "ms", each, given.json and given.json.with_suffix(".augment.json"))


if __name__ == "__main__":
    main()
