"""Trained networks behind one interface, whether PyTorch or ONNX Runtime runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from fer.data.images import cores
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.recipe import checked
from fer.results import CHECKPOINTS, COMBINED, METRICS, RECORD

if TYPE_CHECKING:
    from torch import nn

SHIPPED = Path(__file__).parent / "shipped.safetensors"
"""The model that comes with the project: conf/experiment/shipped.yaml."""

METADATA = "fer"
"""Key of an ONNX file's metadata under which the recipe stands, as JSON."""


class Network(Protocol):
    """A trained network with what it says about itself."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What `fer.model.checkpoint` writes of it: emotions, image size and channels, and how it was trained."""

    @property
    def tests(self) -> Mapping[str, Any]:
        """Test set -> `accuracy` (0..1), number of `faces` and `recall` of each emotion (0..1), as far as known."""

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Computes the probability of each emotion, float32 (N, 7), of faces, uint8 (N, H, W) or (N, H, W, 3)."""


class TorchNetwork:
    """A network that PyTorch runs.

    Args:
        module: From float faces (N, C, H, W) in 0..1 to logits (N, 7).
        recipe: What its checkpoint says about it.
        tests: How it did on its test sets.
        device: Where to run, such as "cuda"; None takes a GPU if there is one.
    """

    def __init__(self, module: nn.Module, recipe: Mapping[str, Any], tests: Mapping[str, Any], device: str | None = None) -> None:
        import torch

        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.module = module.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without it
            raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from None
        self.recipe, self.tests = recipe, tests
        self.temperature, self.tta = recipe.get("temperature", 1.0), recipe.get("tta")

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`."""
        import torch

        from fer.model.networks import predicted, to_input

        with torch.inference_mode():
            inputs = (to_input(torch.from_numpy(batch).to(self.device)) for batch in batches(faces))
            parts = [predicted(self.module, each, self.temperature, self.tta).exp().cpu() for each in inputs]
        return torch.cat(parts).numpy() if parts else _nothing()


class OnnxNetwork:
    """A network that ONNX Runtime runs, without PyTorch.

    Args:
        file: What `fer.export` wrote: from uint8 faces (N, C, H, W) to probabilities (N, 7).

    Raises:
        UserError: It is no such file, or ONNX Runtime is not installed.
    """

    def __init__(self, file: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError("an ONNX model needs ONNX Runtime: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=onnxruntime.get_available_providers())
        except Exception as error:  # of its own C++ classes, which have no base in common
            raise UserError(f"{file} is no ONNX model that can be read ({str(error).splitlines()[0]})") from None
        described = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if described is None:
            raise UserError(f"{file} does not describe its emotions and faces: export it with python -m fer.export RUN")
        try:
            content = json.loads(described)
            recipe, self.tests = content["recipe"], content["tests"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{file} describes itself in a way that this version cannot read: export it again") from None
        self.recipe = checked(recipe, file, self.tests)
        self._try(file)

    def _try(self, file: Path) -> None:
        size, channels = self.recipe["image"]["size"], self.recipe["image"]["channels"]
        try:
            tried = self(np.zeros((2, size, size, *((3,) if channels == 3 else ())), np.uint8))
        except Exception as error:
            raise UserError(f"{file} takes other faces than it says ({str(error).splitlines()[0]}): export it again") from None
        if tried.shape != (2, len(EMOTIONS)) or not np.allclose(tried.sum(1), 1, atol=0.1):
            raise UserError(f"{file} gives no probabilities of {len(EMOTIONS)} emotions: export it again")

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Network`."""
        parts = [self._session.run(None, {"faces": batch})[0] for batch in batches(faces)]
        return np.concatenate(parts) if parts else _nothing()


def read(model: str | Path | None = None, device: str | None = None) -> Network:
    """Reads a trained network.

    Args:
        model: A run folder (its weights are those that the run tested), a checkpoint, or an ONNX file; None takes the
            model that comes with the project.
        device: Where PyTorch runs it; None takes a GPU if there is one.

    Raises:
        UserError: It is none of these, or cannot be read.
    """
    path = SHIPPED if model is None else Path(model).expanduser()
    if path.suffix.lower() == ".onnx" and path.is_file():
        return OnnxNetwork(path)
    if path.is_dir():
        path = path / CHECKPOINTS[_tested(path)]
    if not path.is_file():
        raise UserError(f"there is no model {path}: name a run folder, a checkpoint (.ckpt, .safetensors) or an ONNX file (.onnx)")
    from fer.model import checkpoint

    module, recipe = checkpoint.load(path)
    known = recipe.get("tests") or tests(path)
    checked(recipe, path, known)
    return TorchNetwork(module, recipe, known, device)


def tests(weights: Path) -> dict[str, Any]:
    """Reads how a checkpoint did on each test set from its run's metrics.json; nothing where others were tested or none."""
    metrics = weights.parent.parent / METRICS
    if not metrics.is_file():
        return {}
    try:
        content = json.loads(metrics.read_text())
        if "tested" not in content or weights.name != Path(CHECKPOINTS[content["tested"]]).name:
            return {}
        found = content["test"]
        if len(found) == 2:  # one test set, and the same faces again as all of them
            found.pop(COMBINED, None)
        return {
            name: {"accuracy": values["accuracy"], "faces": sum(values["support"]), "recall": values["recall"]}
            for name, values in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{metrics} is damaged: put it back, or name the checkpoint of another folder") from None


def _tested(run: Path) -> str:
    """Which weights a run tested, "last" or "best"."""
    record = run / RECORD
    if not record.is_file():
        raise UserError(f"{run} is no run folder, since it has no {RECORD}: name the folder that train.py printed")
    try:
        tested = yaml.safe_load(record.read_text()).get("test", "last")
    except (yaml.YAMLError, ValueError, AttributeError):
        tested = None
    if tested not in CHECKPOINTS:
        raise UserError(f"{record} is damaged: name a checkpoint below {run / 'checkpoints'} instead")
    return str(tested)


def batches(faces: NDArray[np.uint8], size: int = 256) -> list[NDArray[np.uint8]]:
    """Cuts faces, uint8 (N, H, W) or (N, H, W, 3), into batches, uint8 (B, C, H, W)."""
    planes = faces[:, None] if faces.ndim == 3 else faces.transpose(0, 3, 1, 2)
    return [np.ascontiguousarray(planes[start : start + size]) for start in range(0, len(planes), size)]


def _nothing() -> NDArray[np.float32]:
    return np.zeros((0, len(EMOTIONS)), np.float32)
