"""How far a measured number can be trusted: intervals and tests."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


def wilson(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Computes Wilson's score interval of a share (Wilson, 1927), which holds for few faces and near 0 and 1 too.

    Args:
        share: Share that was observed, 0..1.
        count: Number of observations.
        confidence: Probability that the interval holds the true share.

    Returns:
        Lower and upper end, 0..1; (0, 1) where nothing was observed.
    """
    if count == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = (z2 * (share * (1 - share) / count + z2 / (4 * count**2))) ** 0.5 / (1 + z2 / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Tests whether two classifiers are right equally often on the same faces (McNemar, 1947; exact, two-sided).

    Args:
        first_right: Whether the first is right about each face, bool (N,).
        second_right: The same of the second.

    Returns:
        Faces that only the first is right about, faces that only the second is, and the p-value.
    """
    first, second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    p = float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return first, second, p


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values of several tests so that the chance of any false alarm stays the same (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
