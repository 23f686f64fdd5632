"""The thesis's counts of faces (F. N. Azizi, UII, 2021), and which of them are wrong and why."""

from __future__ import annotations

import pandas as pd

from fer.emotions import EMOTIONS


def _table(**rows: tuple[int, ...]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(EMOTIONS))


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
