"""The page of a study: every table and figure as files, in one Markdown document and in one self-contained HTML page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from fer import thesis
from fer.console import console
from fer.emotions import EMOTIONS
from fer.report import comparison, figures, replication
from fer.report.run import save
from fer.report.study import Run, Study, collect, study
from fer.report.table import Table, markdown, shown
from fer.results import COMBINED

PAGE, MARKDOWN = "index.html", "report.md"
"""Files of a report, beside its folders `tables` and `figures`."""

_BARS = 9

_Cells = Sequence[tuple[Table, pd.DataFrame]]
"""Tables with their cells as text."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page: name of its PNG, a sentence that says what it shows, and whether it takes the full width."""

    key: str
    caption: str
    wide: bool = False


def write(places: Sequence[Path], out: Path) -> list[Run]:
    """Reports every run in or below some folders.

    Args:
        places: Run folders, or folders of run folders.
        out: Folder for index.html, report.md, tables/ and figures/.

    Returns:
        The runs that failed or are not finished.

    Raises:
        UserError: A place does not exist, or holds no run.
    """
    found = study(collect(places))
    for folder in ("tables", "figures"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    made = [comparison.runs(found), *replication.tables(found), *comparison.tables(found)]
    for table in made:
        table.frame.to_csv(out / "tables" / f"{table.key}.csv", index=False, float_format="%.9g")
    pictures = list(_pictures(found, {table.key: table for table in made}, out / "figures"))
    missing, facts = replication.missing(found), _facts(found)
    cells = [(table, shown(table.frame)) for table in made]
    (out / MARKDOWN).write_text(_markdown(cells, pictures, missing, facts))
    (out / PAGE).write_text(_html(cells, pictures, missing, facts, out))
    for sentence in missing:
        console.print(f"- {sentence}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"The report of {len(found.runs)} finished runs is {out / PAGE}", soft_wrap=True)
    return found.unfinished


def _facts(found: Study) -> list[str]:
    """What a reader must know before the numbers."""
    runs = found.runs
    facts = [f"{len(runs)} finished runs in {len(found.groups)} settings, {len(found.unfinished)} others."]
    if any(run.metrics["data"]["drawn"] for run in runs):
        facts.append("These are drawn faces: their numbers show that everything works and say nothing about real people.")
    departures = replication.departures(replication.reference(found).runs[0]) if runs else []
    if departures:
        facts.append(f"These runs stand beside the thesis's but differ from its recipe, the first in {'; '.join(departures)}.")
    digests = {run.metrics["data"]["digest"] for run in runs}
    if len(digests) > 1:
        facts.append(f"The runs have {len(digests)} different sets of training and test faces (seeds, folds, splits or data).")
    commits = sorted({run.environment.get("git", "") for run in runs} - {""})
    if commits:
        facts.append(f"Made by commit {', '.join(commit[:12] + commit[40:] for commit in commits)}.")
    devices = sorted({str(run.environment.get("device", "")) for run in runs} - {""})
    if devices:
        facts.append(
            f"Trained on {', '.join(devices)} in {sum(run.environment.get('seconds', 0) for run in runs):,.0f} s altogether."
        )
    return facts


def _pictures(found: Study, made: dict[str, Table], folder: Path) -> Iterator[Picture]:
    histories = {group.label: [run.history for run in group.runs] for group in found.groups}
    histories |= {f"{run.name} (not finished)": [run.history] for run in found.unfinished if len(run.history)}
    if histories:
        save(figures.many_learning_curves(histories), folder / "learning_curves.png")
        caption = "Learning curves of all runs; runs of one setting share a colour, the dotted line is chance."
        yield Picture("learning_curves", caption, True)
    if not found.groups:
        return
    for key in ("table_4_4", "table_4_5"):
        if key in made:
            save(_accuracy_bars(made[key].frame), folder / f"{key}.png")
            yield Picture(key, f"{made[key].title}: test accuracy with its 95 % interval; black lines are the thesis's.")
    base = replication.reference(found).runs[0]
    for name in [name for name in thesis.SETS if name in base.tests]:
        both = {f"thesis: {name}": thesis.CONFUSION[name], f"ours: {name}": base.tests[name]["confusion_matrix"]}
        save(figures.confusion_matrices(both), folder / f"confusion_matrix_{name}.png")
        caption = f"Confusion matrix of {name}, counts and shares of the true class: the thesis and {base.name}."
        yield Picture(f"confusion_matrix_{name}", caption, True)
    some = found.groups[:_BARS]
    f1 = {"thesis": thesis.REPORT[COMBINED]["f1"].to_numpy()}
    f1 |= {group.label: group.runs[0].tests[COMBINED]["f1"] for group in some}
    save(figures.bars(pd.DataFrame(f1, index=list(EMOTIONS)), "F1, all test faces"), folder / "per_class.png")
    which = "each setting" if len(some) == len(found.groups) else f"the first {_BARS} of {len(found.groups)} settings"
    yield Picture("per_class", f"F1 of each emotion on all test faces, first seed of {which}.", True)
    if "cross_dataset" in made:
        frame = made["cross_dataset"].frame.set_index("trained on")
        save(figures.matrix(frame, "trained on", "tested on"), folder / "cross_dataset.png")
        yield Picture("cross_dataset", "Test accuracy across data sets.")
    if (base.folder / "mistakes.png").is_file():
        shutil.copyfile(base.folder / "mistakes.png", folder / "mistakes.png")
        yield Picture("mistakes", f"The mistakes that {base.name} was surest of.", True)


def _accuracy_bars(frame: pd.DataFrame) -> Figure:
    """Clusters of a test set: a bar with its interval per optimizer or length, and the thesis's value as a line."""
    kind = str(frame.columns[0])
    named = frame.assign(name=frame[kind].astype(str) + ("" if kind == "optimizer" else " epochs"))

    def across(column: str) -> pd.DataFrame:
        return named.pivot_table(column, "test set", "name", dropna=False).loc[named["test set"].unique(), named["name"].unique()]

    return figures.bars(across("ours"), "test accuracy", (across("low"), across("high")), across("thesis"))


def _markdown(cells: _Cells, pictures: Sequence[Picture], missing: Sequence[str], facts: Sequence[str]) -> str:
    parts = ["# Study", "\n".join(f"- {fact}" for fact in facts)]
    if missing:
        parts += ["## What is missing", "\n".join(f"- {sentence}" for sentence in missing)]
    for picture in pictures:
        parts.append(f"![{picture.caption}](figures/{picture.key}.png)")
    for table, frame in cells:
        parts += [f"## {table.title}", markdown(frame), f"{table.note} [CSV](tables/{table.key}.csv)"]
    return "\n\n".join(parts) + "\n"


def _html(cells: _Cells, pictures: Sequence[Picture], missing: Sequence[str], facts: Sequence[str], out: Path) -> str:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fer.report", "."), autoescape=True, trim_blocks=True)
    images = {picture.key: base64.b64encode((out / "figures" / f"{picture.key}.png").read_bytes()).decode() for picture in pictures}
    return environment.get_template("page.html").render(
        tables=cells, pictures=pictures, images=images, missing=missing, facts=facts
    )
