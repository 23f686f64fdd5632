"""FER2013 (Goodfellow et al., 2013): 35,887 web faces, 48x48 grey, as a CSV of pixels or as folders of images."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.data import ferplus
from fer.data.faces import Faces, OnError, room
from fer.data.images import cores, find_images, fit, progress, read_images, walk
from fer.data.reader import checked_root, csv_columns, not_found
from fer.emotions import EMOTIONS, FER2013_CODES, emotion_of_folder
from fer.errors import UserError

SIDE = 48
"""Height and width of a face in the CSV, pixels."""

USAGES = ("Training", "PublicTest", "PrivateTest")
"""The official splits: training, validation, test."""

_BLOCK = 1 << 21
"""Bytes of the CSV that are parsed at a time."""

_KEY = "dataset.fer2013.root"
_EXPECTED = "a CSV with the columns 'emotion' and 'pixels', or folders train/<emotion>/ and test/<emotion>/"
_CODE_TO_CLASS = np.array([EMOTIONS.index(name) for name in FER2013_CODES])
_OFFICIAL_NAME = re.compile(rf"({'|'.join(USAGES)})_\d+", re.I)


@dataclass(frozen=True)
class FER2013:
    """Reads FER2013 in any of the layouts its users have.

    These are fer2013.csv (emotion, pixels, Usage), icml_face_data.csv (the same with spaces in its column names),
    train.csv (emotion, pixels) beside an unlabelled test.csv, and folders train/<emotion>/, test/<emotion>/ and
    perhaps validation/<emotion>/. In folders the official Usage is taken from the file names (Training_1.jpg);
    without such names train is "Training", validation "PublicTest", and test "PrivateTest" where there is a
    validation folder, else "Test" (both official test sets mixed).

    Args:
        root: Folder that holds the CSV or the folders, at any depth.
        labels: "fer2013" takes the data set's own. The others take FER+ (Barsoum et al., 2016), ten people's votes on
            each row of fer2013.csv, from fer2013new.csv beside it: "majority" the emotion that more than half of them
            saw; "votes" also trains on the shares of the votes (see `fer.data.ferplus`).
    """

    root: str = "data/fer2013"
    labels: Literal["fer2013", "majority", "votes"] = "fer2013"
    name: str = "fer2013"

    def read(self, image_size: int, channels: int, on_error: OnError) -> Faces:
        """See `fer.data.reader.Reader.read`."""
        root = checked_root(self.root, "FER2013", _KEY)
        tables = sorted(path for path in walk(root) if path.suffix.lower() == ".csv")
        headers = {path: columns for path in tables if "pixels" in (columns := csv_columns(path))}
        labelled = sorted((path for path in headers if "emotion" in headers[path]), key=lambda p: "usage" not in headers[p])
        if labelled:
            faces = _read_csv(labelled[0], headers[labelled[0]], image_size, channels, on_error)
            if self.labels != "fer2013":
                faces = ferplus.relabel(faces, root, tables, self.labels)
            others = [path for path in headers if path != labelled[0]]
            return _noting(faces, [(path.name, _why_not(path, headers[path], labelled[0])) for path in others])
        faces_below = [path for path in find_images(root) if emotion_of_folder(path.parent.name) in EMOTIONS]
        usages = [_usage(path, root) for path in faces_below]
        if any(usages) and self.labels != "fer2013":
            raise UserError(
                f"dataset.fer2013.labels={self.labels} needs fer2013.csv, whose rows FER+ votes on; {root} holds pictures"
            )
        if any(usages):
            found = [(path, usage) for path, usage in zip(faces_below, usages, strict=True) if usage]
            return _read_folders(root, found, image_size, channels, on_error)
        if tables:
            names = ", ".join(csv_columns(tables[0])) or "none"
            raise UserError(f"{tables[0]}: the header names the columns {names}, but FER2013 needs 'emotion' and 'pixels'")
        raise not_found(root, "FER2013", _KEY, _EXPECTED)


def _why_not(path: Path, columns: list[str], used: Path) -> str:
    return f"not read: {used.name} is read instead" if "emotion" in columns else "not read: its rows have no label"


def _noting(faces: Faces, left_out: Sequence[tuple[str, str]]) -> Faces:
    record = pd.DataFrame([("fer2013", *entry) for entry in left_out], columns=list(faces.left_out.columns), dtype=str)
    return replace(faces, left_out=pd.concat([faces.left_out, record], ignore_index=True))


class _Rows(NamedTuple):
    """Parsed rows of the CSV; `lines` are the line numbers in the file."""

    images: NDArray[np.uint8]
    emotion: list[int]
    usage: list[str]
    lines: list[int]
    problems: list[tuple[int, str]]


def _read_csv(path: Path, columns: list[str], image_size: int, channels: int, on_error: OnError) -> Faces:
    parts: list[_Rows] = []
    # A pixel takes two bytes of text at least, which bounds the number of faces; nothing is copied at the end.
    images, count = room((path.stat().st_size // (2 * SIDE * SIDE), SIDE, SIDE)), 0
    for part in _parallel(path, columns):
        if part.problems and on_error == "stop":
            line, problem = part.problems[0]
            raise UserError(f"{path}, line {line}: {problem}: mend the file, or leave such rows out with data.on_error=skip")
        images[count : count + len(part.images)] = part.images
        count += len(part.images)
        parts.append(part._replace(images=images[:0]))
    if not sum(len(part.lines) for part in parts):
        raise UserError(f"{path} has a header but no row that can be read: put the whole file there or set {_KEY}=<folder>")
    images = images[:count]
    if image_size != SIDE or channels != 1:
        fitted = room((count, image_size, image_size, *((3,) if channels == 3 else ())))
        for place, image in enumerate(images):
            fitted[place] = fit(image, image_size, channels)
        images = fitted
    rows = pd.DataFrame(
        {
            "emotion": _CODE_TO_CLASS[[code for part in parts for code in part.emotion]],
            "usage": [usage for part in parts for usage in part.usage],
            "file": [f"{path.name}:{line}" for part in parts for line in part.lines],
        }
    )
    left_out = [(f"{path.name}:{line}", problem) for part in parts for line, problem in part.problems]
    return Faces.build(images, "fer2013", rows, left_out)


def _parallel(path: Path, columns: list[str]) -> Iterator[_Rows]:
    """Parses the file in blocks of lines on all cores, in order, holding few blocks in memory."""
    waiting: deque[Future[_Rows]] = deque()
    workers = cores()
    with open(path, "rb") as file, ThreadPoolExecutor(workers) as pool:
        file.readline()
        line = 2
        blocks = iter(lambda: file.readlines(_BLOCK), [])
        for block in progress(blocks, f"Reading {path.name}", path.stat().st_size / (_BLOCK)):
            waiting.append(pool.submit(_parse, block, line, columns))
            line += len(block)
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _parse(block: list[bytes], first_line: int, columns: list[str]) -> _Rows:
    emotion_at, pixels_at = columns.index("emotion"), columns.index("pixels")
    usage_at = columns.index("usage") if "usage" in columns else None
    pixels: list[bytes] = []
    rows = _Rows(np.empty(0, np.uint8), [], [], [], [])
    for line, text in enumerate(block, first_line):
        cells = [cell.strip(b' "\r\n') for cell in text.split(b",")]
        if cells == [b""]:
            continue
        usage = "Training" if usage_at is None else cells[usage_at].decode("utf-8", "replace") if len(cells) > usage_at else ""
        problem = _problem(cells, len(columns), emotion_at, usage)
        if problem:
            rows.problems.append((line, problem))
            continue
        pixels.append(cells[pixels_at])
        rows.emotion.append(int(cells[emotion_at]))
        rows.usage.append(usage)
        rows.lines.append(line)
    images = _pixels(pixels)
    if images is not None:
        return rows._replace(images=images)
    return _drop_bad_pixels(rows, pixels)


def _problem(cells: list[bytes], expected: int, emotion_at: int, usage: str) -> str:
    if len(cells) != expected:
        return f"it has {len(cells)} columns where the header has {expected}"
    if cells[emotion_at] not in (b"0", b"1", b"2", b"3", b"4", b"5", b"6"):
        return f"its label is '{cells[emotion_at].decode('utf-8', 'replace')}' where 0..6 is expected"
    if usage not in USAGES:
        return f"its Usage is '{usage}' where {', '.join(USAGES)} is expected"
    return ""


def _pixels(rows: list[bytes]) -> NDArray[np.uint8] | None:
    """Turns rows of decimal numbers into faces, a block at a time; None if any row is not exactly 2,304 of 0..255."""
    text = np.frombuffer(b" ".join(rows) + b" ", np.uint8)
    ends = np.flatnonzero(text == ord(" "))
    if not rows or len(ends) != len(rows) * SIDE * SIDE or any(row.count(b" ") != SIDE * SIDE - 1 for row in rows):
        return None if rows else np.empty((0, SIDE, SIDE), np.uint8)
    length = np.diff(ends, prepend=-1) - 1
    digits = text - np.uint8(ord("0"))
    if length.min() < 1 or length.max() > 3 or np.count_nonzero(digits < 10) != len(text) - len(ends):
        return None
    value = digits[ends - 1].astype(np.uint16)
    value += digits[ends - 2] * (length > 1) * np.uint16(10)  # for one-digit numbers this byte is the space before
    value += digits[ends - 3] * (length > 2) * np.uint16(100)
    return value.astype(np.uint8).reshape(-1, SIDE, SIDE) if value.max() <= 255 else None


def _drop_bad_pixels(rows: _Rows, pixels: list[bytes]) -> _Rows:
    """Finds the rows of a block whose pixels are wrong, and says how; the others may just be spaced otherwise."""
    images, good = [], []
    for position, text in enumerate(pixels):
        numbers = text.split()
        face = _pixels([b" ".join(numbers)])
        if face is not None:
            images.append(face[0])
            good.append(position)
            continue
        odd = next((n for n in numbers if not n.isdigit() or len(n) > 3 or int(n) > 255), b"").decode("utf-8", "replace")
        problem = (
            f"a pixel is '{odd[:20]}' where 0..255 is expected"
            if odd
            else f"it has {len(numbers):,} pixels where 48 x 48 = 2,304 are expected"
        )
        rows.problems.append((rows.lines[position], problem))
    return _Rows(
        np.array(images, np.uint8).reshape(-1, SIDE, SIDE),
        [rows.emotion[i] for i in good],
        [rows.usage[i] for i in good],
        [rows.lines[i] for i in good],
        sorted(rows.problems),
    )


def _usage(path: Path, root: Path) -> str:
    """The official Usage of an image file, "Test" where the copy does not tell which, "" where it is no part of FER2013."""
    official = _OFFICIAL_NAME.match(path.stem)
    if official:
        return next(usage for usage in USAGES if usage.lower() == official[1].lower())
    folder = path.parent.parent
    names = {"train": "Training", "training": "Training", "val": "PublicTest", "validation": "PublicTest", "test": "Test"}
    usage = names.get(folder.name.lower(), "")
    if usage == "Test" and any((folder.parent / name).is_dir() for name in ("validation", "val", "Validation")):
        return "PrivateTest"
    return usage


def _read_folders(root: Path, found: list[tuple[Path, str]], image_size: int, channels: int, on_error: OnError) -> Faces:
    images, kept, problems = read_images([path for path, _ in found], image_size, channels, on_error, "Reading FER2013")
    names = [path.relative_to(root).as_posix() for path, _ in found]
    rows = pd.DataFrame(
        {
            "emotion": [EMOTIONS.index(str(emotion_of_folder(found[i][0].parent.name))) for i in kept],
            "usage": [found[i][1] for i in kept],
            "file": [names[i] for i in kept],
        }
    )
    return Faces.build(images, "fer2013", rows, [(names[i], problem) for i, problem in problems.items()])
