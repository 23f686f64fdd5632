"""Finds faces. Whatever the detector, a face's square is cut as FER2013 cuts it, which is what the networks were trained on.

Detectors frame faces each in their own way. `tests/bench/crops.py` pastes FER2013's images into larger pictures and
compares what a detector frames with where the image lies; its medians are the constants below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, NamedTuple, Protocol, TypeVar

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from fer.data.images import fit
from fer.errors import UserError

T = TypeVar("T")

MIN_FACE, MIN_FACE_MOVING = 0.05, 0.1
"""Height of the smallest face looked for, as a share of the shorter side: of a picture, and of a video's frame. In 640x480
the latter is 48 pixels, what networks see anyway, and looking for it takes a quarter of the time."""

_WINDOW = 24  # pixels: Haar's window, and about the smallest face YuNet was trained on


class Detections(NamedTuple):
    """Faces of one picture, the largest first.

    Args:
        boxes: int64 (N, 4): left, top, width and height of each face in pixels; may reach beyond the picture.
        confidence: float32 (N,): how sure the detector is, on its own scale.
    """

    boxes: NDArray[np.int64]
    confidence: NDArray[np.float32]


class Detector(Protocol):
    """Finds the faces of one picture; may be called from several threads."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    def __call__(self, image: NDArray[np.uint8], min_face: float) -> Detections:
        """Finds faces.

        Args:
            image: uint8 (H, W) grey or (H, W, 3) RGB.
            min_face: Smallest face to look for, as a share of the shorter side. Pictures are shrunk as far as this
                allows, so that the time depends little on their size.
        """


