"""Facial-expression recognition: merged data sets, honest splits, one-command studies, and trained models at work.

import fer

model = fer.load("runs/2026-11-24_10-29-41")  # or a checkpoint, or an ONNX file, or nothing for the model that ships
for face in model.predict("party.jpg"):
    print(face.box, face.emotion, face.probabilities)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer.emotions import EMOTIONS

if TYPE_CHECKING:
    from fer.predict.predictor import Face, Predictor, load

__all__ = ["EMOTIONS", "Face", "Predictor", "__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports what predicts when it is first asked for, so that `import fer` costs nothing."""
    if name in ("Face", "Predictor", "load"):
        from fer.predict import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'fer' has no attribute '{name}'")
