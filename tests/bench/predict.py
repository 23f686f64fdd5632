"""Speed and memory of prediction on this machine: `python tests/bench/predict.py`.

The thesis's network and the small one under PyTorch and ONNX Runtime, a face at a time and in batches; `python -m
fer.predict` with the thesis's on a 640x480 video with one moving face, Haar on every frame, from reading to the annotated
video and the table; peak memory of a video of 1,000 and one of 10,000 frames.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from hydra.utils import instantiate
from measured import arguments, show, timed

from fer.config import composed
from fer.export import export, quantize
from fer.model.checkpoint import recipe
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
    given = arguments(__doc__.split("\n")[0]).parse_args()
    faces = np.random.default_rng(0).integers(0, 256, (256, 48, 48), np.uint8)
    latency: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model, small = Path(folder, "model.onnx"), Path(folder, "model_int8.onnx")
        for choice in ("small", "thesis_cnn"):
            module = instantiate(composed([f"model={choice}"]).model, _convert_="all")
            network = TorchNetwork(module, recipe({}, 48, 1, {}), {})
            export(network, model)
            quantize(model, faces, small)
            for name, one in (("PyTorch", network), ("ONNX", OnnxNetwork(model)), ("ONNX int8", OnnxNetwork(small))):
                for batch in (1, 16, 64, 256):
                    one(faces[:batch])
                    seconds = timed(lambda one=one, batch=batch: one(faces[:batch]), 20)
                    latency[f"{choice}: {name}, in batches of {batch}"] = [1000 * value / batch for value in seconds]
        for frames in (1000, 10_000):
            source = video(Path(folder, f"{frames}.mp4"), frames)
            words = [str(source), "--model", str(model), "--out", str(Path(folder, str(frames)))]
            seconds, peak = subprocess.run(
                [sys.executable, "-c", RUN, *words], check=True, stdout=subprocess.PIPE, text=True
            ).stdout.split()[-2:]
            rates[f"{frames:,} frames of 640x480"] = [frames / float(seconds), int(peak) / 1024]
    show("A face", "ms", latency, given.json and given.json.with_suffix(".face.json"))
    columns = ["frames a second, start-up included", "peak memory, MiB"]
    show("Video", "see columns", rates, given.json and given.json.with_suffix(".video.json"), columns)


if __name__ == "__main__":
    main()
