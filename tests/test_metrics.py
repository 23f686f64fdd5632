"""Metrics on several processes; tests/model holds them against scikit-learn on one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fer.data.datamodule import BatchSampler
from fer.metrics import Predictions, Temperature, classification_metrics, plain

SIZE = 101  # does not divide by two: no face may be counted twice or left out


def answers():
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 7, (SIZE,), generator=random), torch.randn(SIZE, 7, generator=random)


def evaluate(rank: int, world: int):
    target, logits = answers()
    metrics, predictions, temperature = classification_metrics(), Predictions(), Temperature()
    for _, rows in BatchSampler(SIZE, 8, training=False, seed=0, rank=rank, world=world):
        loss = torch.nn.functional.cross_entropy(logits[rows], target[rows])
        metrics.update(preds=logits[rows].argmax(1), target=target[rows], value=loss, weight=len(rows))
        predictions.update(rows, logits[rows])
        temperature.update(logits[rows], target[rows])
    return plain(metrics.compute()), predictions.compute(), float(temperature.compute())


def work(rank: int, port_file: str, result: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{port_file}", rank=rank, world_size=2)
    values = evaluate(rank, 2)
    if rank == 0:
        torch.save(values, result)
    dist.destroy_process_group()


def test_two_processes_give_the_metrics_of_one(tmp_path: Path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(work, (str(tmp_path / "meet"), str(tmp_path / "result")), nprocs=2)
    several, (rows, probabilities), temperature = torch.load(tmp_path / "result", weights_only=True)
    one, (all_rows, all_probabilities), expected = evaluate(0, 1)
    assert temperature == pytest.approx(expected, rel=1e-9)
    assert abs(several.pop("loss") - one.pop("loss")) < 2e-6  # a mean, summed in another order
    assert several == one
    assert rows.tolist() == list(range(SIZE)) == all_rows.tolist()
    torch.testing.assert_close(probabilities, all_probabilities, rtol=0, atol=0)
