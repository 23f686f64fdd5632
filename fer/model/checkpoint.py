"""The one place that loads checkpoints; what they hold is weights and plain values, never code.

A checkpoint of this project is Lightning's, and under the key "fer" it describes itself in plain values:
`format` (int), `network` (class name and arguments), `emotions` (class order), `image` (size in pixels and channels of
the faces it takes, which the network sees as 0..1), `config` (everything the run was composed of), `data` (digest of
the faces it was trained on), `tta` and `temperature` (see `fer.model.networks.predicted`) and `metrics` (name -> value when
it was written). A file that ends with .safetensors holds the same weights, and under "fer" of its metadata the same values as
JSON.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.model import networks
from fer.recipe import FORMAT, checked

SAFETENSORS = ".safetensors"
"""Ends the names of files of weights that hold nothing to run by their very format."""


def recipe(
    network: Mapping[str, Any],
    image_size: int,
    channels: int,
    config: Mapping[str, Any],
    data: str = "",
    tta: str | None = None,
) -> dict[str, Any]:
    """Makes the plain values that travel in a checkpoint.

    Args:
        network: `_target_` (a class of `fer.model.networks`) and its arguments.
        image_size: Height and width of the faces, pixels.
        channels: 1 (grey) or 3 (RGB).
        config: Everything the run was composed of, in plain values.
        data: Digest of the faces in each part (`FacesDataModule.digest`); "" if there are none.
        tta: Test-time augmentation (see `fer.model.networks.predicted`).
    """
    image = {"size": image_size, "channels": channels}
    return {
        "format": FORMAT,
        "network": dict(network),
        "emotions": list(EMOTIONS),
        "image": image,
        "config": dict(config),
        "data": data,
        "tta": tta,
    }


def write(path: Path, network: nn.Module, described: Mapping[str, Any]) -> None:
    """Writes weights and recipe alone, without what only training needs.

    Args:
        path: The file to make: safetensors where its name ends so, else a checkpoint.
        network: A trained network.
        described: Its recipe.

    Raises:
        UserError: It cannot be written.
    """
    weights = {f"network.{name}": tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    if path.suffix == SAFETENSORS:
        content = safetensors.torch.save(weights, {"fer": json.dumps(dict(described))})
        _replace(path, lambda file: file.write(content))
    else:
        save({"state_dict": weights, "fer": dict(described)}, path)


def save(content: Mapping[str, Any], path: Path) -> None:
    """Writes a checkpoint.

    Raises:
        UserError: It cannot be written.
    """
    _replace(path, partial(torch.save, dict(content)))


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Writes a file beside its place and moves it there: a kill or a full disk leaves what was there before."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except (OSError, RuntimeError) as error:  # PyTorch turns a failed write into the latter
        draft.unlink(missing_ok=True)
        kept = "the one before is whole" if path.is_file() else "there is none yet"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise UserError(f"the checkpoint {path} cannot be written ({reason}); {kept}: make room and go on from there") from None


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint's content without running anything in it.

    Raises:
        UserError: There is no such file, or it is no checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: name a .ckpt or .safetensors file, or a run folder with run=<folder>")
    try:
        content = _read_safetensors(path) if path.suffix == SAFETENSORS else _read_archive(path)
    except Exception:  # PyTorch's unpickler meets bytes of another kind with errors of every kind
        raise UserError(f"{path} is no checkpoint that can be read: it is damaged, of another kind, or holds code") from None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"{path} is no checkpoint of this project: it holds no weights")
    checked(content.get("fer"), path)
    read: dict[str, Any] = content
    return read


def _read_safetensors(path: Path) -> Any:
    with safetensors.safe_open(path, framework="pt") as file:
        described = json.loads((file.metadata() or {}).get("fer", "null"))
        return {"state_dict": {name: file.get_tensor(name) for name in file.keys()}, "fer": described}  # noqa: SIM118, no mapping


def _read_archive(path: Path) -> Any:
    """Reads what `torch.save` wrote; first refuses a file that would take more memory than it has bytes."""
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("its entries are compressed or lie on each other")
    return torch.load(path, map_location="cpu", weights_only=True)


def check_data(path: str | Path, digest: str) -> None:
    """Compares the faces with those a checkpoint was trained on.

    Raises:
        UserError: They are others.
    """
    known = read(path)["fer"].get("data")
    if known and known != digest:
        raise UserError(
            f"the faces are not those {path} was trained on (digest {digest[:8]}, then {known[:8]}): put the data back as it "
            "was, begin a new run, or go on with the change by allow_changes=true"
        )


def load(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuilds a trained network.

    Returns:
        The network with its weights, on the CPU in evaluation mode, and its recipe.

    Raises:
        UserError: There is no such file, it is no checkpoint of this project, or its weights do not fit its network.
    """
    content = read(path)
    described: dict[str, Any] = content["fer"]
    weights = {
        str(name).removeprefix("network."): tensor
        for name, tensor in content["state_dict"].items()
        if isinstance(tensor, Tensor) and str(name).startswith("network.")
    }
    try:
        with torch.device("meta"):  # takes no memory, whatever sizes the recipe names
            network = networks.build(described["network"])
        expected = network.state_dict()
        if sum(tensor.nbytes for tensor in weights.values()) > Path(path).stat().st_size:
            raise ValueError("its tensors share their values")
        for name in expected.keys() & weights.keys():
            if expected[name].dtype != weights[name].dtype:
                raise ValueError(f"{name} is {weights[name].dtype}, not {expected[name].dtype}")
            if not weights[name].isfinite().all():
                raise ValueError(f"{name} holds values that are no numbers")
        network.load_state_dict(weights, assign=True)
        if any(buffer.is_meta for buffer in network.buffers()):  # what it computes itself and does not keep
            network = networks.build(described["network"])
            network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise UserError(f"{path}: weights and network do not fit together ({str(error).splitlines()[0]})") from None
    return network.eval(), described
