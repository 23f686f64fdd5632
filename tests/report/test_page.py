"""`python -m fer.report` on runs of train.py, and its tables on made-up predictions of known metrics."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import accuracy_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from fer import thesis
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.metrics import evaluate
from fer.report import __main__ as command
from fer.report import comparison, page, replication, run
from fer.report.study import collect, study
from tests.conftest import REPOSITORY, run_here, run_program

SMALL = ["model.filters=[4,8]", "model.kernel_sizes=[3,3]", "model.dense=[16]", "trainer=cpu"]


@pytest.fixture(scope="module")
def sweep(demo, tmp_path_factory) -> Path:
    """The demo study with a small network: three optimizers, two lengths, a second seed of one; and its report."""
    folder = tmp_path_factory.mktemp("study")
    words = ["experiment=demo_study", *SMALL, "data.scale=0.05", f"data.root={demo}"]
    one = ["hydra.mode=RUN", "optimizer=adam", "epochs=1", "seed=1", "hydra.run.dir=sweep/6"]
    for others in (["epochs=1,2", "seed=0", "hydra.sweep.dir=sweep"], one):
        result = run_here(REPOSITORY / "train.py", *words, *others, cwd=folder)
        assert result.returncode == 0, result.stderr
    again = run_here("-m", "fer.report", "sweep", "--out", "sweep/report", cwd=folder)
    assert again.returncode == 0, again.stderr
    return folder / "sweep"


def table(report: Path, key: str, *index: str) -> pd.DataFrame:
    frame = pd.read_csv(report / "tables" / f"{key}.csv")
    return frame.set_index(list(index)) if index else frame


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def chosen(sweep: Path, **settings) -> list[Path]:
    """Run folders of the sweep with these settings, found by reading their configuration."""
    found = []
    for record in sorted(sweep.glob("*/config.yaml")):
        config = yaml.safe_load(record.read_text())
        has = {"optimizer": config["optimizer"]["_target_"].rpartition(".")[2], "epochs": config["epochs"], "seed": config["seed"]}
        if all(has[key] == value for key, value in settings.items()):
            found.append(record.parent)
    return found


def test_the_study_shows_every_table_of_the_thesis(sweep):
    report = sweep / "report"
    expected = {"runs", "table_3_4", "table_3_5", "table_3_6", "table_4_3", "table_4_4", "table_4_5", "mcnemar"}
    expected |= {f"{kind}_{name}" for kind in ("confusion_matrix", "classification_report") for name in thesis.SETS}
    assert expected <= {path.stem for path in (report / "tables").glob("*.csv")}
    html, markdown = (report / "index.html").read_text(), (report / "report.md").read_text()
    for key in expected:
        assert f'id="{key}"' in html
        assert f"tables/{key}.csv" in markdown
    assert "What is missing" not in html
    assert "These are drawn faces" in html
    assert "differ from its recipe, the first in model.bn_momentum 0.1 (thesis: 0.01)" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html), "it is one file"
    figures = {path.stem for path in (report / "figures").glob("*.png")}
    assert figures >= {"learning_curves", "table_4_4", "table_4_5", "per_class", "mistakes", "confusion_matrix_combined"}
    assert all(np.asarray(Image.open(path).convert("L")).std() > 5 for path in (report / "figures").glob("*.png"))


def test_every_accuracy_is_the_mean_of_the_runs_metrics(sweep):
    for key, rows in (("table_4_4", "optimizer"), ("table_4_5", "epochs")):
        for _, row in table(sweep / "report", key).iterrows():
            settings = {"optimizer": row[rows], "epochs": 1} if rows == "optimizer" else {"optimizer": "Adam", "epochs": row[rows]}
            tests = [metrics(folder)["test"][row["test set"]] for folder in chosen(sweep, **settings)]
            values = [test["accuracy"] for test in tests]
            assert len(values) == row["runs"] == (2 if settings == {"optimizer": "Adam", "epochs": 1} else 1)
            assert row["ours"] == pytest.approx(np.mean(values))
            assert row["sd"] == pytest.approx(pd.Series(values).std(), nan_ok=True)
            faces = sum(tests[0]["support"])
            assert [row["low"], row["high"]] == pytest.approx(proportion_confint(row["ours"] * faces, faces, 0.05, "wilson"))
            theirs = thesis.OPTIMIZERS[row[rows]] if rows == "optimizer" else thesis.EPOCHS[row["epochs, thesis"]]
            assert row["thesis"] == theirs[row["test set"]]
            assert row["difference"] == pytest.approx(row["ours"] - row["thesis"])


def test_matrices_reports_counts_and_progress_are_those_of_the_runs(sweep):
    first, second = chosen(sweep, optimizer="Adam", epochs=1)
    ours = metrics(first)
    for name in thesis.SETS:
        matrix = table(sweep / "report", f"confusion_matrix_{name}", "true")
        assert matrix.filter(like=", ours").to_numpy().tolist() == ours["test"][name]["confusion_matrix"]
        assert matrix.filter(like=", thesis").to_numpy().tolist() == [list(row) for row in thesis.CONFUSION[name]]
        report = table(sweep / "report", f"classification_report_{name}", "emotion")
        both = [metrics(folder)["test"][name] for folder in (first, second)]
        for metric in ("precision", "recall", "f1"):
            assert report[f"{metric}, ours"].tolist() == ours["test"][name][metric]
            np.testing.assert_allclose(report[f"{metric}, mean"], np.mean([one[metric] for one in both], axis=0))
        right, support = np.diag(ours["test"][name]["confusion_matrix"]), report["support"]
        low, high = proportion_confint(right, support, 0.05, "wilson")
        np.testing.assert_allclose(report["recall, low"], low, atol=1e-6)
        np.testing.assert_allclose(report["recall, high"], high, atol=1e-6)
    for key, stage in (("table_3_4", "found"), ("table_3_5", "balanced")):
        counts = table(sweep / "report", key).set_index("Unnamed: 0")
        for source, row in ours["data"]["counts"][stage].items():
            assert counts.loc[f"{source}, ours", list(EMOTIONS)].tolist() == row
    progress = table(sweep / "report", "table_4_3", "epoch")
    histories = [metrics(folder)["history"] for folder in (first, second)]
    assert progress["val/accuracy, ours"].tolist() == pytest.approx(np.mean([one["val/accuracy"] for one in histories], axis=0))


def test_mcnemar_compares_runs_of_one_seed_that_differ_in_one_setting(sweep):
    frame = table(sweep / "report", "mcnemar")
    # 3 pairs of optimizers at each of 2 lengths, and 2 lengths of each of 3 optimizers; the other seed has one run only
    assert len(frame) == 3 * 2 + 3
    row = frame[(frame["first"] == "Adam, epochs 1") & (frame["second"] == "SGD, epochs 1") & (frame["seed"] == 0)].iloc[0]
    right = []
    for optimizer in ("Adam", "SGD"):
        predictions = pd.read_csv(chosen(sweep, optimizer=optimizer, epochs=1, seed=0)[0] / "predictions.csv").sort_values("file")
        right.append((predictions["emotion"] == predictions["predicted"]).to_numpy())
    cells = pd.crosstab(*right).reindex(index=[True, False], columns=[True, False], fill_value=0)
    assert [row["only first right"], row["only second right"]] == [cells.loc[True, False], cells.loc[False, True]]
    assert row["p"] == pytest.approx(mcnemar(cells.to_numpy(), exact=True).pvalue)


def test_unfinished_failed_and_mixed_runs_are_reported_as_such(sweep, tmp_path, capsys):
    for number, name in ((2, "cut"), (1, "failed"), (0, "whole")):
        shutil.copytree(sweep / str(number), tmp_path / name)
    (tmp_path / "cut" / "metrics.json").unlink()
    (tmp_path / "failed" / "failed.txt").write_text("the disk was full\n\nTraceback ...")
    (tmp_path / "whole" / "predictions.csv").unlink()
    assert {one.name for one in page.write([tmp_path / name for name in ("cut", "failed", "whole")], tmp_path / "report")} == {
        "cut",
        "failed",
    }
    printed = capsys.readouterr().out
    for sentence in (
        "cut: not finished: 1 of 1 epochs are done",
        "failed: failed: the disk was full",
        "Table 4.4: no finished run used SGD, RMSprop",
        "Table 4.5: all finished runs are equally long",
        "Every number is from one seed",
    ):
        assert sentence in printed
        assert sentence in (tmp_path / "report" / "index.html").read_text()
    assert table(tmp_path / "report", "runs")["state"].str.startswith(("finished", "not finished", "failed")).all()

    (tmp_path / "whole" / "metrics.json").write_text("{")
    (tmp_path / "failed" / "failed.txt").unlink()
    (tmp_path / "failed" / "metrics.json").write_text('{"test": {}}')
    page.write([tmp_path], tmp_path / "again")
    printed = capsys.readouterr().out
    assert "/whole: cannot be read" in printed
    assert "/failed: cannot be read: metrics.json was written by another version" in printed
    assert "No run is finished" in printed


@pytest.mark.parametrize(("place", "message"), [("nowhere", "nowhere is no folder"), (".", "holds no run")])
def test_what_holds_no_run_is_one_sentence(tmp_path, monkeypatch, capsys, place, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fer.report", place])
    with pytest.raises(SystemExit) as stop:
        command.main()
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_failed_job_does_not_stop_the_others_even_in_parallel(demo, tmp_path):
    words = ["-m", "optimizer.lr=1e-3,1e-2", f"dataset.kdef.root=nowhere,{demo}/kdef", "epochs=1", "hydra/launcher=parallel"]
    places = ["data.scale=null", f"data.root={demo}", "hydra.sweep.dir=sweep"]
    result = run_program(REPOSITORY / "train.py", *words, *SMALL, *places, cwd=tmp_path)
    assert result.returncode == 1
    failed = {path.parent.name for path in (tmp_path / "sweep").glob("*/failed.txt")}
    assert failed == {"0", "2"}
    assert {path.parent.name for path in (tmp_path / "sweep").glob("*/metrics.json")} == {"1", "3"}
    assert "sweep/0: failed: KDEF: the folder nowhere does not exist" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert "sweep/0: failed" in (tmp_path / "sweep" / "report" / "index.html").read_text()


# -- made-up runs: predictions of known quality, so that a table's numbers can be computed by hand


def write_run(folder: Path, config: dict, skill: float, seen: list[str] | None = None, sets=("fer2013", "kdef"), seed: int = 0):
    """Writes a run folder whose predictions are right with a probability of `skill`."""
    rng = np.random.default_rng(zlib.crc32(folder.name.encode()))
    size = 60 * len(sets)
    truth = np.random.default_rng(seed).integers(0, 7, size)
    guess = np.where(rng.random(size) < skill, truth, rng.integers(0, 7, size))
    probabilities = np.full((size, 7), 0.05, np.float32)
    probabilities[np.arange(size), guess] = 0.7
    files = pd.DataFrame({"emotion": truth, "source": np.repeat(sets, 60), "file": [f"{n:04d}" for n in range(size)]})
    files["digest"] = [f"{seed}-{n}" for n in range(size)]
    frame = run.predictions(files, np.array(seen or [""] * size), probabilities)
    parts = {name: frame[frame["source"] == name] for name in sets} | {"combined": frame}

    def result(rows: pd.DataFrame) -> dict:
        return evaluate(torch.from_numpy(truth[rows.index]), torch.from_numpy(probabilities[rows.index]))

    clean = {name: rows[rows["seen"] == ""] for name, rows in parts.items()}
    content = {
        "tested": "last",
        "epochs": 2,
        "trained": {"val/accuracy": skill},
        "test": {name: result(rows) for name, rows in parts.items()},
        "clean": {name: result(rows) for name, rows in clean.items() if len(rows) < len(parts[name])},
        "seen": {name: rows["seen"].value_counts().drop("", errors="ignore").to_dict() for name, rows in parts.items()},
        "data": {
            "digest": str(seed),
            "drawn": False,
            "counts": {stage: {"kdef": [1] * 7} for stage in ("found", "train", "val", "test")},
        },
        "history": {"epoch": [1, 2]} | {f"{part}/{name}": [0.5, 0.6] for part in ("train", "val") for name in ("loss", "accuracy")},
    }
    folder.mkdir(parents=True)
    run.write_json(folder / "metrics.json", content)
    frame.to_csv(folder / "predictions.csv", index=False)
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"seed": 0, "epochs": 2, "optimizer": {"_target_": "torch.optim.Adam"}} | config)
    )
    return frame


def made(folder: Path) -> dict[str, pd.DataFrame]:
    found = study(collect([folder]))
    return {table.key: table.frame for table in [*replication.tables(found), *comparison.tables(found)]}


def test_folds_are_pooled_and_averaged(tmp_path):
    frames = [write_run(tmp_path / f"r{fold}", {"split": {"fold": fold}}, 0.6, sets=("ckplus",), seed=fold) for fold in range(5)]
    row = made(tmp_path)["folds"].set_index("test set").loc["ckplus"]
    each = [accuracy_score(frame["emotion"], frame["predicted"]) for frame in frames]
    every = pd.concat(frames)
    assert row["folds"] == 5
    assert row["mean"] == pytest.approx(np.mean(each), abs=1e-6)
    assert row["sd"] == pytest.approx(np.std(each, ddof=1), abs=1e-6)
    assert row["all faces"] == pytest.approx(accuracy_score(every["emotion"], every["predicted"]))
    right = (every["emotion"] == every["predicted"]).sum()
    assert [row["low"], row["high"]] == pytest.approx(proportion_confint(right, len(every), 0.05, "wilson"))


def test_cross_dataset_runs_make_a_matrix_and_a_figure(tmp_path):
    frames = {
        name: write_run(tmp_path / "runs" / name, {"data": {"train_on": [name]}}, skill)
        for name, skill in (("fer2013", 0.4), ("kdef", 0.9))
    }
    matrix = made(tmp_path / "runs")["cross_dataset"].set_index("trained on")
    assert list(matrix.index) == ["fer2013", "kdef"]
    for trained, frame in frames.items():
        for tested, rows in frame.groupby("source"):
            assert matrix.loc[trained, tested] == pytest.approx(accuracy_score(rows["emotion"], rows["predicted"]), abs=1e-6)
    page.write([tmp_path / "runs"], tmp_path / "report")
    assert (tmp_path / "report" / "figures" / "cross_dataset.png").is_file()


def test_what_training_has_seen_is_set_apart(tmp_path):
    marks = ["image"] * 10 + ["person"] * 20 + [""] * 90
    frame = write_run(tmp_path / "random", {"split": {"_target_": "fer.data.split.ThesisSplit"}}, 0.7, marks)
    write_run(tmp_path / "subject", {"split": {"_target_": "fer.data.split.SubjectSplit"}}, 0.5)
    found = made(tmp_path)["seen"].set_index(["what", "test set"]).loc[("ThesisSplit", "combined")]
    clean = frame[frame["seen"] == ""]
    assert [found["image seen"], found["person seen"], found["clean faces"]] == [10, 20, 90]
    assert found["accuracy, clean"] == pytest.approx(accuracy_score(clean["emotion"], clean["predicted"]), abs=1e-6)
    assert found["difference"] == pytest.approx(found["accuracy, all"] - found["accuracy, clean"])


def test_runs_on_other_test_faces_are_not_compared(tmp_path):
    write_run(tmp_path / "a", {"optimizer": {"_target_": "torch.optim.Adam"}}, 0.6, seed=0)
    write_run(tmp_path / "b", {"optimizer": {"_target_": "torch.optim.SGD"}}, 0.6, seed=1)
    assert "mcnemar" not in made(tmp_path)
    write_run(tmp_path / "c", {"optimizer": {"_target_": "torch.optim.RMSprop"}}, 0.6, seed=0)
    assert made(tmp_path)["mcnemar"][["first", "second"]].to_numpy().tolist() == [["Adam", "RMSprop"]]


def test_groups_are_named_by_what_differs_only(tmp_path):
    for name, rate in (("a", 0.001), ("b", 0.01)):
        write_run(tmp_path / name, {"optimizer": {"_target_": "torch.optim.Adam", "lr": rate}, "data": {"root": name}}, 0.6)
    write_run(tmp_path / "c", {"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.01, "dampening": 0.9}, "seed": 3}, 0.6)
    labels = [group.label for group in study(collect([tmp_path])).groups]
    assert labels == ["Adam, lr 0.001", "Adam, lr 0.01", "SGD, lr 0.01"]


def test_an_optimizer_with_momentum_is_not_the_thesiss(tmp_path):
    for name, momentum in (("nesterov", 0.9), ("plain", 0.0)):
        optimizer = {"_target_": "torch.optim.SGD", "momentum": momentum}
        write_run(tmp_path / name, {"optimizer": optimizer}, 0.6)
    ours = made(tmp_path)["table_4_4"]
    plain = json.loads((tmp_path / "plain" / "metrics.json").read_text())["test"]["combined"]["accuracy"]
    assert ours.set_index("test set").loc["combined", "ours"] == plain


def test_the_same_folder_named_twice_counts_once(tmp_path):
    write_run(tmp_path / "runs" / "a", {}, 0.6)
    assert len(collect([tmp_path / "runs", tmp_path / "runs" / "a"])) == 1
    with pytest.raises(UserError, match="is no folder"):
        collect([tmp_path / "runs" / "a" / "metrics.json"])


def test_jobs_are_in_the_order_of_their_numbers(tmp_path):
    for number in (0, 2, 10, 1):
        write_run(tmp_path / str(number), {"seed": number}, 0.6)
    names = [one.folder.name for one in collect([tmp_path])]
    assert all(int(a) < int(b) for a, b in pairwise(names))
