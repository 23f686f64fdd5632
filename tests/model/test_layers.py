"""The faster layers against PyTorch's own, in float64: the same outputs, gradients and running statistics."""

from __future__ import annotations

import copy
import platform

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from fer.model.layers import Conv2d, _trains_on_cpu, norm_pool_relu_dropout
from fer.model.networks import ThesisCNN
from tests.conftest import run_program


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "padding"), [(3, "same"), (3, 1), (5, "same"), (5, 2)])
@pytest.mark.parametrize("size", [(24, 24), (12, 12), (6, 6), (7, 10), (3, 5), (1, 2)])
def test_convolution_by_tiles_is_the_direct_one(size, kernel, padding, bias):
    torch.manual_seed(0)
    ours = Conv2d(96, 128, kernel, padding=padding, bias=bias).double()
    theirs = nn.Conv2d(96, 128, kernel, padding=padding, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    assert ours._by_tiles()
    images = torch.randn(3, 96, *size, dtype=torch.float64)
    got, expected = ours(one := images.clone().requires_grad_()), theirs(other := images.clone().requires_grad_())
    assert "Winograd" in type(got.grad_fn.next_functions[0][0]).__name__ or "Winograd" in type(got.grad_fn).__name__
    assert_close(got, expected, rtol=1e-9, atol=1e-11)
    toward = torch.randn_like(expected)
    got.backward(toward)
    expected.backward(toward)
    assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-11)
    assert_close(gradients(ours), gradients(theirs), rtol=1e-9, atol=1e-9)


def test_in_float32_it_errs_no_more_than_rounding_does():
    torch.manual_seed(0)
    layer = Conv2d(64, 128, 5, padding="same")
    exact = copy.deepcopy(layer).double().eval()
    images = torch.randn(8, 64, 24, 24)
    assert layer._by_tiles()
    got, expected = layer(images), exact(images.double())
    assert (got - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize(
    "changed",
    [{"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}, {"padding_mode": "reflect"}, {"padding": 0}, {"kernel_size": 7}],
)
def test_other_convolutions_are_left_to_pytorch(changed):
    layer = Conv2d(128, 128, **({"kernel_size": 3, "padding": "same"} | changed))
    assert not layer._by_tiles()


def test_only_training_in_plain_floats_on_a_cpu_takes_the_other_way():
    layer, images = nn.BatchNorm2d(4), torch.rand(2, 4, 4, 4)
    assert _trains_on_cpu(layer, images)
    assert not _trains_on_cpu(layer.eval(), images)
    assert not _trains_on_cpu(layer.train(), images.bfloat16())
    assert not _trains_on_cpu(layer, images.to("meta"))
    with torch.no_grad():
        assert not _trains_on_cpu(layer, images)
    with torch.autocast("cpu", torch.bfloat16):
        assert not _trains_on_cpu(layer, images)


def block(images: torch.Tensor, norm: nn.Module, probability: float) -> torch.Tensor:
    return norm_pool_relu_dropout(images, norm, nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(probability))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (2, 2)])
def test_norm_pool_relu_is_the_three_layers(size):
    torch.manual_seed(1)
    ours = nn.BatchNorm2d(6, 1e-3, 0.01).double()
    nn.init.normal_(ours.weight)  # a negative scale turns the largest of four into the smallest
    nn.init.normal_(ours.bias)
    assert (ours.weight < 0).any()
    theirs = copy.deepcopy(ours)
    images = torch.randn(5, 6, *size, dtype=torch.float64)
    images[0] = 0.5  # ties: the gradient goes to one of the four
    got = block(one := images.clone().requires_grad_(), ours, 0.0)
    expected = F.max_pool2d(F.relu(theirs(other := images.clone().requires_grad_())), 2)
    assert "NormPoolReLUDropout" in type(got.grad_fn).__name__
    assert_close(got, expected)
    toward = torch.randn_like(expected)
    got.backward(toward)
    expected.backward(toward)
    assert_close(one.grad[1:], other.grad[1:])
    assert_close(one.grad.sum((2, 3)), other.grad.sum((2, 3)))
    assert_close(gradients(ours), gradients(theirs))
    assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


@pytest.mark.parametrize("probability", [0.25, 0.1, 0.9, 1.0])
def test_dropout_drops_as_often_as_it_says_and_keeps_the_mean(probability):
    torch.manual_seed(2)
    norm, images = nn.BatchNorm2d(8), torch.randn(64, 8, 48, 48)
    nn.init.constant_(norm.bias, 5.0)  # so that ReLU lets everything pass
    images.requires_grad_()
    got, whole = block(images, norm, probability), block(images, norm, 0.0)
    count = got.numel()
    assert (got == 0).double().mean().item() == pytest.approx(probability, abs=5 * (0.25 / count) ** 0.5)
    torch.testing.assert_close(got[got > 0], (whole / max(1 - probability, 1e-9))[got > 0], rtol=1e-4, atol=1e-4)
    dropped_here, dropped_there = (got == 0).double().flatten(2)[:, :, :-1], (got == 0).double().flatten(2)[:, :, 1:]
    if probability < 1:  # neighbours are dropped independently
        together = torch.corrcoef(torch.stack([dropped_here.flatten(), dropped_there.flatten()]))[0, 1]
        assert abs(together.item()) < 5 / count**0.5
    got.sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


def test_dropout_is_drawn_from_the_seed():
    norm, images = nn.BatchNorm2d(8), torch.randn(4, 8, 8, 8)

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return block(images, norm, 0.5)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_a_step_of_the_thesis_network_is_the_plain_one():
    torch.manual_seed(3)
    network = ThesisCNN(dropout=0.0).double().to(memory_format=torch.channels_last)
    plain = copy.deepcopy(network)
    faces, emotion = torch.rand(6, 1, 48, 48, dtype=torch.float64), torch.arange(6)
    loss = F.cross_entropy(network(faces), emotion)
    expected = F.cross_entropy(plain.classifier(nn.Sequential(*map(as_pytorch, plain.features))(faces)), emotion)
    loss.backward()
    expected.backward()
    assert_close(loss, expected)
    assert_close(gradients(network), gradients(plain), rtol=1e-6, atol=1e-8)
    assert_close(dict(network.named_buffers()), dict(plain.named_buffers()))


def as_pytorch(layer: nn.Module) -> nn.Module:
    """The layer with PyTorch's own convolution and the same parameters."""
    if not isinstance(layer, Conv2d):
        return layer
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding, dtype=torch.float64)
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


PAGES = """
import resource, sys, torch
from fer.model.layers import keep_memory
from fer.model.networks import ThesisCNN
if sys.argv[1] == "keep":
    keep_memory()
# its first block alone, whose memory is the largest
network = ThesisCNN(filters=[64], kernel_sizes=[3], dense=[]).to(memory_format=torch.channels_last)
faces = torch.rand(64, 1, 48, 48)

def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        network(faces).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(6)
print(faults(6))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_kept_memory_is_not_fetched_page_by_page_again(tmp_path):
    (tmp_path / "pages.py").write_text(PAGES)
    faults = {word: int(run_program("pages.py", word, cwd=tmp_path).stdout) for word in ("keep", "free")}
    assert faults["keep"] < faults["free"] / 4
