"""The contact sheet of an audit: examples of what it found, as pictures."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from fer.data.audit import Audit
from fer.data.faces import Faces

_ACROSS = 12


def contact_sheet(faces: Faces, found: Audit) -> Figure:
    """Draws a row of examples for each check that found something; faces of one group stand beside each other.

    Args:
        faces: What was looked at.
        found: What was found in it.
    """
    rows = [(check, group) for check, group in found.findings.groupby("check", sort=False)]
    figure = Figure(figsize=(15, 1.95 * max(len(rows), 1)))
    if not rows:
        figure.text(0.5, 0.5, "nothing doubtful was found", ha="center", va="center")
        return figure
    # laid out by hand: matplotlib's constrained layout takes 15 s for this many pictures
    figure.subplots_adjust(0.01, 0.35 / len(rows), 0.99, 1 - 0.25 / len(rows), wspace=0.08, hspace=0.75)
    grid: Any = figure.subplots(len(rows), _ACROSS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, (check, entries) in zip(grid, rows, strict=True):
        line[0].text(0, 1.13, check, transform=line[0].transAxes, fontsize=11, fontweight="bold", va="bottom")
        if "labels differ" in str(check):
            entries = entries.drop_duplicates(["group", "emotion"])
        chosen = entries.groupby("group").head(2).head(_ACROSS).to_dict("records")
        for axes, entry in zip(line, chosen, strict=False):
            axes.imshow(faces.images[entry["row"]], cmap="gray", vmin=0, vmax=255)
            side = entry["part"] or entry["usage"] or entry["source"]
            axes.text(0.5, -0.04, f"{entry['emotion']}\n{side}", transform=axes.transAxes, ha="center", va="top", fontsize=8)
            axes.text(0, 1.01, f"{entry['group'] + 1}", transform=axes.transAxes, fontsize=7, color="#777777", va="bottom")
    return figure
