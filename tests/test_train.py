"""train.py and eval.py as a user runs them, on drawn faces and a small network."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from hydra.utils import instantiate
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer.calibration import fit_temperature
from fer.config import composed
from fer.emotions import EMOTIONS
from fer.metrics import calibration_error
from fer.model import checkpoint
from fer.predict import network as networks
from tests.conftest import REPOSITORY, environment, run_here, run_program, write_csv

SMALL = ["model.filters=[4,8]", "model.kernel_sizes=[3,3]", "model.dense=[16]", "trainer=cpu"]


def words(demo: Path, folder: Path, *more: str) -> list[str]:
    return [
        *SMALL,
        "data.scale=null",
        f"data.root={demo}",
        f"hydra.run.dir={folder}",
        "epochs=4",
        "augment=light",
        "tta=flip",
        "averaging=0.9",
        *more,
    ]


def train(demo: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_program(REPOSITORY / "train.py", *words(demo, folder, *more), cwd=folder.parent)


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return checkpoint.read(folder / f"checkpoints/{name}.ckpt")["state_dict"]


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "first"
    result = train(demo, folder)
    assert result.returncode == 0, result.stderr
    for name in ("kdef", "ckplus", "fer2013", "combined"):
        assert f"{name}: accuracy" in result.stdout
    return folder


@pytest.fixture(scope="module")
def metrics(run) -> dict:
    return json.loads((run / "metrics.json").read_text())


def test_the_run_folder_holds_everything(run):
    expected = {"config.yaml", "metrics.json", "environment.json", "history.csv", "counts.csv", "left_out.csv"}
    expected |= {
        "training.csv",
        "predictions.csv",
        "learning_curves.png",
        "faces.png",
        "mistakes.png",
        "batch.png",
        "explanations.png",
        "reliability.png",
        "tensorboard",
        "checkpoints",
    }
    for name in ("kdef", "ckplus", "fer2013", "combined"):
        expected |= {f"classification_report_{name}.csv", f"confusion_matrix_{name}.csv", f"confusion_matrix_{name}.png"}
    assert {path.name for path in run.iterdir()} == expected
    for path in run.glob("*.png"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5
    assert json.loads((run / "environment.json").read_text())["versions"]["torch"] == torch.__version__.split("+")[0]


def test_the_same_command_gives_the_same_bytes(run, demo, tmp_path, metrics):
    assert train(demo, tmp_path / "second").returncode == 0
    assert (tmp_path / "second" / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()
    assert (tmp_path / "second" / "history.csv").read_bytes() == (run / "history.csv").read_bytes()
    ours, again = weights(run), weights(tmp_path / "second")
    assert all(torch.equal(ours[name], again[name]) for name in ours)


def test_predictions_give_the_metrics(run, metrics):
    predictions = pd.read_csv(run / "predictions.csv")
    np.testing.assert_allclose(predictions[list(EMOTIONS)].sum(axis=1), 1, atol=1e-5)
    for name, values in metrics["test"].items():
        rows = predictions[(predictions["source"] == name) | (name == "combined")]
        assert values["accuracy"] == pytest.approx(accuracy_score(rows["emotion"], rows["predicted"]), abs=1e-6)
        matrix = confusion_matrix(rows["emotion"], rows["predicted"], labels=EMOTIONS)
        assert values["confusion_matrix"] == matrix.tolist()
        assert pd.read_csv(run / f"confusion_matrix_{name}.csv", index_col=0).to_numpy().tolist() == matrix.tolist()
        report = pd.read_csv(run / f"classification_report_{name}.csv", index_col=0)
        assert report["support"][: len(EMOTIONS)].tolist() == matrix.sum(1).tolist()


def test_a_run_is_used_as_it_was_tested(run, metrics, demo):
    """Mirror and temperature included; the temperature is what the kept weights need on the validation faces."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    data = instantiate(composed([f"run={run}"], "eval").data, _convert_="all")
    data.prepare_data()
    data.setup()
    network = networks.read(run)
    assert network.tta == config["tta"] == "flip"
    predictions = pd.read_csv(run / "predictions.csv")
    np.testing.assert_allclose(network(data.faces.images[data.parts.test]), predictions[list(EMOTIONS)], atol=1e-5)
    assert network.temperature == metrics["calibration"]["temperature"] != 1
    found = network.temperature
    network.temperature = 1.0
    validated = torch.from_numpy(network(data.faces.images[data.parts.val])).log()
    target = torch.from_numpy(data.faces.emotion[data.parts.val])
    assert found == pytest.approx(fit_temperature(validated, target), rel=1e-3)
    names = [*data.test_sets, "combined"]
    rows = {name: predictions[(predictions["source"] == name) | (name == "combined")] for name in names}
    for name, faces in rows.items():
        emotion = torch.tensor([EMOTIONS.index(label) for label in faces["emotion"]])
        expected = calibration_error(emotion, torch.tensor(faces[list(EMOTIONS)].to_numpy()))
        assert metrics["calibration"]["error"][name] == pytest.approx(expected, abs=1e-5)


