from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fer.config import composed
from fer.errors import UserError
from fer.model import checkpoint
from fer.model.networks import ResNet, ThesisCNN, Timm, to_input

FIGURE_4_7 = [640, 128, 204928, 256, 590336, 1024, 2359808, 1024, 1179904, 512, 131584, 1024, 3591]
"""Trainable parameters of each layer that has any, in order (convolution or dense, then batch norm)."""


def test_every_layer_has_the_thesis_parameters():
    network = ThesisCNN()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == FIGURE_4_7
    assert sum(p.numel() for p in network.parameters()) == 4_474_759
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert statistics == 3_968


def test_defaults_are_keras_ones():
    network = ThesisCNN()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {(m.momentum, m.eps) for m in norms} == {(0.01, 1e-3)}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert not layer.bias.any()
            receptive = layer.weight[0, 0].numel() if layer.weight.ndim == 4 else 1
            limit = math.sqrt(6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * receptive))  # Glorot & Bengio, 2010
            assert layer.weight.abs().max() <= limit
            assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("training", [False, True])
def test_pooling_before_relu_gives_the_thesis_order_exactly(training):
    torch.manual_seed(0)
    network = ThesisCNN(dropout=0.0).double().train(training)
    faces = torch.rand(4, 1, 48, 48, dtype=torch.float64)

    def thesis_order(x):
        for block in zip(*[iter(network.features)] * 5, strict=True):
            convolution, norm = block[0], block[1]
            x = F.max_pool2d(F.relu(norm(convolution(x))), 2)
        return network.classifier(x)

    ours = network(faces)
    ours.square().sum().backward()
    gradients = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    theirs = thesis_order(faces)
    theirs.square().sum().backward()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients, [p.grad for p in network.parameters()])


def test_options_reach_the_layers():
    network = ThesisCNN(3, 64, (8, 16), (3, 5), (10,), dropout=0.5, classes=4)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 4)
    assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.5}
    assert [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)] == [(3, 3), (5, 5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"filters": (8,)}, "1 entries and model.kernel_sizes 4"), ({"image_size": 15}, "use 16 or more")],
)
def test_blocks_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        ThesisCNN(**arguments)
    with pytest.raises(ValueError, match=r"4 entries, model\.blocks 1 and model\.strides 4"):
        ResNet(blocks=[2])


@pytest.mark.parametrize("training", [False, True])
def test_the_residual_network_is_torchvisions(training):
    """Its own ResNet-18 without the pooling and stride at its start, holding our weights."""
    torch.manual_seed(0)
    ours = ResNet().double().train(training)
    theirs = torchvision.models.resnet18(num_classes=7).double().train(training)
    theirs.conv1, theirs.maxpool = nn.Conv2d(1, 64, 3, padding=1, bias=False, dtype=torch.float64), nn.Identity()
    names = theirs.state_dict().keys()
    assert len(names) == len(ours.state_dict())
    for layer in ours.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.5, 0.5)
    theirs.load_state_dict(dict(zip(names, ours.state_dict().values(), strict=True)))
    faces = torch.rand(2, 1, 48, 48, dtype=torch.float64)
    torch.testing.assert_close(ours(faces), theirs(faces))


@pytest.mark.parametrize("width", [4, 16])
def test_gradients_of_narrow_stages(width):
    """torch's own of a strided 1x1 convolution on the CPU write past their end below 16 channels."""
    torch.manual_seed(0)
    network = ResNet(widths=[width, 8], blocks=[1, 1], strides=[2, 2]).eval().to(memory_format=torch.channels_last)
    faces = to_input(torch.randint(256, (8, 1, 48, 48), dtype=torch.uint8))
    exact = copy.deepcopy(network).double()
    network(faces).square().sum().backward()
    exact(faces.double()).square().sum().backward()
    for ours, theirs in zip(network.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [("test_resnet", 1, 48), ("test_convnext", 3, 64), ("test_vit", 1, 96), ("efficientformerv2_s0", 1, 64)],
)
def test_timms_networks_take_faces_of_any_kind_and_come_back_from_their_file(tmp_path, name, channels, size):
    """The last one computes buffers that its weights do not hold."""
    network = Timm(name, channels, size)
    assert all(layer.training for layer in network.modules()), "else it would not train"
    network.eval()
    faces = torch.rand(2, channels, size, size)
    expected = timm.create_model(
        name, in_chans=channels, num_classes=7, **{"img_size": size} if "vit" in name or "former" in name else {}
    )
    expected.load_state_dict(network.network.state_dict())
    mean, std = (np.array(timm.get_pretrained_cfg(name).to_dict()[key]) for key in ("mean", "std"))
    if channels == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    scaled = (faces.numpy() - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(network(faces), expected.eval()(torch.from_numpy(scaled).float()))
    arguments = {"name": name, "channels": channels, "image_size": size, "pretrained": True}
    described = checkpoint.recipe({"_target_": "fer.model.networks.Timm", **arguments}, size, channels, {})
    checkpoint.write(tmp_path / "a.ckpt", network, described)
    again, _ = checkpoint.load(tmp_path / "a.ckpt")  # pretrained, and yet nothing is fetched
    torch.testing.assert_close(again(faces), network(faces), rtol=0, atol=0)


def test_a_network_that_timm_does_not_have():
    with pytest.raises(UserError, match=r"model\.name=nosuch: timm cannot make it \(Unknown model"):
        Timm("nosuch")
    with pytest.raises(UserError, match=r"data\.image_size=48: efficientformerv2_s0 does not take such faces"):
        Timm("efficientformerv2_s0", image_size=48)


def test_the_small_network_is_small():
    from hydra.utils import instantiate

    small, thesis = (
        instantiate(composed([f"model={name}", "data=thesis"]).model, _convert_="all") for name in ("small", "thesis_cnn")
    )
    assert sum(parameter.numel() for parameter in small.parameters()) <= 2_000_000
    assert 10 * operations(small) <= operations(thesis)
    assert small(torch.rand(2, 1, 96, 96)).shape == (2, 7), "any size of faces"


def operations(network: nn.Module) -> int:
    """Multiplications and additions for one face, as PyTorch's own counter has them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 1, 48, 48))
    return counter.get_total_flops()


def test_input_is_scaled_to_one():
    faces = torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8)
    torch.testing.assert_close(to_input(faces), torch.tensor([[[[0.0, 1.0], [0.2, 0.4]]]]))
