"""What train.py and eval.py print and write: the data before, the tests after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import nn

from fer.console import console, metrics_table, summary_table
from fer.data.audit import seen
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.metrics import calibration_error, evaluate, plain
from fer.model.explain import gradcam, overlay
from fer.report import board, figures, run
from fer.results import COMBINED, ENVIRONMENT, FAILED, METRICS, PREDICTIONS, TRAINING

if TYPE_CHECKING:  # a report reads what it is given; it neither makes data nor trains
    from fer.data.datamodule import FacesDataModule
    from fer.model.classifier import Classifier

_DEMO = (
    "[bold]These are drawn faces[/], since FER2013, CK+ and KDEF may not be passed on: they show that everything works, and "
    "say nothing about real people. For real ones put the sets into data/fer2013, data/ckplus and data/kdef, then: "
    "python train.py data=thesis"
)


_UNKNOWN = (
    f"What this network was trained on is not known, since there is no {TRAINING} beside its checkpoints: it may have seen "
    "some of these faces"
)


@rank_zero_only
def show_data(folder: Path, data: FacesDataModule) -> None:
    """Prints how many faces there are at each stage, and writes counts.csv and left_out.csv."""
    console.print()
    if data.scale is not None:
        console.print(_DEMO, soft_wrap=True)
    console.print(summary_table(data.counts))
    for reason, count in data.dropped.items():
        console.print(f"{count:,} faces dropped: {reason}")
    left_out = data.faces.left_out
    if len(left_out):
        console.print(f"{len(left_out):,} files or rows left out: {folder / 'left_out.csv'} names each and why", soft_wrap=True)
    run.write_data(folder, data.counts, left_out)


@rank_zero_only
def report(
    folder: Path,
    tested: str,
    trainer: L.Trainer,
    classifier: Classifier,
    data: FacesDataModule,
    config: Mapping[str, Any],
    trained: Mapping[str, float],
    training: pd.DataFrame | None,
    ran: Mapping[str, Any],
) -> float:
    """Prints the tests and writes metrics.json, reports, confusion matrices, predictions, pictures and environment.json.

    Args:
        folder: Where to.
        tested: What was tested, for titles: "last" or "best" weights.
        trainer: The trainer that tested.
        classifier: What was tested; it holds the results.
        data: The data that was tested on.
        config: Everything the run was composed of, for TensorBoard's hparams.
        trained: Training and validation metrics of the tested weights, from their checkpoint.
        training: What the network has seen (`FacesDataModule.training` of its run); None where that is not known.
        ran: Where and how it ran (`fer.report.run.environment`).

    Returns:
        The validation accuracy of the tested weights (NaN if they never saw validation), for sweeps to compare.
    """
    tests = {name.removeprefix("test/"): plain(values) for name, values in classifier.computed.items() if name.startswith("test/")}
    assert classifier.tested is not None
    rows, probabilities = (values.cpu().numpy() for values in classifier.tested)
    table = data.faces.table.iloc[rows]
    predictions = run.predictions(table, "unknown" if training is None else seen(training, table), probabilities)
    clean = _clean(tests, predictions)
    calibration = _calibration(tests, predictions, classifier.temperature)
    history = pd.DataFrame(classifier.history)
    metrics = {
        "tested": tested,
        "epochs": len(history),
        "trained": {name: round(value, 6) for name, value in sorted(trained.items())},
        "test": tests,
        "clean": clean,
        "calibration": calibration,
        "seen": {name: _of(predictions, name)["seen"].value_counts().drop("", errors="ignore").to_dict() for name in tests},
        "data": {
            "digest": data.digest,
            "drawn": data.scale is not None,
            "counts": {stage: {source: row.tolist() for source, row in frame.iterrows()} for stage, frame in data.counts.items()},
            "dropped": data.dropped,
            "left_out": len(data.faces.left_out),
        },
        "history": {name: values.tolist() for name, values in history.items()},
    }
    run.write_json(folder / ENVIRONMENT, ran)
    run.write_tests(folder, tests, f"{tested} weights")
    predictions.to_csv(folder / PREDICTIONS, index=False)
    (folder / FAILED).unlink(missing_ok=True)  # of an earlier try that was resumed

    ours, without = calibration["error"][COMBINED], calibration["error_without"][COMBINED]
    title = f"expected calibration error {ours:.3f} on {len(predictions):,} faces"
    right = predictions["predicted"] == predictions["emotion"]
    run.save(figures.reliability(probabilities.max(1), right.to_numpy(), title), folder / "reliability.png")
    _draw(folder, data.faces.images[rows], data.faces.emotion[rows], probabilities, history)
    _explain(folder, classifier.network, data.faces.images[rows], data.faces.emotion[rows], probabilities)
    _show_on_board(trainer, folder, tests, config, trained)
    run.write_json(folder / METRICS, metrics)  # last: what has it is finished
    for name, values in tests.items():
        console.print(metrics_table(name, values, clean.get(name)))
    fitted = classifier.temperature != 1  # an ensemble's members have their own, and older models none
    scaled = f" at the temperature {classifier.temperature:.2f}, fitted to the validation faces; {without:.3f} without"
    console.print(f"Expected calibration error: {ours:.3f}{scaled if fitted else ''}", soft_wrap=True)
    if training is None:
        console.print(_UNKNOWN, soft_wrap=True)
    console.print(f"Everything is in {folder}  ({ran['seconds']:,.0f} s)", soft_wrap=True)
    return trained.get("val/accuracy", float("nan"))


def _draw(
    folder: Path, images: NDArray[np.uint8], emotion: NDArray[np.int64], probabilities: NDArray[np.float32], history: pd.DataFrame
) -> None:
    for name, title, chosen in (
        ("faces", "test faces", run.some(emotion, 32)),
        ("mistakes", "the mistakes it was surest of", run.worst(emotion, probabilities, 32)),
    ):
        run.save(figures.faces(images[chosen], emotion[chosen], probabilities[chosen], title), folder / f"{name}.png")
    if len(history):
        run.save(figures.learning_curves(history, f"{len(history)} epochs"), folder / "learning_curves.png")


def _explain(
    folder: Path, network: nn.Module, images: NDArray[np.uint8], emotion: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> None:
    """Draws what spoke for what was predicted, for some faces of each emotion."""
    chosen = run.some(emotion, 5 * len(EMOTIONS))
    images = images[chosen]
    try:
        heat = gradcam(network, images, probabilities[chosen].argmax(1))
    except UserError as error:  # a network of another kind is no worse for it
        console.print(f"There is no explanations.png: {error}", soft_wrap=True)
        return
    overlays = np.stack([overlay(image, each) for image, each in zip(images, heat, strict=True)])
    title = "what spoke for what was predicted (Grad-CAM)"
    figure = figures.explanations(images, overlays, emotion[chosen], probabilities[chosen], title)
    run.save(figure, folder / "explanations.png")


def _of(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    return predictions if name == COMBINED else predictions[predictions["source"] == name]


def _clean(tests: Mapping[str, Any], predictions: pd.DataFrame) -> dict[str, Any]:
    """Metrics of the faces nothing of which stands in training or validation, of each test set that has others too."""
    clean = {}
    for name in tests:
        faces = _of(predictions, name)
        unseen = faces[faces["seen"] == ""]
        if 0 < len(unseen) < len(faces):
            clean[name] = evaluate(*_answers(unseen))
    return clean


def _answers(predictions: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """True classes, int64 (N,), and probabilities, (N, 7), of rows of predictions."""
    emotion = torch.tensor([EMOTIONS.index(label) for label in predictions["emotion"]])
    return emotion, torch.tensor(predictions[list(EMOTIONS)].to_numpy())


def _calibration(tests: Mapping[str, Any], predictions: pd.DataFrame, temperature: float) -> dict[str, Any]:
    """Expected calibration error of each test set, as predicted and without the temperature."""
    errors: dict[str, dict[str, float]] = {"error": {}, "error_without": {}}
    for name in tests:
        emotion, probabilities = _answers(_of(predictions, name))
        without = (probabilities.clamp_min(1e-12).log() * temperature).softmax(1)
        for key, each in (("error", probabilities), ("error_without", without)):
            errors[key][name] = round(calibration_error(emotion, each), 6)
    return {"temperature": temperature, **errors}


def _show_on_board(
    trainer: L.Trainer, folder: Path, tests: Mapping[str, Any], config: Mapping[str, Any], trained: Mapping[str, float]
) -> None:
    for pattern in (
        "confusion_matrix_*.png",
        "faces.png",
        "mistakes.png",
        "explanations.png",
        "learning_curves.png",
        "reliability.png",
    ):
        for picture in sorted(folder.glob(pattern)):
            board.add_picture(trainer, f"test/{picture.stem}", picture)
    names = [COMBINED, *(name for name in tests if name != COMBINED)]
    final = {f"final/{name}": tests[name]["accuracy"] for name in names}
    final |= {f"final/{name.replace('/', '_')}": value for name, value in trained.items() if name in ("val/accuracy", "val/loss")}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            board.log_hyperparameters(logger, run.settings(config), final)
        logger.finalize("success")  # writes what still waits in memory
