"""The thesis's tables 3.4 to 4.13: its value, ours, the difference, and an interval for ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fer import thesis
from fer.emotions import EMOTIONS
from fer.report.statistics import wilson
from fer.report.study import Group, Run, Study
from fer.report.table import Table
from fer.results import PER_CLASS

_PARTS = ("train", "val", "test")

_RECIPE: dict[str, Any] = {
    "dataset": "ckplus, fer2013, kdef",
    "contempt": "as_neutral",
    "balance": "ThesisBalance",
    "split": "ThesisSplit",
    "augment": None,
    "model": "ThesisCNN",
    "model.bn_momentum": 0.01,
    "optimizer.lr": 1e-4,
    "scheduler": None,
    "batch_size": 64,
    "label_smoothing": 0.0,
    "test": "last",
}
"""The thesis's settings, as a run's `settings` has them."""


def tables(study: Study) -> Iterator[Table]:
    """Makes those of the thesis's tables that the runs have numbers for."""
    if not study.groups:
        return
    base = reference(study)
    yield from counts(base.runs[0])
    yield progress(base)
    yield from (table for table in (optimizers(study), epochs(study)) if table)
    for name in [name for name in thesis.SETS if name in base.runs[0].tests]:
        yield confusion(base.runs[0], name)
        yield classification(base, name)


def missing(study: Study) -> list[str]:
    """Says which of the thesis's comparisons these runs cannot fill, and how to."""
    sentences = [f"{run.name}: {run.problem}" for run in study.unfinished]
    if not study.groups:
        return [*sentences, "No run is finished, so there is nothing to compare yet."]
    optimizers, lengths, base = _optimizers(study), _lengths(study), reference(study)
    lacking = [str(name) for name in thesis.OPTIMIZERS if name not in optimizers]
    if lacking:
        sentences.append(f"Table 4.4: no finished run used {', '.join(lacking)} (python train.py experiment=thesis_optimizers).")
    if len(lengths) < 2:
        sentences.append("Table 4.5: all finished runs are equally long (python train.py experiment=thesis_epochs).")
    absent = [name for name in thesis.SETS if name not in base.runs[0].tests]
    if absent:
        sentences.append(f"Tables 4.4 to 4.13 lack a test of {base.label} on {', '.join(absent)}.")
    if all(len(group.runs) == 1 for group in study.groups):
        sentences.append("Every number is from one seed: add seed=0,1,2 to see how far chance moves it.")
    return sentences


def departures(run: Run) -> list[str]:
    """Says in which settings a run differs from the thesis's recipe, so that their numbers are not compared blindly."""
    has = run.settings
    found = [
        f"{key} {has.get(key, 'none')} (thesis: {'none' if theirs is None else theirs})"
        for key, theirs in _RECIPE.items()
        if has.get(key) != theirs
    ]
    return found + ([] if has.get("epochs") in thesis.EPOCHS else [f"epochs {has.get('epochs')} (thesis: 200 and 500)"])


def reference(study: Study) -> Group:
    """The group that stands for the thesis's final model: Adam, the shorter length."""
    adam = _optimizers(study).get("Adam")
    return adam or study.groups[0]


def counts(run: Run) -> Iterator[Table]:
    """Tables 3.4 to 3.6 of one run."""
    found: dict[str, dict[str, list[int]]] = run.metrics["data"]["counts"]
    note = f"From metrics.json of {run.name}."
    for key, stage, title, theirs in (
        ("3_4", "found", "Table 3.4: faces found", thesis.FOUND),
        ("3_5", "balanced", "Table 3.5: faces after balancing", thesis.BALANCED),
    ):
        if stage in found:
            ours = pd.DataFrame.from_dict(found[stage], orient="index", columns=list(EMOTIONS))
            yield Table(f"table_{key}", title, _side_by_side(ours, theirs), note)
    ours = pd.DataFrame({part: {name: sum(row) for name, row in found[part].items()} for part in _PARTS}).T.fillna(0)
    yield Table("table_3_6", "Table 3.6: faces of each part", _side_by_side(ours.astype(int), thesis.PARTS), note)


