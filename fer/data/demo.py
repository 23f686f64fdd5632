"""Draws FER2013, CK+ and KDEF look-alikes in the layouts of the originals, which may not be passed on.

The files are read by the very same readers as the real ones. Counts keep the proportions of the real sets.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fer.data.drawing import Person, Shot, draw, expression
from fer.data.images import cores, progress
from fer.emotions import CONTEMPT, EMOTIONS, FER2013_CODES, KDEF_CODES
from fer.errors import UserError

_FORMAT = 1
"""Goes up when the drawings change, so that old ones are drawn anew."""

FER2013_COUNTS: dict[str, tuple[int, ...]] = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
"""Images per official split, in the order of `FER2013_CODES`."""

CKPLUS_SEQUENCES = {"anger": 45, CONTEMPT: 18, "disgust": 59, "fear": 25, "happy": 69, "sadness": 28, "surprise": 83}
"""Sequences per folder of CK+48; each has three frames."""

_CKPLUS_SUBJECTS = 118
_KDEF_PEOPLE = 70
_KDEF_SIZE = (562, 762)
_CHUNK = 256
_FOLDER_EMOTION = {"anger": "angry", "sadness": "sad"}


class _Face(NamedTuple):
    """One picture to be drawn: its random stream, who (a stream too), what, how strongly, and where it goes."""

    stream: tuple[int, ...]
    person: tuple[int, ...]
    emotion: str
    intensity: tuple[float, float]
    usage: str = ""
    path: str = ""


def draw_data_sets(root: Path, scale: float, seed: int = 0) -> None:
    """Draws the three data sets into `root/fer2013`, `root/ckplus` and `root/kdef`, unless they are there already.

    Args:
        root: Folder to make. It appears whole or not at all.
        scale: Share of the real sets' counts to draw, above 0; 1 draws 37,358 images.
        seed: Seed of everything drawn.

    Raises:
        UserError: The scale is not positive, or `root` holds something else.
    """
    if not 0 < scale < math.inf:
        raise UserError(f"data.scale={scale}: expected a number above 0; 1 draws as many faces as the real sets have")
    mark = {"format": _FORMAT, "scale": scale, "seed": seed}
    if (root / "demo.json").is_file():
        if json.loads((root / "demo.json").read_text()) == mark:
            return
        raise UserError(f"{root} holds drawn faces of another scale, seed or version: delete that folder or set data.root")
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root} is not empty, so no faces are drawn there: set data.root=<new folder>")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".drawing-", dir=root.parent) as folder:
        draft = Path(folder, "whole")
        _write_all(draft, scale, seed)
        (draft / "demo.json").write_text(json.dumps(mark))
        if root.exists() and not any(root.iterdir()):
            root.rmdir()
        try:
            draft.rename(root)
        except OSError:
            if not (root / "demo.json").is_file():  # else another job of a sweep drew the same faces first
                raise


def _write_all(root: Path, scale: float, seed: int) -> None:
    fer2013, ckplus, kdef = _fer2013(scale, seed), _ckplus(scale, seed), _kdef(scale, seed)
    for face in ckplus + kdef:
        (root / face.path).parent.mkdir(parents=True, exist_ok=True)
    (root / "fer2013").mkdir(parents=True)
    chunks: list[tuple[Callable[[Path, Sequence[_Face]], bytes], Sequence[_Face]]] = []
    for job, faces in ((_kdef_files, kdef), (_ckplus_files, ckplus), (_csv_rows, fer2013)):
        chunks += [(job, faces[at : at + _CHUNK]) for at in range(0, len(faces), _CHUNK)]
    total = len(fer2013) + len(ckplus) + len(kdef)
    with open(root / "fer2013" / "fer2013.csv", "wb") as csv:
        csv.write(b"emotion,pixels,Usage\n")
        for rows in progress(_in_parallel(root, chunks), f"Drawing {total:,} faces", len(chunks)):
            csv.write(rows)


def _in_parallel(root: Path, chunks: Sequence[tuple[Callable[[Path, Sequence[_Face]], bytes], Sequence[_Face]]]) -> Iterable[bytes]:
    workers = min(cores(), len(chunks) // 4)
    if workers < 2:
        yield from (job(root, faces) for job, faces in chunks)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(job, root, faces) for job, faces in chunks]
        try:
            for at in range(len(jobs)):
                yield jobs[at].result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _scaled(count: int, scale: float) -> int:
    return max(1, round(count * scale))


def _fer2013(scale: float, seed: int) -> list[_Face]:
    faces: list[_Face] = []
    for usage, counts in FER2013_COUNTS.items():
        emotions = np.repeat(FER2013_CODES, [_scaled(count, scale) for count in counts])
        np.random.default_rng([seed, 0, len(faces)]).shuffle(emotions)
        start = len(faces)
        streams = [(seed, 1, start + at) for at in range(len(emotions))]
        faces += [_Face(s, (*s, 1), str(e), (0.55, 1.0), usage) for s, e in zip(streams, emotions, strict=True)]
    return faces


def _ckplus(scale: float, seed: int) -> list[_Face]:
    wanted = {folder: _scaled(count, scale) for folder, count in CKPLUS_SEQUENCES.items()}
    subjects = max(_scaled(_CKPLUS_SUBJECTS, scale), *wanted.values())
    rng = np.random.default_rng([seed, 2])
    sequences = dict.fromkeys(range(subjects), 0)
    faces = []
    for folder, count in wanted.items():
        for subject in sorted(rng.choice(subjects, count, replace=False).tolist()):
            sequences[subject] += 1
            peak = int(rng.integers(10, 45))
            for frame, strength in enumerate((0.75, 0.88, 1.0)):
                name = f"S{subject + 5:03d}_{sequences[subject]:03d}_{peak - 2 + frame:08d}.png"
                stream = (seed, 3, subject, sequences[subject])
                emotion = _FOLDER_EMOTION.get(folder, folder)
                path = f"ckplus/{folder}/{name}"
                faces.append(_Face(stream, (seed, 4, subject), emotion, (0.7 * strength, strength), path=path))
    return faces


def _kdef(scale: float, seed: int) -> list[_Face]:
    faces = []
    for person in range(_scaled(_KDEF_PEOPLE, scale)):
        code = f"A{'FM'[person % 2]}{person // 2 + 1:02d}"
        for letters, emotion in KDEF_CODES.items():
            stream = (seed, 5, person, EMOTIONS.index(emotion))
            path = f"kdef/{code}/{code}{letters}S.JPG"
            faces.append(_Face(stream, (seed, 6, person), emotion, (0.7, 1.0), path=path))
    return faces


def _picture(
    face: _Face, shot: Callable[[np.random.Generator], Shot], mixture: float, width: int, height: int
) -> cv2.typing.MatLike:
    rng = np.random.default_rng(face.stream)
    units = expression(rng, face.emotion, rng.uniform(*face.intensity), rng.uniform(0, mixture))
    person = Person.random(np.random.default_rng(face.person))
    return draw(person, units, shot(rng), width, height)


def _small(face: _Face, shot: Callable[[np.random.Generator], Shot], mixture: float) -> cv2.typing.MatLike:
    """A 48x48 grey face, drawn at twice the size."""
    grey = cv2.cvtColor(_picture(face, shot, mixture, 96, 96), cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA)


def _csv_rows(root: Path, faces: Sequence[_Face]) -> bytes:
    lines = []
    for face in faces:
        pixels = " ".join(map(str, _small(face, Shot.wild, mixture=0.3).ravel().tolist()))
        lines.append(f"{FER2013_CODES.index(face.emotion)},{pixels},{face.usage}\n")
    return "".join(lines).encode()


def _ckplus_files(root: Path, faces: Sequence[_Face]) -> bytes:
    for face in faces:
        _write(root / face.path, _small(face, lambda rng: Shot.studio(rng, (60, 60, 60), size=0.48), mixture=0.1))
    return b""


def _kdef_files(root: Path, faces: Sequence[_Face]) -> bytes:
    width, height = _KDEF_SIZE
    for face in faces:
        half = _picture(face, lambda rng: Shot.studio(rng, (200, 200, 200), size=0.37), 0.15, width // 2, height // 2)
        _write(root / face.path, cv2.resize(half, _KDEF_SIZE, interpolation=cv2.INTER_CUBIC))
    return b""


def _write(path: Path, picture: cv2.typing.MatLike) -> None:
    path.write_bytes(cv2.imencode(path.suffix.lower(), picture)[1].tobytes())
