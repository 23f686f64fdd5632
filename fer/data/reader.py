"""What every reader offers, and what readers share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from fer.data.faces import Faces, OnError
from fer.data.images import walk
from fer.errors import UserError


class Reader(Protocol):
    """Reads one data set from its raw folder. Its fields are its whole configuration (they key the cache)."""

    @property
    def name(self) -> str:
        """Name of the data set, in lower case."""

    @property
    def root(self) -> str:
        """Raw folder."""

    def read(self, image_size: int, channels: int, on_error: OnError) -> Faces:
        """Reads everything.

        Args:
            image_size: Wanted height and width in pixels.
            channels: 1 (grey) or 3 (RGB).
            on_error: What to do about a damaged file or row.

        Raises:
            UserError: The folder does not hold this data set, or something in it is damaged and `on_error` is "stop".
        """


_MARKS = {
    "FER2013": re.compile(r"(fer2013|icml_face_data)\.csv|(Training|PublicTest|PrivateTest)_\d+\.\w+", re.I),
    "CK+": re.compile(r"S\d{3}_\d{3}_\d{8}(_emotion)?\.\w+", re.I),
    "KDEF": re.compile(r"[AB][FM]\d{2}[A-Z]{2}(S|HL|HR|FL|FR)\.\w+", re.I),
}


def checked_root(root: str, title: str, key: str) -> Path:
    """Gives a reader's folder as a path.

    Raises:
        UserError: It is not there, is no folder, or is empty.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UserError(f"{title}: the folder {path} {what}: put the data set there or set {key}=<folder>")
    if next(walk(path), None) is None:
        raise UserError(f"{title}: the folder {path} is empty: put the data set there or set {key}=<folder>")
    return path


def not_found(root: Path, title: str, key: str, expected: str) -> UserError:
    """Makes the error for a folder without the data set, naming the other data set that seems to lie there."""
    names = [path.name for path in walk(root)]
    looks = [other for other, mark in _MARKS.items() if other != title and any(mark.fullmatch(name) for name in names)]
    instead = f"it seems to hold {looks[0]}" if looks else f"it holds {', '.join(sorted(names)[:3])} and the like"
    return UserError(f"no {title} data in {root}: expected {expected}, but {instead}: set {key}=<folder>")


def csv_columns(path: Path) -> list[str]:
    """Reads the names in a CSV's header, in lower case, without quotes and spaces around them."""
    with open(path, "rb") as file:
        header = file.readline(4096).decode("utf-8-sig", "replace")
    return [name.strip().strip('"').lower() for name in header.rstrip("\r\n").split(",")]
