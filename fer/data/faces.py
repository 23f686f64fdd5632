"""Faces: one uint8 array of pictures and one table that says what each picture shows and where it comes from."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.emotions import EMOTIONS
from fer.errors import UserError

COLUMNS: tuple[str, ...] = ("emotion", "source", "subject", "sequence", "usage", "file", "digest")
"""Columns of `Faces.table`: class 0..6; data set; person ("" if unknown); image sequence ("" if none); FER2013's
official Usage ("" if none); file (below the set's root; `name.csv:line` for a row of a CSV); digest of the pixels."""

LEFT_OUT: tuple[str, ...] = ("source", "file", "reason")
"""Columns of `Faces.left_out`."""

IDENTITIES: dict[str, tuple[str, ...]] = {
    "image": ("digest",),
    "sequence": ("source", "sequence"),
    "person": ("source", "subject"),
}
"""What two faces can have in common -> the columns of `Faces.table` that tell, the gravest first."""

OnError = Literal["stop", "skip"]
"""What a reader does with a damaged file: stop with an error, or leave it out and record it."""


def _nothing_left_out() -> pd.DataFrame:
    return pd.DataFrame(columns=list(LEFT_OUT), dtype=str)


@dataclass(frozen=True)
class Faces:
    """A data set: pictures, one row of facts for each, and a record of what was left out.

    Args:
        images: Pictures, uint8 (N, H, W) grey or (N, H, W, 3) RGB.
        table: One row per picture with the columns `COLUMNS`; its index is 0..N-1.
        left_out: One row per picture that was found but not taken, with the columns `LEFT_OUT`.
        votes: Share of annotators that saw each emotion in each picture, float32 (N, 7), rows summing to 1; None where
            there is only one label a picture.

    Raises:
        ValueError: Pictures and table do not fit together, or a label lies outside 0..6.
    """

    images: NDArray[np.uint8]
    table: pd.DataFrame
    left_out: pd.DataFrame = field(default_factory=_nothing_left_out)
    votes: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim not in (3, 4):
            raise ValueError(f"images are {self.images.dtype} {self.images.shape}; expected uint8 (N, H, W) or (N, H, W, 3)")
        if len(self.images) != len(self.table):
            raise ValueError(f"{len(self.images)} images but {len(self.table)} rows in the table")
        if tuple(self.table.columns) != COLUMNS:
            raise ValueError(f"the table has columns {list(self.table.columns)}; expected {list(COLUMNS)}")
        emotions = self.emotion
        if len(emotions) and not (emotions.min() >= 0 and emotions.max() < len(EMOTIONS)):
            raise ValueError(f"labels lie in {emotions.min()}..{emotions.max()}; expected 0..{len(EMOTIONS) - 1}")
        if self.votes is not None and self.votes.shape != (len(self.table), len(EMOTIONS)):
            raise ValueError(f"votes are {self.votes.shape}; expected ({len(self.table)}, {len(EMOTIONS)})")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def emotion(self) -> NDArray[np.int64]:
        """Class of each picture, int64 (N,), 0..6."""
        return self.table["emotion"].to_numpy(dtype=np.int64)

    @property
    def sources(self) -> list[str]:
        """Names of the data sets in it, smallest first, then by name."""
        counts = self.table["source"].value_counts()
        return sorted(counts.index, key=lambda name: (counts[name], name))

    def select(self, rows: NDArray[np.int64], pictures: bool = True) -> Faces:
        """Gives these rows, in this order, with the same record of what was left out.

        Args:
            rows: Rows, int64 (M,).
            pictures: Whether to copy the pictures; without, they are empty, uint8 (M, 0, 0).
        """
        votes = None if self.votes is None else self.votes[rows]
        images = self.images[rows] if pictures else np.empty((len(rows), 0, 0), np.uint8)
        return Faces(images, self.table.iloc[rows].reset_index(drop=True), self.left_out, votes)

    def counts(self, rows: NDArray[np.int64] | None = None) -> pd.DataFrame:
        """Counts the pictures, all or those of some rows: a row per data set, smallest first, a column per emotion, int64."""
        counted = self.table if rows is None else self.table.iloc[rows]
        table = pd.crosstab(counted["source"], counted["emotion"])
        sizes = table.sum(axis=1)
        sources = sorted(table.index, key=lambda name: (sizes[name], name))
        table = table.reindex(index=sources, columns=range(len(EMOTIONS)), fill_value=0)
        return table.set_axis(list(EMOTIONS), axis=1).astype(np.int64)

    @classmethod
    def build(cls, images: NDArray[np.uint8], source: str, rows: pd.DataFrame, left_out: Sequence[tuple[str, str]] = ()) -> Faces:
        """Makes a data set from what a reader has read.

        Args:
            images: Pictures, uint8 (N, H, W) or (N, H, W, 3).
            source: Name of the data set.
            rows: N rows with `emotion` (0..6) and `file`, and those of `subject`, `sequence` and `usage` that are known.
            left_out: File and reason of each picture that was not taken.

        Raises:
            UserError: No picture is left.
        """
        if not len(rows):
            raise UserError(
                f"no face of {source} is left: {len(left_out):,} pictures were left out"
                + (f", the first of them {left_out[0][0]} ({left_out[0][1]})" if left_out else "")
            )
        table = rows.reset_index(drop=True).assign(source=source, digest=digests(images))
        for column in COLUMNS:
            if column not in table:
                table[column] = ""
        record = pd.DataFrame([(source, *entry) for entry in left_out], columns=list(LEFT_OUT), dtype=str)
        return cls(images, table[list(COLUMNS)], record)

    @classmethod
    def concatenate(cls, parts: Sequence[Faces]) -> Faces:
        """Puts data sets of one picture size behind each other; where one has votes, labels of others become such."""
        if len(parts) == 1:
            return parts[0]
        size = sum(len(part) for part in parts)
        images = room((size, *parts[0].images.shape[1:]))
        np.concatenate([part.images for part in parts], out=images)
        one_hot = np.eye(len(EMOTIONS), dtype=np.float32)
        votes = [one_hot[part.emotion] if part.votes is None else part.votes for part in parts]
        return cls(
            images,
            pd.concat([part.table for part in parts], ignore_index=True),
            pd.concat([part.left_out for part in parts], ignore_index=True),
            np.concatenate(votes) if any(part.votes is not None for part in parts) else None,
        )


def room(shape: Sequence[int]) -> NDArray[np.uint8]:
    """Makes an array to fill: in memory, or, where it would take more than half of it, in a temporary file.

    The file lies in the folder for temporary files (TMPDIR) and goes with the array.

    Args:
        shape: Of the array.

    Returns:
        uint8, of any content. Memory is taken only as the array is filled.
    """
    if math.prod(shape) <= _memory() // 2:
        return np.empty(tuple(shape), np.uint8)
    with tempfile.TemporaryFile(prefix="fer-") as file:
        return np.memmap(file, np.uint8, "w+", shape=tuple(shape))


def _memory() -> int:
    """Bytes of memory that this process may use: the machine's, or less in a container or a cluster's job."""
    limits = [1 << 62]  # plenty, where the system does not tell
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, place = line.split(":", 2)
            if kinds in ("", "memory"):  # version 2 or 1
                root, name = ("/sys/fs/cgroup", "memory.max") if not kinds else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                for folder in (f"{root}/{place}", root):
                    with contextlib.suppress(OSError, ValueError):
                        limits.append(int(Path(folder, name).read_text()))
    return min(limits)


def digests(images: NDArray[np.uint8]) -> list[str]:
    """Computes a digest of each picture's pixels (BLAKE2b, 16 bytes): equal for identical pictures only."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest() for image in images]


def identity(table: pd.DataFrame, kind: str) -> NDArray[np.int64]:
    """Numbers the images, sequences or persons in a table.

    Args:
        table: Rows of `Faces.table`, N of them.
        kind: A key of `IDENTITIES`.

    Returns:
        Number of each row's image, sequence or person, int64 (N,); -1 where it is not known.
    """
    columns = list(IDENTITIES[kind])
    numbers = table.groupby(columns, sort=False).ngroup().to_numpy()
    return np.where(table[columns[-1]] == "", -1, numbers)
