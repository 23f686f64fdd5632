"""From pictures to faces and emotions, in Python: `fer.load(model).predict(image)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.data.images import pixels, read_image
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.predict import network as networks
from fer.predict.detect import MIN_FACE, MIN_FACE_MOVING, Detector, crop, detector
from fer.predict.network import Network

Picture: TypeAlias = NDArray[Any] | Image.Image | str | Path
"""An array (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, of uint8 or uint16; a PIL image; or a file."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a picture.

    Args:
        box: Left, top, width and height of the square that the network saw, pixels; may reach beyond the picture.
        confidence: How sure the detector is that this is a face, on its own scale (see `fer.predict.detect`).
        probabilities: Probability of each emotion in the order of `fer.EMOTIONS`, float32 (7,), summing to 1.
        image: What the network saw, uint8 (S, S) grey or (S, S, 3) RGB.
    """

    box: tuple[int, int, int, int]
    confidence: float
    probabilities: NDArray[np.float32]
    image: NDArray[np.uint8]

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return EMOTIONS[int(self.probabilities.argmax())]


class Predictor:
    """Finds faces and says what they show.

    Args:
        network: A trained network.
        detector: Finds the faces.
        min_face: Smallest face looked for, as a share of the shorter side; None takes 0.05 in pictures and 0.1 in videos.

    Raises:
        UserError: `min_face` is no such share.
    """

    def __init__(self, network: Network, detector: Detector, min_face: float | None = None) -> None:
        if min_face is not None and not 0 < min_face <= 1:
            raise UserError(f"a smallest face of {min_face}: expected a share of the shorter side, above 0 and up to 1")
        self.network, self.detector, self.min_face = network, detector, min_face
        self.image_size, self.channels = int(network.recipe["image"]["size"]), int(network.recipe["image"]["channels"])

    @overload
    def predict(self, images: Picture) -> list[Face]: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, images: Sequence[Picture]) -> list[list[Face]]: ...

    def predict(self, images: Picture | Sequence[Picture]) -> list[Face] | list[list[Face]]:
        """Finds every face and its emotion; the network sees the faces of all pictures in batches.

        Args:
            images: One picture or a list of them (see `Picture`).

        Returns:
            The faces of the picture, the largest first; for a list of pictures, such a list for each.

        Raises:
            UserError: A file is no picture or damaged, or an array has another shape or dtype.
        """
        if isinstance(images, list | tuple):
            return self.classify([self.find(as_array(image)) for image in images])
        return self.classify([self.find(as_array(images))])[0]  # type: ignore[arg-type]

    def find(self, image: NDArray[np.uint8], moving: bool = False) -> list[Face]:
        """Finds the faces of one picture; their probabilities are yet to come (empty).

        Args:
            image: uint8 (H, W) grey or (H, W, 3) RGB.
            moving: Whether it is a video's frame.
        """
        boxes, confidence = self.detector(image, self.min_face or (MIN_FACE_MOVING if moving else MIN_FACE))
        nothing = np.zeros(0, np.float32)
        return [
            Face((box[0], box[1], box[2], box[3]), score, nothing, crop(image, box, self.image_size, self.channels))
            for box, score in zip(boxes.tolist(), confidence.tolist(), strict=True)
        ]

    def classify(self, found: list[list[Face]]) -> list[list[Face]]:
        """Fills in the probabilities of the faces that were found in several pictures, in few large batches."""
        images = [face.image for faces in found for face in faces]
        if not images:
            return found
        probabilities = iter(self.network(np.stack(images)))
        return [[Face(face.box, face.confidence, next(probabilities), face.image) for face in faces] for faces in found]

    def explain(self, faces: Sequence[Face]) -> NDArray[np.float32]:
        """Says which parts of each face spoke for its emotion (Grad-CAM).

        Returns:
            float32 (N, S, S) in 0..1; see `fer.model.explain.gradcam`.

        Raises:
            UserError: The model is an ONNX file, which has no gradients.
        """
        if not isinstance(self.network, networks.TorchNetwork):
            raise UserError("Grad-CAM needs gradients, which an ONNX file has not: load the run folder or the checkpoint")
        from fer.model.explain import gradcam

        images, emotion = [face.image for face in faces], [int(face.probabilities.argmax()) for face in faces]
        shape = (0, self.image_size, self.image_size)
        return gradcam(self.network.module, np.stack(images), np.array(emotion)) if images else np.zeros(shape, np.float32)


def load(
    model: str | Path | None = None,
    faces: str | Path | Detector = "haar",
    min_face: float | None = None,
    device: str | None = None,
) -> Predictor:
    """Loads a trained model.

    Args:
        model: A run folder, a checkpoint, or an ONNX file of `fer.export`; None takes the model that comes with the
            project.
        faces: How faces are found: "haar", the file of a YuNet model, "whole" for pictures that are crops already, or
            a detector of your own.
        min_face: Smallest face looked for, as a share of the shorter side; None takes 0.05 in pictures and 0.1 in videos.
        device: Where PyTorch runs the network, such as "cuda"; None takes a GPU if there is one.

    Raises:
        UserError: There is no such model or detector, or it cannot be read.
    """
    found = detector(faces) if isinstance(faces, str | Path) else faces
    return Predictor(networks.read(model, device), found, min_face)


def as_array(image: Picture) -> NDArray[np.uint8]:
    """Gives a picture of any kind as uint8 (H, W) grey or (H, W, 3) RGB.

    Raises:
        UserError: A file is no picture or damaged, or an array has another shape or dtype.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return pixels(image)
    array = np.asarray(image)
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (1, 3, 4))
        or not array.size
    ):
        raise UserError(
            f"a picture of {array.dtype} {array.shape}: expected uint8 or uint16, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA"
        )
    if array.ndim == 3 and array.shape[2] == 4:
        return pixels(Image.fromarray(array))
    return array[..., 0] if array.shape[2:] == (1,) else array
