"""Figures, drawn without a display and without global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer.emotions import EMOTIONS

_TRAIN, _VAL, _RIGHT, _WRONG = "#4477aa", "#cc6677", "#117733", "#aa3344"


def confusion_matrix(matrix: Sequence[Sequence[int]], title: str) -> Figure:
    """Draws a confusion matrix: counts in the cells, shaded by the share of the true class.

    Args:
        matrix: Counts, (7, 7); rows are the true class.
        title: Title of the figure.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(6.2, 5.6), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count}\n{share:.0%}" if count else "0"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if share > 0.55 else "#222222")
    ticks = range(len(EMOTIONS))
    axes.set_xticks(ticks, EMOTIONS, rotation=35, ha="right")
    axes.set_yticks(ticks, EMOTIONS)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, label="share of the true class")
    bar.ax.yaxis.set_major_formatter("{x:.0%}")
    return figure


def learning_curves(history: pd.DataFrame, title: str) -> Figure:
    """Draws loss and accuracy over the epochs.

    Args:
        history: A row per epoch with `epoch` and `loss` and `accuracy` behind `train/` and `val/`.
        title: Title of the figure.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    figure.suptitle(title)
    for axes, metric, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), (" (nats)", ""), strict=True):
        for part, colour, label in (("train", _TRAIN, "training (with dropout)"), ("val", _VAL, "validation")):
            marker = "o" if len(history) < 3 else ""
            axes.plot(history["epoch"], history[f"{part}/{metric}"], color=colour, label=label, marker=marker)
        if metric == "accuracy":
            axes.axhline(1 / len(EMOTIONS), color="#999999", linestyle=":", label="chance (1/7)")
            axes.set_ylim(0, 1)
        axes.set(xlabel="epoch", ylabel=metric + unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
    return figure


def faces(
    images: NDArray[np.uint8], emotion: NDArray[np.int64], probabilities: NDArray[np.float32], title: str, columns: int = 8
) -> Figure:
    """Draws a grid of faces with what was predicted, green where it is right and red where it is wrong.

    Args:
        images: Faces, uint8 (N, H, W) or (N, H, W, 3).
        emotion: True class of each, int64 (N,).
        probabilities: Predicted probabilities, float32 (N, 7).
        title: Title of the figure.
        columns: Faces in a row.
    """
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(1.25 * columns, 1.62 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label, vector in zip(grid.flat, images, emotion, probabilities, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        guess = int(vector.argmax())
        truth = "" if guess == label else f"\nis {EMOTIONS[label]}"
        text = f"{EMOTIONS[guess]} {vector[guess]:.0%}{truth}"
        axes.set_title(text, fontsize=8, color=_RIGHT if guess == label else _WRONG, pad=2)
    return figure
