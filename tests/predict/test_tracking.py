from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.ops import box_iou

from fer.errors import UserError
from fer.predict.predictor import Face
from fer.predict.tracking import Tracker, _overlaps


def face(left: int, top: int = 0, side: int = 50, probabilities=(1, 0, 0, 0, 0, 0, 0)) -> Face:
    return Face((left, top, side, side), 1.0, np.array(probabilities, np.float32), np.zeros((48, 48), np.uint8))


def numbers(tracker: Tracker, faces: list[Face], time: float) -> list[int]:
    return [number for number, _ in tracker.update(faces, time)]


def test_overlaps_are_those_of_torchvision():
    rng = np.random.default_rng(0)
    old, new = (np.c_[rng.integers(-20, 100, (n, 2)), rng.integers(1, 80, (n, 2))] for n in (6, 9))
    corners = [torch.tensor(np.c_[boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]).double() for boxes in (old, new)]
    np.testing.assert_allclose(_overlaps([*map(tuple, old)], [*map(tuple, new)]), box_iou(*corners).numpy(), atol=1e-12)


def test_faces_that_pass_each_other_keep_their_numbers_whatever_order_they_are_found_in():
    tracker = Tracker()
    for step in range(20):
        one, other = face(10 * step), face(200 - 10 * step, top=30)
        found = [one, other] if step % 2 else [other, one]
        given = dict(zip([f.box for f in found], numbers(tracker, found, step / 25), strict=True))
        if step == 0:
            expected = given[one.box], given[other.box]
        assert (given[one.box], given[other.box]) == expected


def test_a_face_may_be_out_of_sight_for_a_moment_but_not_for_long():
    tracker = Tracker()
    assert numbers(tracker, [face(0)], 0.0) == [1]
    assert numbers(tracker, [], 0.2) == []
    assert numbers(tracker, [face(3)], 0.4) == [1]
    assert numbers(tracker, [face(3)], 1.0) == [2]
    assert numbers(tracker, [face(300), face(4)], 1.1) == [3, 2]


def test_smoothing_is_the_exponential_moving_average_of_pandas():
    rng, tracker = np.random.default_rng(0), Tracker(half_life=0.2)
    given = rng.dirichlet(np.ones(7), 30).astype(np.float32)
    smoothed = [tracker.update([face(0, probabilities=p)], i / 25)[0][1].probabilities for i, p in enumerate(given)]
    alpha = 1 - 0.5 ** (1 / 25 / 0.2)
    np.testing.assert_allclose(smoothed, pd.DataFrame(given).ewm(alpha=alpha, adjust=False).mean(), atol=1e-6)
    np.testing.assert_allclose(np.sum(smoothed, axis=1), 1, atol=1e-5)


def test_without_smoothing_probabilities_are_as_they_were():
    tracker = Tracker()
    for time, p in enumerate(np.eye(7)):
        assert tracker.update([face(0, probabilities=p)], time / 25)[0][1].probabilities.tolist() == p.tolist()


def test_a_negative_half_life_is_refused():
    with pytest.raises(UserError, match=r"a smoothing of -1 seconds: expected 0 \(none\) or more"):
        Tracker(-1)
