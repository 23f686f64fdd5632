"""Exports a trained network as one ONNX file that describes itself and needs no PyTorch: `python -m fer.export RUN`.

The file takes faces as uint8 and gives probabilities, so that there is no preprocessing to get wrong. It is checked
against the network on the run's test faces before it is called done. A model card lies beside it: how it was made, how well
it does, and where not to trust it.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from fer import config
from fer.data.datamodule import FacesDataModule
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.model import checkpoint
from fer.model.networks import predicted, to_input
from fer.predict import network as networks
from fer.predict.network import METADATA, Network, OnnxNetwork, TorchNetwork
from fer.report import card

TOLERANCE = 1e-4
"""Largest difference in probability between the file and the network."""

_CALIBRATION = 512  # training faces that show int8 the ranges of activations
_LICENCE = "of the weights: the terms of the data sets they were trained on; of the code that made them: MIT"


class Check(NamedTuple):
    """How an exported network compares with the original.

    Args:
        faces: Number of faces compared.
        difference: Largest difference in probability.
        same: Share of the faces with the same top emotion, 0..1.
    """

    faces: int
    difference: float
    same: float


class _Graph(nn.Module):
    """From faces, uint8 (N, C, H, W), to probabilities, float32 (N, 7)."""

    def __init__(self, network: TorchNetwork) -> None:
        super().__init__()
        self.network, self.temperature, self.tta = network.module.cpu(), network.temperature, network.tta

    def forward(self, faces: Tensor) -> Tensor:
        return predicted(self.network, to_input(faces), self.temperature, self.tta).exp()


def export(network: TorchNetwork, path: Path, licence: str = _LICENCE) -> None:
    """Writes a network as an ONNX file with a dynamic batch.

    Its metadata hold the emotions, the preprocessing, the test accuracies and the licence in words, and under "fer" all of
    it as JSON.

    Args:
        network: What to export.
        path: The file to make.
        licence: Terms of use, in words.

    Raises:
        UserError: The packages that write ONNX are not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401, what torch.onnx writes with
    except ImportError:
        raise UserError("export needs onnx, onnxscript and onnxruntime: pip install onnx onnxscript onnxruntime") from None
    size, channels = network.recipe["image"]["size"], network.recipe["image"]["channels"]
    example = torch.zeros(2, channels, size, size, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own parts; what matters is checked below
        program = torch.onnx.export(
            _Graph(network).eval(),
            (example,),
            dynamo=True,
            input_names=["faces"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("faces")},),
            verbose=False,
        )
    assert program is not None
    program.save(str(path))
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, _metadata(network, licence))
    onnx.save(model, str(path))


def _metadata(network: Network, licence: str) -> dict[str, str]:
    size, channels = network.recipe["image"]["size"], network.recipe["image"]["channels"]
    recipe = {key: value for key, value in network.recipe.items() if key not in ("config", "tests")}
    tests = ", ".join(f"{name} {test['accuracy']:.4f} of {test['faces']:,} faces" for name, test in network.tests.items())
    return {
        "emotions": ", ".join(EMOTIONS),
        "preprocessing": f"faces: uint8 (N, {channels}, {size}, {size}), 0..255, {'grey' if channels == 1 else 'RGB'}, cut as "
        "FER2013 cuts them (the square of OpenCV's Haar cascade, 3 % larger); the graph scales them itself",
        "test_accuracy": tests or "not known",
        "licence": licence,
        METADATA: json.dumps({"recipe": recipe, "tests": dict(network.tests)}),
    }


def compare(one: NDArray[np.float32], other: NDArray[np.float32]) -> Check:
    """Compares the probabilities, float32 (N, 7), that two networks give the same faces."""
    same = float((one.argmax(1) == other.argmax(1)).mean())
    return Check(len(one), float(np.abs(one - other).max()), same)


def quantize(path: Path, faces: NDArray[np.uint8], out: Path) -> None:
    """Writes an ONNX file with weights and activations in int8 (static, per channel).

    Args:
        path: What `export` wrote.
        faces: Some hundred training faces, uint8 (N, H, W) or (N, H, W, 3), that show the ranges of activations.
        out: The file to make.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Yields the faces in batches of 64."""

        def __init__(self) -> None:
            self._batches = iter(networks.batches(faces, 64))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            """Gives the next batch."""
            batch = next(self._batches, None)
            return None if batch is None else {"faces": batch}

    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder, "folded.onnx")
        quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
        quantization.quantize_static(str(folded), str(out), Reader(), per_channel=True)
    model = onnx.load(str(out))
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props})
    onnx.save(model, str(out))


def milliseconds(network: Network, faces: NDArray[np.uint8], rounds: int = 5) -> float:
    """Times a network on a batch: milliseconds a face, the best of some rounds."""
    network(faces)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        network(faces)
        times.append(time.perf_counter() - began)
    return min(times) / len(faces) * 1000


