"""What is promised about kills, full disks and changes, each by really doing the harm."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer.data.demo import draw_data_sets
from fer.model import checkpoint
from tests.conftest import run_program
from tests.predict.conftest import ASTRONAUT
from tests.test_train import SMALL, weights

KILL = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)  # no threads before a fork
import train, fer.data.datamodule, fer.report.finish, fer.report.callbacks, fer.model.classifier, tensorboard
from pathlib import Path

kills, folder, words = int(sys.argv[1]), Path(sys.argv[2]), [f"hydra.run.dir={sys.argv[2]}", *sys.argv[3:]]
draw, done = random.Random(0), 0
while True:
    child = os.fork()
    if child == 0:
        # the same command until there is a checkpoint to resume
        sys.argv = ["train.py", *([f"resume={folder}"] if (folder / "checkpoints/last.ckpt").is_file() else words)]
        sys.stdout = open(os.devnull, "w")
        train.main()
        os._exit(0)
    patience = draw.uniform(0.3, 1.6)
    began, ended = time.monotonic(), 0
    while not ended and (done == kills or time.monotonic() - began < patience):
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        print(done)
        sys.exit(os.waitstatus_to_exitcode(status))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done += 1
"""


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """TensorBoard's curves, of all files of a run, a value a step."""
    found: dict[str, dict[int, float]] = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file)).Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, {}).update({event.step: event.value for event in events.Scalars(tag)})
    return found


def test_a_run_that_is_killed_twenty_times_ends_with_the_same_bytes(demo, tmp_path):
    options = ["epochs=40", "batch_size=8", "augment=device", "scheduler=cosine", "dataset=[kdef]", "data.cache_dir=cache"]
    words = [*SMALL, "averaging=0.9", "mixup=0.2", "data.scale=null", f"data.root={demo}", *options]
    (tmp_path / "kill.py").write_text(KILL)
    whole, cut = (run_program("kill.py", kills, name, *words, cwd=tmp_path) for kills, name in ((0, "whole"), (20, "cut")))
    assert whole.returncode == 0, whole.stderr
    assert cut.returncode == 0, cut.stderr
    assert int(cut.stdout) == 20
    for name in ("metrics.json", "history.csv", "predictions.csv", "training.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for name in ("last", "best"):
        ours, resumed = weights(tmp_path / "whole", name), weights(tmp_path / "cut", name)
        assert all(torch.equal(ours[key], resumed[key]) for key in ours)
    assert scalars(tmp_path / "cut") == scalars(tmp_path / "whole")


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails as on a full disk
import torch
from pathlib import Path
from fer.model.checkpoint import save
save({"weights": torch.ones(1000)}, Path("last.ckpt"))
before = Path("last.ckpt").read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save({"weights": torch.ones(1_000_000)}, Path(sys.argv[1]))
except ValueError as error:
    print(type(error).__name__, error)
assert Path("last.ckpt").read_bytes() == before
assert [path.name for path in Path().iterdir() if path.suffix != ".py"] == ["last.ckpt"]
"""


@pytest.mark.parametrize(("name", "message"), [("last.ckpt", "the one before is whole"), ("new.ckpt", "there is none yet")])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, name, message):
    (tmp_path / "full.py").write_text(FULL)
    result = run_program("full.py", name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.match(rf"UserError the checkpoint {name} cannot be written \(.+\); {message}: make room", result.stdout)


def test_a_disk_that_fills_ends_the_run_with_one_sentence(demo, tmp_path):
    """Checkpoints are written while the next epoch is trained, and yet none is lost in silence."""
    (tmp_path / "full.py").write_text(
        "import resource, signal, train\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "train.main()\n"
    )
    options = ["model.dense=[512]", "epochs=3", "dataset=[kdef]", "logger=csv", "data.scale=null", "hydra.run.dir=run"]
    result = run_program("full.py", *SMALL, *options, f"data.root={demo}", cwd=tmp_path)
    assert result.returncode == 2
    assert re.match(r"error: the checkpoint .+\.ckpt cannot be written", result.stderr)
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "run/checkpoints").glob("*")), "part of a checkpoint was left"


def program(monkeypatch, folder: Path, *words: object, name: str = "train") -> int:
    """Runs train.py or eval.py in this process, in a folder; gives its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    try:
        importlib.import_module(name).main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def begun(demo, tmp_path_factory) -> Path:
    """A run of two epochs on KDEF's drawn faces, in the folder "run"."""
    folder = tmp_path_factory.mktemp("begun")
    options = ["dataset=[kdef]", "epochs=2", "scheduler=none", "logger=csv", "hydra.run.dir=run"]
    with pytest.MonkeyPatch.context() as patch:
        assert program(patch, folder, *SMALL, "data.scale=null", f"data.root={demo}", *options) == 0
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["optimizer.lr=0.5", "epochs=3"], "optimizer.lr was 0.003 and is 0.5, epochs was 2 and is 3"),
        (["dataset.kdef.sessions=[A,B]"], "dataset.kdef.sessions was"),
        (["data.root={elsewhere}"], "the faces are not those"),
    ],
)
def test_a_change_is_told_and_refused_unless_it_is_wanted(begun, tmp_path, monkeypatch, capfd, change, message):
    draw_data_sets(tmp_path / "elsewhere", 0.05, seed=7)
    before = {path: path.read_bytes() for path in (begun / "run").rglob("*.*") if path.is_file()}
    change = [word.format(elsewhere=tmp_path / "elsewhere") for word in change]
    assert program(monkeypatch, begun, "resume=run", *change) == 2
    printed = capfd.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert {path: path.read_bytes() for path in (begun / "run").rglob("*.*") if path.is_file()} == before


