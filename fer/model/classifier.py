"""The LightningModule: loss, metrics, optimizer and schedule around a network."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.metrics import Predictions, Temperature, classification_metrics
from fer.model.networks import predicted, to_input
from fer.results import CHECKPOINTS, COMBINED, PER_CLASS


class Faces(Protocol):
    """A batch: faces, uint8 (B, C, H, W); classes, int64 (B,); row of each face in the data, int64 (B,).

    `target` is what the loss compares with: the classes, or shares of each emotion, float (B, 7).
    """

    @property
    def images(self) -> Tensor: ...

    @property
    def emotion(self) -> Tensor: ...

    @property
    def row(self) -> Tensor: ...

    @property
    def target(self) -> Tensor: ...


def mixed(images: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Blends each face and its target with another of the batch (Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018).

    Args:
        images: float (B, C, H, W).
        target: Classes, int64 (B,), or shares of each emotion, float (B, 7).
        alpha: Of the Beta distribution that the batch's share is drawn from, above 0: small hardly blends, 1 evenly.

    Returns:
        Blended images, and targets as shares, float (B, 7).
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(images), device=images.device)
    shares = (F.one_hot(target, len(EMOTIONS)) if target.ndim == 1 else target).to(images.dtype)
    return images.lerp(images[order], share), shares.lerp(shares[order], share)


class Classifier(L.LightningModule):
    """Trains and tests a network on batches of uint8 faces.

    After a stage, `computed` holds its metrics, and after testing those of every test set and of all combined; `tested`
    then holds what `fer.metrics.Predictions` gives. `history` has a row of plain numbers per epoch. Within an epoch nothing
    waits for the device: what was predicted stays there, and the metrics take it up at its end.

    Args:
        network: From float faces (N, C, H, W) in 0..1 to logits (N, 7).
        optimizer: Makes the optimizer of these parameters.
        scheduler: Makes Lightning's schedule dictionary of (optimizer, steps, epochs); None keeps the learning rate.
        recipe: Plain values that travel in every checkpoint (see `fer.model.checkpoint`).
        test_sets: Names of the test loaders, in their order.
        label_smoothing: Share of each target spread over all classes, 0..1.
        mixup: How much training faces are blended (`alpha` of `mixed`); 0 leaves them as they are.
        loss_weights: Weight of each class in the training loss, (7,); None weighs all faces alike.
        compile_mode: Mode of `torch.compile` in which the network is trained and tested; None leaves it as it is.
        tta: Test-time augmentation of validation and tests (see `fer.model.networks.predicted`).
        temperature: What tests divide logits by; training fits it to the validation faces after every epoch.
    """

    loss_weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[..., dict[str, Any]] | None = None,
        recipe: Mapping[str, Any] | None = None,
        test_sets: Sequence[str] = (),
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        loss_weights: Sequence[float] | None = None,
        compile_mode: str | None = None,
        tta: str | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # twice as fast as the default on most CPUs and GPUs
        self.optimizer, self.scheduler, self.label_smoothing, self.mixup = optimizer, scheduler, label_smoothing, mixup
        weights = None if loss_weights is None else torch.tensor(loss_weights, dtype=torch.float32)
        self.register_buffer("loss_weights", weights, persistent=False)
        self.recipe = dict(recipe or {})
        self.test_sets = list(test_sets)
        self.train_metrics = classification_metrics()
        self.val_metrics = classification_metrics()
        self.test_metrics = nn.ModuleDict({name: classification_metrics() for name in [*self.test_sets, COMBINED]})
        self.predictions = Predictions()
        self.tta, self.temperature, self.fit_temperature = tta, temperature, Temperature()
        self.tested: tuple[Tensor, Tensor] | None = None
        self._sizes: dict[bool, int] | None = None  # in training or not -> faces of the batches that are compiled for
        if compile_mode is not None:
            self.network.compile(mode=compile_mode)
            self._sizes = {}
        self._batches: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = defaultdict(list)
        self.computed: dict[str, dict[str, Tensor]] = {}
        self.history: list[dict[str, float]] = []
        self._rng_state: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits, float (N, 7), of uint8 faces (N, C, H, W)."""
        logits: Tensor = self.network(to_input(images))
        return logits

    def _logits(self, images: Tensor) -> Tensor:
        # The last batch of an epoch: to compile for its size too takes longer than it would save.
        odd = self._sizes is not None and len(images) != self._sizes.setdefault(self.training, len(images))
        with torch.compiler.set_stance("force_eager") if odd else contextlib.nullcontext():
            logits: Tensor = self.network(images)
        return logits

    def _step(self, batch: Faces, *stages: str, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        images, target = to_input(batch.images), batch.target
        training: dict[str, Any] = {}
        if self.training:
            training = {"weight": self.loss_weights, "label_smoothing": self.label_smoothing}
            if self.mixup:
                images, target = mixed(images, target, self.mixup)
            logits = self._logits(images)
        else:
            logits = predicted(self._logits, images, temperature, self.tta)
        loss = F.cross_entropy(logits, target, **training)
        guesses = logits.detach().argmax(1)
        for stage in stages:
            self._batches[stage].append((guesses, batch.emotion, loss.detach()))
        return loss, logits

    def training_step(self, batch: Faces, batch_idx: int) -> Tensor:
        """Gives the loss of one batch."""
        return self._step(batch, "train")[0]

    def validation_step(self, batch: Faces, batch_idx: int) -> None:
        """Adds one batch to the validation metrics."""
        _, logits = self._step(batch, "val")
        # Labels, not shares of votes: to be as sure as people agree is to be far less sure than one is right.
        self.fit_temperature.update(logits, batch.emotion)

    def test_step(self, batch: Faces, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds one batch to the metrics of its test set and of all combined."""
        _, logits = self._step(batch, f"test/{self.test_sets[dataloader_idx]}", f"test/{COMBINED}", temperature=self.temperature)
        self.predictions.update(batch.row, logits)

    def on_train_epoch_end(self) -> None:
        """Computes and logs the training metrics, and adds the epoch to the history."""
        self._finish("train", self.train_metrics)
        row = {"epoch": self.current_epoch + 1.0, "lr": float(self.trainer.optimizers[0].param_groups[0]["lr"])}
        for stage in ("train", "val"):
            row |= {f"{stage}/{name}": float(self.computed[stage][name]) for name in ("loss", "accuracy")}
        self.history.append(row)

    def on_validation_epoch_end(self) -> None:
        """Computes and logs the validation metrics, and fits the temperature."""
        self._finish("val", self.val_metrics)
        self.temperature = float(self.fit_temperature.compute())
        self.fit_temperature.reset()

    def on_test_epoch_end(self) -> None:
        """Computes and logs the metrics of every test set, and gathers what was predicted."""
        for name, collection in self.test_metrics.items():
            self._finish(f"test/{name}", collection)
        self.tested = self.predictions.compute()

    def _finish(self, stage: str, collection: nn.Module) -> None:
        assert isinstance(collection, MetricCollection)
        if batches := self._batches.pop(stage, []):  # of several processes, one may have had no face of a small test set
            guesses, emotion, losses = zip(*batches, strict=True)
            if self.trainer.state.fn == "fit":
                self._check_finite(stage, torch.stack(losses))
            sizes = torch.tensor([len(each) for each in guesses], device=self.device)
            collection.update(preds=torch.cat(guesses), target=torch.cat(emotion), value=torch.stack(losses), weight=sizes)
        values = self.computed[stage] = collection.compute()
        collection.reset()
        self.log_dict({f"{stage}/{name}": values[name] for name in ("loss", "accuracy")})
        if stage != "train":
            for metric in PER_CLASS:
                each = zip(EMOTIONS, values[metric], strict=True)
                self.log_dict({f"{stage}/{metric}/{emotion}": value for emotion, value in each})

    def _check_finite(self, stage: str, losses: Tensor) -> None:
        """Looks at an epoch's losses once it is over, since looking at each would wait for the device.

        Raises:
            UserError: One is infinite or no number.
        """
        wrong = (~losses.isfinite()).nonzero()
        if len(wrong):
            step, rate = int(wrong[0]), self.trainer.optimizers[0].param_groups[0]["lr"]
            where = f"in step {step + 1} of" if stage == "train" else "in validation after"
            raise UserError(
                f"the loss was {losses[step].item()} {where} epoch {self.current_epoch + 1}, at a learning rate of {rate:g}: "
                f"use a smaller one; the last good weights, after {self.current_epoch} epochs, are in the run's "
                f"{CHECKPOINTS['last']}"
            )

    def on_fit_start(self) -> None:
        """Refuses to train where something would be chosen by test faces.

        Raises:
            UserError: A callback or the schedule watches a test metric.
        """
        watching: list[tuple[Any, Any]] = [(callback, getattr(callback, "monitor", None)) for callback in self.trainer.callbacks]  # type: ignore[attr-defined]
        watching += [(config.scheduler, config.monitor) for config in self.trainer.lr_scheduler_configs]
        for watcher, metric in watching:
            if str(metric).startswith("test"):
                raise UserError(
                    f"{type(watcher).__name__} watches {metric}: what is chosen by test faces says nothing about new ones; "
                    "watch val/accuracy"
                )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes the optimizer and its schedule."""
        if self.optimizer is None:
            raise ValueError("this classifier was made without an optimizer, for testing only")
        optimizer = self.optimizer(self.network.parameters())
        if self.scheduler is None:
            return optimizer
        steps, epochs = int(self.trainer.estimated_stepping_batches), self.trainer.max_epochs or 1
        schedule = cast(LRSchedulerConfigType, self.scheduler(optimizer, steps=steps, epochs=epochs))
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts the recipe, the metrics so far and the state of the random numbers (dropout) into the checkpoint."""
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        checkpoint["fer"] = {**self.recipe, "metrics": metrics, "temperature": self.temperature}
        checkpoint["history"] = self.history
        checkpoint["rng_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up the history, the temperature and the random numbers where the checkpoint left them."""
        self.history = checkpoint.get("history", [])
        self.temperature = checkpoint["fer"].get("temperature", 1.0)
        self._rng_state = checkpoint.get("rng_state")

    def on_train_epoch_start(self) -> None:
        """Restores the random numbers in the first epoch after a checkpoint was loaded."""
        if self._rng_state is not None:
            torch.set_rng_state(self._rng_state.cpu())
            self._rng_state = None
