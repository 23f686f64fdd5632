"""Tiny data sets in the real on-disk formats."""

from __future__ import annotations

import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer.data.demo import draw_data_sets
from fer.data.faces import Faces
from fer.emotions import EMOTIONS

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FER2013, CK+ and KDEF drawn at a twentieth of their size."""
    root = tmp_path_factory.mktemp("demo") / "faces"
    draw_data_sets(root, scale=0.05)
    return root


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Makes a picture of random pixels, uint8, of a shape, different for every seed."""

    def make(seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape or (48, 48), np.uint8)

    return make


def write_image(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_csv(path: Path, rows: Sequence[tuple[object, ...]], header: str = "emotion,pixels,Usage") -> Path:
    """Writes a fer2013.csv; a cell that is an array is written as its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [[" ".join(map(str, c.ravel())) if isinstance(c, np.ndarray) else str(c) for c in row] for row in rows]
    path.write_text("\n".join([header, *(",".join(row) for row in cells)]) + "\n")
    return path


def make_faces(counts: dict[str, Sequence[int]], frames: dict[str, int] | None = None) -> Faces:
    """Makes faces of these counts per source and emotion; a source with `frames` comes in sequences of that many."""
    rows = []
    for source, sizes in counts.items():
        each = (frames or {}).get(source, 1)
        for label, size in enumerate(sizes):
            for number in range(size):
                for frame in range(each):
                    sequence = f"{label}_{number}" if each > 1 else ""
                    rows.append((label, source, f"p{number}", sequence, "", f"{source}/{label}/{number:05d}_{frame}.png"))
    table = pd.DataFrame(rows, columns=["emotion", "source", "subject", "sequence", "usage", "file"])
    table["digest"] = [f"{i:032x}" for i in range(len(table))]
    return Faces(np.zeros((len(table), 2, 2), np.uint8), table)


EQUAL = [5] * len(EMOTIONS)


def environment() -> dict[str, str]:
    """The environment of programs under test; they keep their byte code, without which each start takes 10 s longer."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}


def run_program(*words: object, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs train.py, eval.py or a module as a user would; gives exit code and what was printed."""
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout
    )


def run_here(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Does what `run_program` does, but in this process: a new one takes seconds to start."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("COLUMNS", "160")
        patch.setattr(sys, "argv", [str(word) for word in words[words[0] == "-m" :]])
        patch.delitem(sys.modules, f"{words[1]}.__main__", raising=False)
        try:
            runpy.run_module(str(words[1]), run_name="__main__") if words[0] == "-m" else runpy.run_path(
                str(words[0]), run_name="__main__"
            )
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess([str(word) for word in words], code, out.getvalue(), err.getvalue())


def tempting(seed: int, faces: int = 400) -> Faces:
    """Makes faces on which a careless split puts people, sequences and copies on two sides.

    KDEF-like people show every emotion; CK+-like ones have sequences of three frames, and a few people share a
    sequence's name with others; a quarter of the FER2013-like faces are copies, some under another label, some across
    data sets, and they carry an official usage.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(faces):
        source = ("fer2013", "kdef", "ckplus")[number % 3]
        subject = "" if source == "fer2013" else f"p{rng.integers(30)}"
        usage = str(rng.choice(["Training", "PublicTest", "PrivateTest"], p=[0.8, 0.1, 0.1])) if source == "fer2013" else ""
        for frame in range(3 if source == "ckplus" else 1):
            sequence = f"{subject}_{number}" if source == "ckplus" else ""
            copied = rng.random() < 0.25
            digest = f"{rng.integers(40) if copied else 1000 + len(rows):032x}"
            file = f"{source}/{number:05d}_{frame}.png"
            rows.append((int(rng.integers(7)) if frame == 0 else rows[-1][0], source, subject, sequence, usage, file, digest))
    table = pd.DataFrame(rows, columns=["emotion", "source", "subject", "sequence", "usage", "file", "digest"])
    return Faces(np.zeros((len(table), 2, 2), np.uint8), table)
