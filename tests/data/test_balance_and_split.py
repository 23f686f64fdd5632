from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import thesis
from fer.data.balance import NoBalance, ThesisBalance, peak_frames
from fer.data.faces import Faces
from fer.data.split import OfficialSplit, ThesisSplit
from fer.emotions import EMOTIONS
from fer.errors import UserError
from tests.conftest import make_faces

SEQUENCES = (18, 45, 59, 25, 69, 28, 83)
FULL = {"fer2013": (6198, 4953, 547, 5121, 8989, 6077, 4002), "kdef": (70,) * 7, "ckplus": SEQUENCES}

counts = st.lists(st.integers(0, 40), min_size=7, max_size=7)
sets = st.dictionaries(st.sampled_from(["fer2013", "kdef", "ckplus"]), counts, min_size=1)


@pytest.fixture(scope="module")
def full() -> Faces:
    """The thesis's three sets by their counts, CK+ as sequences of three frames."""
    return make_faces(FULL, frames={"ckplus": 3})


def test_full_sets_balance_to_table_3_5_and_split_to_the_thesis(full):
    selection = ThesisBalance()(full, seed=0)
    balanced = full.select(selection.rows)
    corrected = thesis.BALANCED.copy()
    corrected.loc["fer2013", "neutral"] = 588  # the table prints 581 against its own total
    assert balanced.counts().loc[corrected.index].equals(corrected)
    assert selection.dropped == {"other frames of a sequence": 654, "to make the classes equal": 31972}

    parts = ThesisSplit()(balanced, seed=0)
    train, val, test = (balanced.select(rows).counts() for rows in (parts.train, parts.val, parts.test))
    assert [frame.sum().unique().tolist() for frame in (train, val, test)] == [[541], [67], [68]]
    for frame in (val, test):
        assert frame.loc["ckplus"].tolist() == [2, 5, 6, 3, 7, 3, 9]
        assert frame.loc["kdef"].tolist() == [7] * 7


@pytest.mark.parametrize("seed", [0, 1])
def test_the_peak_of_every_sequence_is_kept(full, seed):
    kept = full.table.iloc[ThesisBalance()(full, seed).rows]
    assert kept[kept["source"] == "ckplus"]["file"].str.endswith("_2.png").all()
    assert kept[kept["source"] == "ckplus"]["sequence"].is_unique


def test_seeds_draw_different_faces_and_the_same_seed_the_same(full):
    rows = [ThesisBalance()(full, seed).rows for seed in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


@settings(deadline=None)
@given(sets, st.integers(0, 3))
def test_balance_keeps_as_many_of_each_class_as_the_smallest_has(sizes, seed):
    faces = make_faces(sizes)
    total = np.sum(list(sizes.values()), axis=0)
    if not total.all():
        with pytest.raises(UserError, match="no face shows"):
            ThesisBalance()(faces, seed)
        return
    rows = ThesisBalance()(faces, seed).rows
    assert np.bincount(faces.emotion[rows], minlength=7).tolist() == [total.min()] * 7
    assert len(np.unique(rows)) == len(rows)
    for name in faces.sources[:-1]:  # smaller sets are kept whole wherever they fit
        for label in range(7):
            before = [sizes[other][label] for other in faces.sources[: faces.sources.index(name)]]
            kept = ((faces.emotion[rows] == label) & (faces.table["source"].to_numpy()[rows] == name)).sum()
            assert kept == min(sizes[name][label], max(0, total.min() - sum(before)))


@settings(deadline=None)
@given(sets, st.integers(0, 3))
def test_split_uses_every_face_once_and_rounds_as_stated(sizes, seed):
    faces = make_faces(sizes)
    total = np.sum(list(sizes.values()), axis=0)
    if total.min() < 3:
        with pytest.raises(UserError, match="the split needs 3"):
            ThesisSplit()(faces, seed)
        return
    parts = ThesisSplit()(faces, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([parts.train, parts.val, parts.test])), np.arange(len(faces)))
    assert np.bincount(faces.emotion[parts.test], minlength=7).tolist() == np.ceil(total / 10).astype(int).tolist()
    assert np.bincount(faces.emotion[parts.val], minlength=7).tolist() == np.maximum(1, total // 10).tolist()


def test_a_missing_class_is_named():
    with pytest.raises(UserError, match="no face shows disgust in kdef"):
        ThesisBalance()(make_faces({"kdef": (5, 5, 0, 5, 5, 5, 5)}), seed=0)


def test_peak_frames_leaves_faces_without_a_sequence_alone():
    assert peak_frames(make_faces({"kdef": (2,) * 7})).tolist() == list(range(14))


def test_no_balance_keeps_everything(full):
    assert NoBalance()(full, seed=0).rows.tolist() == list(range(len(full)))


def test_official_split_follows_usage_and_counts_the_rest():
    faces = make_faces({"fer2013": (4,) * 7, "kdef": (1,) * 7})
    usage = ["Training", "Training", "PublicTest", "PrivateTest"] * 7 + [""] * 7
    faces = Faces(faces.images, faces.table.assign(usage=usage))
    parts = OfficialSplit()(faces, seed=0)
    assert [len(parts.train), len(parts.val), len(parts.test)] == [14, 7, 7]
    assert set(faces.table["usage"].iloc[parts.val]) == {"PublicTest"}
    assert parts.dropped == {"in none of FER2013's official parts": 7}


def test_official_split_needs_official_parts():
    with pytest.raises(UserError, match="no face is marked 'Training'"):
        OfficialSplit()(make_faces({"kdef": (1,) * 7}), seed=0)


def test_thesis_numbers_agree_with_each_other():
    assert thesis.FOUND.loc["fer2013"].sum() == 35882
    assert list(thesis.FOUND.columns) == list(EMOTIONS)
    assert thesis.PARTS.to_numpy().sum() == 4734
