"""Figures, drawn without a display and without global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fer.emotions import EMOTIONS

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#994455", "#222255")
"""Paul Tol's colours, which colour-blind readers can tell apart."""

_TRAIN, _VAL, _RIGHT, _WRONG = "#4477aa", "#cc6677", "#117733", "#aa3344"


def confusion_matrix(matrix: Sequence[Sequence[int]], title: str) -> Figure:
    """Draws a confusion matrix: counts in the cells, shaded by the share of the true class.

    Args:
        matrix: Counts, (7, 7); rows are the true class.
        title: Title of the figure.
    """
    # places by hand: the labels never change, and a constrained layout takes as long as the drawing
    figure = Figure(figsize=(6.4, 5.5))
    axes = figure.add_axes((0.155, 0.14, 0.675, 0.79))
    picture = _matrix(axes, matrix, title)
    bar = figure.colorbar(picture, cax=figure.add_axes((0.85, 0.14, 0.028, 0.79)), label="share of the true class")
    bar.ax.yaxis.set_major_formatter("{x:.0%}")
    return figure


def confusion_matrices(matrices: Mapping[str, Sequence[Sequence[int]]]) -> Figure:
    """Draws confusion matrices side by side.

    Args:
        matrices: Title -> counts, (7, 7); rows are the true class.
    """
    figure = Figure(figsize=(5.4 * len(matrices), 5.2), layout="constrained")
    for axes, (title, matrix) in zip(figure.subplots(1, len(matrices), squeeze=False).flat, matrices.items(), strict=True):
        _matrix(axes, matrix, title)
    return figure


def _matrix(axes: Axes, matrix: Sequence[Sequence[int]], title: str) -> AxesImage:
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count}\n{share:.0%}" if count else "0"
        colour = "white" if share > 0.55 else "#222222"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour, in_layout=False)
    ticks = range(len(EMOTIONS))
    axes.set_xticks(ticks, EMOTIONS, rotation=35, ha="right")
    axes.set_yticks(ticks, EMOTIONS)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return picture


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
        _over_epochs(axes, metric)
        axes.set(xlabel="epoch", ylabel=metric + unit)
        axes.legend(frameon=False, fontsize=9)
    return figure


