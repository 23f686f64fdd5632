"""The metrics of every stage, on one device or several."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.utilities import dim_zero_cat

from fer.calibration import fit_temperature
from fer.emotions import EMOTIONS
from fer.results import PER_CLASS


def classification_metrics(together: bool = True) -> MetricCollection:
    """Makes the metrics of one stage or test set, of all processes `together` or of this one alone.

    Update it with the keywords `preds`, int64 (N,), and `target`, int64 (N,), both 0..6, and `value`, the mean loss of
    each batch, with `weight`, its number of faces, both (batches,) or one number.

    Returns:
        `accuracy` (a share, 0..1), `precision`, `recall` and `f1` (0..1 per emotion, (7,); 0 where a class is neither
        predicted nor there), `confusion_matrix` (int64 (7, 7), rows are the true class) and `loss` (mean, nats).
    """
    # Arguments are checked by Faces, once; checking them here would wait for the GPU at every batch.
    processes: dict[str, Any] = {"sync_on_compute": together}
    each: dict[str, Any] = {"num_classes": len(EMOTIONS), "validate_args": False, **processes}
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(average="micro", **each),
            "precision": MulticlassPrecision(average="none", **each),
            "recall": MulticlassRecall(average="none", **each),
            "f1": MulticlassF1Score(average="none", **each),
            "confusion_matrix": MulticlassConfusionMatrix(**each),
            "loss": MeanMetric(**processes),
        }
    )


def plain(computed: dict[str, Tensor]) -> dict[str, Any]:
    """Turns computed metrics into plain values for JSON and tables.

    Args:
        computed: What `classification_metrics().compute()` gave.

    Returns:
        `accuracy` and `loss` (floats), `precision`, `recall` and `f1` (a float per emotion), `support` (faces per
        emotion), `macro` (unweighted means over the emotions) and `confusion_matrix` (rows are the true class).
    """
    # torchmetrics computes in float32, of which six decimals are right
    values: dict[str, Any] = {name: round(computed[name].item(), 6) for name in ("accuracy", "loss")}
    values |= {name: [round(value, 6) for value in computed[name].tolist()] for name in PER_CLASS}
    values["macro"] = {name: round(computed[name].double().mean().item(), 6) for name in PER_CLASS}
    values["support"] = computed["confusion_matrix"].sum(1).tolist()
    values["confusion_matrix"] = computed["confusion_matrix"].tolist()
    return values


def evaluate(emotion: Tensor, probabilities: Tensor) -> dict[str, Any]:
    """Computes the metrics of predictions that are already made, as `plain` gives them.

    Args:
        emotion: True classes, int64 (N,).
        probabilities: float (N, 7).
    """
    collection = classification_metrics(together=False)
    loss = torch.nn.functional.nll_loss(probabilities.clamp_min(1e-12).log(), emotion)
    collection.update(preds=probabilities.argmax(1), target=emotion, value=loss, weight=len(emotion))
    return plain(collection.compute())


def calibration_error(emotion: Tensor, probabilities: Tensor, bins: int = 15) -> float:
    """Computes the expected calibration error (Guo et al., 2017): how far confidence lies from accuracy, on the average.

    Args:
        emotion: True classes, int64 (N,).
        probabilities: float (N, 7).
        bins: Equal ranges of confidence (the highest probability) within which the two are compared.

    Returns:
        0..1.
    """
    return float(multiclass_calibration_error(probabilities, emotion, num_classes=len(EMOTIONS), n_bins=bins))


class Temperature(Metric):
    """Fits the temperature of a stage's predictions, of all processes (see `fer.calibration`)."""

    full_state_update = False
    predicted: list[Tensor]
    emotion: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predicted", default=[], dist_reduce_fx="cat")
        self.add_state("emotion", default=[], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, emotion: Tensor) -> None:
        """Adds a batch: logits, float (B, 7), and classes, int64 (B,)."""
        self.predicted.append(predicted.float())
        self.emotion.append(emotion)

    def compute(self) -> Tensor:
        """Gives the temperature, float64 ()."""
        return torch.tensor(fit_temperature(dim_zero_cat(self.predicted), dim_zero_cat(self.emotion)), dtype=torch.float64)


class Predictions(Metric):
    """Collects what was predicted for each face, from every device.

    `compute` gives the faces' rows, int64 (N,), ascending and each once, and their probabilities, float32 (N, 7).
    """

    full_state_update = False
    rows: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("probabilities", default=[], dist_reduce_fx="cat")

    def update(self, row: Tensor, logits: Tensor) -> None:
        """Adds a batch: rows, int64 (B,), and logits, float (B, 7)."""
        self.rows.append(row)
        self.probabilities.append(logits.float().softmax(1))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Gives rows and probabilities."""
        rows = dim_zero_cat(self.rows)
        order = rows.argsort()
        return rows[order], dim_zero_cat(self.probabilities)[order]
