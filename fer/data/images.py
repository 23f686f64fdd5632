"""Image files to one uint8 array, on all cores."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from fer.data.faces import OnError, room
from fer.errors import UserError

T = TypeVar("T")

SUFFIXES: frozenset[str] = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
"""Suffixes, in lower case, of the files that count as pictures."""

MAX_PIXELS = 120_000_000
"""Pictures with more are refused before they are decoded."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # its limit is lower than ours


def find_images(root: Path) -> list[Path]:
    """Finds every picture below a folder, hidden files and folders aside, in a fixed order."""
    return sorted(path for path in walk(root) if path.suffix.lower() in SUFFIXES)


def walk(root: Path) -> Iterator[Path]:
    """Yields every file below a folder, hidden files and folders aside."""
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(folder, name) for name in files if not name.startswith("."))


def fit(image: NDArray[np.uint8], image_size: int, channels: int) -> NDArray[np.uint8]:
    """Brings one picture to the wanted size and number of channels, without cropping.

    Args:
        image: uint8 (H, W) grey or (H, W, 3) RGB.
        image_size: Wanted height and width in pixels.
        channels: 1 for (image_size, image_size), 3 for (image_size, image_size, 3).

    Returns:
        The picture, uint8. An area filter shrinks it and a cubic one enlarges it.
    """
    if channels == 1 and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if channels == 3 and image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[:2] == (image_size, image_size):
        return image
    shrinks = image.shape[0] >= image_size and image.shape[1] >= image_size
    resized: NDArray[np.uint8] = cv2.resize(
        image, (image_size, image_size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )
    return resized


def read_image(path: Path) -> NDArray[np.uint8]:
    """Reads one picture whole.

    Returns:
        What `pixels` makes of it.

    Raises:
        UserError: The file is no picture, is truncated or damaged, or has more than `MAX_PIXELS`.
    """
    if not path.is_file():
        raise UserError(f"there is no picture {path}")
    try:
        with Image.open(path) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            file.load()
            return pixels(file)
    except UnidentifiedImageError:
        raise UserError(f"{path} is no picture that can be read") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path} is too large: up to {MAX_PIXELS:,} pixels are read; shrink it") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error})") from None


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Turns a PIL image into what this project works on.

    Returns:
        uint8 (H, W) for a grey picture, else (H, W, 3) RGB; turned upright by its EXIF tag, 16 bits brought to 8, what is
        transparent laid on white.

    Raises:
        UserError: It holds floating-point numbers, whose range is not known.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":
        raise UserError("the picture holds floating-point numbers: save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip rather than scale
        wide: NDArray[np.uint8] = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return wide
    grey = picture.mode in ("1", "L", "LA")
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return np.asarray(picture.convert("L" if grey else "RGB"))


def read_images(
    paths: Sequence[Path], image_size: int, channels: int, on_error: OnError, title: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64], dict[int, str]]:
    """Reads and fits many pictures on all cores, with a progress bar.

    Args:
        paths: The files.
        image_size: Wanted height and width in pixels.
        channels: 1 or 3.
        on_error: What to do about a damaged file.
        title: Words beside the progress bar.

    Returns:
        The pictures, uint8 (N, image_size, image_size[, 3]); the position in `paths` of each, int64 (N,); and the
        reason for each position that was left out.

    Raises:
        UserError: A file is damaged and `on_error` is "stop".
    """
    shape = (len(paths), image_size, image_size, *((3,) if channels == 3 else ()))
    images = room(shape)
    problems: dict[int, str] = {}

    def load(position: int) -> None:
        try:
            images[position] = fit(read_image(paths[position]), image_size, channels)
        except UserError as error:
            if on_error == "stop":
                raise UserError(f"{error}: replace the file, or leave damaged files out with data.on_error=skip") from None
            problems[position] = str(error)

    with ThreadPoolExecutor(cores()) as pool:
        try:
            for _ in progress(pool.map(load, range(len(paths))), title, len(paths)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    kept = np.array([position for position in range(len(paths)) if position not in problems], np.int64)
    return (images[kept] if problems else images), kept, dict(sorted(problems.items()))


def progress(steps: Iterable[T], title: str, total: float | None = None) -> Iterable[T]:
    """Shows a progress bar on standard error while the steps are gone through, where that is a terminal."""
    console = Console(stderr=True)
    return track(steps, title, total=total, console=console, transient=True) if console.is_terminal else steps


def cores() -> int:
    """Counts the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
