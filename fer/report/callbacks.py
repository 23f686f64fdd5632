"""Lightning callbacks that observe a run: the training record, pictures in TensorBoard, and how to resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from lightning.pytorch.utilities.types import STEP_OUTPUT
from PIL import Image
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torchvision.utils import make_grid

from fer.console import console
from fer.model.checkpoint import read, save
from fer.report import board, figures
from fer.results import CHECKPOINTS, HISTORY


class WholeCheckpoints(TorchCheckpointIO):
    """Lets Lightning read and write checkpoints as `fer.model.checkpoint` does."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint whole or not at all."""
        save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint of this project, which holds no code."""
        return read(path)


def plugins() -> list[Any]:
    """Makes the Trainer's plugins: whole checkpoints, and SLURM without Lightning's requeueing, since `fer.cluster` does it.

    Checkpoints are written in a thread of their own, one after the other, while the next epoch is trained.
    """
    return [AsyncCheckpointIO(WholeCheckpoints()), *([SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [])]


def callbacks(folder: Path, early_stopping: int | None, averaging: float | None = None) -> list[L.Callback]:
    """Makes the callbacks of a training run.

    Args:
        folder: The run folder.
        early_stopping: Epochs without a better validation accuracy before training stops; None never stops.
        averaging: Share of the averaged weights that each step leaves, 0..1; None validates and keeps the weights themselves.
    """
    keep: dict[str, Any] = {"dirpath": folder / "checkpoints", "save_on_train_epoch_end": True, "enable_version_counter": False}
    made: list[L.Callback] = [
        Keep(filename="best", monitor="val/accuracy", mode="max", **keep),
        Keep(filename="last", **keep),
        Record(folder),
        Pictures(folder),
    ]
    if early_stopping is not None:
        made.append(EarlyStopping("val/accuracy", mode="max", patience=early_stopping, check_on_train_epoch_end=True))
    if averaging is not None:
        made.append(Average(averaging))
    return made


class Average(WeightAveraging):
    """Averages the weights over the steps, all of them in one go and without waiting for the device.

    Lightning's own asks the device at every step whether there is an average yet; here the number of steps says so.

    Args:
        decay: Share of the averaged weights that each step leaves, 0..1.
    """

    def __init__(self, decay: float) -> None:
        self.update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(multi_avg_fn=self.update)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Takes the weights after a step into the average."""
        if not self._latest_update_step:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        elif trainer.global_step > self._latest_update_step:
            assert self._average_model is not None
            averaged, new = ([*part.parameters(), *part.buffers()] for part in (self._average_model.module, pl_module))
            fractional = [pair for pair in zip(averaged, new, strict=True) if pair[0].is_floating_point()]
            self.update(*zip(*fractional, strict=True), None)
            self._latest_update_step = trainer.global_step


class Keep(ModelCheckpoint):
    """Keeps a checkpoint in a run folder that may be moved; Lightning would forget the best score there."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the run folder is now."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


class Record(L.Callback):
    """Writes history.csv after every epoch, tells the progress, and says how to resume an interrupted run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leaves a checkpoint to resume from before the first batch."""
        if trainer.ckpt_path is None:
            trainer.save_checkpoint(self.folder / CHECKPOINTS["last"])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the epochs that are done."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last epoch."""
        self._write(trainer, pl_module)

    def _write(self, trainer: L.Trainer, pl_module: Any) -> None:
        history: list[dict[str, float]] = pl_module.history
        if not history or not trainer.is_global_zero:
            return
        pd.DataFrame(history).to_csv(self.folder / HISTORY, index=False)
        row = history[-1]
        console.print(
            f"epoch {row['epoch']:.0f}/{trainer.max_epochs}: loss {row['train/loss']:.3f}, accuracy {row['train/accuracy']:.3f}; "
            f"validation loss {row['val/loss']:.3f}, accuracy {row['val/accuracy']:.3f}"
        )

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Says how to go on after Ctrl-C or SIGTERM."""
        if isinstance(exception, KeyboardInterrupt | SystemExit) and trainer.is_global_zero:
            console.print(f"\nInterrupted. Go on with: python train.py resume={self.folder}", soft_wrap=True)


class Pictures(L.Callback):
    """Shows the first training batch as the network sees it, and confusion matrices along the way, in TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves the first batch of all, augmentation included."""
        if trainer.global_step or not trainer.is_global_zero:
            return
        grid = make_grid(batch.images[:64].cpu(), nrow=16, padding=1)
        Image.fromarray(grid.permute(1, 2, 0).numpy()).resize((grid.shape[2] * 2, grid.shape[1] * 2)).save(
            self.folder / "batch.png"
        )
        for logger in board.boards(trainer):
            logger.experiment.add_image("train/first_batch", grid, 0)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Draws the validation set's confusion matrix, about twenty times a run."""
        every = max(1, (trainer.max_epochs or 1) // 20)
        if (trainer.current_epoch + 1) % every == 0 and board.boards(trainer):
            matrix = pl_module.computed["val"]["confusion_matrix"].tolist()
            board.add_figure(
                trainer, "val/confusion_matrix", figures.confusion_matrix(matrix, f"validation, epoch {trainer.current_epoch + 1}")
            )
