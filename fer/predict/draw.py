"""Draws what was found into a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.emotions import EMOTIONS
from fer.predict.predictor import Face

COLOURS: dict[str, tuple[int, int, int]] = dict(
    zip(
        EMOTIONS,
        ((102, 204, 238), (204, 51, 17), (34, 136, 51), (170, 51, 119), (238, 187, 51), (68, 119, 170), (238, 119, 51)),
        strict=True,
    )
)
"""Colour of each emotion, RGB 0..255."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(
    image: NDArray[np.uint8], faces: Sequence[tuple[int, Face]], numbered: bool, heat: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Frames each face, and writes its emotion and probability above it.

    Args:
        image: uint8 (H, W) grey or (H, W, 3) RGB; it is left as it is.
        faces: Number and face.
        numbered: Whether to write the numbers too.
        heat: What spoke for each face's emotion, float32 (N, S, S) in 0..1, to be laid over it; None for nothing.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    drawn: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()
    unit = max(1.0, min(drawn.shape[:2]) / 480)  # of a line's width, so that it can be seen in large pictures
    for at, (number, face) in enumerate(faces):
        if heat is not None:
            _lay(drawn, face, heat[at])
        text = f"{face.emotion} {face.probabilities.max():.0%}"
        _frame(drawn, face, f"{number} {text}" if numbered else text, unit)
    return drawn


def _frame(drawn: NDArray[np.uint8], face: Face, text: str, unit: float) -> None:
    left, top, width, height = face.box
    colour, line = COLOURS[face.emotion], round(2 * unit)
    cv2.rectangle(drawn, (left, top), (left + width, top + height), colour, line, cv2.LINE_AA)
    fits = width / cv2.getTextSize(text, _FONT, 1, 2)[0][0]
    size = max(0.4, min(0.6 * unit, fits))
    thickness = max(1, round(1.8 * size))
    (wide, high), below = cv2.getTextSize(text, _FONT, size, thickness)
    pad = round(4 * size) + 1
    x = max(0, min(left - line // 2, drawn.shape[1] - wide - 2 * pad))
    y = max(high + below + 2 * pad, top)  # of the label's lower edge, which stays in the picture
    cv2.rectangle(drawn, (x, y - high - below - 2 * pad), (x + wide + 2 * pad, y), colour, cv2.FILLED)
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
    cv2.putText(drawn, text, (x + pad, y - below - pad // 2), _FONT, size, ink, thickness, cv2.LINE_AA)


def _lay(drawn: NDArray[np.uint8], face: Face, heat: NDArray[np.float32]) -> None:
    """Lays a face's heat over its square, as far as that lies in the picture."""
    from fer.model.explain import overlay

    left, top, width, height = face.box
    wide = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    x, y = max(left, 0), max(top, 0)
    part = drawn[y : top + height, x : left + width]
    part[:] = overlay(part, wide[y - top :, x - left :][: part.shape[0], : part.shape[1]])
