"""Runs and what they have in common: reads run folders, finds what differs, and puts repetitions together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from fer.errors import UserError
from fer.report.run import settings as settings_of
from fer.results import ENVIRONMENT, FAILED, HISTORY, METRICS, PREDICTIONS, RECORD

_REPEATS = ("seed", "split.fold")
"""Settings in which repetitions of one experiment differ."""


_KEYS = {"epochs", "trained", "test", "clean", "seen", "data", "history"}


@dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
        folder: Where it is.
        name: How the page calls it: its folder below what was named.
        settings: What it was composed of, as `fer.report.run.settings` gives it.
        metrics: Content of metrics.json; empty where the run is not finished.
        history: A row per epoch.
        environment: Content of environment.json.
        problem: Why it is not finished; "" if it is.
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    environment: dict[str, Any]
    problem: str

    @property
    def tests(self) -> dict[str, dict[str, Any]]:
        """Test set -> metrics."""
        tests: dict[str, dict[str, Any]] = self.metrics.get("test", {})
        return tests

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """What was predicted for each test face, in the order of source and file; None where it was not kept."""
        file = self.folder / PREDICTIONS
        return pd.read_csv(file, keep_default_na=False).sort_values(["source", "file"]) if file.is_file() else None


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in their seed or fold only.

    Args:
        label: What sets them apart from other groups, such as "Adam, epochs 10".
        settings: The same as keys and values.
        runs: The runs, by seed and fold.
    """

    label: str
    settings: dict[str, Any]
    runs: list[Run]


@dataclass(frozen=True)
class Study:
    """All runs of a page: `groups` of finished ones, `unfinished` ones, and the settings that `vary` between groups."""

    groups: list[Group]
    unfinished: list[Run]
    vary: list[str]

    @property
    def runs(self) -> list[Run]:
        """Every finished run."""
        return [run for group in self.groups for run in group.runs]


def collect(places: Sequence[Path]) -> list[Run]:
    """Reads every run in or below some folders.

    Args:
        places: Run folders, or folders of run folders such as those of a sweep.

    Raises:
        UserError: A place does not exist, or holds no run.
    """
    found: dict[Path, str] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is no folder: name run folders, or folders of runs such as runs/sweep_...")
        folders = sorted((path.parent for path in place.rglob(RECORD)), key=_natural)
        if not folders:
            raise UserError(f"{place} holds no run (a folder with {RECORD}): name the folders that train.py printed")
        found |= {folder.resolve(): Path(place.resolve().name, folder.relative_to(place)).as_posix() for folder in folders}
    names = list(found.values())
    return [_read(folder, name if names.count(name) == 1 else str(folder)) for folder, name in found.items()]


def _natural(folder: Path) -> list[tuple[int, str]]:
    """Sorts the jobs of a sweep by number: 2 before 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in folder.parts]


def _read(folder: Path, name: str) -> Run:
    problem = ""
    try:
        config = dict(yaml.safe_load((folder / RECORD).read_text()) or {})
        metrics, environment = _json(folder / METRICS), _json(folder / ENVIRONMENT)
        if metrics and not set(metrics) >= _KEYS:
            raise ValueError(f"{METRICS} was written by another version (it lacks {', '.join(sorted(_KEYS - set(metrics)))})")
        history = pd.DataFrame(metrics["history"]) if metrics else _history(folder)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        config, metrics, environment, history = {}, {}, {}, pd.DataFrame()
        problem = f"cannot be read: {str(error).splitlines()[0]}"
    settings = settings_of(config)
    if (folder / FAILED).is_file():
        problem = "failed: " + (folder / FAILED).read_text().partition("\n")[0]
        metrics = {}
    if not metrics and not problem:
        problem = f"not finished: {len(history)} of {settings.get('epochs', '?')} epochs are done"
    return Run(folder, name, settings, metrics, history, environment, problem)


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / HISTORY) if (folder / HISTORY).is_file() else pd.DataFrame()


def study(runs: Iterable[Run]) -> Study:
    """Finds the settings in which runs differ, and groups the finished ones that are repetitions."""
    runs = list(runs)
    finished = [run for run in runs if not run.problem]
    vary = _varying([run.settings for run in runs if run.settings])
    grouped: dict[str, list[Run]] = {}
    for run in finished:
        grouped.setdefault(str([run.settings.get(key) for key in vary]), []).append(run)
    groups = []
    for members in grouped.values():
        members.sort(key=lambda run: [run.settings.get(key, 0) for key in _REPEATS])
        groups.append(Group(label(members[0].settings, vary), {key: members[0].settings.get(key) for key in vary}, members))
    return Study(groups, [run for run in runs if run.problem], vary)


def label(settings: Mapping[str, Any], vary: Sequence[str]) -> str:
    """Names a run by the settings that vary: classes by name, others as key and value."""
    words = []
    for key in vary:
        value = settings.get(key)
        if "." not in key and isinstance(value, str):
            words.append(str(value))
        elif value is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value).strip("[]").replace("'", "")
            words.append(f"{key.rpartition('.')[2]} {shown}")
    return ", ".join(words) or "all runs"


def _varying(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that do not have one value everywhere, classes first; what only some classes have (Adam's betas) is left out."""
    keys = list(dict.fromkeys(key for one in settings for key in one if key not in _REPEATS))
    order = {"optimizer": 0, "epochs": 1}
    keys.sort(key=lambda key: (order.get(key.partition(".")[0], 2), "." in key))
    vary = [key for key in keys if len({str(one.get(key)) for one in settings}) > 1]
    return [key for key in vary if all(key in one for one in settings) or not _comes_with_class(key, settings)]


def _comes_with_class(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all runs that share the class, or the data sets, that a key belongs to have the same value."""
    values: dict[str, set[str]] = {}
    for one in settings:
        values.setdefault(str(one.get(key.partition(".")[0])), set()).add(str(one.get(key)))
    return "." in key and all(len(found) == 1 for found in values.values())
