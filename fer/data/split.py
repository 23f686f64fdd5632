"""Which faces train, validate and test. Pure and seeded: rows in, rows out, nothing on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import Faces
from fer.data.fer2013 import USAGES
from fer.emotions import EMOTIONS
from fer.errors import UserError


@dataclass(frozen=True)
class Parts:
    """Rows of `Faces` in each part, ascending, int64; and how many rows are in none, for which reason."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    dropped: dict[str, int]


class Split(Protocol):
    """Divides rows into three parts that share none."""

    def __call__(self, faces: Faces, seed: int) -> Parts:
        """Divides the rows; the same faces and seed give the same parts."""


@dataclass(frozen=True)
class ThesisSplit:
    """80 / 10 / 10 at random, stratified by class and data set, with the thesis's rounding (table 3.6).

    Of a class with n faces, ceil(n / 10) test, floor(n / 10) validate and the rest train; within the class every data
    set but the largest gives ceil(n_s / 10) of its n_s faces to each of the two, and the largest fills up. That gives
    541 / 67 / 68 of the thesis's 676. People and duplicate images may stand on both sides, as in the thesis.
    """

    def __call__(self, faces: Faces, seed: int) -> Parts:
        """See `Split`.

        Raises:
            UserError: A class has fewer than three faces.
        """
        rng = np.random.default_rng([seed, 2])
        source, emotion = faces.table["source"].to_numpy(), faces.emotion
        parts: dict[str, list[NDArray[np.int64]]] = {"train": [], "val": [], "test": []}
        for label, name in enumerate(EMOTIONS):
            size = int((emotion == label).sum())
            if size < 3:
                raise UserError(
                    f"{size} faces show {name}, but the split needs 3 of each emotion (one to train, one to validate, one to "
                    "test): add data, or draw more with a larger data.scale"
                )
            quota = {"test": math.ceil(size / 10), "val": max(1, size // 10)}
            for set_name in faces.sources:  # smallest data set first: the largest fills up
                rows = rng.permutation(np.flatnonzero((emotion == label) & (source == set_name)))
                share = math.ceil(len(rows) / 10)
                for part in ("test", "val"):
                    count = min(quota[part], len(rows), len(rows) if set_name == faces.sources[-1] else share)
                    parts[part].append(rows[:count])
                    quota[part] -= count
                    rows = rows[count:]
                parts["train"].append(rows)
        train, val, test = (np.sort(np.concatenate(rows)) for rows in parts.values())
        return Parts(train, val, test, {})


@dataclass(frozen=True)
class OfficialSplit:
    """FER2013's own split: Training trains, PublicTest validates, PrivateTest tests. Other data sets are left out."""

    def __call__(self, faces: Faces, seed: int) -> Parts:
        """See `Split`.

        Raises:
            UserError: An official part has no face.
        """
        usage = faces.table["usage"].to_numpy()
        train, val, test = (np.flatnonzero(usage == name) for name in USAGES)
        for name, rows in zip(USAGES, (train, val, test), strict=True):
            if not len(rows):
                raise UserError(
                    f"no face is marked '{name}', so there is no official split: split=official needs a FER2013 copy that "
                    "tells its official parts (fer2013.csv does); use split=thesis for others"
                )
        rest = len(faces) - len(train) - len(val) - len(test)
        return Parts(train, val, test, {"in none of FER2013's official parts": rest} if rest else {})
