"""Random changes to training faces through albumentations, each drawn from the run's seed, the epoch and the image."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
