"""Words in which results are written and read: the files of a run folder, and names inside them. Imports nothing."""

from __future__ import annotations

RECORD = "config.yaml"
"""Everything the run was composed of."""

METRICS = "metrics.json"
"""Every number of the run; byte-identical for identical runs."""

ENVIRONMENT = "environment.json"
"""Where it ran: versions, machine, commit, wall time."""

CHECKPOINTS = {"last": "checkpoints/last.ckpt", "best": "checkpoints/best.ckpt"}
"""The two checkpoints, by the setting `test`: of the last epoch, and of the best validation accuracy."""

HISTORY = "history.csv"
"""A row per epoch."""

PREDICTIONS = "predictions.csv"
"""A row per test face."""

TRAINING = "training.csv"
"""A row per face that trained or validated: what tells whether a face was seen."""

FAILED = "failed.txt"
"""Why a job of a sweep did not end: a sentence, and for a defect of the program its traceback."""

COMBINED = "combined"
"""Name of the test set that holds all others."""

PER_CLASS: tuple[str, ...] = ("precision", "recall", "f1")
"""Metrics that have one value per emotion."""
