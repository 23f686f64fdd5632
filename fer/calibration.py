"""Probabilities that mean what they say: temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

LIMITS = (0.05, 20.0)
"""Temperatures that are looked at."""


def fit_temperature(predicted: Tensor, emotion: Tensor) -> float:
    """Finds the temperature that makes the labels of validation faces likeliest.

    Args:
        predicted: Logits or logarithms of probabilities, float (N, 7).
        emotion: Classes, int64 (N,).

    Returns:
        What to divide logits by, within `LIMITS`: above 1 where the network is surer than it is right. 1 without faces.
    """
    if len(predicted) == 0:
        return 1.0
    logits = predicted.double().cpu().numpy()
    wanted = np.take_along_axis(logits, emotion.cpu().numpy()[:, None], 1)[:, 0]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((logsumexp(scale * logits, axis=1) - scale * wanted).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded").x))
