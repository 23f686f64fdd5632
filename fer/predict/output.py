"""Where predictions go: one table with a row a face a frame, and annotated pictures and videos."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
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


def rows(frame: Frame, faces: Sequence[tuple[int, Face]]) -> list[dict[str, Any]]:
    """Makes the rows of a frame: one for each face with its number, or one that says there is none."""
    common = {"file": frame.source.name, "frame": frame.number, "time": round(frame.time, 3)}
    return [dict.fromkeys(COLUMNS) | common | _of(number, face) for number, face in faces] or [dict.fromkeys(COLUMNS) | common]


def _of(number: int, face: Face) -> dict[str, Any]:
    values: dict[str, Any] = {"face": number, "confidence": round(face.confidence, 4), "emotion": face.emotion}
    values |= dict(zip(("left", "top", "width", "height"), face.box, strict=True))
    return values | {emotion: round(float(value), 6) for emotion, value in zip(EMOTIONS, face.probabilities, strict=True)}


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

    def write(self, frame: Frame, faces: Sequence[tuple[int, Face]]) -> None:
        """Writes the rows of a frame."""
        for values in rows(frame, faces):
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
        folders = [os.path.dirname(os.path.abspath(source.name)) for source in sources]
        self._root, self._above = root, os.path.commonpath(folders) if folders else ""
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