def many_learning_curves(histories: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Draws the loss and accuracy of several runs over the epochs, training above and validation below.

    Args:
        histories: Name -> the histories of its repetitions, which share a colour; at most 10 names are told apart.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    grid: Any = figure.subplots(2, 2, sharex=True)
    for line, (part, words) in zip(grid, (("train", "training (with dropout)"), ("val", "validation")), strict=True):
        for axes, metric, unit in zip(line, ("loss", "accuracy"), (" (nats)", ""), strict=True):
            for at, (name, runs) in enumerate(histories.items()):
                for number, history in enumerate(runs):
                    axes.plot(
                        history["epoch"],
                        history[f"{part}/{metric}"],
                        color=_COLOURS[at % len(_COLOURS)],
                        linestyle="-" if at < len(_COLOURS) else "--",
                        alpha=0.9,
                        label=name if number == 0 else None,
                        marker="o" if len(history) < 3 else "",
                        linewidth=1.4,
                    )
            _over_epochs(axes, metric)
            axes.set(ylabel=f"{words}: {metric}{unit}")
    for axes in grid[1]:
        axes.set_xlabel("epoch")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def reliability(confidence: NDArray[np.float32], right: NDArray[np.bool_], title: str, bins: int = 15) -> Figure:
    """Draws how often predictions of each confidence are right (a reliability diagram), and how many there are.

    Args:
        confidence: Highest probability of each face, float (N,).
        right: Whether it was predicted right, bool (N,).
        title: Title of the figure.
        bins: Equal ranges of confidence.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # ranges hold their upper end, as torchmetrics' do
    count = np.bincount(place, minlength=bins)
    mean, share = (np.bincount(place, each, bins) / np.maximum(count, 1) for each in (confidence, right))
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="as sure as right")
    above.bar(edges[:-1], np.where(count, share, np.nan), 1 / bins, align="edge", color=_TRAIN, edgecolor="white")
    above.plot(
        mean[count > 0], share[count > 0], color="#222222", marker="o", markersize=3, linewidth=1, label="share that is right"
    )
    above.set(ylim=(0, 1), ylabel="share that is right", title=title)
    above.legend(frameon=False, fontsize=9, loc="upper left")
    below.bar(edges[:-1], count, 1 / bins, align="edge", color="#bbbbbb", edgecolor="white")
    below.set(xlim=(0, 1), xlabel="highest probability", ylabel="faces")
    return figure


def _over_epochs(axes: Axes, metric: str) -> None:
    if metric == "accuracy":
        axes.axhline(1 / len(EMOTIONS), color="#999999", linestyle=":", label="chance (1/7)")
        axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)


def bars(
    values: pd.DataFrame, ylabel: str, ends: tuple[pd.DataFrame, pd.DataFrame] | None = None, marks: pd.DataFrame | None = None
) -> Figure:
    """Draws bars of shares: a cluster per row, a colour per column.

    Args:
        values: Shares, 0..1; missing ones have no bar.
        ylabel: What they are.
        ends: Lower and upper ends of intervals, each of the same shape.
        marks: What the thesis has for each bar, of the same shape.
    """
    figure = Figure(figsize=(max(6.5, 0.5 + 0.22 * values.size + 0.5 * len(values)), 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.84 / len(values.columns)
    for number, name in enumerate(values):
        places = np.arange(len(values)) + (number - (len(values.columns) - 1) / 2) * width
        colour = "#bbbbbb" if name == "thesis" else _COLOURS[number % len(_COLOURS)]
        axes.bar(places, values[name], width * 0.92, color=colour, label=name)
        if ends:
            reach = [(values[name] - ends[0][name]).clip(lower=0), (ends[1][name] - values[name]).clip(lower=0)]
            axes.errorbar(places, values[name], reach, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
        if marks is not None:
            label = "thesis" if number == 0 else "_again"
            axes.hlines(marks[name], places - width * 0.46, places + width * 0.46, color="black", linewidth=2.5, label=label)
    axes.axhline(1 / len(EMOTIONS), color="#999999", linestyle=":")
    axes.set(ylim=(0, 1), ylabel=ylabel)
    axes.set_xticks(range(len(values)), list(values.index))
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def matrix(values: pd.DataFrame, rows: str, columns: str) -> Figure:
    """Draws a matrix of accuracies.

    Args:
        values: Accuracies, 0..1.
        rows: What the rows are.
        columns: What the columns are.
    """
    figure = Figure(figsize=(1.5 + 1.3 * len(values.columns), 1.4 + 0.9 * len(values)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(values.to_numpy(), cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if value > 0.55 else "#222222")
    axes.set_xticks(range(len(values.columns)), list(values.columns))
    axes.set_yticks(range(len(values)), list(values.index))
    axes.set(xlabel=columns, ylabel=rows)
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
    figure = Figure(figsize=(1.3 * columns, 1.75 * rows + 0.4))
    figure.suptitle(title, fontsize=11, y=1 - 0.12 / figure.get_figheight())
    # one picture of all faces, since a plot of its own for each takes many times as long to draw
    axes = figure.add_axes((0.005, 0.005, 0.99, 1 - 0.4 / figure.get_figheight()))
    axes.axis("off")
    height, width = images.shape[1:3]
    across, down = round(width * 1.1), round(height * 1.46)
    sheet = np.full((rows * down, columns * across, *images.shape[3:]), 255, np.uint8)
    for number, (image, label, vector) in enumerate(zip(images, emotion, probabilities, strict=True)):
        top, left = number // columns * down + down - height, number % columns * across
        sheet[top : top + height, left : left + width] = image
        guess = int(vector.argmax())
        truth = "" if guess == label else f"\nis {EMOTIONS[label]}"
        text = f"{EMOTIONS[guess]} {vector[guess]:.0%}{truth}"
        colour = _RIGHT if guess == label else _WRONG
        axes.text(left + width / 2, top - 0.04 * height, text, fontsize=8, color=colour, ha="center", va="bottom")
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    return figure


def explanations(
    images: NDArray[np.uint8],
    overlays: NDArray[np.uint8],
    emotion: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    title: str,
    columns: int = 5,
) -> Figure:
    """Draws a row per emotion: faces that show it, each beside what spoke for what was predicted.

    Args:
        images: Faces, uint8 (N, H, W) or (N, H, W, 3).
        overlays: The same with Grad-CAM laid over, uint8 (N, H, W, 3) RGB.
        emotion: True class of each, int64 (N,).
        probabilities: Predicted probabilities, float32 (N, 7).
        title: Title of the figure.
        columns: Faces in a row, at most.
    """
    height, width = images.shape[1:3]
    across, down, margin = round(width * 2.12), round(height * 1.24), round(width * 0.95)
    sheet = np.full((len(EMOTIONS) * down, margin + columns * across, 3), 255, np.uint8)
    figure = Figure(figsize=(11, 11 * sheet.shape[0] / sheet.shape[1] + 0.4))
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / figure.get_figheight())
    axes = figure.add_axes((0.005, 0.005, 0.99, 1 - 0.4 / figure.get_figheight()))
    axes.axis("off")
    for label, name in enumerate(EMOTIONS):
        top = (label + 1) * down - height
        axes.text(margin - 0.1 * width, top + height / 2, name, fontsize=10, ha="right", va="center")
        for column, face in enumerate(np.flatnonzero(emotion == label)[:columns]):
            left = margin + column * across
            grey = images[face] if images.ndim == 4 else np.repeat(images[face][..., None], 3, axis=2)
            sheet[top : top + height, left : left + 2 * width] = np.concatenate([grey, overlays[face]], axis=1)
            guess = int(probabilities[face].argmax())
            text = f"{EMOTIONS[guess]} {probabilities[face, guess]:.0%}"
            colour = _RIGHT if guess == label else _WRONG
            axes.text(left + width, top - 0.03 * height, text, fontsize=8, color=colour, ha="center", va="bottom")
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    return figure