def _side_by_side(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Rows "name, thesis", "name, ours", "name, difference" for every row, with a total column."""
    rows = {}
    for name in ours.index:
        mine = ours.loc[name].copy()
        mine["all"] = mine.sum()
        rows[f"{name}, ours"] = mine
        if name in theirs.index:
            other = theirs.loc[name].copy()
            other["all"] = other.sum()
            rows[f"{name}, thesis"] = other
            rows[f"{name}, difference"] = mine.sub(other).reindex(mine.index)
    frame = pd.DataFrame(rows).T
    order = [*[column for column in ours.columns if column in frame], *[c for c in theirs.columns if c not in ours], "all"]
    return frame[order].rename_axis("").reset_index()


def progress(group: Group) -> Table:
    """Table 4.3: loss and accuracy every ten epochs, or every epoch of a short run."""
    histories = [run.history.set_index("epoch") for run in group.runs]
    last = int(min(history.index.max() for history in histories))
    every = sorted({1, *range(10, last + 1, 10), last}) if last >= 30 else list(range(1, last + 1))
    names = list(thesis.PROGRESS.columns)
    ours = pd.concat(histories)[names].groupby(level=0)
    frame = pd.DataFrame(index=pd.Index(every, name="epoch"))
    for name in names:
        frame[f"{name}, thesis"] = thesis.PROGRESS[name]
        frame[f"{name}, ours"] = ours.mean()[name]
        if len(histories) > 1:
            frame[f"{name}, sd"] = ours.std()[name]
        frame[f"{name}, difference"] = frame[f"{name}, ours"] - frame[f"{name}, thesis"]
    note = f"{group.label}, {_of(group)}; the thesis's values are those of its own log (Adam, 200 epochs)."
    return Table("table_4_3", "Table 4.3: progress of training", frame.reset_index(), note)


def optimizers(study: Study) -> Table | None:
    """Table 4.4: test accuracy of each optimizer."""
    chosen = _optimizers(study)
    if not chosen:
        return None
    rows = [
        {"optimizer": name} | row
        for name in thesis.OPTIMIZERS
        if name in chosen
        for row in accuracies(chosen[name], thesis.OPTIMIZERS[name])
    ]
    lengths = {group.runs[0].metrics["epochs"] for group in chosen.values()}
    return Table("table_4_4", "Table 4.4: optimizers", pd.DataFrame(rows), f"Ours after {_span(lengths)} epochs, the thesis's 200.")


def epochs(study: Study) -> Table | None:
    """Table 4.5: test accuracy of Adam after the shortest and the longest training."""
    chosen = _lengths(study)
    if len(chosen) < 2:
        return None
    rows = []
    for length, theirs in zip((min(chosen), max(chosen)), thesis.EPOCHS, strict=True):
        rows += [{"epochs": length, "epochs, thesis": theirs} | row for row in accuracies(chosen[length], thesis.EPOCHS[theirs])]
    return Table("table_4_5", "Table 4.5: length of training", pd.DataFrame(rows), "The shortest and the longest of our runs.")


def accuracies(group: Group, theirs: pd.Series) -> Iterator[dict[str, Any]]:
    """Gives a row per test set: the thesis's accuracy, ours (mean of the runs), difference, 95 % interval and deviation."""
    names = [name for name in thesis.SETS if all(name in run.tests for run in group.runs)]
    for name in [*names, *(name for name in group.runs[0].tests if name not in thesis.SETS)]:
        values = np.array([run.tests[name]["accuracy"] for run in group.runs if name in run.tests])
        faces = sum(group.runs[0].tests[name]["support"])
        low, high = wilson(values.mean(), faces)
        yield {
            "test set": name,
            "thesis": theirs.get(name, math.nan),
            "ours": values.mean(),
            "difference": values.mean() - theirs.get(name, math.nan),
            "low": low,
            "high": high,
            "faces": faces,
            "runs": len(values),
            "sd": values.std(ddof=1) if len(values) > 1 else math.nan,
        }


def confusion(run: Run, name: str) -> Table:
    """Tables 4.6 to 4.13: the confusion matrix of a test set, the thesis's beside ours."""
    ours = pd.DataFrame(run.tests[name]["confusion_matrix"], columns=[f"{emotion}, ours" for emotion in EMOTIONS])
    theirs = pd.DataFrame(thesis.CONFUSION[name], columns=[f"{emotion}, thesis" for emotion in EMOTIONS])
    frame = pd.concat([ours, theirs], axis=1)
    frame.insert(0, "true", list(EMOTIONS))
    note = f"Rows are the true class, columns the predicted one. Ours from metrics.json of {run.name}."
    return Table(f"confusion_matrix_{name}", f"Tables 4.6 to 4.13: confusion matrix, {name}", frame, note)


def classification(group: Group, name: str) -> Table:
    """Tables 4.6 to 4.13: precision, recall and F1 of each emotion, with 95 % intervals of precision and recall."""
    run, members = group.runs[0], [run.tests[name] for run in group.runs if name in run.tests]
    matrix = np.array(run.tests[name]["confusion_matrix"])
    frame = pd.DataFrame({"emotion": list(EMOTIONS)})
    theirs = thesis.REPORT[name].reset_index(drop=True)
    for metric in PER_CLASS:
        frame[f"{metric}, thesis"] = theirs[metric]
        frame[f"{metric}, ours"] = run.tests[name][metric]
        frame[f"{metric}, difference"] = frame[f"{metric}, ours"] - theirs[metric]
        seen_faces = {"recall": matrix.sum(1), "precision": matrix.sum(0)}.get(metric)
        if seen_faces is not None:
            ends = [wilson(share, count) for share, count in zip(frame[f"{metric}, ours"], seen_faces.tolist(), strict=True)]
            frame[f"{metric}, low"], frame[f"{metric}, high"] = zip(*ends, strict=True)
        if len(members) > 1:
            each = np.array([values[metric] for values in members])
            frame[f"{metric}, mean"], frame[f"{metric}, sd"] = each.mean(0), each.std(0, ddof=1)
    frame["support"] = matrix.sum(1)
    note = f"Ours from metrics.json of {run.name}" + (
        f"; mean and deviation over {len(members)} runs." if len(members) > 1 else "."
    )
    return Table(f"classification_report_{name}", f"Tables 4.6 to 4.13: classification report, {name}", frame, note)


def _optimizers(study: Study) -> dict[str, Group]:
    """The thesis's optimizers among the groups, otherwise alike; of several such sets the fullest, then the shortest."""
    return _alike(study, "optimizer", [str(name) for name in thesis.OPTIMIZERS])


def _lengths(study: Study) -> dict[int, Group]:
    """Lengths among the groups, otherwise alike; of several such sets the fullest, then the one with Adam."""
    return _alike(study, "epochs", None)


def _alike(study: Study, key: str, wanted: Sequence[str] | None) -> dict[Any, Group]:
    sets: dict[str, dict[Any, Group]] = {}
    for group in study.groups:
        value = group.runs[0].settings.get(key)
        if wanted is None or (value in wanted and not group.runs[0].settings.get("optimizer.momentum")):  # the thesis has none
            rest = {name: group.settings[name] for name in study.vary if name != key and not name.startswith(f"{key}.")}
            sets.setdefault(str(rest), {}).setdefault(value, group)
    ranked = sorted(sets.values(), key=lambda found: (-len(found), *_thesis_first(next(iter(found.values())))))
    return ranked[0] if ranked else {}


def _thesis_first(group: Group) -> tuple[bool, int]:
    settings = group.runs[0].settings
    return settings.get("optimizer") != "Adam", settings.get("epochs", 0)


def _of(group: Group) -> str:
    return f"mean of {len(group.runs)} runs" if len(group.runs) > 1 else f"run {group.runs[0].name}"


def _span(values: set[int]) -> str:
    return f"{min(values)}" if len(values) == 1 else f"{min(values)} to {max(values)}"
