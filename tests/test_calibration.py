from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import functional

from fer.calibration import fit_temperature
from fer.metrics import Temperature, calibration_error
from fer.model.networks import predicted


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_with_is_found(true):
    logits = torch.randn(50_000, 7, generator=torch.Generator().manual_seed(0)) * 2
    labels = torch.multinomial((logits / true).softmax(1), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    metric = Temperature()
    for start in range(0, len(logits), 7_000):
        metric.update(logits[start : start + 7_000], labels[start : start + 7_000])
    assert metric.compute() == pytest.approx(true, rel=0.03)


def test_it_is_the_least_loss_that_gradient_descent_finds_too():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 7, generator=random) * 3
    target = torch.multinomial((logits / 3).softmax(1), 1, generator=random)[:, 0]
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([logarithm], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        search.zero_grad()
        value = F.cross_entropy(logits.double() / logarithm.exp(), target)
        value.backward()
        return value

    search.step(loss)
    assert fit_temperature(logits, target) == pytest.approx(logarithm.exp().item(), rel=1e-3)


def test_without_faces_nothing_is_changed():
    assert fit_temperature(torch.zeros(0, 7), torch.zeros(0, dtype=torch.int64)) == 1


def test_calibration_error_is_the_mean_gap_of_its_bins():
    random = np.random.default_rng(0)
    probabilities, emotion = random.dirichlet(np.ones(7) / 2, 2_000), random.integers(0, 7, 2_000)
    faces = pd.DataFrame({"sure": probabilities.max(1), "right": probabilities.argmax(1) == emotion})
    bins = faces.groupby(pd.cut(faces["sure"], np.linspace(0, 1, 16)), observed=True)
    expected = ((bins["sure"].mean() - bins["right"].mean()).abs() * bins.size()).sum() / len(faces)
    assert calibration_error(torch.from_numpy(emotion), torch.from_numpy(probabilities)) == pytest.approx(expected, abs=1e-6)


def test_flipping_averages_probabilities_before_the_temperature():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7)).double()
    faces = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    both = (network(faces).softmax(1) + network(faces.flip(-1)).softmax(1)) / 2
    expected = both ** (1 / 1.7) / (both ** (1 / 1.7)).sum(1, keepdim=True)
    torch.testing.assert_close(predicted(network, faces, 1.7, "flip").exp(), expected)
    torch.testing.assert_close(predicted(network, faces), network(faces).log_softmax(1))


def test_ten_crops_are_torchvisions_44_of_48_pixels():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48 * 48, 7)).double()
    faces = torch.rand(3, 1, 48, 48, dtype=torch.float64)
    crops = [functional.resize(crop, [48, 48], antialias=False) for crop in functional.ten_crop(faces, [44, 44])]
    expected = torch.stack([network(crop).softmax(1) for crop in crops]).mean(0)
    torch.testing.assert_close(predicted(network, faces, tta="tencrop").exp(), expected)
