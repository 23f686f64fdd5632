from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fer.errors import UserError
from fer.model.explain import gradcam, overlay
from fer.model.networks import ResNet, ThesisCNN, to_input


@pytest.mark.parametrize("shape", [(5, 48, 48), (2, 48, 48, 3)])
@pytest.mark.parametrize(
    ("kind", "options", "layer"),  # the last whose maps have 6x6 places: the norm of the fourth block, the third stage
    [
        (ThesisCNN, {"filters": [4, 4, 4, 8], "kernel_sizes": [3] * 4, "dense": [8]}, 16),
        (ResNet, {"widths": [4, 4, 8, 8], "blocks": [1] * 4, "strides": [2] * 4}, 5),
    ],
)
def test_gradcam_is_the_formula_of_the_paper(noise, shape, kind, options, layer):
    torch.manual_seed(0)
    network = kind(channels=3 if len(shape) == 4 else 1, **options).eval()
    faces, emotion = noise(0, *shape), np.arange(shape[0]) % 7
    heat = gradcam(network, faces, emotion)
    assert heat.shape == shape[:3]
    assert heat.dtype == np.float32
    planes = torch.tensor(faces)[:, None] if len(shape) == 3 else torch.tensor(faces).permute(0, 3, 1, 2)
    kept: list[torch.Tensor] = []
    hook = network.features[layer].register_forward_hook(lambda _module, _inputs, result: kept.append(result))
    logits = network(to_input(planes))
    hook.remove()
    gradient = torch.autograd.grad(logits[range(shape[0]), emotion].sum(), kept[0])[0]
    assert kept[0].shape[2:] == (6, 6)
    coarse = F.relu((gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True))
    expected = F.interpolate(coarse, shape[1:3], mode="bilinear")[:, 0]
    expected = expected / expected.amax((1, 2), keepdim=True).clamp_min(1e-12)
    np.testing.assert_allclose(heat, expected.detach().numpy(), atol=1e-5)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_without_convolution_has_nothing_to_show(noise):
    with pytest.raises(UserError, match="Grad-CAM needs a convolution"):
        gradcam(nn.Sequential(nn.Flatten(), nn.Linear(2304, 7)), noise(0, 1, 48, 48), np.zeros(1, np.int64))


def test_heat_is_red_where_it_is_strong_and_blue_where_it_is_not():
    heat = np.zeros((8, 8), np.float32)
    heat[:, 4:] = 1
    drawn = overlay(np.full((80, 80), 128, np.uint8), heat).astype(int)
    assert drawn.shape == (80, 80, 3)
    assert (drawn[:, :20, 2] > drawn[:, :20, 0]).all()
    assert (drawn[:, -20:, 0] > drawn[:, -20:, 2]).all()
