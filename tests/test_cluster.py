"""Several processes and machines, and what happens when one of them is taken away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import REPOSITORY, environment, run_here, run_program
from tests.test_train import SMALL, weights

DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


def words(demo: Path, *more: str) -> list[str]:
    data = ["data.scale=null", f"data.root={demo}", "dataset=[kdef]"]
    return [str(REPOSITORY / "train.py"), *SMALL, *data, *more]


def started(command: list[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    pipe: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=environment() | more, text=True, **pipe)  # type: ignore[call-overload]


def until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    printed = []
    for said in process.stdout:
        printed.append(said)
        if said.startswith(line):
            return
    raise AssertionError("".join(printed))


def process_of(rank: int, folder: Path) -> int:
    """Finds a process of the run in this folder by its rank."""
    for place in Path("/proc").iterdir():
        try:
            command = (place / "cmdline").read_bytes().split(b"\0") if place.name.isdigit() else []
            told = (place / "environ").read_bytes().decode().split("\0") if str(folder).encode() in b" ".join(command) else []
        except OSError:
            continue
        if told and b"torch.distributed.run" not in command:
            own = next((int(word.partition("=")[2]) for word in told if word.startswith("LOCAL_RANK=")), 0)
            if own == rank:
                return int(place.name)
    raise AssertionError(f"there is no process {rank}")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_with_a_sentence_and_it_resumes(demo, tmp_path, rank):
    folder = tmp_path / "run"
    command = [sys.executable, *words(demo, *DDP, "scheduler=none", f"hydra.run.dir={folder}")]
    process = started([*command, "epochs=500"], tmp_path)
    until(process, "epoch 2/")
    began = time.monotonic()
    os.kill(process_of(rank, folder), signal.SIGKILL)
    printed, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert process.returncode != 0
    assert f"another process of this run has ended. Go on with: python train.py resume={folder}" in printed
    assert "Traceback" not in printed
    if rank == 0:
        return
    begun = len(pd.read_csv(folder / "history.csv"))
    result = run_here(
        REPOSITORY / "train.py",
        f"resume={folder}",
        "trainer.devices=1",
        "trainer.strategy=auto",
        f"epochs={begun + 1}",
        "allow_changes=true",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == begun + 1


NOTICED = """
import os, subprocess, sys
from pathlib import Path
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from fer import cluster, config
config.quieten()
cluster.watch_processes(Path("run"))
child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
child.wait()
_ChildProcessObserver(os.getpid(), [child])._run()
"""


def test_lightning_does_not_kill_without_a_word(tmp_path):
    """It may notice a lost process before a collective operation fails."""
    (tmp_path / "noticed.py").write_text(NOTICED)
    result = run_program("noticed.py", cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL
    assert result.stderr == "error: another process of this run has ended. Go on with: python train.py resume=run\n"


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_NAME": "a",
}


@pytest.fixture
def scontrol(tmp_path) -> Path:
    """Stands in for SLURM's scontrol: records what it is asked, and says that the job runs or whatever state.txt holds."""
    program = tmp_path / "bin/scontrol"
    program.parent.mkdir()
    (tmp_path / "state.txt").write_text("RUNNING")
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked.txt\nif [ $1 = show ]; then echo "   JobState=$(cat {tmp_path}/state.txt)"; fi\n'
    )
    program.chmod(0o755)
    return program


def test_a_preempted_job_is_requeued_and_ends_as_if_nothing_had_happened(demo, tmp_path, scontrol, monkeypatch):
    slurm = SLURM | {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    command = [sys.executable, *words(demo, "trainer=cpu", "augment=light", "epochs=8")]
    process = started(command, tmp_path, **slurm)
    until(process, "epoch 2/")
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "SLURM's job 7 is in the queue again" in printed
    assert (tmp_path / "asked.txt").read_text().splitlines() == ["show job 7", "requeue 7"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"python train.py resume={folder}" in printed
    assert "Traceback" not in printed
    assert not (folder / "metrics.json").exists()
    for name, value in {**slurm, "SLURM_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    again = run_here(*command[1:], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "epoch 8/8" in again.stdout
    assert "epoch 1/8" not in again.stdout
    assert list((tmp_path / "runs").iterdir()) == [folder]
    for name in (*slurm, "SLURM_RESTART_COUNT"):
        if name != "PATH":
            monkeypatch.delenv(name)
    whole = run_here(*command[1:], "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert (folder / "metrics.json").read_bytes() == (tmp_path / "whole/metrics.json").read_bytes()
    ours, theirs = weights(folder), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("state", "kind", "asked", "said"),
    [
        ("CANCELLED", signal.SIGTERM, ["show job 7"], "was cancelled and is not put into the queue again"),
        ("RUNNING", signal.SIGUSR1, ["show job 7", "requeue 7"], "is in the queue again"),
    ],
)
def test_a_warned_job_is_requeued_and_a_cancelled_one_is_not(demo, tmp_path, scontrol, state, kind, asked, said):
    (tmp_path / "state.txt").write_text(state)
    slurm = SLURM | {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    process = started([sys.executable, *words(demo, "trainer=cpu", "epochs=500")], tmp_path, **slurm)
    until(process, "epoch 1/")
    process.send_signal(kind)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"SLURM's job 7 {said}" in printed
    assert (tmp_path / "asked.txt").read_text().splitlines() == asked


HOSTS = ("fer-a", "fer-b")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[tuple[list[str], str]]]:
    """How to run a program on either of two hosts, and its network: two namespaces with a cable between them.

    Where only root may make those, both are this machine.
    """
    with ExitStack() as ending:
        try:
            for host in HOSTS:
                ip("netns", "add", host)
                ending.callback(ip, "netns", "delete", host)
            ip("link", "add", HOSTS[0], "netns", HOSTS[0], "type", "veth", "peer", "name", HOSTS[1], "netns", HOSTS[1])
            for number, host in enumerate(HOSTS, 1):
                ip("-n", host, "address", "add", f"10.77.0.{number}/24", "dev", host)
                ip("-n", host, "link", "set", host, "up")
                ip("-n", host, "link", "set", "lo", "up")
            found = [(["ip", "netns", "exec", host], host) for host in HOSTS]
        except (OSError, subprocess.CalledProcessError):
            found = [([], "lo"), ([], "lo")]
        yield found


def test_two_hosts_train_one_network(demo, tmp_path, hosts):
    options = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "epochs=2"]
    first = "10.77.0.1" if hosts[0][0] else "127.0.0.1"
    torchrun = [sys.executable, *f"-m torch.distributed.run --nnodes 2 --nproc-per-node 1 --master-addr {first}".split()]
    processes = [
        started(
            [*place, *torchrun, "--node-rank", str(number), "--master-port", "29533", *words(demo, *options)],
            tmp_path,
            GLOO_SOCKET_IFNAME=network,
        )
        for number, (place, network) in enumerate(hosts)
    ]
    printed = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    assert "".join(printed).count("Everything is in") == 1
    (folder,) = (tmp_path / "runs").iterdir()
    predictions = pd.read_csv(folder / "predictions.csv")
    support = json.loads((folder / "metrics.json").read_text())["test"]["combined"]["support"]
    assert predictions["file"].is_unique
    assert len(predictions) == sum(support)
    assert not re.search("Traceback", "".join(printed))
