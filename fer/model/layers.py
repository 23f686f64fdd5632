"""Faster ways to compute the same layers when training on a CPU; elsewhere PyTorch's own are used.

Each has a condition under which it is used and PyTorch's own layers as its oracle in the tests. What was measured, what
was kept and what was not stands in tests/bench/step.py.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
"""Where the polynomials are evaluated: small numbers, whose powers are exact and hardly differ in size."""

_CHANNELS = 40
"""Half the harmonic mean of input and output channels from which multiplying less outweighs the transforms (measured)."""


def keep_memory() -> None:
    """Lets this process keep the memory it frees, for the next training step (glibc only; else does nothing).

    By default glibc gives every large tensor back to the system, which hands it out again page by page, each filled
    with zeros: a tenth to a fifth of a training step on a CPU. The process then holds its peak memory until it ends.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(-4, 0)  # M_MMAP_MAX: large tensors come from the heap
            mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: whose end is not given back


def _trains_on_cpu(layer: nn.Module, *tensors: Tensor) -> bool:
    plain = all(tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) for tensor in tensors)
    special = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return plain and not special and layer.training and torch.is_grad_enabled()


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that multiplies up to six times less when it is trained on a CPU.

    There, and where it pays (3x3 and 5x5 kernels, stride 1, same padding, many channels), it works on overlapping tiles
    of the image by Winograd's minimal filtering (Lavin & Gray, Fast Algorithms for Convolutional Neural Networks,
    2016), with matrices after Cook and Toom. Outputs and gradients are those of the direct way up to the rounding of
    float32 (relative error some 1e-6).
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolves (N, in_channels, H, W)."""
        if self._by_tiles() and _trains_on_cpu(self, input, self.weight):
            tile = _tile(input.shape[2], input.shape[3], self.kernel_size[0])
            convolved: Tensor = _Winograd.apply(input, self.weight, self.bias, tile)
            return convolved
        return super().forward(input)

    def _by_tiles(self) -> bool:
        kernel = self.kernel_size[0]
        return (
            self.kernel_size in ((3, 3), (5, 5))
            and self.stride == self.dilation == (1, 1)
            and self.groups == 1
            and self.padding_mode == "zeros"
            and self.padding in ("same", (kernel // 2, kernel // 2))
            and self.in_channels * self.out_channels >= _CHANNELS * (self.in_channels + self.out_channels)
        )


def _tile(height: int, width: int, kernel: int) -> int:
    """Side of the output tiles, 2..4 pixels, with which a map of this size takes the fewest multiplications."""
    return min((4, 3, 2), key=lambda side: (side + kernel - 1) ** 2 * -(-height // side) * -(-width // side))


@functools.cache
def _transforms(side: int, kernel: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Makes Winograd's matrices for tiles of side x side outputs, for both axes at once.

    An output tile is y = A [(G w) * (B d)], where w is the kernel, d the input tile with n = side + kernel - 1 pixels a
    side, each flattened, and * multiplies element by element. Convolving is the transpose of multiplying polynomials:
    A and G evaluate in n - 1 points and at infinity, B is the transposed inverse of such an evaluation.

    Returns:
        A (side^2, n^2), G (n^2, kernel^2) and B (n^2, n^2).
    """
    size = side + kernel - 1

    def evaluation(terms: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.vstack([np.vander(_POINTS[: size - 1], terms, increasing=True), np.eye(terms)[-1:]])

    inverse = np.linalg.inv(evaluation(size)).T
    scale = np.abs(inverse).max(1, keepdims=True)  # moved from B to G, so that the transformed numbers stay of one size
    whole = (evaluation(side).T, evaluation(kernel) * scale, inverse / scale)
    a, g, b = (torch.tensor(np.kron(matrix, matrix), dtype=dtype) for matrix in whole)
    return a, g, b


class _Winograd(torch.autograd.Function):
    """Convolution with same padding and stride 1; every tensor is kept as (position in the tile, tiles, channels)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, side: int) -> Tensor:
        count, channels, height, width = images.shape
        filters, _, kernel, _ = weight.shape
        size, border = side + kernel - 1, kernel // 2
        a, g, b = _transforms(side, kernel, images.dtype)
        down, across = -(-height // side), -(-width // side)
        right, below = across * side + size - side - border - width, down * side + size - side - border - height
        padded = F.pad(images.contiguous(memory_format=torch.channels_last), (border, right, border, below))
        of_image, of_channel, of_row, of_pixel = padded.stride()
        tiles = padded.as_strided(
            (size, size, count, down, across, channels),
            (of_row, of_pixel, of_image, of_row * side, of_pixel * side, of_channel),
        ).reshape(size * size, -1)
        seen = (b @ tiles).view(size * size, -1, channels)
        kernels = (g @ weight.permute(2, 3, 0, 1).reshape(kernel * kernel, -1)).view(size * size, filters, channels)
        product = torch.bmm(seen, kernels.transpose(1, 2)).view(size * size, -1)
        pieces = (a @ product).view(side, side, count, down, across, filters).permute(2, 3, 0, 4, 1, 5)
        output = images.new_empty(pieces.shape)
        if bias is None:
            output.copy_(pieces)
        else:
            torch.add(pieces, bias, out=output)
        ctx.save_for_backward(seen, kernels)
        ctx.shape, ctx.side, ctx.kernel, ctx.has_bias = images.shape, side, kernel, bias is not None
        return output.view(count, down * side, across * side, filters)[:, :height, :width].permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        seen, kernels = ctx.saved_tensors
        (count, channels, height, width), side, kernel = ctx.shape, ctx.side, ctx.kernel
        size, border, filters = side + kernel - 1, kernel // 2, kernels.shape[1]
        a, g, b = (matrix.T.contiguous() for matrix in _transforms(side, kernel, gradient.dtype))
        down, across = -(-height // side), -(-width // side)
        pieces = F.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, across * side - width, 0, down * side - height))
        pieces = pieces.reshape(count, down, side, across, side, filters).permute(2, 4, 0, 1, 3, 5).reshape(side * side, -1)
        product = (a @ pieces).view(size * size, -1, filters)
        to_kernels = torch.bmm(product.transpose(1, 2), seen).view(size * size, -1)
        to_weight = (g @ to_kernels).view(kernel, kernel, filters, channels).permute(2, 3, 0, 1)
        to_bias = pieces.view(-1, filters).sum(0) if ctx.has_bias else None
        if not ctx.needs_input_grad[0]:
            return None, to_weight, to_bias, None
        tiles = (b @ torch.bmm(product, kernels).view(size * size, -1)).view(size, size, count, down, across, channels)
        # Tiles overlap by less than two tiles: each is laid down in blocks of side x side pixels, which do not.
        more = -(-size // side) - 1
        output = gradient.new_zeros(count, down + more, side, across + more, side, channels)
        for top in range(0, size, side):
            for left in range(0, size, side):
                block = tiles[top : top + side, left : left + side].permute(2, 3, 0, 4, 1, 5)
                row, column = top // side, left // side
                output[:, row : row + down, : block.shape[2], column : column + across, : block.shape[4]] += block
        whole = output.view(count, (down + more) * side, (across + more) * side, channels)
        return whole[:, border : border + height, border : border + width].permute(0, 3, 1, 2), to_weight, to_bias, None


def norm_pool_relu_dropout(images: Tensor, norm: nn.Module, pool: nn.Module, relu: nn.Module, dropout: nn.Module) -> Tensor:
    """Computes `dropout(relu(pool(norm(images))))`, in fewer passes over memory when training on a CPU.

    Batch normalisation scales and shifts each channel, so that pooling first gives the same for a quarter of the work;
    the gradient of its sums is then needed where the maxima lie only. Dropout draws 16 bits for each number, not 53,
    from the global generator: its probability is rounded to a multiple of 2^-16.

    Args:
        images: float (N, C, H, W).
        norm: `BatchNorm2d` with momentum; another kind of norm is computed as it is.
        pool: `MaxPool2d(2)`.
        relu: `ReLU`.
        dropout: `Dropout`.

    Returns:
        float (N, C, H // 2, W // 2).
    """
    if (
        isinstance(norm, nn.BatchNorm2d)
        and isinstance(dropout, nn.Dropout)
        and norm.affine
        and norm.num_batches_tracked is not None
        and norm.momentum is not None
        and _trains_on_cpu(norm, images, norm.weight)
    ):
        norm.num_batches_tracked.add_(1)
        output: Tensor = _NormPoolReLUDropout.apply(images, norm.weight, norm.bias, norm, dropout.p)
        return output
    plain: Tensor = dropout(relu(pool(norm(images))))
    return plain


class _NormPoolReLUDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, probability: float) -> Tensor:
        assert norm.momentum is not None
        images = images.contiguous(memory_format=torch.channels_last)
        mean, variance = torch.batch_norm_update_stats(images, norm.running_mean, norm.running_var, norm.momentum)
        deviation = (variance + norm.eps).rsqrt_()
        scale = weight * deviation
        sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype)  # a negative scale turns the largest into the smallest
        turned = images * _of_channel(sign) if (scale < 0).any() else images
        largest, places = F.max_pool2d_with_indices(turned, [2, 2])
        dropped = round(probability * 2**16)
        kept = 2**16 / max(2**16 - dropped, 1)
        shift = (bias - mean * scale) * kept
        output = torch.addcmul(_of_channel(shift), largest, _of_channel(scale * sign * kept)).relu_()
        if dropped:
            draws = torch.empty(-(-output.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
            in_memory = output.permute(0, 2, 3, 1)
            in_memory.masked_fill_(draws[: output.numel()].view(in_memory.shape) <= dropped - 2**15 - 1, 0)
        ctx.save_for_backward(images, largest, places, output, mean, deviation, scale, sign)
        ctx.kept = kept
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        images, largest, places, output, mean, deviation, scale, sign = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradient, output, 0)  # 0 where ReLU or dropout gave 0
        to_bias = passed.sum((0, 2, 3)) * ctx.kept
        to_weight = ((passed * largest).sum((0, 2, 3)) * sign * ctx.kept - mean * to_bias) * deviation
        passed *= _of_channel(scale * ctx.kept)
        to_images = torch.ops.aten.max_pool2d_with_indices_backward(passed, images, [2, 2], [2, 2], [0, 0], [1, 1], False, places)
        size = images.numel() // images.shape[1]
        slope = -scale * deviation * to_weight / size
        to_images.addcmul_(images, _of_channel(slope)).add_(_of_channel(-scale * to_bias / size - slope * mean))
        return to_images, to_weight, to_bias, None, None


def _of_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
