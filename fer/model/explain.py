"""What a network looked at: Grad-CAM (Selvaraju et al., 2017) over its last maps that are fine enough, through captum."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fer.errors import UserError
from fer.model.networks import to_input


def gradcam(network: nn.Module, faces: NDArray[np.uint8], emotion: NDArray[np.int64]) -> NDArray[np.float32]:
    """Says which parts of each face spoke for an emotion.

    Args:
        network: From float faces (N, C, H, W) in 0..1 to logits (N, 7).
        faces: uint8 (N, H, W) grey or (N, H, W, 3) RGB.
        emotion: Class to explain for each, int64 (N,).

    Returns:
        float32 (N, H, W): 0 where nothing spoke for it, 1 at the strongest place of each face (all 0 where nothing did).

    Raises:
        UserError: The network has no convolution, or none with maps of an eighth of a face's side.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    device = next(network.parameters()).device
    planes = faces[:, None] if faces.ndim == 3 else faces.transpose(0, 3, 1, 2)
    heat = []
    network.eval()
    with torch.compiler.set_stance("force_eager"):  # a compiled network would be compiled anew, for these few faces
        explained = LayerGradCam(network, _last_fine(network, torch.zeros(1, *planes.shape[1:], device=device)))
        for start in range(0, len(faces), 64):
            batch = to_input(torch.from_numpy(np.ascontiguousarray(planes[start : start + 64])).to(device))
            target = torch.from_numpy(emotion[start : start + 64]).to(device)
            coarse = explained.attribute(batch, target, relu_attributions=True)
            assert isinstance(coarse, torch.Tensor)
            heat.append(LayerAttribution.interpolate(coarse, faces.shape[1:3], "bilinear").detach().cpu()[:, 0])
    found = torch.cat(heat).numpy()
    scaled: NDArray[np.float32] = found / np.maximum(found.max((1, 2), keepdims=True), 1e-12)
    return scaled


def _last_fine(network: nn.Module, face: torch.Tensor) -> nn.Module:
    """Finds the last layer whose maps have an eighth of a face's side at least: on coarser ones no place can be told."""
    found: list[nn.Module] = []

    def note(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[3] >= face.shape[3] // 8:
            found.append(layer)

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if layer is not network]
    try:
        with torch.no_grad():
            network(face)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UserError("Grad-CAM needs a convolution, and this network has none")
    return found[-1]


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32], strength: float = 0.5) -> NDArray[np.uint8]:
    """Lays heat over a picture, blue where it is 0 and red where it is 1.

    Args:
        image: uint8 (H, W) grey or (H, W, 3) RGB.
        heat: float32 (h, w) in 0..1, stretched over the picture.
        strength: Share of the heat's colour, 0..1.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    height, width = image.shape[:2]
    wide = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap((wide * 255).astype(np.uint8), cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    ground = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
    mixed: NDArray[np.uint8] = cv2.addWeighted(ground, 1 - strength, colours, strength, 0)
    return mixed