@config.friendly
def main() -> None:
    """Exports what is named, checks it, and says how it went."""
    arguments = _parser().parse_intermixed_args()
    console = Console(highlight=False)
    original = networks.read(arguments.run)
    if not isinstance(original, TorchNetwork):
        raise UserError(f"{arguments.run} is an ONNX file already: name a run folder or a checkpoint")
    path = arguments.out or (arguments.run if arguments.run.is_dir() else arguments.run.parent) / "model.onnx"
    if path.suffix == ".onnx":
        files = _to_onnx(console, arguments, original, path)
    elif path.suffix == checkpoint.SAFETENSORS and not arguments.int8:
        if arguments.overrides:
            raise UserError(f"{' '.join(arguments.overrides)}: {path.name} needs no data, so leave it out")
        checkpoint.write(path, original.module, {**original.recipe, "tests": dict(original.tests)})
        console.print(f"{path}: weights and recipe, {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
        files = [path]
    else:
        raise UserError(f"--out {path}: expected a name that ends with .onnx{'' if arguments.int8 else ' or .safetensors'}")
    _write_card(console, path.with_suffix(".md"), arguments, files, original.module)


def _to_onnx(console: Console, arguments: argparse.Namespace, original: TorchNetwork, path: Path) -> list[Path]:
    """Writes the ONNX files and compares them with the original; gives what was written."""
    data = _data(arguments.run, arguments.overrides)
    path.parent.mkdir(parents=True, exist_ok=True)
    faces, emotion = data.faces.images[data.parts.test], data.faces.emotion[data.parts.test]
    expected = original(faces)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as draft:
        export(original, Path(draft, path.name), arguments.licence)
        check = compare(OnnxNetwork(Path(draft, path.name))(faces), expected)
        if check.difference > TOLERANCE or check.same < 1:
            raise SystemExit(f"error: the exported network differs from the original ({check}); nothing was kept")
        Path(draft, path.name).replace(path)
    console.print(
        f"{path}: checked on {check.faces:,} test faces, largest difference in probability {check.difference:.1e}, the same top "
        "emotion on all",
        soft_wrap=True,
    )
    if not arguments.int8:
        return [path]
    small = path.with_stem(path.stem + "_int8")
    quantize(path, data.faces.images[data.parts.train[:_CALIBRATION]], small)
    _report_int8(console, path, small, faces, emotion)
    return [path, small]


def _write_card(console: Console, path: Path, arguments: argparse.Namespace, files: list[Path], module: nn.Module) -> None:
    if not arguments.run.is_dir():
        console.print(
            f"No model card of {arguments.run}, which does not say how it did and was made; name its run folder", soft_wrap=True
        )
        return
    parameters = sum(each.numel() for each in module.parameters())
    try:
        card.write(path, arguments.run, [file.name for file in files], parameters, arguments.licence)
    except UserError as error:
        console.print(str(error), soft_wrap=True)
    else:
        console.print(f"{path}: the model card", soft_wrap=True)


def _report_int8(console: Console, path: Path, quantized: Path, faces: NDArray[np.uint8], emotion: NDArray[np.int64]) -> None:
    full, small = OnnxNetwork(path), OnnxNetwork(quantized)
    before, after = (float((network(faces).argmax(1) == emotion).mean()) for network in (full, small))
    batch = np.resize(faces, (64, *faces.shape[1:]))
    slow, fast = milliseconds(full, batch), milliseconds(small, batch)
    console.print(
        f"{quantized}: accuracy {after:.4f} instead of {before:.4f} on {len(faces):,} test faces; {fast:.2f} instead of "
        f"{slow:.2f} ms a face in batches of 64",
        soft_wrap=True,
    )


def _data(run: Path, overrides: list[str]) -> FacesDataModule:
    """Rebuilds the data that a run was made on."""
    from hydra.utils import instantiate

    named = [f"{'run' if run.is_dir() else 'checkpoint'}={run}", *overrides]
    data: FacesDataModule = instantiate(config.composed(named, "eval").data, _convert_="all")
    data.prepare_data()
    try:
        data.setup()
    except UserError as error:
        raise UserError(f"{error}; the run's test faces are needed to check what is exported") from None
    return data


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fer.export", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder or checkpoint")
    parser.add_argument("overrides", nargs="*", help="where the data lies now, such as data.root=/data (as for eval.py)")
    parser.add_argument(
        "--out", type=Path, help="the file to write, .onnx or (weights for PyTorch) .safetensors; else model.onnx in the run folder"
    )
    parser.add_argument("--int8", action="store_true", help="also write <name>_int8.onnx, and measure what it costs and gains")
    parser.add_argument("--licence", default=_LICENCE, help="terms of use, for the file's metadata")
    return parser


if __name__ == "__main__":
    main()
