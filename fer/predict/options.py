"""The command-line options of every program that uses a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from fer.predict.predictor import Predictor, load


def add(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --faces, --min-face and --device."""
    parser.add_argument("--model", type=Path, help="run folder, checkpoint or ONNX file; else the model that comes along")
    parser.add_argument(
        "--faces", default="haar", help="haar (default), the file of a YuNet model, or whole for pictures that are crops already"
    )
    parser.add_argument(
        "--min-face", type=float, help="smallest face, as a share of the shorter side; else 0.05 in pictures and 0.1 in videos"
    )
    parser.add_argument("--device", help="where PyTorch runs, such as cuda or cpu; else a GPU if there is one")


def predictor(arguments: argparse.Namespace) -> Predictor:
    """Loads what those options name.

    Raises:
        UserError: There is no such model or detector, or it cannot be read.
    """
    return load(arguments.model, arguments.faces, arguments.min_face, arguments.device)
