"""Networks: plain `nn.Module`s from a batch of faces to seven logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fer.emotions import EMOTIONS
from fer.model.layers import Conv2d, norm_pool_relu_dropout


def to_input(images: Tensor) -> Tensor:
    """Turns faces into what every network takes.

    Args:
        images: uint8 (N, C, H, W), 0..255.

    Returns:
        float32 (N, C, H, W) in 0..1, channels last in memory.
    """
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


class ThesisCNN(nn.Module):
    """The thesis's network: convolution blocks, then dense blocks, then seven logits.

    A convolution block is Conv2d(padding same) - BatchNorm - ReLU - MaxPool 2 - Dropout; a dense
    block is Linear - BatchNorm - ReLU - Dropout. With the defaults it has 4,474,759 trainable
    parameters (thesis, figure 4.7). Weights are Glorot-uniform and biases zero, as in the Keras 2.3
    that the thesis used.

    Args:
        channels: Channels of the input, 1 (grey) or 3 (RGB).
        image_size: Height and width of the input in pixels.
        filters: Filters of each convolution block.
        kernel_sizes: Kernel size of each convolution block, odd.
        dense: Units of each dense block.
        dropout: Probability that a unit is dropped, in every block.
        bn_momentum: Weight of the newest batch in the running statistics (PyTorch's sense; Keras's
            default 0.99 is 0.01 here).
        bn_eps: Added to the variance in batch normalisation (Keras's default is 1e-3).
        classes: Number of logits.

    Raises:
        ValueError: The blocks do not fit together or the image is too small for them.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 48,
        filters: Sequence[int] = (64, 128, 512, 512),
        kernel_sizes: Sequence[int] = (3, 5, 3, 3),
        dense: Sequence[int] = (256, 512),
        dropout: float = 0.25,
        bn_momentum: float = 0.01,
        bn_eps: float = 1e-3,
        classes: int = len(EMOTIONS),
    ) -> None:
        super().__init__()
        if len(filters) != len(kernel_sizes):
            raise ValueError(
                f"model.filters has {len(filters)} entries and model.kernel_sizes {len(kernel_sizes)}: "
                "give one kernel size for each convolution block"
            )
        side = image_size // 2 ** len(filters)
        if side < 1:
            raise ValueError(
                f"data.image_size={image_size} is too small for {len(filters)} convolution blocks, each of which "
                f"halves it: use {2 ** len(filters)} or more, or fewer model.filters"
            )
        blocks: list[nn.Module] = []
        width = channels
        for count, kernel in zip(filters, kernel_sizes, strict=True):
            # Pooling before ReLU gives the same values and gradients (ReLU is monotone) for a quarter of its work.
            blocks += [
                Conv2d(width, count, kernel, padding="same"),
                nn.BatchNorm2d(count, bn_eps, bn_momentum),
                nn.MaxPool2d(2),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            ]
            width = count
        self.features = nn.Sequential(*blocks)
        layers: list[nn.Module] = []
        width *= side * side
        for units in dense:
            layers += [
                nn.Linear(width, units),
                nn.BatchNorm1d(units, bn_eps, bn_momentum),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            ]
            width = units
        self.classifier = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, classes))
        self.apply(_init_like_keras)

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits.

        Args:
            images: Faces, float (N, channels, image_size, image_size), in 0..1.

        Returns:
            Logits, float (N, classes).
        """
        for start in range(0, len(self.features), 5):
            convolution, *rest = self.features[start : start + 5]
            images = norm_pool_relu_dropout(convolution(images), *rest)
        logits: Tensor = self.classifier(images)
        return logits


def _init_like_keras(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
