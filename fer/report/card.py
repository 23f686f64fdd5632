"""A model card: what a trained model is, how it was made, how well it does and where it must not be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import pandas as pd
import yaml

from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.report.run import classification_report, confusion_matrix
from fer.report.statistics import wilson
from fer.report.study import Run, collect
from fer.report.table import markdown, shown
from fer.results import COMBINED

_SOURCES = {
    "fer2013": "FER2013's faces were found on the web by words of emotion: posed and spontaneous, of unknown people, with noisy "
    "labels (people agree with them on some 65 %).",
    "ckplus": "CK+'s faces were posed in a laboratory, by few people and at their peak.",
    "kdef": "KDEF's faces were posed in a laboratory, by 70 amateur actors between 20 and 30 years.",
}
_LIMITS = (
    "How well it does on people of different age, sex, skin or culture is not known: the data do not say who is in them.",
    "Faces that are turned away, covered, small or blurred were rare in training.",
    "Its probabilities are those of faces like the test faces; elsewhere they may be too sure.",
)


def write(path: Path, place: Path, files: Sequence[str], parameters: int, licence: str) -> None:
    """Writes the model card of a run in Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        path: The file to make.
        place: Folder of a finished run.
        files: Names of the files that hold the model.
        parameters: Number of trainable parameters.
        licence: Terms of use, in words.

    Raises:
        UserError: The run is not finished or cannot be read.
    """
    (run,) = collect([place])
    if run.problem:
        raise UserError(f"No model card of {place} ({run.problem})")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fer.report", "."),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["table"] = lambda frame: markdown(shown(frame))
    tests = [(name, values) for name, values in run.tests.items() if name != COMBINED or len(run.tests) > 2]
    text = environment.get_template("card.md").render(
        front=_front(run, [name for name, _ in tests]),
        size=run.settings["data.image_size"],
        kind="grey" if run.settings["data.channels"] == 1 else "RGB",
        network=run.settings["model"],
        parameters=parameters,
        files=" and ".join(files),
        first=files[0],
        pixels="uint8" if files[0].endswith(".onnx") else "float in 0..1",
        emotions=EMOTIONS,
        drawn=run.metrics["data"]["drawn"],
        limits=[*(_SOURCES[name] for name in _SOURCES if name in run.tests), *_LIMITS],
        accuracy=_accuracies(run, [name for name, _ in tests]),
        seed=run.settings["seed"],
        tests=[
            (name, classification_report(values).reset_index(), confusion_matrix(values).reset_index()) for name, values in tests
        ],
        calibration=_calibration(run),
        counts=_counts(run.metrics["data"]["counts"]),
        data=_data(run),
        command=run.environment.get("command", "not recorded"),
        made=_made(run),
        settings=sorted(run.settings.items()),
        licence=licence[:1].upper() + licence[1:] + ".",
    )
    path.write_text(text)


def _front(run: Run, names: Sequence[str]) -> str:
    """The results as the hub's leaderboards read them."""
    results = [
        {
            "task": {"type": "image-classification", "name": "Facial-expression recognition"},
            "dataset": {"type": name, "name": name, "split": "test"},
            "metrics": [
                {"type": "accuracy", "value": run.tests[name]["accuracy"]},
                {"type": "f1", "value": run.tests[name]["macro"]["f1"], "name": "macro F1"},
            ],
        }
        for name in names
    ]
    front: str = yaml.safe_dump({"model-index": [{"name": run.folder.name, "results": results}]}, sort_keys=False)
    return front


def _accuracies(run: Run, names: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        for which, found in (("all", run.tests), ("clean", run.metrics["clean"])):
            if name in found:
                faces = sum(found[name]["support"])
                low, high = wilson(found[name]["accuracy"], faces)
                row = {"test set": name, "faces": which, "number": faces, "accuracy": found[name]["accuracy"]}
                rows.append(row | {"low": low, "high": high, "macro F1": found[name]["macro"]["f1"]})
    return pd.DataFrame(rows)


def _counts(counts: Mapping[str, Mapping[str, Sequence[int]]]) -> pd.DataFrame:
    rows = [
        {"stage": stage, "data set": source, **dict(zip(EMOTIONS, row, strict=True)), "all": sum(row)}
        for stage, sources in counts.items()
        for source, row in sources.items()
    ]
    return pd.DataFrame(rows)


def _calibration(run: Run) -> str:
    found = run.metrics.get("calibration")
    if not found:
        return "Not measured."
    ours, without = found["error"][COMBINED], found["error_without"][COMBINED]
    said = f"Expected calibration error on the test faces: {ours:.3f}"
    if found["temperature"] == 1:
        return f"{said}; no temperature was fitted."
    return (
        f"{said}, with a temperature of {found['temperature']:.3f} that was fitted to the validation faces; {without:.3f} without."
    )


def _data(run: Run) -> str:
    data = run.metrics["data"]
    said = [f"Digest of all faces and their parts: {data['digest']}."]
    said += [f"{count:,} faces dropped: {reason}." for reason, count in data["dropped"].items()]
    if data["left_out"]:
        said.append(f"{data['left_out']:,} files or rows could not be taken.")
    return " ".join(said)


def _made(run: Run) -> str:
    found = run.environment
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        f"Commit {found['git'] or 'unknown'}; {found['seconds'] / 60:,.0f} minutes on {found['device']} with {found['threads']} "
        f"threads; {run.metrics['epochs']} epochs, of which the {run.metrics['tested']} weights "
        f"{'by validation accuracy ' if run.metrics['tested'] == 'best' else ''}were kept and tested once. Python "
        f"{found['python']}, {versions}."
    )
