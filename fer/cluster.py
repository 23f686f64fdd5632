"""Runs on a cluster: one name for the processes of a run, and what happens when SLURM takes the machine away."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

_meeting: Any = None
"""Where the processes of one run meet; it lives as long as the program, since others may come late."""


def run_name() -> str:
    """Names a run.

    Returns:
        Its start, such as 2026-11-24_10-29-41; processes that belong to one run take that of the first of them. In a job
        of SLURM the job's number and a checksum of the command, so that a job that is requeued finds its run again.
    """
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    tasks, job = int(os.environ.get("SLURM_NTASKS", 1)), os.environ.get("SLURM_JOB_ID")
    if job and (tasks > 1 or os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")):
        return f"slurm_{job}_{zlib.crc32(' '.join(sys.argv[1:]).encode()):08x}"
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ:  # started by torchrun
        global _meeting
        from torch.distributed.rendezvous import rendezvous

        _meeting, rank, _ = next(rendezvous("env://"))
        if rank == 0:
            _meeting.set("fer/started", now)
        now = _meeting.get("fer/started").decode()
    return now


def is_requeued() -> bool:
    """Tells whether SLURM runs this job once more."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def warned_as_stopped() -> None:
    """Makes SLURM's warning before a time limit (sbatch --signal=USR1@120) do what a stop does."""
    if "SLURM_JOB_ID" in os.environ:
        signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def requeue() -> str:
    """Has SLURM run this job again, unless its user cancelled it.

    Returns:
        What was done, as a sentence; "" where this is no job of SLURM, or another of its processes does it.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or int(os.environ.get("SLURM_PROCID", 0)):
        return ""
    try:
        state = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=60).stdout
        if "JobState=CANCELLED" in state:
            return f"SLURM's job {job} was cancelled and is not put into the queue again."
        subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"SLURM's job {job} could not be put into the queue again ({error})."
    return f"SLURM's job {job} is in the queue again and will go on from the last whole epoch."


_told = threading.Lock()


def tell_lost_process(folder: Path) -> None:
    """Says that another process of this run has ended and how to go on; once, whoever notices it first."""
    if _told.acquire(blocking=False):
        sys.stderr.write(f"error: another process of this run has ended. Go on with: python train.py resume={folder}\n")
        sys.stderr.flush()


def watch_processes(folder: Path) -> None:
    """Lets Lightning, which looks every five seconds after the processes it started, speak before it kills this one too.

    Args:
        folder: The run folder.
    """

    def speak(record: logging.LogRecord) -> bool:
        tell_lost_process(folder)
        return False  # its own words are dropped

    logger = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")
    logger.setLevel(logging.INFO)  # a lost process is the one thing it logs
    logger.filters = [speak]


def is_lost_process(error: Exception) -> bool:
    """Tells whether an error says that another process of this run cannot be reached any more."""
    if "torch" not in sys.modules:
        return False
    from torch import distributed

    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError)
        and distributed.is_initialized()
        and bool(re.search(r"gloo|Connection (reset|closed)", str(error)))
    )
