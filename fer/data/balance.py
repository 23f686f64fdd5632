"""What is done about classes of unequal size. Pure and seeded: rows in, rows out, nothing on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import Faces
from fer.emotions import EMOTIONS
from fer.errors import UserError


@dataclass(frozen=True)
class Selection:
    """What a balance decides.

    Args:
        rows: Rows of `Faces` to keep, ascending, int64 (M,).
        dropped: How many were dropped for which reason.
        chances: Probability of each kept row at every draw of an epoch, float64 (M,), summing to 1; None draws every
            row once an epoch.
        loss_weights: Weight of each class in the training loss, float32 (7,); None weighs all faces alike.
    """

    rows: NDArray[np.int64]
    dropped: dict[str, int] = field(default_factory=dict)
    chances: NDArray[np.float64] | None = None
    loss_weights: NDArray[np.float32] | None = None


class Balance(Protocol):
    """Chooses rows. With `before_split` it sees all faces, else the training part only."""

    @property
    def before_split(self) -> bool:
        """Whether the classes are made equal before the split (thesis) or in the training part only (research)."""

    def __call__(self, faces: Faces, seed: int) -> Selection:
        """Chooses the rows to keep; the same faces and seed give the same rows."""


@dataclass(frozen=True)
class NoBalance:
    """Keeps every face."""

    before_split: bool = True

    def __call__(self, faces: Faces, seed: int) -> Selection:
        """See `Balance`."""
        return Selection(np.arange(len(faces)))


@dataclass(frozen=True)
class ThesisBalance:
    """Makes the classes as large as the smallest one, as the thesis did (section 3.4, table 3.5).

    One frame of every image sequence is kept, the last (CK+'s peak). The smallest class then sets the size; in each
    class the smaller data sets are kept whole and the largest (FER2013) is filled up at random to that size.

    Args:
        before_split: Balance everything, then split (thesis); else split, then balance the training part.
    """

    before_split: bool = True

    def __call__(self, faces: Faces, seed: int) -> Selection:
        """See `Balance`.

        Raises:
            UserError: A class has no face at all.
        """
        rng = np.random.default_rng([seed, 1])
        peaks = peak_frames(faces)
        emotion, source = faces.emotion[peaks], faces.table["source"].to_numpy()[peaks]
        sizes = np.bincount(emotion, minlength=len(EMOTIONS))
        if not sizes.all():
            missing = ", ".join(EMOTIONS[c] for c in np.flatnonzero(sizes == 0))
            raise UserError(
                f"no face shows {missing} in {', '.join(faces.sources) or 'the data'}, so the classes cannot be made equally "
                "large: add a data set that has it (dataset=[...]) or use balance=none"
            )
        kept: list[NDArray[np.int64]] = []
        for label in range(len(EMOTIONS)):
            room = int(sizes.min())
            for name in faces.sources:  # smallest data set first: the largest fills up
                rows = peaks[(emotion == label) & (source == name)]
                taken = rows if len(rows) <= room else rng.choice(rows, room, replace=False)
                kept.append(taken)
                room -= len(taken)
        rows = np.sort(np.concatenate(kept))
        dropped = {"other frames of a sequence": len(faces) - len(peaks), "to make the classes equal": len(peaks) - len(rows)}
        return Selection(rows, {reason: count for reason, count in dropped.items() if count})


@dataclass(frozen=True)
class Sampler:
    """Keeps every face, and draws training faces so that every class comes equally often.

    An epoch draws as many faces as there are, with replacement: a face of a class with n of them comes up with
    probability 1 / (number of classes x n) at every draw.
    """

    before_split: bool = False

    def __call__(self, faces: Faces, seed: int) -> Selection:
        """See `Balance`."""
        _training_only(self.before_split, "sampler")
        weights = _inverse_frequency(faces)
        chances = weights[faces.emotion]
        return Selection(np.arange(len(faces)), chances=chances / chances.sum())


@dataclass(frozen=True)
class LossWeights:
    """Keeps every face, and weighs the training loss of each by the rarity of its class.

    The weight of a class with n of N faces is N / (number of classes x n), as scikit-learn's "balanced" (after King &
    Zeng, 2001); classes without a face weigh 0.
    """

    before_split: bool = False

    def __call__(self, faces: Faces, seed: int) -> Selection:
        """See `Balance`."""
        _training_only(self.before_split, "loss_weights")
        return Selection(np.arange(len(faces)), loss_weights=_inverse_frequency(faces).astype(np.float32))


def _training_only(before_split: bool, name: str) -> None:
    if before_split:
        raise UserError(f"balance={name} concerns the training part only: leave balance.before_split=false")


def _inverse_frequency(faces: Faces) -> NDArray[np.float64]:
    """Weight of each class, float64 (7,): the mean class size over its own; 0 where there is no face."""
    sizes = np.bincount(faces.emotion, minlength=len(EMOTIONS))
    return np.where(sizes > 0, len(faces) / np.maximum(sizes, 1) / max((sizes > 0).sum(), 1), 0.0)


def peak_frames(faces: Faces) -> NDArray[np.int64]:
    """Gives the rows of every face that belongs to no sequence, and of the last frame of each sequence's emotion.

    Returns:
        Rows, ascending, int64 (M,).
    """
    table = faces.table
    sequences = table[table["sequence"] != ""].sort_values("file", kind="stable")
    earlier = sequences.index[sequences.duplicated(["source", "sequence", "emotion"], keep="last")]
    return np.setdiff1d(np.arange(len(table)), earlier.to_numpy())
