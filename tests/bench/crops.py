"""How FER2013 frames a face, seen by each detector: `python tests/bench/crops.py data/fer2013 [YuNet model file]`.

Pastes FER2013's test images (PrivateTest) into larger pictures and compares the squares of `fer.predict.detect` with where
the images lie. The medians of the last lines are what `side` and `down` of a detector are multiplied with and added to;
with the right constants they are 1 and 0.

2026-11-24, 1,000 images of 48 to 288 pixels in pictures of 640x480, opencv 4.14, with the constants in place:

    Haar cascade: found 0.723, false 0.023 a picture
      side  median  1.000, 10 to 90 %:  0.857 to  1.206
      right median  0.000, 10 to 90 %: -0.037 to  0.057
      down  median  0.004, 10 to 90 %: -0.028 to  0.069
    YuNet: found 0.878, false 0.001 a picture
      side  median  1.005, 10 to 90 %:  0.823 to  1.263
      right median -0.004, 10 to 90 %: -0.058 to  0.056
      down  median  0.001, 10 to 90 %: -0.056 to  0.077
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.data.fer2013 import FER2013
from fer.data.images import progress
from fer.predict.detect import MIN_FACE, Detector, Haar, YuNet


def pasted(face: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
    """Puts a face into a smooth grey picture, 640x480; gives the picture and the face's left, top and side."""
    side = 48 * int(rng.integers(1, 7))
    coarse = rng.integers(60, 200, (4, 5), np.uint8)
    picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    left, top = int(rng.integers(640 - side)), int(rng.integers(480 - side))
    picture[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    return picture, (left, top, side)


def measure(detector: Detector, faces: NDArray[np.uint8]) -> None:
    rng, rows, wrong = np.random.default_rng(0), [], 0
    for face in progress(faces, detector.name, len(faces)):
        picture, (left, top, side) = pasted(face, rng)
        boxes = detector(picture, MIN_FACE).boxes
        centres = (boxes[:, :2] + boxes[:, 2:] / 2 - (left, top)) / side
        hits = np.flatnonzero((np.abs(centres - 0.5) < 0.3).all(1) & (boxes[:, 2] > side * 0.4))
        wrong += len(boxes) - min(len(hits), 1)
        rows += [(side / boxes[hit, 2], (0.5 - centres[hit, 0]) * side / boxes[hit, 2],
                  (0.5 - centres[hit, 1]) * side / boxes[hit, 2]) for hit in hits[:1]]  # fmt: skip
    found = np.array(rows)
    print(f"{detector.name}: found {len(found) / len(faces):.3f}, false {wrong / len(faces):.3f} a picture")
    for name, values in zip(("side", "right", "down"), found.T, strict=True):
        low, middle, high = np.percentile(values, [10, 50, 90])
        print(f"  {name:5} median {middle:6.3f}, 10 to 90 %: {low:6.3f} to {high:6.3f}")


def main() -> None:
    data = FER2013(sys.argv[1]).read(48, 1, "stop")
    test = data.images[(data.table["usage"] == "PrivateTest").to_numpy()]
    faces = test[np.random.default_rng(0).permutation(len(test))[:1000]]
    for detector in (Haar(), *(YuNet(file) for file in sys.argv[2:])):
        measure(detector, faces)


if __name__ == "__main__":
    main()
