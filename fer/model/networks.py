"""Networks: plain `nn.Module`s from a batch of faces to seven logits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.model.layers import Conv2d, norm_pool_relu_dropout


def to_input(images: Tensor) -> Tensor:
    """Turns faces into what every network takes.

    Args:
        images: uint8 (N, C, H, W), 0..255.

    Returns:
        float32 (N, C, H, W) in 0..1, channels last in memory.
    """
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def predicted(network: Callable[[Tensor], Tensor], images: Tensor, temperature: float = 1.0, tta: str | None = None) -> Tensor:
    """Computes what a trained network predicts: the logarithm of each emotion's probability.

    Args:
        network: From float faces (N, C, H, W) in 0..1 to logits (N, 7).
        images: Faces, float (N, C, H, W), in 0..1.
        temperature: What logarithms are divided by, above 0 (see `fer.calibration`).
        tta: Test-time augmentation, whose probabilities are averaged: "flip" takes a face and its mirror image, "tencrop" five
            crops of 11/12 of each side (44 of 48 pixels, as is usual on FER2013), enlarged again, and their mirror images;
            None takes the face as it is.

    Returns:
        float (N, 7); its exponentials sum to 1.
    """
    each = (network(view).log_softmax(1) for view in _views(images, tta))
    found = functools.reduce(torch.logaddexp, each)  # off by a constant, which the next line ends
    return (found / temperature).log_softmax(1)


def _views(images: Tensor, tta: str | None) -> Iterator[Tensor]:
    crops: Iterable[Tensor] = [images]
    if tta == "tencrop":
        size = images.shape[-2:]
        height, width = (round(side * 11 / 12) for side in size)
        down, right = size[0] - height, size[1] - width
        corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
        crops = (F.interpolate(images[..., y : y + height, x : x + width], size, mode="bilinear") for y, x in corners)
    for crop in crops:
        yield crop
        if tta:
            yield crop.flip(3)


def build(described: Mapping[str, Any]) -> nn.Module:
    """Makes the network that a recipe names, with weights of no meaning yet.

    Args:
        described: `_target_`, which must be a class of this module (a recipe cannot name foreign code), and its arguments.

    Raises:
        ValueError: It names something else.
    """
    module, _, name = str(described.get("_target_")).rpartition(".")
    kind = globals().get(name)
    if module != __name__ or not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"the network '{module}.{name}' is none of {__name__}")
    arguments = {key: value for key, value in described.items() if not key.startswith("_")}
    if "pretrained" in arguments:
        arguments["pretrained"] = False  # its own weights follow; nothing is fetched
    network: nn.Module = kind(**arguments)
    return network


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


class ResNet(nn.Module):
    """A residual network for small faces (He et al., Deep Residual Learning for Image Recognition, 2016).

    A 3x3 convolution, stages of basic blocks, the mean over all places, dropout, seven logits. Unlike ImageNet's ResNets it
    neither strides nor pools before the first block, since a face of 48 pixels has none to lose.

    Args:
        channels: Channels of the input, 1 (grey) or 3 (RGB).
        widths: Filters of each stage.
        blocks: Blocks of each stage.
        strides: Stride of each stage's first block.
        dropout: Probability that a feature is dropped before the last layer.
        bn_momentum: Weight of the newest batch in the running statistics (PyTorch's sense).
        classes: Number of logits.

    Raises:
        ValueError: The stages do not fit together.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        strides: Sequence[int] = (1, 2, 2, 2),
        dropout: float = 0.0,
        bn_momentum: float = 0.1,
        classes: int = len(EMOTIONS),
    ) -> None:
        super().__init__()
        if not len(widths) == len(blocks) == len(strides) or not widths:
            raise ValueError(
                f"model.widths has {len(widths)} entries, model.blocks {len(blocks)} and model.strides {len(strides)}: "
                "give one of each for each stage"
            )
        width = widths[0]
        layers: list[nn.Module] = [*_convolution(channels, width, 3), nn.ReLU(inplace=True)]
        for count, depth, stride in zip(widths, blocks, strides, strict=True):
            for number in range(depth):
                layers.append(_BasicBlock(width, count, stride if number == 0 else 1))
                width = count
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # Blocks that begin as their shortcuts (Goyal et al., 2017) learned far slower: after 3 epochs of 4,096 faces
                # 0.26 of them were right instead of 0.41.
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.BatchNorm2d):
                layer.momentum = bn_momentum

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits.

        Args:
            images: Faces, float (N, channels, H, W), in 0..1.

        Returns:
            Logits, float (N, classes).
        """
        logits: Tensor = self.classifier(self.features(images))
        return logits


class Timm(nn.Module):
    """A network of timm (https://github.com/huggingface/pytorch-image-models) by name, such as "resnet18.a1_in1k".

    Args:
        name: Its name; `timm.list_models()` has them all, `timm.list_pretrained()` those with weights.
        channels: Channels of the input, 1 (grey) or 3 (RGB); for grey, timm sums the first layer's pretrained weights.
        image_size: Height and width of the input in pixels, for networks that are made for one size.
        pretrained: Whether to fetch the weights that it was published with (needs the internet once).
        dropout: Probability that a feature is dropped before the last layer.
        bn_momentum: Weight of the newest batch in the running statistics (PyTorch's sense).
        classes: Number of logits.

    Raises:
        UserError: timm is not installed, it has no such network or no weights of it, or they cannot be fetched.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str = "resnet18",
        channels: int = 1,
        image_size: int = 48,
        pretrained: bool = False,
        dropout: float = 0.0,
        bn_momentum: float = 0.1,
        classes: int = len(EMOTIONS),
    ) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise UserError("model=timm needs timm: pip install timm, or uv sync --extra timm") from None
        network: Any
        options: dict[str, Any] = {"in_chans": channels, "num_classes": classes, "drop_rate": dropout}
        try:
            try:
                network = timm.create_model(name, pretrained=pretrained, img_size=image_size, **options)
            except TypeError:  # it takes any size
                network = timm.create_model(name, pretrained=pretrained, **options)
        except Exception as error:  # what downloads may raise has no end
            raise UserError(f"model.name={name}: timm cannot make it ({str(error).splitlines()[0]})") from None
        try:
            network.eval()(torch.zeros(1, channels, image_size, image_size))
        except RuntimeError as error:
            raise UserError(
                f"data.image_size={image_size}: {name} does not take such faces ({str(error).splitlines()[0]}); many networks "
                "need a multiple of 32"
            ) from None
        self.network: nn.Module = network.train()  # Lightning leaves each layer in the mode it finds
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = bn_momentum
        # what its weights were trained with, of colours; grey has their mean
        for key in ("mean", "std"):
            values = torch.tensor(network.pretrained_cfg[key])
            values = values if channels == len(values) else values.mean().repeat(channels)
            self.register_buffer(key, values.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits.

        Args:
            images: Faces, float (N, channels, H, W), in 0..1.

        Returns:
            Logits, float (N, classes).
        """
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


class Ensemble(nn.Module):
    """Networks that predict together: the mean of the probabilities that each gives at its own temperature.

    Args:
        members: Of each its `network` (see `build`), `temperature` and `tta` (see `predicted`).

    Raises:
        ValueError: There is none, or one does not describe itself rightly.
    """

    def __init__(self, members: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.members = nn.ModuleList(build(member["network"]) for member in members)
        self.options = [(float(member.get("temperature", 1.0)), member.get("tta")) for member in members]
        if not members or not all(temperature > 0 for temperature, _ in self.options):
            raise ValueError("an ensemble needs members, each with a temperature above 0")

    def forward(self, images: Tensor) -> Tensor:
        """Computes the logarithm of each emotion's probability.

        Args:
            images: Faces, float (N, channels, H, W), in 0..1.

        Returns:
            float (N, classes); its exponentials sum to 1.
        """
        each = [predicted(member, images, *options) for member, options in zip(self.members, self.options, strict=True)]
        return torch.stack(each).logsumexp(0).log_softmax(1)


class _BasicBlock(nn.Module):
    """He et al.'s basic block, as torchvision has it; importing torchvision would double the time that a prediction starts in."""

    def __init__(self, width: int, count: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _convolution(width, count, 3, stride)
        self.conv2, self.norm2 = _convolution(count, count, 3)
        same = stride == 1 and width == count
        # A strided 1x1 convolution of fewer than 16 channels corrupts the heap in its gradient (torch 2.15 on CPUs).
        self.skip = stride if width < 16 else 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(width, count, 1, stride // self.skip))

    def forward(self, images: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(images)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(images[..., :: self.skip, :: self.skip]), inplace=True)


def _convolution(width: int, count: int, kernel: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    padding = kernel // 2
    return Conv2d(width, count, kernel, stride, padding, bias=False), nn.BatchNorm2d(count)


def _init_like_keras(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
