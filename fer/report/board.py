"""What a run shows in TensorBoard beside its scalars: figures, pictures, and the page that compares runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams

_FIRST = ("optimizer", "optimizer.lr", "epochs", "split", "seed")


def add_figure(trainer: L.Trainer, name: str, figure: Figure) -> None:
    """Puts a figure into TensorBoard, where that is the logger."""
    for logger in boards(trainer):
        logger.experiment.add_figure(name, figure, trainer.current_epoch)


def add_picture(trainer: L.Trainer, name: str, path: Path) -> None:
    """Puts a PNG into TensorBoard, where that is the logger."""
    with Image.open(path) as picture:
        size = dict(zip(("width", "height"), picture.size, strict=True))
        # as it is: add_image would take pixels and compress them once more
        image = Summary.Image(**size, colorspace=len(picture.getbands()), encoded_image_string=path.read_bytes())
    for logger in boards(trainer):
        content = Summary(value=[Summary.Value(tag=name, image=image)])
        logger.experiment._get_file_writer().add_summary(content, trainer.current_epoch)


def boards(trainer: L.Trainer) -> list[TensorBoardLogger]:
    """The TensorBoard loggers of a trainer."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def log_hyperparameters(logger: TensorBoardLogger, settings: Mapping[str, Any], final: Mapping[str, float]) -> None:
    """Puts a run into the HPARAMS page, where the runs of a folder are compared.

    Args:
        logger: Where to.
        settings: Dotted key -> number or text.
        final: Name -> final metric.
    """
    experiment, start, end = hparams(dict(settings), dict(final))  # type: ignore[no-untyped-call]
    # The page shows five settings unless told otherwise, those marked as differing first. Lightning's own
    # log_hyperparams marks none, so that the first five by name would be shown.
    plugin = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in _FIRST
    plugin.content = content.SerializeToString()
    for summary in (experiment, start, end):
        logger.experiment._get_file_writer().add_summary(summary)
    logger.log_metrics(dict(final))
