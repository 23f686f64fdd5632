"""Follows faces over the frames of a video and smooths what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fer.errors import UserError
from fer.predict.predictor import Face

_OVERLAP = 0.3
"""Least intersection over union of a face's squares in two frames."""

_PATIENCE = 0.5
"""Seconds that a face may be out of sight and still be the same one."""


@dataclass
class _Track:
    number: int
    box: tuple[int, int, int, int]
    seen: float
    probabilities: NDArray[np.float32]


class Tracker:
    """Numbers the faces of one video, so that the same face has the same number in every frame.

    A face is the one whose square overlaps most with its last one, over all faces (Hungarian assignment).

    Args:
        half_life: Seconds after which a probability counts half in the smoothed ones (an exponential moving average,
            whatever the frame rate); 0 does not smooth.

    Raises:
        UserError: It is negative.
    """

    def __init__(self, half_life: float = 0.0) -> None:
        if half_life < 0:
            raise UserError(f"a smoothing of {half_life} seconds: expected 0 (none) or more")
        self._half_life, self._tracks, self._next = half_life, list[_Track](), 1

    def update(self, faces: Sequence[Face], time: float) -> list[tuple[int, Face]]:
        """Takes the faces of the next frame.

        Args:
            faces: What was found.
            time: Seconds since the start, later than before.

        Returns:
            Each face with its number, from 1, and with smoothed probabilities, in the order given.
        """
        self._tracks = [track for track in self._tracks if time - track.seen <= _PATIENCE]
        overlap = _overlaps([track.box for track in self._tracks], [face.box for face in faces])
        pairs = zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
        known = {int(new): self._tracks[old] for old, new in pairs if overlap[old, new] >= _OVERLAP}
        return [self._follow(face, known.get(position), time) for position, face in enumerate(faces)]

    def _follow(self, face: Face, track: _Track | None, time: float) -> tuple[int, Face]:
        if track is None:
            track = _Track(self._next, face.box, time, face.probabilities)
            self._next += 1
            self._tracks.append(track)
        elif self._half_life:
            past = 0.5 ** ((time - track.seen) / self._half_life)
            face = replace(face, probabilities=past * track.probabilities + (1 - past) * face.probabilities)
        track.box, track.seen, track.probabilities = face.box, time, face.probabilities
        return track.number, face


def _overlaps(old: Sequence[tuple[int, ...]], new: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """Intersection over union of every old square with every new one, float64 (len(old), len(new))."""
    a, b = np.reshape(old, (-1, 1, 4)).astype(float), np.reshape(new, (1, -1, 4)).astype(float)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = (high - low).clip(0).prod(-1)
    shares: NDArray[np.float64] = both / np.maximum(a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both, 1e-9)
    return shares
