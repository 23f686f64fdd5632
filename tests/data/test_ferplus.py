from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer.data import cache
from fer.data.faces import Faces
from fer.data.fer2013 import FER2013
from fer.emotions import EMOTIONS
from fer.errors import UserError
from tests.conftest import make_faces, write_csv

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
VOTES = [
    ("Training", 6, 4, 0, 0, 0, 0, 0, 0, 0, 0),  # neutral
    ("Training", 4, 3, 3, 0, 0, 0, 0, 0, 0, 0),  # no majority
    ("PublicTest", 0, 0, 0, 0, 0, 0, 0, 0, 0, 10),  # no face
    ("PrivateTest", 1, 0, 0, 0, 0, 0, 0, 6, 3, 0),  # contempt
    ("PrivateTest", 0, 0, 0, 0, 8, 0, 0, 2, 0, 0),  # angry
]


@pytest.fixture
def root(tmp_path, noise) -> Path:
    write_csv(tmp_path / "fer2013.csv", [(0, noise(n), votes[0]) for n, votes in enumerate(VOTES)])
    write_csv(tmp_path / "fer2013new.csv", [(votes[0], f"fer{n}.png", *votes[1:]) for n, votes in enumerate(VOTES)], HEADER)
    return tmp_path


def names(faces: Faces) -> list[str]:
    return [EMOTIONS[label] for label in faces.emotion]


def test_majority_takes_what_more_than_half_saw_and_counts_the_rest(root):
    faces = FER2013(str(root), labels="majority").read(48, 1, "stop")
    assert names(faces) == ["neutral", "angry"]
    assert faces.votes is None
    reasons = dict(zip(faces.left_out["file"], faces.left_out["reason"], strict=True))
    assert reasons["fer2013.csv:3"] == "no emotion has more than half of FER+'s votes"
    assert reasons["fer2013.csv:4"] == "no face, by FER+'s votes"
    assert reasons["fer2013.csv:5"] == "most of FER+'s votes are for none of the seven emotions"


def test_votes_are_shares_of_the_seven_emotions(root):
    faces = FER2013(str(root), labels="votes").read(48, 1, "stop")
    assert names(faces) == ["neutral", "neutral", "angry"]
    shares = [dict(zip(EMOTIONS, row, strict=True)) for row in faces.votes.tolist()]
    assert shares[0]["neutral"] == pytest.approx(0.6)
    assert shares[0]["happy"] == pytest.approx(0.4)
    assert shares[2]["angry"] == 1  # contempt's two votes are set aside
    np.testing.assert_allclose(faces.votes.sum(1), 1)


def test_votes_go_through_the_cache_and_other_sets_get_certain_ones(root, tmp_path):
    reader = FER2013(str(root), labels="votes")
    first, again = (cache.read(reader, 48, 1, "stop", str(tmp_path / "cache")) for _ in range(2))
    np.testing.assert_array_equal(first.votes, again.votes)
    other = make_faces({"kdef": (1,) * 7})
    both = Faces.concatenate([again, Faces(np.zeros((7, 48, 48), np.uint8), other.table)])
    np.testing.assert_array_equal(both.votes[3:], np.eye(7))
    assert both.select(np.array([0, 9])).votes.shape == (2, 7)


def test_rows_keep_their_votes_when_a_damaged_row_is_left_out(root, noise):
    rows = [(0, noise(n), votes[0]) for n, votes in enumerate(VOTES)]
    rows[1] = (9, *rows[1][1:])
    write_csv(root / "fer2013.csv", rows)
    faces = FER2013(str(root), labels="votes").read(48, 1, "skip")
    assert names(faces) == ["neutral", "angry"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "fer2013new.csv").unlink(), "no FER\\+ votes in"),
        (lambda root: (root / "fer2013new.csv").write_text(HEADER + "\n" + "Training,a" + ",1" * 10 + "\n"), "do not belong"),
        (lambda root: (root / "fer2013new.csv").write_text("Usage,unknown,NF\n"), "has no column for"),
        (lambda root: (root / "fer2013new.csv").write_text(HEADER + "\nTraining,a" + ",x" * 10 + "\n"), "no whole numbers"),
    ],
)
def test_votes_that_do_not_fit_are_refused(root, change, message):
    change(root)
    with pytest.raises(UserError, match=message):
        FER2013(str(root), labels="majority").read(48, 1, "stop")
