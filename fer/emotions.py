"""The seven emotions, their order, and each data set's own name or code for them.

The order 0..6 is the order of every probability vector, confusion matrix and table of this project.
"""

from __future__ import annotations

EMOTIONS: tuple[str, ...] = ("neutral", "angry", "disgust", "fear", "happy", "sad", "surprise")
"""Class names in class order."""

CONTEMPT = "contempt"
"""CK+'s eighth emotion; the thesis trained it as neutral (see `fer.data.ckplus`)."""

FER2013_CODES: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Emotion of FER2013's codes 0..6 (column `emotion` of fer2013.csv)."""

CKPLUS_CODES: tuple[str, ...] = ("neutral", "angry", CONTEMPT, "disgust", "fear", "happy", "sad", "surprise")
"""Emotion of the codes 0..7 in the `*_emotion.txt` files of the original CK+ release."""

KDEF_CODES: dict[str, str] = {
    "NE": "neutral",
    "AN": "angry",
    "DI": "disgust",
    "AF": "fear",
    "HA": "happy",
    "SA": "sad",
    "SU": "surprise",
}
"""Emotion of the two letters in a KDEF file name such as AF01ANS.JPG."""

_SYNONYMS: dict[str, str] = {
    "afraid": "fear",
    "anger": "angry",
    "contemptuous": CONTEMPT,
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


def emotion_of_folder(name: str) -> str | None:
    """Gives the emotion that a class folder stands for.

    Args:
        name: A folder's name in any letter case: an emotion ("happy") or one of its synonyms ("happiness").

    Returns:
        One of `EMOTIONS`, `CONTEMPT`, or None when the name is no emotion.
    """
    name = name.strip().lower()
    if name in EMOTIONS or name == CONTEMPT:
        return name
    return _SYNONYMS.get(name)
