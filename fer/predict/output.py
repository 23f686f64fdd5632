"""Where predictions go: one table with a row a face a frame, and annotated pictures and videos."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.data.images import SUFFIXES
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.predict.predictor import Face
from fer.predict.sources import Frame, Source

COLUMNS: tuple[str, ...] = (
    "file", "frame", "time", "face", "left", "top", "width", "height", "confidence", "emotion", *EMOTIONS,
)  # fmt: skip
"""Columns of the table: a row per face and frame; a frame without a face has a row in which `face` and all after it
are empty. `time` is in seconds; `face` is 1, 2, ... in a picture, and a face's number throughout a video."""

Format = Literal["csv", "jsonl"]


def row(frame: Frame, number: int | None = None, face: Face | None = None) -> dict[str, Any]:
    """Makes the row of one face, or of a frame without any."""
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    values |= {"file": frame.source.name, "frame": frame.number, "time": round(frame.time, 3), "face": number}
    if face is not None:
        values |= dict(zip(("left", "top", "width", "height"), face.box, strict=True))
        values |= {"confidence": round(face.confidence, 4), "emotion": face.emotion}
        values |= dict(zip(EMOTIONS, (round(float(value), 6) for value in face.probabilities), strict=True))
    return values


class Table:
    """Writes rows as they come, as CSV or JSON Lines.

    Args:
        path: The file to make.
        kind: "csv" or "jsonl".
    """

    def __init__(self, path: Path, kind: Format) -> None:
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115, closed by `close`
        self._writer = csv.DictWriter(self._file, COLUMNS) if kind == "csv" else None
        if self._writer:
            self._writer.writeheader()

    def write(self, values: Mapping[str, Any]) -> None:
        """Writes one row."""
        if self._writer:
            self._writer.writerow(values)
        else:
            self._file.write(json.dumps(values, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


class Gallery:
    """Writes annotated pictures and videos into a folder, under the names and in the folders that the originals have.

    Args:
        root: The folder.
        sources: Everything that will come; what lies above all of them is left out of the names.
    """

    def __init__(self, root: Path, sources: Sequence[Source]) -> None:
        files = [os.path.abspath(source.name) for source in sources]
        self._root, self._above = root, os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""
        self._source: Source | None = None
        self._video: cv2.VideoWriter | None = None

    def write(self, frame: Frame, image: NDArray[np.uint8]) -> None:
        """Writes an annotated frame, uint8 (H, W, 3) RGB; the frames of a video come one after another."""
        if frame.source is not self._source:
            self.close()
            self._source = frame.source
        path = self._root / os.path.relpath(os.path.abspath(frame.source.name), self._above)
        if not frame.source.rate:
            path.parent.mkdir(parents=True, exist_ok=True)
            path = path if path.suffix.lower() in SUFFIXES else path.with_name(path.name + ".png")
            Image.fromarray(image).save(path, quality=95)  # which PNG and the like do not look at
            return
        if self._video is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._video = video_writer(path.with_name(path.name + ".mp4" if path.suffix != ".mp4" else path.name), frame)
        self._video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Ends the video that is being written, if any."""
        if self._video is not None:
            self._video.release()
        self._video = None


def video_writer(path: Path, first: Frame) -> cv2.VideoWriter:
    """Begins a video.

    Args:
        path: The file to make: .webm is VP8, which browsers show, anything else MPEG-4.
        first: The first frame, for its size and rate.

    Raises:
        UserError: It cannot be written.
    """
    code = cv2.VideoWriter.fourcc(*("VP80" if path.suffix == ".webm" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, first.source.rate, (first.image.shape[1], first.image.shape[0]))
    if not writer.isOpened():
        raise UserError(f"{path} cannot be written as a video")
    return writer