def test_eval_gives_the_numbers_of_the_run(run, metrics, tmp_path):
    for where in (f"run={run}", f"checkpoint={run / 'checkpoints/last.ckpt'}"):
        result = run_here(REPOSITORY / "eval.py", where, f"hydra.run.dir={tmp_path / 'eval'}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        again = json.loads((tmp_path / "eval" / "metrics.json").read_text())
        assert again["test"] == metrics["test"]
        assert again["data"] == metrics["data"]


def test_an_export_brings_weights_and_a_model_card(run, metrics, tmp_path):
    result = run_here("-m", "fer.export", run, "--out", "new/faces.safetensors", "--licence", "CC0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    faces = np.random.default_rng(0).integers(0, 256, (20, 48, 48), np.uint8)
    np.testing.assert_array_equal(networks.read(tmp_path / "new/faces.safetensors")(faces), networks.read(run)(faces))
    card = ModelCard.load(tmp_path / "new/faces.md")
    found = {(each.dataset_type, each.metric_type): each.metric_value for each in card.data.eval_results}
    expected = {(name, "accuracy"): test["accuracy"] for name, test in metrics["test"].items()}
    assert found == expected | {(name, "f1"): test["macro"]["f1"] for name, test in metrics["test"].items()}
    lines = card.text.splitlines()
    command = json.loads((run / "environment.json").read_text())["command"]
    assert command.startswith("python train.py ")
    assert command in lines
    for label, row in zip(EMOTIONS, metrics["test"]["kdef"]["confusion_matrix"], strict=True):
        cells = [label, *map(str, row)]
        assert any([cell.strip() for cell in line.strip("|").split("|")] == cells for line in lines)
    assert f"{metrics['calibration']['error']['combined']:.3f}, with a temperature of" in card.text


def test_an_unfinished_run_is_exported_without_a_card(run, tmp_path):
    shutil.copytree(run, tmp_path / "cut")
    (tmp_path / "cut/metrics.json").unlink()
    result = run_here("-m", "fer.export", "cut", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "No model card of cut (not finished: 4 of 4 epochs are done)" in result.stdout
    assert (tmp_path / "cut/model.onnx").is_file()
    assert not (tmp_path / "cut/model.md").exists()


def test_eval_takes_other_data_and_the_best_weights(run, metrics, tmp_path):
    other = ["dataset=[kdef]", "data.seed=0", "test=best", f"hydra.run.dir={tmp_path / 'eval'}"]
    result = run_here(REPOSITORY / "eval.py", f"run={run}", *other, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert set(again["test"]) == {"kdef", "combined"}
    assert again["trained"]["val/accuracy"] == max(pd.read_csv(run / "history.csv")["val/accuracy"].round(6))
    # with other data the split falls otherwise, and some of its test faces have trained the network
    trained = pd.read_csv(run / "training.csv", dtype=str, keep_default_na=False)
    predictions = pd.read_csv(tmp_path / "eval" / "predictions.csv", dtype=str, keep_default_na=False)
    assert (predictions["seen"] == "image").tolist() == predictions["digest"].isin(trained["digest"]).tolist()
    assert (predictions["seen"] == "image").any()


def test_the_best_weights_are_tested_and_every_epoch_is_told(run, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    history = pd.read_csv(run / "history.csv")
    assert history["val/accuracy"].idxmax() < len(history) - 1  # else best and last are the same
    for program, words in (
        ("train.py", ["resume=again", "test=best", "allow_changes=true"]),
        ("eval.py", ["run=again", "hydra.run.dir=eval"]),
    ):
        result = run_here(REPOSITORY / program, *words, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    ours, again = (json.loads((tmp_path / folder / "metrics.json").read_text()) for folder in ("again", "eval"))
    assert ours["tested"] == again["tested"] == "best"
    assert ours["test"] == again["test"]
    assert ours["trained"]["val/accuracy"] == pytest.approx(history["val/accuracy"].max(), abs=1e-6)
    assert ours["epochs"] == len(history)
    assert ours["history"]["val/accuracy"] == pytest.approx(history["val/accuracy"].tolist())


def test_eval_of_a_bare_checkpoint_says_that_it_may_have_seen_the_faces(run, tmp_path):
    shutil.copy(run / "checkpoints/last.ckpt", tmp_path / "given.ckpt")
    result = run_here(REPOSITORY / "eval.py", "checkpoint=given.ckpt", "hydra.run.dir=out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "What this network was trained on is not known" in result.stdout
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["clean"] == {}


def test_official_protocol_is_reported_twice(tmp_path, noise):
    rows = [
        (code, noise(code * 100 + n), usage)
        for n, usage in enumerate(["Training"] * 6 + ["PublicTest"] * 2 + ["PrivateTest"] * 3)
        for code in range(7)
    ]
    rows.append((3, noise(300), "PrivateTest"))  # a copy of a training face
    write_csv(tmp_path / "fer2013" / "fer2013.csv", rows)
    words = ["data=fer2013", "dataset.fer2013.root=fer2013", "epochs=1", "hydra.run.dir=run", *SMALL]
    result = run_here(REPOSITORY / "train.py", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert sum(found["test"]["fer2013"]["support"]) == 22
    assert sum(found["clean"]["fer2013"]["support"]) == 21
    assert found["seen"]["fer2013"] == {"image": 1}
    clean = pd.read_csv(tmp_path / "run" / "predictions.csv", keep_default_na=False).query("seen == ''")
    assert found["clean"]["fer2013"]["accuracy"] == pytest.approx(accuracy_score(clean["emotion"], clean["predicted"]), abs=1e-6)
    assert "on the 21 of them" in result.stdout


def test_tensorboard_holds_scalars_pictures_and_hparams(run, metrics):
    tags: dict[str, set[str]] = {"scalars": set(), "images": set()}
    hparams = {}
    for file in (run / "tensorboard").glob("events*"):
        events = EventAccumulator(str(file))
        events.Reload()
        for kind in tags:
            tags[kind] |= set(events.Tags()[kind])
        for tag in events.Tags()["scalars"]:
            if tag.startswith("final/"):
                hparams[tag] = events.Scalars(tag)[-1].value
    assert {"train/loss", "val/accuracy", "val/recall/happy", "test/kdef/accuracy"} <= tags["scalars"]
    assert {"val/confusion_matrix", "test/confusion_matrix_combined", "test/faces", "train/first_batch"} <= tags["images"]
    assert hparams["final/combined"] == pytest.approx(metrics["test"]["combined"]["accuracy"], abs=1e-6)


@pytest.mark.parametrize(
    ("experiment", "jobs", "more"),
    [
        ("thesis_optimizers", 3, []),
        ("thesis_epochs", 2, ["epochs=1,2"]),
        ("splits", 2, []),
        ("imbalance", 4, ["split.folds=3"]),
        ("cross_dataset", 3, ["split.folds=3"]),
        ("ckplus_folds", 2, ["split.folds=4", "split.fold=range(2)"]),
        ("search", 2, ["hydra.sweeper.n_trials=2"]),
    ],
)
def test_every_experiment_runs_and_ends_with_its_report(demo, tmp_path, monkeypatch, experiment, jobs, more):
    import train as program

    monkeypatch.chdir(tmp_path)
    places = ["data.scale=null", f"data.root={demo}", "hydra.sweep.dir=sweep", "logger=csv"]
    length = [] if any(word.startswith("epochs=") for word in more) else ["epochs=1"]
    monkeypatch.setattr(sys, "argv", ["train.py", f"experiment={experiment}", *SMALL, *places, *length, *more])
    program.main()
    assert {path.parent.name for path in tmp_path.glob("sweep/*/metrics.json")} == {str(number) for number in range(jobs)}
    runs = pd.read_csv(tmp_path / "sweep/report/tables/runs.csv")
    assert (runs["state"] == "finished").all()
    assert runs["what"].nunique() == (1 if experiment == "ckplus_folds" else jobs)
    table = {"cross_dataset": "cross_dataset", "ckplus_folds": "folds", "splits": "seen"}.get(experiment, "runs")
    assert (tmp_path / f"sweep/report/tables/{table}.csv").is_file()


def test_an_interrupted_run_resumes_to_the_same_weights(run, demo, tmp_path):
    folder = tmp_path / "cut"
    command = [sys.executable, str(REPOSITORY / "train.py"), *words(demo, folder)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # where the tests run in the background, shells have them and their children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if line.startswith("epoch 1/4"):
            process.send_signal(signal.SIGINT)  # SIGTERM: tests/test_cluster.py
            break
    printed.append(process.stdout.read())
    assert process.wait(60) != 0
    assert f"python train.py resume={folder}" in "".join(printed)
    assert "Traceback" not in "".join(printed)

    result = run_here(REPOSITORY / "train.py", f"resume={folder}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (folder / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()
    ours, resumed = weights(run), weights(folder)
    assert all(torch.equal(ours[name], resumed[name]) for name in ours)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.fer2013.root=nowhere", "the folder nowhere does not exist"),
        ("dataset.fer2013.root={demo}/kdef", "seems to hold KDEF"),
        ("dataset=[kdef] split=official", "no face is marked 'Training'"),
        ("trainer.accelerator=gpu", "gpu"),
        ("model.filters=[4,4,4,4,4,4] model.kernel_sizes=[3,3,3,3,3,3]", "data.image_size=48 is too small"),
    ],
)
def test_a_mistake_is_one_sentence(demo, tmp_path, monkeypatch, capfd, override, message):
    if "gpu" in override and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    import train as program

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *words(demo, tmp_path / "run", *override.format(demo=demo).split())])
    with pytest.raises(SystemExit) as stop:
        program.main()
    printed = capfd.readouterr().err
    assert stop.value.code == 2
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1


def test_data_command_prints_the_tables_and_the_errors_of_the_thesis(demo, tmp_path):
    result = run_here("-m", "fer.data", "data.scale=null", f"data.root={demo}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for words in ("table 3.4", "table 3.5", "table 3.6", "contempt", "6,198", "588", "(8,989)"):
        assert words in result.stdout
    result = run_here("-m", "fer.data", "data=thesis", cwd=tmp_path)
    assert result.returncode == 2
    assert "the folder data/fer2013 does not exist" in result.stderr


def test_two_processes_train_one_network_and_test_every_face_once(demo, tmp_path):
    options = ["epochs=1", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "augment=device"]
    large = "model.dense=[3000]"  # the second process must not test before the first has written this checkpoint
    arguments = [*SMALL[:2], large, "data.scale=null", f"data.root={demo}", *options]
    result = run_program(REPOSITORY / "train.py", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("epoch 1/1: ") == result.stdout.count("Everything is in") == 1
    (folder,) = (tmp_path / "runs").iterdir()
    found = json.loads((folder / "metrics.json").read_text())
    predictions = pd.read_csv(folder / "predictions.csv")
    assert len(predictions) == len(set(predictions["file"])) == sum(found["test"]["combined"]["support"])
    assert (
        sum(found["test"]["combined"]["support"])
        == pd.read_csv(folder / "counts.csv").query("stage == 'test'")[[*EMOTIONS]].sum().sum()
    )
    again = run_here(REPOSITORY / "eval.py", f"run={folder}", "trainer=cpu", "hydra.run.dir=eval", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    one = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    for name, values in found["test"].items():
        assert {**values, "loss": 0} == {**one["test"][name], "loss": 0}
        assert values["loss"] == pytest.approx(one["test"][name]["loss"], abs=2e-6)


def test_a_sweep_does_not_start_processes_that_start_the_sweep(tmp_path):
    result = run_here(REPOSITORY / "train.py", "-m", "seed=0,1", "trainer=ddp", "data.scale=0.01", cwd=tmp_path)
    assert result.returncode == 1
    assert "a sweep trains each job on one device: leave trainer=ddp out of it" in result.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_the_gpu_recipe_compiles_and_its_checkpoint_is_a_plain_one(demo, tmp_path):
    network = ["model.filters=[4]", "model.kernel_sizes=[3]", "model.dense=[]"]
    options = ["trainer=gpu", "trainer.accelerator=cpu", "epochs=1", "dataset=[kdef]", "augment=device", "hydra.run.dir=run"]
    result = run_program(REPOSITORY / "train.py", *network, "data.scale=null", f"data.root={demo}", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    network, described = checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")
    assert described["config"]["compile"] == "reduce-overhead"
    faces = torch.zeros(2, 1, 48, 48)
    assert network(faces).dtype == torch.float32
