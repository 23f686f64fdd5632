from __future__ import annotations

import cv2
import numpy as np
import pytest

from fer.data.images import read_image
from fer.errors import UserError
from fer.predict.detect import MIN_FACE, Haar, Whole, crop, detector
from tests.predict.conftest import ASTRONAUT


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return read_image(ASTRONAUT)


def test_the_face_is_found_where_it_is(astronaut):
    boxes, confidence = Haar()(astronaut, MIN_FACE)
    assert len(boxes) == 1
    left, top, width, height = boxes[0]
    assert width == height
    assert (abs(left + width / 2 - 224), abs(top + height / 2 - 114)) < (8, 8)  # the nose
    assert 80 < width < 120
    assert confidence.dtype == np.float32
    assert confidence[0] > 1


@pytest.mark.parametrize("scale", [0.5, 2, 5])
def test_the_square_grows_with_the_picture(astronaut, scale):
    expected = Haar()(astronaut, MIN_FACE).boxes[0]
    resized = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(Haar()(resized, MIN_FACE).boxes[0] / scale, expected, atol=0.15 * expected[2])


def test_the_smallest_face_is_a_share_of_the_shorter_side(astronaut):
    assert len(Haar()(astronaut, 0.15).boxes) == 1
    assert len(Haar()(astronaut, 0.3).boxes) == 0


def test_colour_and_grey_give_the_same_square(astronaut):
    grey = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(Haar()(grey, MIN_FACE).boxes, Haar()(astronaut, MIN_FACE).boxes)


def test_no_face_no_square(noise):
    assert Haar()(np.full((200, 300), 128, np.uint8), MIN_FACE).boxes.shape == (0, 4)


def test_whole_takes_every_picture_as_it_is(noise):
    boxes, confidence = Whole()(noise(0, 30, 40, 3), MIN_FACE)
    assert boxes.tolist() == [[0, 0, 40, 30]]
    assert confidence.tolist() == [1.0]


def test_a_crop_is_what_numpy_cuts_with_the_edge_repeated(noise):
    image = noise(1, 60, 80)
    padded = np.pad(image, 48, mode="edge")
    for left, top in ((10, 5), (-20, 3), (60, -30), (55, 40), (-10, -10)):
        expected = padded[top + 48 : top + 96, left + 48 : left + 96]
        np.testing.assert_array_equal(crop(image, np.array([left, top, 48, 48]), 48, 1), expected)
    colour = crop(noise(2, 60, 80, 3), np.array([-5, -5, 100, 100]), 48, 3)
    assert colour.shape == (48, 48, 3)


def test_a_detector_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no face detector yunet: expected haar, whole, or the file of a YuNet model"):
        detector("yunet")
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"other\.onnx is no YuNet model"):
        detector(tmp_path / "other.onnx")
