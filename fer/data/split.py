"""Which faces train, validate and test. Pure and seeded: rows in, rows out, nothing on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fer.data.balance import peak_frames
from fer.data.faces import IDENTITIES, Faces, identity
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

    @property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """Rows of the parts by their names "train", "val" and "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}


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


@dataclass(frozen=True)
class SubjectSplit:
    """Cuts the faces into folds that share no person, no image sequence and no identical image.

    One fold tests, the next one validates, the others train: with 10 folds 80 / 10 / 10, and with `fold` 0..9 in turn
    every face tests once (k-fold cross-validation by person). Within that the folds are stratified by class and data
    set. Where a data set does not name its people (FER2013), every face counts as a person of its own.

    Args:
        folds: Number of folds, 3 or more.
        fold: Which one tests, 0..folds - 1.
        test_frames: Of an image sequence only the last frame ("peak") validates and tests, since its frames are near
            copies that would count one expression several times; or "all" of them, as the literature often has it.
    """

    folds: int = 10
    fold: int = 0
    test_frames: Literal["peak", "all"] = "peak"

    def __call__(self, faces: Faces, seed: int) -> Parts:
        """See `Split`.

        Raises:
            UserError: There is no such fold, or a part has no face.
        """
        if self.folds < 3 or not 0 <= self.fold < self.folds:
            raise UserError(
                f"split.folds={self.folds} split.fold={self.fold}: expected 3 or more folds, and a fold of 0..folds - 1"
            )
        fold_of = self._assign(faces, seed)
        validates = (self.fold + 1) % self.folds
        keep = np.isin(np.arange(len(faces)), peak_frames(faces)) | (self.test_frames == "all")
        train = np.flatnonzero((fold_of != self.fold) & (fold_of != validates))
        val, test = (np.flatnonzero((fold_of == fold) & keep) for fold in (validates, self.fold))
        for name, rows in (("train", train), ("validate", val), ("test", test)):
            if not len(rows):
                raise UserError(
                    f"no face is left to {name}: {len(faces)} faces, in {linked(faces).max() + 1} groups of one person or linked "
                    f"people, cannot be cut into {self.folds} folds: lower split.folds, or add data"
                )
        other = len(faces) - len(train) - len(val) - len(test)
        return Parts(train, val, test, {"other frames of a sequence, of which the peak validates or tests": other} if other else {})

    def _assign(self, faces: Faces, seed: int) -> NDArray[np.int64]:
        """Fold of every face, int64 (N,): first whole groups, largest first, then single faces fill up evenly."""
        rng = np.random.default_rng([seed, 4])
        cell, _ = pd.factorize(pd.MultiIndex.from_arrays([faces.table["source"], faces.emotion]))
        totals = np.bincount(cell)
        filled = np.zeros((self.folds, len(totals)))
        group = linked(faces)
        size = np.bincount(group)
        fold_of = np.full(len(faces), -1)

        order = np.argsort(group, kind="stable")
        starts = np.cumsum(size) - size
        shared = rng.permutation(np.flatnonzero(size > 1))
        for number in shared[np.argsort(-size[shared], kind="stable")]:
            rows = order[starts[number] : starts[number] + size[number]]
            cells, added = np.unique(cell[rows], return_counts=True)
            # the fold where these classes are the least full, which keeps the sum of squared deviations lowest
            fullness = (filled[:, cells] * (added / totals[cells])).sum(1)
            fold = np.lexsort((rng.random(self.folds), filled.sum(1), fullness))[0]
            filled[fold, cells] += added
            fold_of[rows] = fold
        single = np.flatnonzero(fold_of < 0)
        for number in range(len(totals)):
            rows = rng.permutation(single[cell[single] == number])
            levels = filled[:, number, None] + np.arange(len(rows))  # the number of faces a fold has before it takes one
            ties = rng.permutation(self.folds)[:, None] + np.zeros_like(levels)
            fold_of[rows] = np.lexsort((ties.ravel(), levels.ravel()))[: len(rows)] // max(len(rows), 1)
        return fold_of


def linked(faces: Faces) -> NDArray[np.int64]:
    """Numbers the groups of faces that belong together.

    Two faces do if they show one person of a data set, come from one image sequence or are identical, and so do faces
    that are linked through others.

    Returns:
        Number of each face's group, int64 (N,).
    """
    links = []
    nodes = count = len(faces)
    for kind in IDENTITIES:
        keys = identity(faces.table, kind)
        rows = np.flatnonzero(keys >= 0)
        links.append((rows, keys[rows] + nodes))
        nodes += keys.max(initial=-1) + 1
    ends = [np.concatenate(side) for side in zip(*links, strict=True)]
    graph = coo_array((np.ones(len(ends[0]), bool), (ends[0], ends[1])), shape=(nodes, nodes))
    groups: NDArray[np.int64] = pd.factorize(connected_components(graph, directed=False)[1][:count])[0]
    return groups
