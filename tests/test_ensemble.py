"""`python -m fer.ensemble`: runs of one data set that predict together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from fer.emotions import EMOTIONS
from fer.predict import network as networks
from tests.conftest import REPOSITORY, run_here
from tests.test_train import SMALL


@pytest.fixture(scope="module")
def runs(demo, tmp_path_factory) -> list[Path]:
    """Two networks of one split, and one of another split."""
    folder = tmp_path_factory.mktemp("members")
    words = ["trainer=cpu", "data.scale=null", f"data.root={demo}", "dataset=[kdef,ckplus]", "epochs=2"]
    for name, more in (("a", [*SMALL, "tta=flip"]), ("b", ["model=small", "test=best"]), ("c", [*SMALL, "seed=1"])):
        result = run_here(REPOSITORY / "train.py", *words, *more, f"hydra.run.dir={name}", cwd=folder)
        assert result.returncode == 0, result.stderr
    return [folder / name for name in "abc"]


def test_an_ensemble_averages_probabilities_and_is_used_like_a_run(runs, tmp_path):
    result = run_here("-m", "fer.ensemble", runs[0], runs[1], "--out", "both", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    result = run_here(REPOSITORY / "eval.py", "run=both", "hydra.run.dir=eval", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    keys = ["source", "file"]
    tables = [pd.read_csv(folder / "predictions.csv").set_index(keys) for folder in (*runs[:2], tmp_path / "eval")]
    one, other, both = (table[list(EMOTIONS)].to_numpy() for table in tables)
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-5)
    metrics = json.loads((tmp_path / "eval/metrics.json").read_text())
    assert metrics["test"]["combined"]["accuracy"] == pytest.approx(
        accuracy_score(tables[2]["emotion"], both_names(both)), abs=1e-6
    )
    assert metrics["seen"]["combined"] == json.loads((runs[0] / "metrics.json").read_text())["seen"]["combined"]
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    each = [networks.read(folder)(faces) for folder in runs[:2]]
    np.testing.assert_allclose(networks.read(tmp_path / "both")(faces), np.mean(each, axis=0), atol=1e-6)


def both_names(probabilities: np.ndarray) -> np.ndarray:
    return np.array(EMOTIONS)[probabilities.argmax(1)]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("a", "an ensemble of 1: name two runs or more"),
        ("a c", "c was trained, validated or tested on other faces than a: join runs of the same data and split"),
        ("a none", "run=none: that is no run folder"),
        ("a b --out a", "--out a exists already: name another folder"),
    ],
)
def test_what_cannot_be_joined_is_one_sentence(runs, tmp_path, members, message):
    for run in runs:
        shutil.copytree(run, tmp_path / run.name)
    words = members.split() if "--out" in members else [*members.split(), "--out", "new"]
    before = sorted(tmp_path.rglob("*"))
    result = run_here("-m", "fer.ensemble", *words, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
