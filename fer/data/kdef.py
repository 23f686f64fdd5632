"""KDEF (Lundqvist, Flykt & Öhman, 1998): 70 people, seven expressions, five angles, two sessions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from fer.data.faces import Faces, OnError
from fer.data.images import find_images, read_images
from fer.data.reader import checked_root, not_found
from fer.emotions import EMOTIONS, KDEF_CODES, emotion_of_folder
from fer.errors import UserError

Angle = Literal["S", "HL", "HR", "FL", "FR"]
"""Straight, half left, half right, full left, full right."""

Session = Literal["A", "B"]

_KEY = "dataset.kdef.root"
_EXPECTED = "files named like AF01ANS.JPG, or seven folders named by emotion"
_NAME = re.compile(r"([AB])([FM]\d\d)(AF|AN|DI|HA|NE|SA|SU)(S|HL|HR|FL|FR)", re.I)

_MISNAMED = {"AF31V": "AF31SAHL", "AM31H": "AM31SUHR"}
"""Files of the official release whose names lost their end, and what they show."""

_BLACK: tuple[str, ...] = (
    *("AF01SUFR", "AF10AFFR", "AF11NEHL", "AF20DIHL", "AM25DIFL"),
    *("AM34DIFR", "BF13NEHR", "BM21DIFL", "BM22DIHL", "BM24DIFL"),
)
"""Pictures of the official release that are nearly black: no face can be seen."""


class _Picture(NamedTuple):
    path: Path
    session: str
    subject: str
    emotion: str
    angle: str


@dataclass(frozen=True)
class KDEF:
    """Reads KDEF: original file names in any folders, or seven class folders (whose names may lack the person).

    Pictures are shrunk whole, without cropping.

    Args:
        root: Folder that holds the data set, at any depth.
        angles: Angles to take; the thesis takes straight faces only.
        sessions: Sessions to take; the thesis takes the first only.
    """

    root: str = "data/kdef"
    angles: Sequence[Angle] = ("S",)
    sessions: Sequence[Session] = ("A",)
    name: str = "kdef"

    def read(self, image_size: int, channels: int, on_error: OnError) -> Faces:
        """See `fer.data.reader.Reader.read`."""
        root = checked_root(self.root, "KDEF", _KEY)
        pictures = [picture for path in find_images(root) if (picture := _from_name(path))]
        if pictures:
            wanted = [p for p in pictures if p.angle in self.angles and p.session in self.sessions]
            if not wanted:
                raise UserError(
                    f"KDEF in {root} has no picture of angles {', '.join(self.angles)} in sessions "
                    f"{', '.join(self.sessions)}: choose others with dataset.kdef.angles and dataset.kdef.sessions"
                )
        else:
            wanted = [picture for path in find_images(root) if (picture := _from_folder(path))]
        if not wanted:
            raise not_found(root, "KDEF", _KEY, _EXPECTED)
        black = [p.path for p in wanted if p.path.stem.upper() in _BLACK]
        wanted = [p for p in wanted if p.path not in black]
        left_out = [(path.relative_to(root).as_posix(), "nearly black in the official release") for path in black]
        return self._read(root, wanted, left_out, image_size, channels, on_error)

    def _read(
        self,
        root: Path,
        wanted: list[_Picture],
        left_out: list[tuple[str, str]],
        image_size: int,
        channels: int,
        on_error: OnError,
    ) -> Faces:
        images, kept, problems = read_images([p.path for p in wanted], image_size, channels, on_error, "Reading KDEF")
        left_out += [(wanted[i].path.relative_to(root).as_posix(), problem) for i, problem in problems.items()]
        rows = [
            {
                "emotion": EMOTIONS.index(wanted[i].emotion),
                "subject": wanted[i].subject,
                "file": wanted[i].path.relative_to(root).as_posix(),
            }
            for i in kept
        ]
        return Faces.build(images, self.name, pd.DataFrame(rows), left_out)


def _from_name(path: Path) -> _Picture | None:
    stem = path.stem.upper()
    match = _NAME.fullmatch(_MISNAMED.get(stem, stem))
    return _Picture(path, match[1], match[2], KDEF_CODES[match[3]], match[4]) if match else None


def _from_folder(path: Path) -> _Picture | None:
    emotion = emotion_of_folder(path.parent.name)
    person = re.match(r"[AB]?([FM]\d\d)", path.stem, re.I)
    return _Picture(path, "A", person[1].upper() if person else "", emotion, "S") if emotion in EMOTIONS else None
