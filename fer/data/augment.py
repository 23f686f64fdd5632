"""Random changes to training faces, each drawn from the run's seed, the epoch and the face.

`Augmentation` goes through albumentations, face by face on the CPU. `BatchAugmentation` changes a whole batch at once on
the device where it lies, each face by draws of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fer.errors import UserError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for a newer version

import albumentations as A


class Augmentation:
    """A chain of albumentations transforms for one face at a time.

    Args:
        transforms: Applied in order.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform]) -> None:
        self.chain = A.Compose(list(transforms))

    def __call__(self, image: NDArray[np.uint8], seed: Sequence[int]) -> NDArray[np.uint8]:
        """Changes one face.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            seed: Numbers that fix what is drawn: the run's seed, the epoch, the image's row.

        Returns:
            The changed face, of the same shape and dtype.
        """
        self.chain.set_random_seed(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
        changed: NDArray[np.uint8] = self.chain(image=image)["image"]
        return changed


class BatchAugmentation:
    """Mirrors, moves, lights and erases each face of a batch by draws of its own, on the device where the batch lies.

    Each number is drawn evenly from its range. The order is mirror, affine change (bilinear, black beyond the edge),
    contrast around mid-grey and brightness, one erased rectangle.

    Args:
        flip: Probability that a face is mirrored.
        rotate: Largest turn to either side, degrees.
        zoom: Smallest and largest scale.
        shift: Largest shift along either axis, as a share of the image's side.
        brightness: Largest change of all pixels, as a share of white.
        contrast: Largest relative change of the distance from mid-grey.
        erase: Probability that a rectangle is blackened.
        erase_size: Smallest and largest side of that rectangle, as a share of the image's.

    Raises:
        UserError: A value lies outside its range.
    """

    _DRAWS = 11

    def __init__(
        self,
        flip: float = 0.5,
        rotate: float = 10.0,
        zoom: Sequence[float] = (0.92, 1.08),
        shift: float = 0.08,
        brightness: float = 0.0,
        contrast: float = 0.0,
        erase: float = 0.0,
        erase_size: Sequence[float] = (0.1, 0.3),
    ) -> None:
        shares = {"flip": (flip,), "shift": (shift,), "brightness": (brightness,), "contrast": (contrast,), "erase": (erase,)}
        for name, values in (shares | {"erase_size": tuple(erase_size)}).items():
            if not all(0 <= value <= 1 for value in values):
                raise UserError(f"augment.{name}={values[0] if len(values) == 1 else list(values)}: expected 0..1")
        for name, pair in (("zoom", zoom), ("erase_size", erase_size)):
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise UserError(f"augment.{name}={list(pair)}: expected a smaller and a larger number above 0")
        self.flip, self.rotate, self.zoom, self.shift = flip, rotate, zoom, shift
        self.brightness, self.contrast, self.erase, self.erase_size = brightness, contrast, erase, erase_size

    def __call__(self, images: Tensor, row: Tensor, seed: Sequence[int]) -> Tensor:
        """Changes each face.

        Args:
            images: uint8 (B, C, H, W).
            row: Number of each face in the data, int64 (B,): with the seed it fixes what is drawn.
            seed: The run's seed and the epoch.

        Returns:
            The changed faces, of the same shape and dtype.
        """
        draw = uniform(row, seed, self._DRAWS).unbind(1)
        height, width = images.shape[-2:]
        angle = torch.deg2rad(_between(draw[0], -self.rotate, self.rotate))
        zoom = _between(draw[1], *self.zoom)
        mirror = torch.where(draw[2] < self.flip, -1.0, 1.0)
        # Of each output pixel this gives the input's place, both in -1..1: the inverse of mirror, turn, zoom and shift.
        cosine, sine = angle.cos() / zoom, angle.sin() / zoom
        right, down = (2 * _between(each, -self.shift, self.shift) for each in draw[3:5])
        ratio = height / width
        top = torch.stack([cosine, sine * ratio, -cosine * right - sine * ratio * down], 1) * mirror[:, None]
        bottom = torch.stack([-sine / ratio, cosine, sine / ratio * right - cosine * down], 1)
        grid = F.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
        changed = F.grid_sample(images.float(), grid, align_corners=False)
        contrast, brightness = _between(draw[5], 1 - self.contrast, 1 + self.contrast), _between(draw[6], -1, 1) * self.brightness
        changed = (changed - 127.5) * _each(contrast) + 127.5 + _each(brightness) * 255
        if self.erase:
            side = _between(draw[7], *self.erase_size)
            inside = _window(draw[8], side, height)[:, None, :, None] & _window(draw[9], side, width)[:, None, None, :]
            chosen = draw[10] < self.erase
            changed = changed.masked_fill(inside & chosen[:, None, None, None], 0)
        return changed.round_().clamp_(0, 255).to(torch.uint8)


def _between(draw: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * draw


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _window(draw: Tensor, share: Tensor, size: int) -> Tensor:
    """Marks the pixels of a stretch of `share` of an axis, its middle drawn, bool (B, size)."""
    places = (torch.arange(size, device=draw.device) + 0.5) / size
    return (places - draw[:, None]).abs() * 2 < share[:, None]


def uniform(row: Tensor, seed: Sequence[int], count: int) -> Tensor:
    """Draws numbers for each face that depend on the seed and the face only, not on the batch or the device.

    They are hashes of a counter (SplitMix64's finaliser: Steele, Lea & Flood, Fast Splittable Pseudorandom Number
    Generators, 2014), so that no state is kept and nothing waits for a device.

    Args:
        row: Number of each face, int64 (B,).
        seed: Numbers that fix what is drawn.
        count: How many numbers for each face.

    Returns:
        float32 (B, count), evenly in 0..1, 1 excluded.
    """
    start = int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0].astype(np.int64))
    counter = row[:, None] * count + torch.arange(count, device=row.device)
    mixed = counter * _signed(0x9E3779B97F4A7C15) + start
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shifted(mixed, shift)) * _signed(factor)
    return _shifted(mixed ^ _shifted(mixed, 31), 40).float() / 2**24


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Shifts 64 bits right, filling with zeros (PyTorch's own shift repeats the sign)."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)
