"""Tables that the thesis lacks: all runs, what training has seen, folds, data sets across, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from fer.report.statistics import holm, mcnemar, wilson
from fer.report.study import Run, Study, label
from fer.report.table import Table
from fer.results import COMBINED


def tables(study: Study) -> Iterator[Table]:
    """Makes those of these tables that the runs have numbers for, all runs aside."""
    if study.groups:
        yield from (table for table in (seen(study), folds(study), cross(study), pairs(study)) if table)


def runs(study: Study) -> Table:
    """Every run, finished or not, with its test accuracies."""
    sets = _sets(study)
    rows = []
    for group in study.groups:
        for run in group.runs:
            row = {"run": run.name, "what": group.label, "seed": run.settings.get("seed"), "state": "finished"}
            row |= {"epochs": run.metrics["epochs"], "validation": run.metrics["trained"].get("val/accuracy", math.nan)}
            row |= {name: run.tests[name]["accuracy"] if name in run.tests else math.nan for name in sets}
            low, high = _interval(run.tests[COMBINED])
            rows.append(row | {"combined, low": low, "combined, high": high, "seconds": round(run.environment.get("seconds", 0))})
    rows += [{"run": run.name, "what": label(run.settings, study.vary), "state": run.problem} for run in study.unfinished]
    note = "Accuracy of each test set; 95 % Wilson interval of the last. From each run's metrics.json and environment.json."
    return Table("runs", "All runs", pd.DataFrame(rows), note)


def seen(study: Study) -> Table | None:
    """What a split flatters: accuracy on all test faces, and on those nothing of which stands in training or validation."""
    rows = []
    for group in study.groups:
        for name in group.runs[0].tests:
            members = [run for run in group.runs if name in run.tests]
            found = [run.metrics["seen"].get(name, {}) for run in members]
            clean = [run.metrics["clean"][name] for run in members if name in run.metrics["clean"]]
            every = [run.tests[name] for run in members]
            row: dict[str, Any] = {"what": group.label, "test set": name, "faces": sum(every[0]["support"])}
            row |= {f"{kind} seen": np.mean([one.get(kind, 0) for one in found]) for kind in ("image", "sequence", "person")}
            row["accuracy, all"] = np.mean([one["accuracy"] for one in every])
            if clean:
                share, faces = np.mean([one["accuracy"] for one in clean]), np.mean([sum(one["support"]) for one in clean])
                low, high = wilson(float(share), round(float(faces)))
                row |= {"clean faces": faces, "accuracy, clean": share, "low": low, "high": high}
                row["difference"] = row["accuracy, all"] - share
            rows.append(row)
    frame = pd.DataFrame(rows)
    marks = frame.filter(like=" seen")
    if not marks.to_numpy().any():
        return None
    if (marks % 1 == 0).all(axis=None):  # the runs agree
        frame[marks.columns] = marks.astype(int)
    note = "Test faces whose identical image, image sequence or person stands in training or validation too (means over the runs)."
    return Table("seen", "Test faces that training has seen", frame, note)


def folds(study: Study) -> Table | None:
    """Cross-validation: mean and deviation over the folds of a seed, and the interval of all their faces together."""
    rows = []
    for group in study.groups:
        by_seed: dict[Any, list[Run]] = {}
        for run in group.runs:
            by_seed.setdefault(run.settings.get("seed"), []).append(run)
        for seed, members in by_seed.items():
            for name in members[0].tests if len(members) > 1 else ():
                tests = [run.tests[name] for run in members if name in run.tests]
                right = sum(np.trace(test["confusion_matrix"]) for test in tests)
                total = sum(sum(test["support"]) for test in tests)
                values = [test["accuracy"] for test in tests]
                low, high = wilson(right / total, total)
                row = {"what": group.label, "seed": seed, "test set": name, "folds": len(tests)}
                row |= {"mean": np.mean(values), "sd": np.std(values, ddof=1)}
                rows.append(row | {"all faces": right / total, "low": low, "high": high, "faces": total})
    note = "Runs of one seed that differ in their fold: each tests people that its training has not seen."
    return Table("folds", "Cross-validation", pd.DataFrame(rows), note) if rows else None


def cross(study: Study) -> Table | None:
    """Trained on one data set (rows), tested on every one (columns): mean accuracy."""
    rows: dict[str, dict[str, Any]] = {}
    for group in study.groups:
        trained_on = group.settings.get("data.train_on")
        if trained_on is not None:
            name = str(trained_on).strip("[]").replace("'", "")
            rows[name] = {test: np.mean([run.tests[test]["accuracy"] for run in group.runs]) for test in group.runs[0].tests}
    if len(rows) < 2:
        return None
    frame = pd.DataFrame(rows).T
    columns = [*[name for name in frame.index if name in frame], *[name for name in frame if name not in frame.index]]
    note = "Test accuracy; the diagonal is the data set's own test part."
    return Table("cross_dataset", "Across data sets", frame[columns].rename_axis("trained on").reset_index(), note)


def pairs(study: Study) -> Table | None:
    """McNemar's test of every two runs on the same test faces that differ in one setting."""
    rows = []
    for one, other in combinations(study.groups, 2):
        differing = [key for key in study.vary if one.settings[key] != other.settings[key]]
        if len(differing) != 1:
            continue
        for first in one.runs:
            for second in (run for run in other.runs if run.settings.get("seed") == first.settings.get("seed")):
                a, b = first.predictions, second.predictions
                if a is None or b is None or list(a["digest"]) != list(b["digest"]):
                    continue
                right = [(frame["emotion"] == frame["predicted"]).to_numpy() for frame in (a, b)]
                only_first, only_second, p = mcnemar(*right)
                row = {"first": one.label, "second": other.label, "seed": first.settings.get("seed"), "faces": len(a)}
                row |= {"first, accuracy": right[0].mean(), "second, accuracy": right[1].mean()}
                rows.append(row | {"only first right": only_first, "only second right": only_second, "p": p})
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    frame["p, Holm"] = holm(frame["p"].tolist())
    note = (
        "McNemar's exact test, two-sided, on all test faces (predictions.csv of both runs): runs of one seed that differ in "
        "one setting. The last column allows for the number of tests (Holm); below 0.05 the difference is hardly chance."
    )
    return Table("mcnemar", "Is the difference chance?", frame, note)


def _sets(study: Study) -> list[str]:
    names = dict.fromkeys(name for run in study.runs for name in run.tests if name != COMBINED)
    return [*names, COMBINED]


def _interval(metrics: dict[str, Any]) -> tuple[float, float]:
    return wilson(metrics["accuracy"], sum(metrics["support"]))