def test_a_wanted_change_holds_for_one_time(begun, tmp_path, monkeypatch, capfd):
    shutil.copytree(begun / "run", tmp_path / "run")
    assert program(monkeypatch, tmp_path, "resume=run", "epochs=3", "allow_changes=true") == 0
    assert json.loads((tmp_path / "run/metrics.json").read_text())["epochs"] == 3
    assert program(monkeypatch, tmp_path, "resume=run", "epochs=4") == 2
    assert "epochs was 3 and is 4" in capfd.readouterr().err


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_a_schedule_laid_out_for_its_epochs_keeps_them(begun, tmp_path, monkeypatch, capfd, schedule):
    shutil.copytree(begun / "run", tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text()) | {
        "scheduler": {"_target_": f"fer.model.schedules.{schedule}", "_partial_": True}
    }
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    assert program(monkeypatch, tmp_path, "resume=run", "epochs=3", "allow_changes=true") == 2
    assert f"scheduler={schedule} was laid out for 2 epochs, which cannot change under way" in capfd.readouterr().err


def test_a_moved_run_folder_is_enough(begun, tmp_path, monkeypatch, capfd, recwarn):
    from fer.predict.__main__ import main as predict
    from fer.report.__main__ import main as report

    stayed, moved = tmp_path / "a/run", tmp_path / "elsewhere/moved"
    shutil.copytree(begun / "run", stayed)
    moved.parent.mkdir()
    shutil.move(shutil.copytree(begun / "run", tmp_path / "b/run"), moved)
    numbers = json.loads((begun / "run/metrics.json").read_text())["test"]

    assert program(monkeypatch, moved.parent, "run=moved", "hydra.run.dir=eval", name="eval") == 0
    assert json.loads((moved.parent / "eval/metrics.json").read_text())["test"] == numbers
    monkeypatch.setattr(sys, "argv", ["predict", str(ASTRONAUT), "--model", "moved", "--out", "out"])
    predict()
    assert len(pd.read_csv(moved.parent / "out/predictions.csv")) == 1
    monkeypatch.setattr(sys, "argv", ["report", "moved", "--out", "page"])
    report()
    assert (pd.read_csv(moved.parent / "page/tables/runs.csv")["state"] == "finished").all()

    for run in (stayed, moved):
        assert program(monkeypatch, run.parent, f"resume={run.name}", "epochs=4", "allow_changes=true") == 0
    assert (moved / "metrics.json").read_bytes() == (stayed / "metrics.json").read_bytes()
    assert not [warning for warning in recwarn if "dirpath" in str(warning.message)]
    for name in ("best", "last"):
        ours, theirs = weights(moved, name), weights(stayed, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_loss_that_is_no_number_stops_with_what_one_needs(demo, tmp_path, monkeypatch, capfd):
    options = ["dataset=[kdef]", "epochs=3", "scheduler=none", "optimizer=sgd", "optimizer.lr=1e38", "hydra.run.dir=run"]
    assert program(monkeypatch, tmp_path, *SMALL, "data.scale=null", f"data.root={demo}", *options) == 2
    printed = capfd.readouterr().err
    assert re.match(
        r"error: the loss was (nan|inf) in (step \d+ of|validation after) epoch 1, at a learning rate of 1e\+38", printed
    )
    assert "the last good weights, after 0 epochs, are in the run's checkpoints/last.ckpt" in printed
    assert printed.count("\n") == 1
    good = checkpoint.read(tmp_path / "run/checkpoints/last.ckpt")["state_dict"]
    assert all(tensor.isfinite().all() for tensor in good.values())


def test_a_sweep_is_taken_up_where_it_was_cut(demo, tmp_path, monkeypatch, capfd):
    options = ["data.scale=null", f"data.root={demo}", "dataset=[kdef]", "epochs=2", "logger=csv", "hydra.sweep.dir=sweep"]
    words = ["-m", "seed=0,1", *SMALL, *options]
    assert program(monkeypatch, tmp_path, *words) == 0
    jobs = [tmp_path / "sweep" / name for name in "01"]
    before = [{path: path.read_bytes() for path in job.rglob("*") if path.is_file()} for job in jobs]
    (jobs[1] / "metrics.json").unlink()  # the last file of a job: it was cut before
    capfd.readouterr()
    assert program(monkeypatch, tmp_path, *words) == 0
    printed = capfd.readouterr().out
    assert "sweep/0 is finished already" in printed
    assert "epoch 1/2" not in printed
    assert all(path.read_bytes() == content for path, content in before[0].items())
    assert (jobs[1] / "metrics.json").read_bytes() == before[1][jobs[1] / "metrics.json"]
    assert (pd.read_csv(tmp_path / "sweep/report/tables/runs.csv")["state"] == "finished").all()
    assert program(monkeypatch, tmp_path, *words, "optimizer.lr=0.1") == 1
    assert "optimizer.lr was 0.003 and is 0.1" in capfd.readouterr().err
