"""Learning-rate schedules, each as the dictionary that Lightning expects beside an optimizer."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, SequentialLR


def onecycle(
    optimizer: Optimizer, steps: int, epochs: int, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> dict[str, Any]:
    """One cycle (Smith & Topin, 2018): up to the optimizer's learning rate, then down, a little at every batch.

    Args:
        optimizer: Its learning rate is the peak.
        steps: Batches in the whole training.
        epochs: Epochs in the whole training; not used here.
        pct_start: Share of the batches that go up.
        div_factor: Peak over first learning rate.
        final_div_factor: First over last learning rate.
    """
    peak = [group["lr"] for group in optimizer.param_groups]
    schedule = OneCycleLR(
        optimizer,
        peak,
        total_steps=steps,
        pct_start=pct_start,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        cycle_momentum=False,
    )
    return {"scheduler": schedule, "interval": "step"}


def cosine(optimizer: Optimizer, steps: int, epochs: int, warmup: int = 0, min_lr: float = 0.0) -> dict[str, Any]:
    """Half a cosine from the optimizer's learning rate down (Loshchilov & Hutter, 2017), a step per epoch.

    Args:
        optimizer: Its learning rate is the start.
        steps: Batches in the whole training; not used here.
        epochs: Epochs in the whole training.
        warmup: Epochs of a linear rise before.
        min_lr: Learning rate at the end.
    """
    fall = CosineAnnealingLR(optimizer, T_max=max(1, epochs - warmup), eta_min=min_lr)
    if not warmup:
        return {"scheduler": fall, "interval": "epoch"}
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return {"scheduler": SequentialLR(optimizer, [rise, fall], [warmup]), "interval": "epoch"}


def plateau(
    optimizer: Optimizer, steps: int, epochs: int, factor: float = 0.5, patience: int = 5, min_lr: float = 1e-6
) -> dict[str, Any]:
    """Lowers the learning rate when the validation loss no longer falls.

    Args:
        optimizer: Its learning rate is the start.
        steps: Batches in the whole training; not used here.
        epochs: Epochs in the whole training; not used here.
        factor: What the learning rate is multiplied with.
        patience: Epochs without improvement before that.
        min_lr: Lowest learning rate.
    """
    schedule = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, min_lr=min_lr)
    return {"scheduler": schedule, "interval": "epoch", "monitor": "val/loss"}
