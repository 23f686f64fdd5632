"""How FER2013 frames a face, seen by each detector: `python tests/bench/crops.py data/fer2013 [YuNet model file]`.

Pastes FER2013's test images (PrivateTest) into larger pictures and compares the squares of `fer.predict.detect` with where
the images lie. The medians of the last lines are what `side` and `down` of a detector are multiplied with and added to;
with the right constants they are 1 and 0. The last line says how often the model that comes along sees the same emotion in
what was found as in the image itself.

2026-11-25, 3,000 images of 48 to 288 pixels in pictures of 640x480, opencv 4.14, with the constants in place:

    Haar cascade: found 0.726, false 0.015 a picture
      side  median  1.004, 10 to 90 %:  0.862 to  1.231
      right median  0.000, 10 to 90 %: -0.041 to  0.062
      down  median  0.003, 10 to 90 %: -0.028 to  0.071
      same emotion: 0.917 of them, 0.936 of the 95% it is more than half sure of, 0.996 of the half that it is surest of
    YuNet: found 0.883, false 0.002 a picture
      side  median  1.011, 10 to 90 %:  0.829 to  1.263
      right median -0.002, 10 to 90 %: -0.058 to  0.063
      down  median  0.000, 10 to 90 %: -0.056 to  0.076
      same emotion: 0.909 of them, 0.929 of the 95% it is more than half sure of, 0.994 of the half that it is surest of
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from numpy.typing import NDArray

import fer
from fer.data.fer2013 import FER2013
from fer.data.images import progress
from fer.predict.predictor import Face, Predictor


def pasted(face: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
    """Puts a face into a smooth grey picture, 640x480; gives the picture and the face's left, top and side."""
    side = 48 * int(rng.integers(1, 7))
    coarse = rng.integers(60, 200, (4, 5), np.uint8)
    picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    left, top = int(rng.integers(640 - side)), int(rng.integers(480 - side))
    picture[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    return picture, (left, top, side)


def measure(predictor: Predictor, faces: NDArray[np.uint8]) -> None:
    rng, rows, wrong, seen = np.random.default_rng(0), [], 0, dict[int, Face]()
    for number, face in enumerate(progress(faces, predictor.detector.name, len(faces))):
        picture, (left, top, side) = pasted(face, rng)
        found = predictor.find(picture)
        boxes = np.array([face.box for face in found]).reshape(-1, 4)
        centres = (boxes[:, :2] + boxes[:, 2:] / 2 - (left, top)) / side
        hits = np.flatnonzero((np.abs(centres - 0.5) < 0.3).all(1) & (boxes[:, 2] > side * 0.4))
        wrong += len(boxes) - min(len(hits), 1)
        for hit in hits[:1]:
            seen[number] = found[hit]
            rows.append(np.array([1, *(0.5 - centres[hit])]) * side / boxes[hit, 2])
    print(f"{predictor.detector.name}: found {len(seen) / len(faces):.3f}, false {wrong / len(faces):.3f} a picture")
    for name, values in zip(("side", "right", "down"), np.array(rows).T, strict=True):
        low, middle, high = np.percentile(values, [10, 50, 90])
        print(f"  {name:5} median {middle:6.3f}, 10 to 90 %: {low:6.3f} to {high:6.3f}")
    expected = predictor.network(faces[list(seen)])
    given = np.array([face.probabilities for (face,) in predictor.classify([[face] for face in seen.values()])])
    same, confidence = given.argmax(1) == expected.argmax(1), expected.max(1)
    sure, surest = confidence > 0.5, confidence >= np.median(confidence)
    print(
        f"  same emotion: {same.mean():.3f} of them, {same[sure].mean():.3f} of the {sure.mean():.0%} it is more than half sure "
        f"of, {same[surest].mean():.3f} of the half that it is surest of"
    )


def main() -> None:
    data = FER2013(sys.argv[1]).read(48, 1, "stop")
    test = data.images[(data.table["usage"] == "PrivateTest").to_numpy()]
    faces = test[np.random.default_rng(0).permutation(len(test))[:3000]]
    for detector in ("haar", *sys.argv[2:]):
        measure(fer.load(faces=detector), faces)


if __name__ == "__main__":
    main()
