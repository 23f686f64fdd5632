"""Faces pasted into pictures show what eval.py says they show."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import fer
from fer.data.ckplus import CKPlus
from fer.data.fer2013 import FER2013
from fer.data.kdef import KDEF
from fer.predict.detect import Detections
from fer.predict.network import SHIPPED
from tests.conftest import REPOSITORY, run_here
from tests.predict.conftest import on_drawn_faces


@pytest.fixture(scope="module")
def evaluated(demo, tmp_path_factory) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """The test faces, uint8 (N, 48, 48), and eval.py's rows about them."""
    folder = tmp_path_factory.mktemp("eval")
    words = [f"checkpoint={SHIPPED}", *on_drawn_faces(demo), "trainer=cpu", "hydra.run.dir=out"]
    result = run_here(REPOSITORY / "eval.py", *words, cwd=folder)
    assert result.returncode == 0, result.stderr
    rows = pd.read_csv(folder / "out/predictions.csv")
    pictures = {}
    for reader in (FER2013(f"{demo}/fer2013"), CKPlus(f"{demo}/ckplus", contempt="as_neutral"), KDEF(f"{demo}/kdef")):
        faces = reader.read(48, 1, "stop")
        pictures |= {(reader.name, file): image for file, image in zip(faces.table["file"], faces.images, strict=True)}
    return np.stack([pictures[key] for key in zip(rows["source"], rows["file"], strict=True)]), rows


def pasted(faces: NDArray[np.uint8], size: tuple[int, int]) -> Iterator[tuple[NDArray[np.uint8], list[int]]]:
    """Puts each face, enlarged once to four times, somewhere into a colour picture; yields it and the face's place."""
    rng = np.random.default_rng(0)
    for face in faces:
        side = 48 * int(rng.integers(1, 5))
        picture = np.full((size[1], size[0], 3), np.median(face[[0, -1]]), np.uint8)
        left, top = int(rng.integers(size[0] - side)), int(rng.integers(size[1] - side))
        enlarged = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = enlarged[..., None]
        yield picture, [left, top, side, side]


class Known:
    """A detector that has been told where the faces are."""

    name = "told"

    def __init__(self, places: list[list[int]]) -> None:
        self._places = iter(places)

    def __call__(self, image: NDArray[np.uint8], min_face: float) -> Detections:
        return Detections(np.array([next(self._places)]), np.ones(1, np.float32))


def test_where_the_face_is_known_nearly_all_are_the_same(evaluated):
    faces, rows = evaluated
    pictures, places = zip(*pasted(faces, (320, 240)), strict=True)
    found = fer.load(faces=Known(list(places)), device="cpu").predict(list(pictures))
    same = np.array([face.emotion for (face,) in found]) == rows["predicted"]
    assert len(rows) > 150
    assert same.mean() >= 0.95
    native = np.array([place[2] == 48 for place in places])
    given = np.array([face.probabilities for (face,) in found])
    np.testing.assert_allclose(given[native], rows.loc[native, list(fer.EMOTIONS)], atol=1e-5)


def test_where_haar_finds_it_those_the_network_is_sure_of_are_the_same(evaluated):
    faces, rows = evaluated
    sure = rows[list(fer.EMOTIONS)].max(axis=1)
    rows = rows[sure >= sure.quantile(0.6)]  # by rank, since a temperature moves every threshold
    several = np.tile(rows.index, 3)  # in three sizes and places each
    found = fer.load(device="cpu").predict([picture for picture, _ in pasted(faces[several], (320, 240))])
    both = [(at[0].emotion, expected) for at, expected in zip(found, rows["predicted"][several], strict=True) if at]
    assert len(both) > 50
    assert np.mean([one == other for one, other in both]) >= 0.95
