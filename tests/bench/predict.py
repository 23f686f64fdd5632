"""Speed and memory of prediction on this machine: `python tests/bench/predict.py`.

A network of the thesis's size under ONNX Runtime, a face at a time and in batches; `python -m fer.predict` on a 640x480
video with one moving face, Haar on every frame, from reading to the annotated video and the table; peak memory of a
video of 1,000 and one of 10,000 frames.

2026-11-24, 2 cores of an AMD EPYC, torch 2.15, onnxruntime 1.32, opencv 4.14, best of 20 rounds:

    PyTorch: ms a face: 4.66 in batches of 1, 2.63 in batches of 16, 3.16 in batches of 64, 3.31 in batches of 256
    ONNX: ms a face: 3.26 in batches of 1, 2.79 in batches of 16, 2.73 in batches of 64, 2.73 in batches of 256
    ONNX int8: ms a face: 1.31 in batches of 1, 1.18 in batches of 16, 1.12 in batches of 64, 1.04 in batches of 256
    1,000 frames: 36.3 frames/s with start-up, peak memory 342 MiB
    10,000 frames: 35.9 frames/s with start-up, peak memory 342 MiB
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from fer.data.images import cores
from fer.export import export, milliseconds, quantize
from fer.model.checkpoint import recipe
from fer.model.networks import ThesisCNN
from fer.predict.network import OnnxNetwork, TorchNetwork

FACE = Path(__file__).parents[2] / "fer/web/examples/astronaut.jpg"

RUN = """
import re, time
began = time.perf_counter()
from fer.predict.__main__ import main
main()
print(time.perf_counter() - began, re.search("VmHWM:[^0-9]*([0-9]+)", open("/proc/self/status").read())[1])
"""


def video(path: Path, frames: int) -> Path:
    """Writes a 640x480 video in which the face wanders."""
    picture = cv2.imread(str(FACE))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (640, 480))
    for number in range(frames):
        frame = np.full((480, 640, 3), 96, np.uint8)
        left = 64 + round(60 * np.sin(number / 40))
        frame[:, left : left + 512] = picture[:480]
        writer.write(frame)
    writer.release()
    return path


def main() -> None:
    print(f"{cores()} cores, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as folder:
        model, small = Path(folder, "thesis.onnx"), Path(folder, "thesis_int8.onnx")
        network = TorchNetwork(ThesisCNN(), recipe({"_target_": "fer.model.networks.ThesisCNN"}, 48, 1, {}), {})
        faces = np.random.default_rng(0).integers(0, 256, (256, 48, 48), np.uint8)
        export(network, model)
        quantize(model, faces, small)
        for name, one in (("PyTorch", network), ("ONNX", OnnxNetwork(model)), ("ONNX int8", OnnxNetwork(small))):
            each = ", ".join(f"{milliseconds(one, faces[:batch], 20):.2f} in batches of {batch}" for batch in (1, 16, 64, 256))
            print(f"{name}: ms a face: {each}")
        for frames in (1000, 10_000):
            source = video(Path(folder, f"{frames}.mp4"), frames)
            words = [str(source), "--model", str(model), "--out", str(Path(folder, str(frames)))]
            seconds, peak = subprocess.run(
                [sys.executable, "-c", RUN, *words], check=True, stdout=subprocess.PIPE, text=True
            ).stdout.split()[-2:]
            rate = frames / float(seconds)
            print(f"{frames:,} frames: {rate:.1f} frames/s with start-up, peak memory {int(peak) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
