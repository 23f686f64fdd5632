"""FER+ (Barsoum et al., 2016): ten people's votes on every row of fer2013.csv, instead of its own label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from fer.data.faces import Faces
from fer.data.reader import csv_columns
from fer.emotions import CONTEMPT, EMOTIONS, emotion_of_folder
from fer.errors import UserError

_OTHERS = (CONTEMPT, "unknown", "NF")
_DO = "put Microsoft's fer2013new.csv beside fer2013.csv, or use dataset.fer2013.labels=fer2013"


def relabel(faces: Faces, root: Path, tables: Sequence[Path], labels: Literal["majority", "votes"]) -> Faces:
    """Gives FER2013 the labels of FER+.

    Rows that more than half of the people call no face (NF) are left out. With "majority" so are rows where no one of
    the seven emotions has more than half of the votes. With "votes" the votes for contempt, unknown and NF are set
    aside and the shares of the seven emotions are what is left; rows of which these have less than half are left out.
    The class is the emotion with most votes, the first in class order of those that have as many.

    Args:
        faces: FER2013 as read from its CSV: `file` ends with the line of each row.
        root: Folder of the data set, for errors.
        tables: Its CSVs, among them fer2013new.csv.
        labels: What to make of the votes.

    Raises:
        UserError: There is no FER+ file, or it does not belong to this CSV.
    """
    path, votes = _read(root, tables)
    rows = faces.table["file"].str.rpartition(":")[2].astype(int).to_numpy() - 2  # the header is line 1
    if rows.max(initial=-1) >= len(votes) or (votes["Usage"].to_numpy()[rows] != faces.table["usage"].to_numpy()).any():
        raise UserError(f"{path}: its rows do not belong to those of fer2013.csv (other Usage or number): {_DO}")
    known = votes.iloc[rows][list(EMOTIONS)].to_numpy(np.float32)
    others = votes.iloc[rows][list(_OTHERS)].to_numpy(np.float32)
    half = (known.sum(1) + others.sum(1)) / 2
    best = known.argmax(1)
    reasons = np.select(
        [
            others[:, 2] > half,
            (known.max(1) <= half) & (others.max(1) > half) if labels == "majority" else known.sum(1) < half,
            (known.max(1) <= half) & (labels == "majority"),
        ],
        [
            "no face, by FER+'s votes",
            "most of FER+'s votes are for none of the seven emotions",
            "no emotion has more than half of FER+'s votes",
        ],
        "",
    )
    kept = np.flatnonzero(reasons == "")
    record = pd.DataFrame({"source": "fer2013", "file": faces.table["file"], "reason": reasons})[reasons != ""]
    table = faces.table.assign(emotion=best.astype(np.int64))
    shares = known / np.maximum(known.sum(1, keepdims=True), 1) if labels == "votes" else None
    relabelled = replace(faces, table=table, votes=shares)
    return replace(relabelled.select(kept), left_out=pd.concat([faces.left_out, record], ignore_index=True))


def _read(root: Path, tables: Sequence[Path]) -> tuple[Path, pd.DataFrame]:
    """Reads the file of votes, its columns named as our emotions."""
    for path in tables:
        if {"usage", "nf", "unknown"} <= set(csv_columns(path)):
            votes = pd.read_csv(path)
            votes.columns = [_column(str(name)) for name in votes.columns]
            missing = {*EMOTIONS, *_OTHERS, "Usage"} - set(votes.columns)
            numbers = votes[[name for name in (*EMOTIONS, *_OTHERS) if name in votes]]
            if missing or not all(pd.api.types.is_integer_dtype(kind) for kind in numbers.dtypes) or (numbers < 0).any(axis=None):
                what = f"has no column for {', '.join(sorted(missing))}" if missing else "holds votes that are no whole numbers"
                raise UserError(f"{path} {what}: {_DO}")
            return path, votes
    raise UserError(f"no FER+ votes in {root} (a CSV with the columns Usage, neutral, ..., unknown, NF): {_DO}")


def _column(name: str) -> str:
    name = name.strip()
    return {"usage": "Usage", "nf": "NF"}.get(name.lower(), emotion_of_folder(name) or name)
