"""Faces on disk as one memory-mapped array and one table, keyed by what the raw folder holds."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from fer.data.faces import Faces, OnError
from fer.data.images import walk
from fer.data.reader import Reader
from fer.errors import UserError

_FORMAT = 1
"""Goes up when what readers give or how it is stored changes."""


def read(reader: Reader, image_size: int, channels: int, on_error: OnError, cache_dir: str | None) -> Faces:
    """Reads a data set through the cache.

    The cache entry's name holds a digest of the reader's options and of the name, size and time of every file below
    its root, so that a changed raw folder is read anew.

    Args:
        reader: What reads the raw folder when there is no entry yet.
        image_size: Wanted height and width in pixels.
        channels: 1 (grey) or 3 (RGB).
        on_error: What to do about a damaged file.
        cache_dir: Folder of the cache; None reads the raw folder every time.

    Returns:
        The data set; from the cache its images are a read-only memory map.

    Raises:
        UserError: The raw folder or the cache entry cannot be read.
    """
    if cache_dir is None or not Path(reader.root).expanduser().is_dir():
        return reader.read(image_size, channels, on_error)
    entry = Path(cache_dir) / f"{reader.name}-{_key(reader, image_size, channels, on_error)}"
    if not entry.is_dir():
        faces = reader.read(image_size, channels, on_error)
        _save(faces, entry)
        return faces
    return _load(entry)


def _key(reader: Reader, image_size: int, channels: int, on_error: OnError) -> str:
    options = {name: str(value) for name, value in sorted(vars(reader).items()) if name != "root"}
    root = Path(reader.root).expanduser()
    files = sorted(
        (path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns) for path in walk(root) for stat in (path.stat(),)
    )
    what = json.dumps([_FORMAT, options, image_size, channels, on_error, files])
    return hashlib.blake2b(what.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()


def _save(faces: Faces, entry: Path) -> None:
    """Writes an entry beside its place and moves it there, so that a half-written one is never read."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        np.save(draft / "images.npy", faces.images)
        if faces.votes is not None:
            np.save(draft / "votes.npy", faces.votes)
        faces.table.to_csv(draft / "table.csv", index=False)
        faces.left_out.to_csv(draft / "left_out.csv", index=False)
        (draft / "checksum.txt").write_text(str(_checksum(faces, draft)))
        draft.chmod(0o755)
        try:
            draft.rename(entry)
        except OSError:
            if not entry.is_dir():  # else another process wrote the same entry first
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _load(entry: Path) -> Faces:
    try:
        images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
        text = dict.fromkeys(("source", "subject", "sequence", "usage", "file", "digest"), str)
        table = pd.read_csv(entry / "table.csv", dtype={**text, "emotion": np.int64}, keep_default_na=False)
        left_out = pd.read_csv(entry / "left_out.csv", dtype=str, keep_default_na=False)
        votes = np.load(entry / "votes.npy", allow_pickle=False) if (entry / "votes.npy").is_file() else None
        faces = Faces(images, table, left_out, votes)
        if int((entry / "checksum.txt").read_text()) == _checksum(faces, entry):
            return faces
        problem = "its checksum is wrong"
    except (OSError, ValueError) as error:
        problem = str(error).splitlines()[0]
    raise UserError(f"the cache {entry} cannot be read ({problem}): delete that folder, and it is made anew")


def _checksum(faces: Faces, folder: Path) -> int:
    checksum = zlib.crc32(np.ascontiguousarray(faces.images).data)
    for name in ("table.csv", "left_out.csv", *(["votes.npy"] if faces.votes is not None else [])):
        checksum = zlib.crc32((folder / name).read_bytes(), checksum)
    return checksum
