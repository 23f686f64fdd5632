from __future__ import annotations

from itertools import combinations

import networkx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from fer import thesis
from fer.data.audit import seen
from fer.data.balance import LossWeights, NoBalance, Sampler, ThesisBalance, peak_frames
from fer.data.faces import Faces
from fer.data.split import OfficialSplit, SubjectSplit, ThesisSplit, linked
from fer.emotions import EMOTIONS
from fer.errors import UserError
from tests.conftest import make_faces, tempting

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


def on_both_sides(faces, one, other):
    """Persons, sequences and images that stand in both, found with plain sets."""
    table = faces.table
    shared = set(table["digest"].iloc[one]) & set(table["digest"].iloc[other])
    for column in ("subject", "sequence"):
        named = [set(zip(part["source"], part[column], strict=True)) for part in (table.iloc[one], table.iloc[other])]
        shared |= {pair for pair in named[0] & named[1] if pair[1]}
    return shared


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(3, 12), st.sampled_from(["peak", "all"]))
def test_subject_split_leaves_no_person_sequence_or_image_on_two_sides(seed, folds, test_frames):
    faces = tempting(seed)
    for fold in (0, folds - 1):
        try:
            parts = SubjectSplit(folds, fold, test_frames)(faces, seed)
        except UserError:  # so many links that a fold stays empty
            continue
        for one, other in combinations(parts.rows.values(), 2):
            assert not on_both_sides(faces, one, other)
        used = np.sort(np.concatenate(list(parts.rows.values())))
        assert len(np.unique(used)) == len(used) == len(faces) - sum(parts.dropped.values())
        if test_frames == "peak":
            assert set(parts.test) | set(parts.val) <= set(peak_frames(faces))
            assert seen(faces.table.iloc[np.concatenate([parts.train, parts.val])], faces.table.iloc[parts.test]).tolist() == [
                ""
            ] * len(parts.test)


@pytest.mark.parametrize("split", [ThesisSplit(), OfficialSplit(), SubjectSplit()])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_counts_as_clean_stands_nowhere_else_whatever_the_split(split, seed):
    faces = tempting(seed, faces=900)
    parts = split(faces, seed)
    others = np.concatenate([parts.train, parts.val])
    marks = seen(faces.table.iloc[others], faces.table.iloc[parts.test])
    clean, rest = parts.test[marks == ""], parts.test[marks != ""]
    assert not on_both_sides(faces, others, clean)
    assert all(on_both_sides(faces, others, [row]) for row in rest)
    assert (len(rest) == 0) == isinstance(split, SubjectSplit)  # the data is tempting enough for the others to fail


def test_linked_groups_are_the_connected_components():
    faces = tempting(3)
    graph = networkx.Graph()
    for row in faces.table.itertuples():
        names = [("image", row.digest), ("person", row.source, row.subject), ("sequence", row.source, row.sequence)]
        graph.add_edges_from((row.Index, name) for name in names if name[-1])
    expected = {frozenset(node for node in part if isinstance(node, int)) for part in networkx.connected_components(graph)}
    groups = pd.Series(range(len(faces))).groupby(linked(faces)).apply(frozenset)
    assert set(groups) == expected


def test_folds_test_every_face_once_and_are_stratified():
    faces = make_faces({"fer2013": (100, 50, 7, 31, 90, 40, 60), "kdef": (10,) * 7})
    table = faces.table.assign(subject=faces.table["subject"].where(faces.table["source"] == "kdef", ""))
    faces = Faces(faces.images, table)
    tested = []
    for fold in range(10):
        parts = SubjectSplit(10, fold)(faces, seed=5)
        tested.append(parts.test)
        counts = faces.counts(parts.test).reindex(["fer2013", "kdef"], fill_value=0)
        total = faces.counts().reindex(["fer2013", "kdef"])
        assert (counts.sub(total / 10).abs() < 1).to_numpy().all()
        assert faces.table["subject"].iloc[parts.test].replace("", pd.NA).dropna().unique().size == 1
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(len(faces)))


@pytest.mark.parametrize(("folds", "fold"), [(2, 0), (10, 10), (10, -1)])
def test_a_fold_that_is_none_is_refused(folds, fold):
    with pytest.raises(UserError, match=r"expected 3 or more folds"):
        SubjectSplit(folds, fold)(make_faces({"kdef": (5,) * 7}), seed=0)


def test_too_few_people_for_the_folds_is_said():
    faces = make_faces({"kdef": (2,) * 7})
    with pytest.raises(UserError, match="14 faces, in 2 groups of one person or linked people, cannot be cut into 10 folds"):
        SubjectSplit()(faces, seed=0)


def test_sampler_draws_every_class_equally_often_and_loss_weights_are_scikit_learns():
    faces = make_faces({"fer2013": (40, 30, 2, 25, 60, 0, 11)})
    selection = Sampler()(faces, seed=0)
    per_class = pd.Series(selection.chances).groupby(faces.emotion).sum()
    np.testing.assert_allclose(per_class, 1 / 6)
    assert len(selection.rows) == len(faces)
    weights = LossWeights()(faces, seed=0).loss_weights
    present = np.unique(faces.emotion)
    expected = compute_class_weight("balanced", classes=present, y=faces.emotion)
    np.testing.assert_allclose(weights[present], expected, rtol=1e-6)
    assert weights[5] == 0
    for balance in (Sampler(before_split=True), LossWeights(before_split=True)):
        with pytest.raises(UserError, match="concerns the training part only"):
            balance(faces, seed=0)
