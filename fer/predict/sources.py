"""What there is to predict on: pictures, videos and cameras, as one stream of frames."""

from __future__ import annotations

import glob
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.data.images import SUFFIXES, read_image, walk
from fer.errors import UserError

VIDEOS: frozenset[str] = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".gif", ".3gp"})
"""Suffixes, in lower case, of the files that count as videos."""

# What OpenCV and FFmpeg say about damaged files; ours comes as a sentence.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True)
class Frame:
    """One picture, or one frame of a video or camera.

    Args:
        image: uint8 (H, W) grey or (H, W, 3) RGB.
        source: Where it comes from.
        number: 0 for a picture; frames of a video are counted from 0.
        time: Seconds since the video's start; 0 for a picture.
    """

    image: NDArray[np.uint8]
    source: Source
    number: int = 0
    time: float = 0.0


@dataclass(frozen=True)
class Source(ABC):
    """Something that gives frames.

    Args:
        name: What the user would call it: the file's path as it was given or found, or "camera 0".
        count: Number of frames, as far as the file says so; 0 where it is not known.
        rate: Frames per second; 0 for a picture.
    """

    name: str
    count: int = 1
    rate: float = 0.0

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Yields the frames.

        Raises:
            UserError: It is damaged or gone; what came before is right.
        """


class Still(Source):
    """A picture."""

    def frames(self) -> Iterator[Frame]:
        """See `Source.frames`."""
        yield Frame(read_image(Path(self.name)), self)


class Video(Source):
    """A video file."""

    @classmethod
    def open(cls, path: Path) -> Video:
        """Opens a video file.

        Raises:
            UserError: It is no video that can be read.
        """
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise UserError(f"{path} is neither a picture nor a video that can be read")
            return cls(str(path), max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))), _rate(capture))
        finally:
            capture.release()

    def frames(self) -> Iterator[Frame]:
        """See `Source.frames`."""
        number = 0
        for number, image in enumerate(_captured(cv2.VideoCapture(self.name, cv2.CAP_FFMPEG)), 1):
            yield Frame(image, self, number - 1, (number - 1) / self.rate)
        if number == 0:
            raise UserError(f"{self.name} is a video without frames, or all of them are damaged")
        if number < self.count * 0.99 - 2:  # some containers state a number that is a frame or two off
            raise UserError(f"{self.name} is damaged: it ends after {number:,} of {self.count:,} frames")


class Camera(Source):
    """A camera, which gives frames until it is interrupted (Ctrl-C)."""

    @classmethod
    def open(cls, number: int) -> Camera:
        """Opens a camera.

        Raises:
            UserError: It is not there.
        """
        capture = cv2.VideoCapture(number)
        try:
            if not capture.isOpened():
                raise UserError(f"there is no camera {number}, or another program uses it: give the number of one, from 0")
            return cls(f"camera {number}", 0, _rate(capture))
        finally:
            capture.release()

    def frames(self) -> Iterator[Frame]:
        """See `Source.frames`."""
        began = time.monotonic()
        for number, image in enumerate(_captured(cv2.VideoCapture(int(self.name.split()[1])))):
            yield Frame(image, self, number, time.monotonic() - began)
        raise UserError(f"{self.name} gives no more frames")


@dataclass
class Found:
    """What the words of a command line stand for.

    Args:
        sources: In the order given.
        problems: A sentence for each word that stands for nothing.
        others: Files in the folders that are neither pictures nor videos, by their suffix.
    """

    sources: list[Source] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: int = 0


def find(inputs: Sequence[str]) -> Found:
    """Finds what the user named.

    Args:
        inputs: Files, folders (with all below), patterns such as "photos/*.jpg", and numbers of cameras.
    """
    found = Found()
    for word in inputs:
        try:
            found.sources += _find(word, found)
        except UserError as error:
            found.problems.append(str(error))
    return found


def _find(word: str, found: Found) -> list[Source]:
    path = Path(word).expanduser()
    if path.is_dir():
        files = sorted(walk(path))
        known = [file for file in files if file.suffix.lower() in SUFFIXES | VIDEOS]
        if not known:
            held = f"it holds {files[0].name} and the like" if files else "it is empty"
            raise UserError(f"the folder {word} has no picture and no video: {held}")
        found.others += len(files) - len(known)
        return list(_open(known, found))
    if path.is_file():
        return [_file(path)]
    if word.isdecimal():
        return [Camera.open(int(word))]
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches:
        raise UserError(f"there is no file, folder or camera {word}")
    return [source for match in matches for source in _find(match, found)]


def _open(files: Iterable[Path], found: Found) -> Iterator[Source]:
    for file in files:
        try:
            yield _file(file)
        except UserError as error:
            found.problems.append(str(error))


def _file(path: Path) -> Source:
    """Takes a file for a picture or a video, by its suffix or else by what it holds."""
    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        return Video.open(path)
    if suffix not in SUFFIXES:
        try:
            with Image.open(path):
                pass
        except Exception:  # whatever Pillow makes of a file that is no picture
            return Video.open(path)
    return Still(str(path))


def _rate(capture: cv2.VideoCapture) -> float:
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate < 1000 else 25.0


def _captured(capture: cv2.VideoCapture) -> Iterator[NDArray[np.uint8]]:
    """Yields what a capture gives, uint8 (H, W, 3) RGB, and closes it."""
    try:
        while True:
            more, image = capture.read()
            if not more:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
