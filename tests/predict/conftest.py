"""A real face, and models to look at it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import fer
from fer.export import export
from fer.model import checkpoint
from fer.model.networks import ThesisCNN
from fer.predict import network
from tests.conftest import REPOSITORY

ASTRONAUT = REPOSITORY / "fer/web/examples/astronaut.jpg"


@pytest.fixture(scope="session")
def shipped() -> fer.Predictor:
    """The model that comes with the project."""
    return fer.load(device="cpu")


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory) -> Path:
    """The same model as an ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    original = network.read(device="cpu")
    assert isinstance(original, network.TorchNetwork)
    export(original, path, "CC0")
    return path


def save_checkpoint(path: Path, channels: int = 1, image_size: int = 48) -> Path:
    """Writes an untrained network of another shape."""
    arguments = {"channels": channels, "image_size": image_size, "filters": [4, 8], "kernel_sizes": [3, 3], "dense": [8]}
    torch.manual_seed(0)
    recipe = checkpoint.recipe({"_target_": "fer.model.networks.ThesisCNN", **arguments}, image_size, channels, {})
    checkpoint.write(path, ThesisCNN(**arguments), recipe | {"metrics": {}})
    return path


def write_video(path: Path, frames: int, size: tuple[int, int] = (320, 240), faces: bool = True) -> Path:
    """Writes a video in which a face wanders to the right, 2 pixels a frame; MJPEG for .avi, else MPEG-4."""
    picture = cv2.resize(cv2.imread(str(ASTRONAUT)), (240, 240), interpolation=cv2.INTER_AREA)
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, size)
    for number in range(frames):
        frame = np.full((size[1], size[0], 3), 96, np.uint8)
        if faces:
            left = min(2 * number, size[0] - 240)
            frame[:, left : left + 240] = picture
        writer.write(frame)
    writer.release()
    return path


def on_drawn_faces(demo: Path) -> list[str]:
    """The words that make eval.py and fer.export take drawn faces instead of those the model was trained on."""
    drawn = ["dataset=[fer2013,ckplus,kdef]", f"data.root={demo}", "data.cache_dir=null", "contempt=as_neutral"]
    return [*drawn, "balance=none", "split=thesis", "dataset.fer2013.labels=fer2013"]
