"""The run folder: everything that is needed to trust, repeat and compare a run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer.emotions import EMOTIONS
from fer.report import figures
from fer.results import PER_CLASS

_PACKAGES = (
    "fer-lightning", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "albumentations",
    "opencv-python-headless", "numpy", "pandas", "pillow",
)  # fmt: skip


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON that a person can read and a program can compare: indented, with lists of numbers on one line."""
    text = json.dumps(content, indent=1)
    text = re.sub(r"\[[\s\d.,eE+-]+\]", lambda numbers: " ".join(numbers[0].split()).replace("[ ", "[").replace(" ]", "]"), text)
    draft = path.with_name(f".{path.name}.draft")  # a kill leaves the whole file or none
    draft.write_text(text + "\n")
    draft.replace(path)


_PLACES = (
    "resume", "allow_changes", "run", "checkpoint", "compile", "optimizer.fused",
    "data.cache_dir", "data.root", "data.workers", "data.resident", "data.eval_batch_size", "data.on_error",
)  # fmt: skip
"""Settings that say where and how a run ran, not what it was."""


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Gives what tells one run from another: its configuration without places and devices.

    Returns:
        Dotted key -> number or text. A node's class stands under the node's own key by its last name ("optimizer":
        "Adam"), and "dataset" names the data sets.
    """
    found: dict[str, Any] = {}
    for key, value in _flat(config).items():
        if key not in _PLACES and not key.endswith((".root", "._partial_")) and not key.startswith(("trainer.", "logger.")):
            node = key.removesuffix("._target_")
            found[node] = value if node == key else str(value).rpartition(".")[2]
    return found | ({"dataset": ", ".join(sorted(config["dataset"]))} if config.get("dataset") else {})


def _flat(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Flattens a configuration: dotted keys, lists as text; what is null, empty or an interpolation is left out."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{path}{key}.")
        elif value is not None and not str(value).startswith("${"):
            leaves[path + str(key)] = value if isinstance(value, int | float | str) else str(value)
    return leaves


def environment(seconds: float, command: Sequence[str] = ()) -> dict[str, Any]:
    """Describes where and how a run ran: command, wall time, git commit, machine, versions.

    Args:
        seconds: Wall time.
        command: The program and what it was given.
    """
    import torch

    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device,
        "threads": torch.get_num_threads(),
    }
    called = {"command": shlex.join(["python", *command])} if command else {}
    return {**called, "seconds": round(seconds, 2), "git": _commit(), **machine, "versions": versions}


def _processor() -> str:
    """Name of the processor; `platform.processor` gives none on Linux."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", info.read_text()) if info.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit of the working tree this package lies in, "-dirty" where it was changed; "" outside a repository."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""


def write_data(folder: Path, counts: Mapping[str, pd.DataFrame], left_out: pd.DataFrame) -> None:
    """Writes counts.csv (faces per stage, data set and emotion) and left_out.csv (files not taken, and why)."""
    pd.concat(counts, names=["stage", "source"]).to_csv(folder / "counts.csv")
    left_out.to_csv(folder / "left_out.csv", index=False)


def write_tests(folder: Path, tests: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Writes each test set's classification report and confusion matrix, as CSV and PNG.

    Args:
        folder: Where to; `classification_report_<set>.csv` and `confusion_matrix_<set>.csv` and `.png` are made.
        tests: Test set -> what `fer.metrics.plain` gives.
        title: What was tested, for the figures.
    """
    for name, metrics in tests.items():
        classification_report(metrics).to_csv(folder / f"classification_report_{name}.csv")
        confusion_matrix(metrics).to_csv(folder / f"confusion_matrix_{name}.csv")
        heading = f"{title}: {name}, accuracy {metrics['accuracy']:.3f} on {sum(metrics['support']):,} faces"
        save(figures.confusion_matrix(metrics["confusion_matrix"], heading), folder / f"confusion_matrix_{name}.png")


def confusion_matrix(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulates a test set's confusion matrix: rows are the true emotion, columns what was predicted."""
    return pd.DataFrame(metrics["confusion_matrix"], index=pd.Index(EMOTIONS, name="true"), columns=list(EMOTIONS))


def classification_report(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulates a test set as scikit-learn's classification_report does: emotions, accuracy, macro and weighted means."""
    support = np.array(metrics["support"])
    table = pd.DataFrame({name: metrics[name] for name in PER_CLASS}, index=pd.Index(EMOTIONS, name="emotion"))
    weighted = (table.to_numpy() * support[:, None]).sum(0) / max(support.sum(), 1)
    table["support"] = support
    table.loc["accuracy"] = [metrics["accuracy"]] * len(PER_CLASS) + [support.sum()]
    table.loc["macro avg"] = [metrics["macro"][name] for name in PER_CLASS] + [support.sum()]
    table.loc["weighted avg"] = [*weighted, support.sum()]
    return table.astype({"support": int})


def predictions(table: pd.DataFrame, seen: NDArray[np.str_] | str, probabilities: NDArray[np.float32]) -> pd.DataFrame:
    """Tabulates what was predicted for each tested face.

    Args:
        table: The faces' rows of `Faces.table`.
        seen: What of each face training has seen: "image", "sequence", "person" or "", str (N,); "unknown" for all.
        probabilities: float32 (N, 7), in the same order.

    Returns:
        `source`, `file`, `digest`, `seen`, `emotion` and `predicted` (names), and a column of probabilities per emotion.
    """
    names = np.array(EMOTIONS)
    frame = table[["source", "file", "digest"]].reset_index(drop=True)
    frame["seen"] = seen
    frame["emotion"] = names[table["emotion"].to_numpy()]
    frame["predicted"] = names[probabilities.argmax(1)]
    return pd.concat([frame, pd.DataFrame(probabilities, columns=list(EMOTIONS))], axis=1)


def some(emotion: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Picks positions of `count` faces that show all emotions evenly, int64 (M,), the first of each class in turn."""
    order = pd.Series(emotion).groupby(emotion).cumcount()
    return np.lexsort((emotion, order.to_numpy()))[:count]


def worst(emotion: NDArray[np.int64], probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Picks positions of the `count` mistakes that the network was surest of, surest first, int64 (M,)."""
    wrong = np.flatnonzero(probabilities.argmax(1) != emotion)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    figure.savefig(path, dpi=130)
