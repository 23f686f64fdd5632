"""Probabilities that mean what they say: temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

LIMITS = (0.05, 20.0)
"""Temperatures that are looked at."""


def fit_temperature(predicted: Tensor, target: Tensor) -> float:
    """Finds the temperature that makes validation faces likeliest.

    Args:
        predicted: Logits or logarithms of probabilities, float (N, 7).
        target: Shares of each emotion, float (N, 7).

    Returns:
        What to divide logits by, within `LIMITS`: above 1 where the network is surer than it is right. 1 without faces.
    """
    if len(predicted) == 0:
        return 1.0
    logits = predicted.double().cpu().numpy()
    shares = target.double().cpu().numpy()
    wanted = (shares * logits).sum(1)
    weight = shares.sum(1)

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((weight * logsumexp(scale * logits, axis=1) - scale * wanted).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded").x))
