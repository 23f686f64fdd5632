"""CK+ (Lucey et al., 2010): posed expressions of 118 to 123 people, as sequences from neutral to the peak."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from fer.data.faces import Faces, OnError
from fer.data.images import find_images, read_images, walk
from fer.data.reader import checked_root, not_found
from fer.emotions import CKPLUS_CODES, CONTEMPT, EMOTIONS, emotion_of_folder
from fer.errors import UserError

_KEY = "dataset.ckplus.root"
_FRAME = re.compile(r"(S\d+)_(\d+)_(\d+)", re.I)
_EXPECTED = "folders named by emotion with files like S010_004_00000017.png (CK+48), or cohn-kanade-images/ and Emotion/"


@dataclass(frozen=True)
class CKPlus:
    """Reads CK+48 (folders of 48x48 PNGs) or the original release (sequences, and a label file for some of them).

    CK+48 keeps the last three frames of each labelled sequence; from the original release the same frames are taken.

    Args:
        root: Folder that holds the data set, at any depth.
        contempt: CK+48 has no neutral faces. "as_neutral" trains its contempt faces as neutral, as the thesis did;
            "drop" leaves them out.
        neutral_frames: Take the first frame of each labelled sequence, which is neutral, as well. Only the original
            release holds these frames.
    """

    root: str = "data/ckplus"
    contempt: Literal["as_neutral", "drop"] = "drop"
    neutral_frames: bool = False
    name: str = "ckplus"

    def read(self, image_size: int, channels: int, on_error: OnError) -> Faces:
        """See `fer.data.reader.Reader.read`."""
        root = checked_root(self.root, "CK+", _KEY)
        frames = [(path, match) for path in find_images(root) if (match := _FRAME.fullmatch(path.stem))]
        labels = [path for path in walk(root) if path.name.lower().endswith("_emotion.txt")]
        if labels:
            found, left_out = self._from_label_files(root, frames, labels, on_error)
        else:
            found, left_out = self._from_folders(root, frames)
        if not found:
            raise not_found(root, "CK+", _KEY, _EXPECTED)
        return self._read(root, found, left_out, image_size, channels, on_error)

    def _from_folders(
        self, root: Path, frames: list[tuple[Path, re.Match[str]]]
    ) -> tuple[list[tuple[Path, re.Match[str], str]], list[tuple[str, str]]]:
        if self.neutral_frames and frames:
            raise UserError(
                f"dataset.ckplus.neutral_frames=true, but {root} holds CK+48, which has no neutral frames: "
                "use the original release or leave the option out"
            )
        found = [(path, match, emotion) for path, match in frames if (emotion := _folder_emotion(path))]
        stray = [path for path, _ in frames if not _folder_emotion(path)]
        return found, [(path.relative_to(root).as_posix(), "its folder is not named by an emotion") for path in stray]

    def _from_label_files(
        self, root: Path, frames: list[tuple[Path, re.Match[str]]], labels: list[Path], on_error: OnError
    ) -> tuple[list[tuple[Path, re.Match[str], str]], list[tuple[str, str]]]:
        emotions: dict[str, str] = {}
        left_out: list[tuple[str, str]] = []
        for path in labels:
            try:
                emotions[_sequence(_FRAME.match(path.name))] = _read_label(path)
            except UserError as error:
                if on_error == "stop":
                    raise UserError(f"{error}: mend it, or leave it out with data.on_error=skip") from None
                left_out.append((path.relative_to(root).as_posix(), str(error)))
        sequences: dict[str, list[tuple[Path, re.Match[str]]]] = {}
        for path, match in frames:
            sequences.setdefault(_sequence(match), []).append((path, match))
        found: list[tuple[Path, re.Match[str], str]] = []
        for sequence, members in sequences.items():
            if sequence not in emotions:
                left_out.append((members[0][0].parent.relative_to(root).as_posix(), "the sequence has no emotion label"))
                continue
            members.sort(key=lambda frame: int(frame[1][3]))
            found += [(path, match, emotions[sequence]) for path, match in members[-3:]]
            if self.neutral_frames and len(members) > 3:
                found.append((*members[0], "neutral"))
        for sequence in sorted(emotions.keys() - sequences.keys()):
            left_out.append((f"{sequence}_*", "the label has no images"))
        return found, left_out

    def _read(
        self,
        root: Path,
        found: list[tuple[Path, re.Match[str], str]],
        left_out: list[tuple[str, str]],
        image_size: int,
        channels: int,
        on_error: OnError,
    ) -> Faces:
        if self.contempt == "drop":
            dropped = [path for path, _, emotion in found if emotion == CONTEMPT]
            left_out += [(path.relative_to(root).as_posix(), "contempt (contempt=drop)") for path in dropped]
            found = [entry for entry in found if entry[2] != CONTEMPT]
        images, kept, problems = read_images([path for path, _, _ in found], image_size, channels, on_error, "Reading CK+")
        left_out += [(found[i][0].relative_to(root).as_posix(), problem) for i, problem in problems.items()]
        rows = [_row(root, *found[i]) for i in kept]
        return Faces.build(images, self.name, pd.DataFrame(rows), left_out)


def _row(root: Path, path: Path, match: re.Match[str], emotion: str) -> dict[str, object]:
    return {
        "emotion": EMOTIONS.index("neutral" if emotion == CONTEMPT else emotion),
        "subject": match[1].upper(),
        "sequence": _sequence(match),
        "file": path.relative_to(root).as_posix(),
    }


def _sequence(match: re.Match[str] | None) -> str:
    return f"{match[1].upper()}_{match[2]}" if match else ""


def _folder_emotion(path: Path) -> str | None:
    """The emotion of CK+48's folder; some copies number them 0..6 in the thesis's order."""
    folder = path.parent.name
    return EMOTIONS[int(folder)] if folder in "0123456" and len(folder) == 1 else emotion_of_folder(folder)


def _read_label(path: Path) -> str:
    text = path.read_text(errors="replace").strip()
    try:
        return CKPLUS_CODES[{float(code): code for code in range(len(CKPLUS_CODES))}[float(text)]]
    except (ValueError, KeyError):
        raise UserError(f"{path} holds '{text[:20]}' where one number 0..7 is expected") from None