class _Idle(Generic[T]):
    """Lends out things that two threads may not share, as many as are used at once.

    Args:
        make: Makes one more.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._idle = make, SimpleQueue[T]()

    @contextmanager
    def borrowed(self) -> Iterator[T]:
        """Gives one that nobody else uses meanwhile."""
        try:
            thing = self._idle.get_nowait()
        except Empty:
            thing = self._make()
        yield thing
        self._idle.put(thing)


class Haar:
    """OpenCV's cascade of Haar features (Viola & Jones, 2001) for upright, frontal faces. Its files come with OpenCV.

    Its confidence is the last stage's sum: about 0 to 10, larger is surer.

    Args:
        neighbors: How many overlapping windows must agree.
        threshold: Lowest confidence that counts.
    """

    name = "Haar cascade (finds 73 % of FER2013's test images in larger pictures)"
    _SIDE, _DOWN = 1.03, 0.0  # see the module's docstring

    def __init__(self, neighbors: int = 5, threshold: float = 1.0) -> None:
        self._neighbors, self._threshold = neighbors, threshold
        file = str(Path(cv2.data.haarcascades, "haarcascade_frontalface_default.xml"))
        self._cascades = _Idle(lambda: cv2.CascadeClassifier(file))

    def __call__(self, image: NDArray[np.uint8], min_face: float) -> Detections:
        """See `Detector`."""
        small, scale = _shrunk(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image, min_face)
        side = max(_WINDOW, round(min_face * min(small.shape)))
        with self._cascades.borrowed() as cascade:
            found, _, sums = cascade.detectMultiScale3(small, 1.1, self._neighbors, minSize=(side, side), outputRejectLevels=True)
        confidence = np.reshape(sums, -1)
        sure = confidence >= self._threshold
        return _squares(np.reshape(found, (-1, 4))[sure] / scale, confidence[sure], self._SIDE, self._DOWN)


class YuNet:
    """YuNet (Wu et al., 2023) through OpenCV: faces turned, tilted and half hidden too. Needs its model file.

    Its confidence is a score in 0..1.

    Args:
        file: face_detection_yunet_2023mar.onnx or its like, of the OpenCV zoo.
        threshold: Lowest confidence that counts.

    Raises:
        UserError: The file is not there, or is no YuNet model.
    """

    name = "YuNet (finds 88 % of FER2013's test images in larger pictures)"
    _SIDE, _DOWN = 1.08, -0.02  # see the module's docstring

    def __init__(self, file: str | Path, threshold: float = 0.6) -> None:
        if not Path(file).is_file():
            raise UserError(f"there is no face detector {file}: expected haar, whole, or the file of a YuNet model (.onnx)")
        self._networks = _Idle(lambda: cv2.FaceDetectorYN.create(str(file), "", (320, 320), threshold, 0.3, 5000))
        try:
            with self._networks.borrowed() as network:
                network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error:
            raise UserError(f"{file} is no YuNet model: expected one such as face_detection_yunet_2023mar.onnx") from None

    def __call__(self, image: NDArray[np.uint8], min_face: float) -> Detections:
        """See `Detector`."""
        small, scale = _shrunk(image, min_face)
        bgr = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR if small.ndim == 2 else cv2.COLOR_RGB2BGR)
        with self._networks.borrowed() as network:
            network.setInputSize((bgr.shape[1], bgr.shape[0]))
            found = network.detect(bgr)[1]
        found = np.zeros((0, 15), np.float32) if found is None else found
        return _squares(found[:, :4] / scale, found[:, 14], self._SIDE, self._DOWN)


class Whole:
    """Takes every picture for one face, for pictures that are crops already."""

    name = "none (whole pictures)"

    def __call__(self, image: NDArray[np.uint8], min_face: float) -> Detections:
        """See `Detector`."""
        height, width = image.shape[:2]
        return Detections(np.array([[0, 0, width, height]], np.int64), np.ones(1, np.float32))


def detector(faces: str | Path) -> Detector:
    """Makes a detector of what users call it: "haar", "whole", or the file of a YuNet model.

    Raises:
        UserError: It is none of these.
    """
    kinds: dict[str, Callable[[], Detector]] = {"haar": Haar, "whole": Whole}
    return kinds.get(str(faces), lambda: YuNet(faces))()


def crop(image: NDArray[np.uint8], box: NDArray[np.int64], image_size: int, channels: int) -> NDArray[np.uint8]:
    """Cuts one face out and brings it to the size a network takes, by the very function that training faces went through.

    Args:
        image: uint8 (H, W) grey or (H, W, 3) RGB.
        box: Left, top, width and height, pixels; beyond the picture its edge is repeated.
        image_size: Height and width of the face, pixels.
        channels: 1 or 3.

    Returns:
        uint8 (image_size, image_size[, 3]).
    """
    left, top, right, bottom = int(box[0]), int(box[1]), int(box[0] + box[2]), int(box[1] + box[3])
    height, width = image.shape[:2]
    cut = image[max(top, 0) : bottom, max(left, 0) : right]
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if any(beyond):
        cut = cv2.copyMakeBorder(cut, *beyond, cv2.BORDER_REPLICATE)
    return fit(np.ascontiguousarray(cut), image_size, channels)


def _shrunk(image: NDArray[np.uint8], min_face: float) -> tuple[NDArray[np.uint8], float]:
    """Shrinks a picture until the smallest face wanted fills the detector's window; gives it and the factor."""
    height, width = image.shape[:2]
    scale = _WINDOW / (min_face * min(height, width))
    if scale >= 1:
        return image, 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def _squares(boxes: NDArray[np.float64], confidence: NDArray[np.float64], side: float, down: float) -> Detections:
    """Makes FER2013's squares of what a detector framed.

    Args:
        boxes: Left, top, width and height, float (N, 4).
        confidence: float (N,).
        side: Side of the square over the frame's (geometric mean of width and height).
        down: By how much of its side the square's centre lies below the frame's.
    """
    sides = side * np.sqrt(boxes[:, 2] * boxes[:, 3])
    centres = boxes[:, :2] + boxes[:, 2:] / 2 + np.stack([np.zeros_like(sides), down * sides], 1)
    squares = np.column_stack([centres - sides[:, None] / 2, sides, sides]).round().astype(np.int64)
    order = np.argsort(-squares[:, 2], kind="stable")
    return Detections(squares[order], confidence.astype(np.float32)[order])
