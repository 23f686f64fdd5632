"""The thesis's numbers (F. N. Azizi, UII, 2021), and which of them are wrong and why. Imports nothing of ours but names."""

from __future__ import annotations

import pandas as pd

from fer.emotions import EMOTIONS


def _table(**rows: tuple[int, ...]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(EMOTIONS))


def _report(precision: tuple[float, ...], recall: tuple[float, ...], f1: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame({"precision": precision, "recall": recall, "f1": f1}, index=list(EMOTIONS))


FOUND: pd.DataFrame = _table(
    fer2013=(6193, 4953, 547, 5121, 8989, 6077, 4002),
    kdef=(70, 70, 70, 70, 70, 70, 70),
    ckplus=(54, 135, 177, 75, 207, 84, 249),
)
"""Table 3.4: faces found, as printed; a row per data set, a column per emotion."""

BALANCED: pd.DataFrame = _table(
    fer2013=(581, 561, 547, 581, 537, 578, 523),
    kdef=(70, 70, 70, 70, 70, 70, 70),
    ckplus=(18, 45, 59, 25, 69, 28, 83),
)
"""Table 3.5: faces after balancing, as printed."""

PARTS: pd.DataFrame = pd.DataFrame(
    {"fer2013": (3132, 391, 392), "kdef": (392, 49, 49), "ckplus": (263, 33, 33)}, index=["train", "val", "test"]
)
"""Table 3.6: faces in each part, as printed; a row per part, a column per data set."""

ERRORS: tuple[str, ...] = (
    "Table 3.4: FER2013 has 6,198 neutral faces and 35,887 in all, not 6,193 and 35,882.",
    "Table 3.4: the 54 'neutral' faces of CK+ are contempt: CK+48 has no neutral ones (contempt=as_neutral | drop).",
    "Section 3.4: the smallest class is disgust (547 + 70 + 59 = 676), not fear.",
    "Table 3.5: FER2013 neutral is 588 (676 - 70 - 18), not 581, which contradicts the table's own total.",
    "Table 3.6: its rows add up to 4,734; trained, validated and tested were 3,787 + 469 + 476 = 4,732, with 327 of CK+.",
)
"""What the thesis gets wrong about its data, a sentence each."""


PROGRESS: pd.DataFrame = pd.DataFrame(
    [
        (1, 2.2896, 0.1584, 1.9662, 0.1429),
        (10, 1.8246, 0.2973, 2.1075, 0.1535),
        (20, 1.5425, 0.4164, 1.7153, 0.3731),
        (30, 1.3293, 0.4935, 1.5342, 0.4563),
        (40, 1.1363, 0.5749, 1.4971, 0.4797),
        (50, 0.9505, 0.6364, 1.4613, 0.4925),
        (60, 0.7659, 0.7193, 1.4654, 0.5032),
        (70, 0.606, 0.7845, 1.4536, 0.5458),
        (80, 0.4729, 0.8284, 1.7317, 0.5117),
        (90, 0.3534, 0.8727, 1.736, 0.5394),
        (100, 0.282, 0.8975, 1.8288, 0.5139),
        (110, 0.2231, 0.925, 1.934, 0.5352),
        (120, 0.184, 0.9342, 2.0181, 0.533),
        (130, 0.155, 0.9477, 2.0439, 0.5394),
        (140, 0.1286, 0.9604, 2.128, 0.5309),
        (150, 0.1067, 0.963, 2.2798, 0.5458),
        (160, 0.101, 0.9667, 2.281, 0.5245),
        (170, 0.0896, 0.9699, 2.2833, 0.5565),
        (180, 0.0769, 0.9762, 2.5984, 0.5352),
        (190, 0.0748, 0.9762, 2.5019, 0.5267),
        (200, 0.0559, 0.9831, 2.4956, 0.5501),
    ],
    columns=["epoch", "train/loss", "train/accuracy", "val/loss", "val/accuracy"],
).set_index("epoch")
"""Table 4.3: progress of the 200-epoch Adam run, from the log in the appendix where the table prints other digits."""

SETS: tuple[str, ...] = ("fer2013", "kdef", "ckplus", "combined")
"""Test sets of tables 4.4 to 4.13, in their order."""

OPTIMIZERS: pd.DataFrame = pd.DataFrame(
    {"Adam": (0.52, 0.82, 0.77, 0.57), "SGD": (0.19, 0.14, 0.23, 0.19), "RMSprop": (0.48, 0.75, 0.71, 0.53)},
    index=list(SETS),
)
"""Table 4.4: test accuracy of each optimizer after 200 epochs; a row per test set."""

EPOCHS: pd.DataFrame = pd.DataFrame({200: (0.52, 0.81, 0.77, 0.57), 500: (0.49, 0.77, 0.71, 0.54)}, index=list(SETS))
"""Table 4.5: test accuracy of Adam after 200 and 500 epochs; a row per test set."""

CONFUSION: dict[str, tuple[tuple[int, ...], ...]] = {
    "fer2013": (
        (28, 7, 4, 5, 7, 7, 2),
        (10, 22, 3, 3, 4, 7, 7),
        (4, 3, 37, 1, 2, 6, 2),
        (7, 13, 4, 14, 4, 8, 8),
        (4, 1, 1, 1, 42, 4, 1),
        (14, 6, 1, 5, 6, 24, 2),
        (2, 1, 1, 6, 1, 3, 38),
    ),
    "kdef": (
        (6, 1, 0, 0, 0, 0, 0),
        (1, 6, 0, 0, 0, 0, 0),
        (0, 0, 7, 0, 0, 0, 0),
        (1, 0, 0, 5, 0, 1, 0),
        (1, 0, 0, 0, 6, 0, 0),
        (1, 2, 1, 0, 0, 3, 0),
        (0, 0, 0, 0, 0, 0, 7),
    ),
    "ckplus": (
        (2, 0, 0, 0, 0, 0, 0),
        (1, 3, 0, 0, 0, 1, 0),
        (0, 0, 6, 0, 0, 0, 0),
        (0, 0, 0, 2, 0, 1, 0),
        (0, 0, 0, 0, 7, 0, 0),
        (1, 2, 0, 0, 0, 0, 0),
        (1, 0, 0, 1, 0, 0, 7),
    ),
    "combined": (
        (35, 8, 4, 5, 7, 7, 2),
        (12, 31, 3, 3, 4, 8, 7),
        (4, 3, 50, 1, 2, 6, 2),
        (8, 13, 4, 21, 4, 10, 8),
        (5, 1, 1, 1, 55, 4, 1),
        (16, 10, 2, 5, 6, 27, 2),
        (3, 1, 1, 7, 1, 3, 52),
    ),
}
"""Tables 4.6 to 4.13: confusion matrix of each test set, Adam, 200 epochs; rows are the true class."""

REPORT: dict[str, pd.DataFrame] = {
    "fer2013": _report(
        (0.41, 0.42, 0.73, 0.4, 0.64, 0.41, 0.63),
        (0.47, 0.39, 0.67, 0.24, 0.72, 0.41, 0.73),
        (0.43, 0.4, 0.7, 0.3, 0.7, 0.41, 0.68),
    ),
    "kdef": _report(
        (0.6, 0.67, 0.88, 1, 1, 0.75, 1), (0.86, 0.86, 1, 0.71, 0.86, 0.43, 1), (0.71, 0.75, 0.93, 0.83, 0.92, 0.55, 1)
    ),
    "ckplus": _report((0.4, 0.6, 1, 0.67, 1, 0, 1), (1, 0.6, 1, 0.67, 1, 0, 0.78), (0.57, 0.6, 1, 0.67, 1, 0, 0.88)),
    "combined": _report(
        (0.42, 0.46, 0.77, 0.49, 0.7, 0.42, 0.7),
        (0.51, 0.46, 0.74, 0.31, 0.81, 0.4, 0.76),
        (0.46, 0.46, 0.75, 0.38, 0.78, 0.41, 0.73),
    ),
}
"""Tables 4.6 to 4.13: classification report of each test set, as printed; a row per emotion."""
