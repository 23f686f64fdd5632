"""What users, strangers and broken disks may hand over: each is one sentence, and nothing is written or lost."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from fer.model import checkpoint
from fer.model.networks import ThesisCNN
from fer.predict.network import SHIPPED
from tests.conftest import write_csv, write_image
from tests.predict.conftest import ASTRONAUT
from tests.test_reliability import program
from tests.test_train import SMALL

FACE = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
TRAIN, EVAL, DATA, PREDICT = "train", "eval", "fer.data.__main__", "fer.predict.__main__"
EXPORT, REPORT, WEB = "fer.export", "fer.report.__main__", "fer.web.__main__"

Make = Callable[[Path], object]


class Code:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import pathlib; pathlib.Path('it_ran').touch()",)


def csv(*rows: tuple[object, ...], header: str = "emotion,pixels,Usage") -> Make:
    return lambda folder: write_csv(folder / "fer/fer2013.csv", rows, header)


def file(name: str, content: bytes | str = b"") -> Make:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def image(name: str, keep: int | None = None) -> Make:
    """A grey picture, of whose file the first bytes are kept."""

    def make(folder: Path) -> None:
        whole = write_image(folder / name, FACE).read_bytes()
        (folder / name).write_bytes(whole[:keep])

    return make


def model(**changes: object) -> Make:
    """A checkpoint a.ckpt of a small network that describes itself otherwise."""

    def make(folder: Path) -> None:
        sizes = {"filters": [4], "kernel_sizes": [3], "dense": []}
        weights = {f"network.{name}": tensor for name, tensor in ThesisCNN(**sizes).state_dict().items()}
        recipe = checkpoint.recipe({"_target_": "fer.model.networks.ThesisCNN", **sizes}, 48, 1, {"seed": 0}) | {"metrics": {}}
        weights |= changes.get("weights", {})  # type: ignore[operator]
        torch.save({"state_dict": weights, "fer": recipe | changes}, folder / "a.ckpt")

    return make


def safetensors(described: str | None, keep: int | None = None) -> Make:
    """Weights a.safetensors that describe themselves thus, of which the first bytes are kept."""

    def make(folder: Path) -> None:
        whole = save({"network.a": torch.zeros(7)}, None if described is None else {"fer": described})
        (folder / "a.safetensors").write_bytes(whole[:keep])

    return make


def saved(content: object) -> Make:
    return lambda folder: torch.save(content, folder / "a.ckpt")


def cut(folder: Path) -> None:
    """A checkpoint without its end."""
    model()(folder)
    (folder / "a.ckpt").write_bytes((folder / "a.ckpt").read_bytes()[:-999])


def zeros(folder: Path) -> None:
    """A file of 10 GB of zeros, which takes no room on the disk."""
    with open(folder / "a.ckpt", "wb") as sparse:
        sparse.truncate(10_000_000_000)


def bomb(folder: Path) -> None:
    """A checkpoint of 10 MB that would be 10 GB in memory."""
    model()(folder)
    with zipfile.ZipFile(folder / "a.ckpt") as plain, zipfile.ZipFile(folder / "b.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.infolist():
            with packed.open(entry.filename, "w", force_zip64=True) as target:
                target.write(plain.read(entry))
                if entry.filename.endswith("data/0"):
                    for _ in range(100):
                        target.write(bytes(1_000_000))
    (folder / "b.ckpt").replace(folder / "a.ckpt")


def shared(folder: Path) -> None:
    """Weights of 4 GB that lie on one number."""
    filters = 1 << 20
    sizes = {"filters": [filters], "kernel_sizes": [31], "dense": []}
    with torch.device("meta"):
        shapes = ThesisCNN(**sizes).state_dict()
    weights = {f"network.{name}": torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in shapes.items()}
    recipe = checkpoint.recipe({"_target_": "fer.model.networks.ThesisCNN", **sizes}, 48, 1, {})
    torch.save({"state_dict": weights, "fer": recipe}, folder / "a.ckpt")


def recorded(text: str) -> Make:
    """A run folder "run" with this config.yaml and the checkpoint of another."""

    def make(folder: Path) -> None:
        (folder / "run/checkpoints").mkdir(parents=True)
        (folder / "run/config.yaml").write_text(text)
        for name in ("last", "best"):
            checkpoint.write(folder / f"run/checkpoints/{name}.ckpt", *checkpoint.load(SHIPPED))

    return make


def onnx(**changes: str) -> Make:
    """An ONNX file a.onnx that gives what it is given, and says of itself what is wanted."""

    def make(folder: Path) -> None:
        from onnx import TensorProto, helper, save

        shape = ["N", 1, 48, 48]
        given, out = (helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("faces", "out"))
        graph = helper.make_graph([helper.make_node("Identity", ["faces"], ["out"])], "a", [given], [out])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        for key, value in changes.items():
            made.metadata_props.add(key=key, value=value)
        save(made, folder / "a.onnx")

    return make


RECIPE = checkpoint.recipe({"_target_": "fer.model.networks.ThesisCNN"}, 48, 1, {})
FER, CK, KD = (
    f"data=thesis dataset=[{name}] dataset.{name}.root={name[:3]} data.cache_dir=null" for name in ("fer2013", "ckplus", "kdef")
)
OK = (0, FACE, "Training")
ROW = f"0,{' '.join(['1'] * 2304)},Training"

CASES: dict[str, tuple[str, str, str, Make | None]] = {
    # FER2013 as a table
    "csv: no folder": (TRAIN, FER, "the folder fer does not exist", None),
    "csv: a file for a folder": (TRAIN, FER, "the folder fer is a file", file("fer")),
    "csv: empty folder": (TRAIN, FER, "the folder fer is empty", lambda folder: (folder / "fer").mkdir()),
    "csv: header only": (TRAIN, FER, "fer2013.csv has a header but no row", csv()),
    "csv: empty file": (TRAIN, FER, "fer2013.csv: the header names the columns none", file("fer/fer2013.csv")),
    "csv: other columns": (TRAIN, FER, "the header names the columns a, b", file("fer/fer2013.csv", "a,b\n1,2\n")),
    "csv: label 7": (TRAIN, FER, "line 3: its label is '7' where 0..6", csv(OK, (7, FACE, "Training"))),
    "csv: label -1": (TRAIN, FER, "line 2: its label is '-1' where 0..6", csv((-1, FACE, "Training"))),
    "csv: label 1.5": (TRAIN, FER, "line 2: its label is '1.5'", csv((1.5, FACE, "Training"))),
    "csv: label nan": (TRAIN, FER, "line 2: its label is 'nan'", csv(("nan", FACE, "Training"))),
    "csv: no label": (TRAIN, FER, "line 2: its label is ''", csv(("", FACE, "Training"))),
    "csv: pixel 256": (TRAIN, FER, "line 2: a pixel is '256' where 0..255", csv((0, np.full((48, 48), 256), "Training"))),
    "csv: pixel -1": (TRAIN, FER, "line 2: a pixel is '-1'", csv((0, np.full((48, 48), -1), "Training"))),
    "csv: pixel text": (TRAIN, FER, "line 2: a pixel is 'x'", csv((0, "x " * 2304, "Training"))),
    "csv: pixel of 5,000 digits": (TRAIN, FER, "line 2: a pixel is '11111", csv((0, "1" * 5000, "Training"))),
    "csv: too few pixels": (TRAIN, FER, "line 2: it has 2,256 pixels", csv((0, FACE[1:], "Training"))),
    "csv: too many pixels": (TRAIN, FER, "line 2: it has 4,608 pixels", csv((0, np.tile(FACE, 2), "Training"))),
    "csv: no pixels": (TRAIN, FER, "line 2: it has 0 pixels", csv((0, "", "Training"))),
    "csv: unknown Usage": (TRAIN, FER, "line 2: its Usage is 'Tests'", csv((0, FACE, "Tests"))),
    "csv: a column missing": (TRAIN, FER, "line 2: it has 2 columns", csv((0, FACE))),
    "csv: a column more": (TRAIN, FER, "line 2: it has 4 columns", csv((0, FACE, "Training", 1))),
    "csv: cut in a row": (TRAIN, FER, "line 3: it has", file("fer/fer2013.csv", f"emotion,pixels,Usage\n{ROW}\n{ROW[:900]}")),
    "csv: bytes of another kind": (TRAIN, FER, "line 3: ", file("fer/fer2013.csv", f"emotion,pixels,Usage\n{ROW}\n".encode() + b"\xff\0" * 99)),
    "csv: UTF-16": (TRAIN, FER, "fer2013.csv: the header names the columns", file("fer/fer2013.csv", f"emotion,pixels,Usage\n{ROW}".encode("utf-16"))),
    "csv: one emotion only": (TRAIN, FER, "no face shows angry", csv((6, FACE, "Training"))),
    "csv: votes missing": (TRAIN, f"{FER} dataset.fer2013.labels=votes", "no FER+ votes in fer", csv(OK)),
    # pictures in folders
    "folder: KDEF where FER2013 is expected": (TRAIN, FER, "seems to hold KDEF", image("fer/AF01ANS.JPG")),
    "folder: cut picture": (TRAIN, FER, "train/angry/a.png is damaged", image("fer/train/angry/a.png", 200)),
    "folder: empty picture": (TRAIN, FER, "train/angry/a.png is no picture", image("fer/train/angry/a.png", 0)),
    "folder: text for a picture": (TRAIN, FER, "train/angry/a.png is no picture", file("fer/train/angry/a.png", "hello")),
    "CK+: nothing of it": (TRAIN, CK, "no CK+ data in ckp", file("ckp/notes.txt", "x")),
    "CK+: label 9": (TRAIN, CK, "holds '9' where one number 0..7", file("ckp/Emotion/S010_004_00000017_emotion.txt", "9")),
    "CK+: label file cut": (TRAIN, CK, "holds '' where one number 0..7", file("ckp/Emotion/S010_004_00000017_emotion.txt", "")),
    "CK+: label file of bytes": (TRAIN, CK, "where one number 0..7", file("ckp/Emotion/S010_004_00000017_emotion.txt", b"\xff\xfe\0")),
    "KDEF: nothing of it": (TRAIN, KD, "no KDEF data in kde", file("kde/notes.txt", "x")),
    "KDEF: another angle": (TRAIN, KD, "KDEF in kde has no picture of angles", image("kde/AF01ANFL.JPG")),
    "KDEF: cut picture": (TRAIN, KD, "AF01ANS.JPG is damaged", image("kde/AF01ANS.JPG", 400)),
    "KDEF: no picture left": (TRAIN, f"{KD} data.on_error=skip", "no face", image("kde/AF01ANS.JPG", 400)),
    "CK+: no picture left": (TRAIN, f"{CK} data.on_error=skip balance=none split=subject", "no face", image("ckp/angry/S010_004_00000017.png", 9)),
    "FER2013: no picture left": (TRAIN, f"{FER} data.on_error=skip split=official balance=none", "no face", image("fer/train/angry/a.png", 9)),
    "data: the same mistake there": (DATA, FER, "the folder fer does not exist", None),
    "audit: distance 64": (DATA, "audit --distance 64", "--distance 64: expected 0..63", None),
    # configuration
    "config: unknown key": (TRAIN, "epoch=1", "epoch", None),
    "config: unknown option": (TRAIN, "optimizer=adamm", "adamm", None),
    "config: unknown parameter": (TRAIN, "optimizer.lrr=1", "lrr", None),
    "config: text for a number": (TRAIN, "epochs=many", "epochs", None),
    "config: no epochs": (TRAIN, "epochs=0", "epochs=0: expected 1 or more", None),
    "config: batches of nothing": (TRAIN, "batch_size=-1", "batch_size=-1: expected 1 or more", None),
    "config: negative rate": (TRAIN, f"{FER} optimizer.lr=-1 split=thesis balance=none", "fer", None),
    "config: torn quotes": (TRAIN, "optimizer.lr='1", "optimizer.lr='1", None),
    "config: no data set": (TRAIN, "dataset=[] data=thesis", "dataset=[] names no data set", None),
    "config: two channels": (TRAIN, "data.channels=2", "data.channels=2: expected 1 (grey) or 3", None),
    "config: foreign class": (TRAIN, "model._target_=nowhere.Net", "there is no such class", None),
    "config: a fold that is none": (TRAIN, f"{FER} split=subject split.folds=2", "folds=2", csv(OK)),
    # runs and checkpoints
    "run: none": (EVAL, "run=nowhere", "run=nowhere: that is no run folder", None),
    "run: nothing named": (EVAL, "", "nothing to evaluate", None),
    "run: torn record": (EVAL, "run=run", "config.yaml cannot be read", recorded("a: [1,")),
    "run: a list for a record": (EVAL, "run=run", "config.yaml holds no configuration", recorded("- 1")),
    "run: an object in YAML": (EVAL, "run=run", "config.yaml cannot be read", recorded("a: !!python/object/apply:os.system ['touch it_ran']")),
    "run: code in the data": (EVAL, "run=run", "data._target_ names the code os.system", recorded("data: {_target_: os.system, command: touch it_ran}")),
    "run: code deep down": (EVAL, "run=run", "names the code subprocess.run", recorded("model: {a: [{_target_: subprocess.run, args: touch it_ran}]}")),
    "run: code to resume": (TRAIN, "resume=run", "names the code os.system", recorded("trainer: {_target_: os.system, command: touch it_ran}")),
    "run: another option to resume": (TRAIN, "resume=run trainer=cpu", "trainer: what a run has recorded is not chosen anew here", recorded("seed: 1")),
    "run: a class of a library": (EVAL, "run=run", "names the code torch.hub.load", recorded("model: {_target_: torch.hub.load}")),
    "run: code by interpolation": (EVAL, "run=run", "names the code", recorded("a: os.system\nmodel: {_target_: '${a}', command: touch it_ran}")),
    "run: code by decoding": (EVAL, "run=run", "could make up anything", recorded("""model: "${oc.decode:'{_target_: os.system, command: touch it_ran}'}" """)),
    "run: code by a hidden decoding": (EVAL, "run=run", "could make up anything", recorded("""a: oc.decode\nmodel: "${${a}:'{_target_: os.system, command: touch it_ran}'}" """)),
    "run: secrets of the environment": (TRAIN, "resume=run", "could make up anything", recorded("data: {root: '${oc.env:HOME}'}")),
    "checkpoint: code in the recipe": (EVAL, "checkpoint=a.ckpt", "names the code os.system", model(config={"data": {"_target_": "os.system", "command": "touch it_ran"}})),
    "checkpoint: none": (EVAL, "checkpoint=a.ckpt", "there is no checkpoint a.ckpt", None),
    "checkpoint: code": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "a.ckpt is no checkpoint that can be read", saved({"state_dict": Code()})),
    "checkpoint: code to evaluate": (EVAL, "checkpoint=a.ckpt", "is no checkpoint that can be read", saved({"fer": Code()})),
    "checkpoint: a bare pickle": (EVAL, "checkpoint=a.ckpt", "is no checkpoint that can be read", lambda folder: (folder / "a.ckpt").write_bytes(pickle.dumps(Code()))),
    "checkpoint: 10 GB of zeros": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is no checkpoint that can be read", zeros),
    "checkpoint: unpacks to more": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is no checkpoint that can be read", bomb),
    "checkpoint: 4 GB on one number": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "its tensors share their values", shared),
    "checkpoint: empty": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is no checkpoint that can be read", file("a.ckpt")),
    "checkpoint: cut": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is no checkpoint that can be read", cut),
    "safetensors: cut": (PREDICT, f"{ASTRONAUT} --model a.safetensors", "is no checkpoint that can be read", safetensors("{}", -8)),
    "safetensors: a header of no end": (PREDICT, f"{ASTRONAUT} --model a.safetensors", "is no checkpoint that can be read", file("a.safetensors", b"\xff" * 99)),
    "safetensors: of another project": (PREDICT, f"{ASTRONAUT} --model a.safetensors", "is no model of this project", safetensors(None)),
    "safetensors: says what is no JSON": (PREDICT, f"{ASTRONAUT} --model a.safetensors", "is no checkpoint that can be read", safetensors("[" * 100_000)),
    "safetensors: a foreign class": (PREDICT, f"{ASTRONAUT} --model a.safetensors", "is none of fer.model.networks", safetensors(json.dumps(checkpoint.recipe({"_target_": "os.system"}, 48, 1, {})))),
    "checkpoint: no weights": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "it holds no weights", saved([1, 2])),
    "checkpoint: of another project": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is no model of this project", saved({"state_dict": {}})),
    "checkpoint: of another network": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "weights and network do not fit", model(network={"_target_": "fer.model.networks.ThesisCNN"})),
    "checkpoint: a foreign class": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is none of fer.model.networks", model(network={"_target_": "os.system", "command": "touch it_ran"})),
    "checkpoint: weights that are no numbers": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "holds values that are no numbers", model(weights={"network.classifier.1.bias": torch.full((7,), torch.nan)})),
    "checkpoint: weights of another kind": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is torch.float64, not torch.float32", model(weights={"network.classifier.1.bias": torch.zeros(7, dtype=torch.float64)})),
    "checkpoint: images of no size": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "image.size: Input should be greater", model(image={"size": 0, "channels": 1})),
    "checkpoint: images of two channels": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "image.channels: Input should be 1 or 3", model(image={"size": 48, "channels": 2})),
    "checkpoint: a temperature of 0": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "temperature: Input should be greater than 0", model(temperature=0.0)),
    "checkpoint: unknown augmentation": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "tta: Input should be 'flip' or 'tencrop'", model(tta="crop")),
    "checkpoint: an ensemble of none": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "an ensemble needs members", model(network={"_target_": "fer.model.networks.Ensemble", "members": []})),
    "checkpoint: a member without a network": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "weights and network do not fit", model(network={"_target_": "fer.model.networks.Ensemble", "members": [{}]})),
    "checkpoint: a foreign class in an ensemble": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "is none of fer.model.networks", model(network={"_target_": "fer.model.networks.Ensemble", "members": [{"network": {"_target_": "os.system", "command": "touch it_ran"}}]})),
    "checkpoint: a network that timm has not": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "model.name=nosuch: timm cannot make it", model(network={"_target_": "fer.model.networks.Timm", "name": "nosuch", "pretrained": True})),
    "checkpoint: results that are text": (WEB, "--model a.ckpt", "tests.all.accuracy: Input should be", model(tests={"all": {"accuracy": "<script>", "faces": 1, "recall": [1.0] * 7}})),
    "checkpoint: of a later version": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "has format 9, but this version reads 1", model(format=9)),
    "checkpoint: other emotions": (PREDICT, f"{ASTRONAUT} --model a.ckpt", "was trained for the emotions", model(emotions=["happy"])),
    "onnx: text": (PREDICT, f"{ASTRONAUT} --model a.onnx", "a.onnx is no ONNX model", file("a.onnx", "hello")),
    "onnx: does not describe itself": (PREDICT, f"{ASTRONAUT} --model a.onnx", "a.onnx does not describe its emotions", onnx()),
    "onnx: torn description": (PREDICT, f"{ASTRONAUT} --model a.onnx", "describes itself in a way", onnx(fer="{")),
    "onnx: deep description": (PREDICT, f"{ASTRONAUT} --model a.onnx", "describes itself in a way", onnx(fer="[" * 100_000)),
    "onnx: gives no probabilities": (PREDICT, f"{ASTRONAUT} --model a.onnx", "gives no probabilities of 7", onnx(fer=json.dumps({"recipe": RECIPE, "tests": {}}))),
    "onnx: takes other faces": (PREDICT, f"{ASTRONAUT} --model a.onnx", "takes other faces than it says", onnx(fer=json.dumps({"recipe": RECIPE | {"image": {"size": 64, "channels": 1}}, "tests": {}}))),
    # the other programs
    "predict: no model": (PREDICT, f"{ASTRONAUT} --model nix", "there is no model nix", None),
    "predict: no detector": (PREDICT, f"{ASTRONAUT} --faces nix", "there is no face detector nix", None),
    "predict: faces of no size": (PREDICT, f"{ASTRONAUT} --min-face 2", "a smallest face of 2.0", None),
    "predict: a torn record": (PREDICT, f"{ASTRONAUT} --model run", "run/config.yaml is damaged", recorded("test: [last,")),
    "predict: a list for a record": (PREDICT, f"{ASTRONAUT} --model run", "run/config.yaml is damaged", recorded("- 1")),
    "predict: unknown weights": (PREDICT, f"{ASTRONAUT} --model run", "run/config.yaml is damaged", recorded("test: newest")),
    "export: no run": (EXPORT, "nix", "there is no model nix", None),
    "export: an override for weights": (EXPORT, f"{SHIPPED} data.rot=x --out a.safetensors", "data.rot=x: a.safetensors needs no data, so leave it out", None),
    "export: another name": (EXPORT, f"{SHIPPED} --out a.txt", "expected a name that ends with .onnx", None),
    "report: no run": (REPORT, "nix", "nix is no folder", None),
    "report: no run in there": (REPORT, "empty", "empty holds no run", lambda folder: (folder / "empty").mkdir()),
    "web: public without a password": (WEB, "--host 0.0.0.0", "lets others reach the page", None),
    "web: no model": (WEB, "--model nix", "there is no model nix", None),
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes | int]:
    """What lies in a folder: the bytes of each file (the size of large ones), and each folder."""
    return {
        str(path.relative_to(folder)): b""
        if path.is_dir()
        else path.read_bytes()
        if path.stat().st_size < 1 << 30
        else path.stat().st_size
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence_and_nothing_is_written_or_lost(name, tmp_path, monkeypatch, capfd):
    module, words, message, make = CASES[name]
    if make:
        make(tmp_path)
    before = content(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *words.split()])
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(module).main()
    printed = capfd.readouterr().err
    assert stop.value.code == 2
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert "Traceback" not in printed
    assert content(tmp_path) == before


def test_there_are_sixty_cases_and_more():
    assert len(CASES) >= 60
    assert {module for module, *_ in CASES.values()} == {TRAIN, EVAL, DATA, PREDICT, EXPORT, REPORT, WEB}


PICTURES: dict[str, tuple[str, Make]] = {
    "cut": ("a.jpg is damaged", lambda folder: file("a.jpg", ASTRONAUT.read_bytes()[:9000])(folder)),
    "text": ("a.jpg is no picture that can be read", file("a.jpg", "hello")),
    "empty": ("a.jpg is", file("a.jpg")),
    "floats": ("a.tiff: the picture holds floating-point numbers", lambda folder: Image.fromarray(FACE.astype(np.float32)).save(folder / "a.tiff")),
    "too large": ("a.png is too large", lambda folder: Image.new("1", (20_000, 10_000)).save(folder / "a.png")),
    "cut video": ("a.mp4 is", file("a.mp4", b"\0\0\0\x18ftypmp42" + bytes(100))),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_cannot_be_read_is_told_and_the_rest_is_done(name, tmp_path, monkeypatch, capfd):
    message, make = PICTURES[name]
    make(tmp_path)
    (bad,) = tmp_path.iterdir()
    before = content(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["predict", bad.name, str(ASTRONAUT), "--out", "out"])
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(PREDICT).main()
    printed = capfd.readouterr().err
    assert stop.value.code == 1
    assert message in printed
    assert "Traceback" not in printed
    assert "astronaut.jpg" in (tmp_path / "out/predictions.csv").read_text()
    assert before.items() <= content(tmp_path).items()


def test_a_cache_that_was_changed_is_refused(demo, tmp_path, monkeypatch, capfd):
    words = [
        *SMALL,
        "data.scale=null",
        f"data.root={demo}",
        "dataset=[kdef]",
        "epochs=1",
        "scheduler=none",
        "logger=csv",
        "data.cache_dir=cache",
    ]
    assert program(monkeypatch, tmp_path, *words, "hydra.run.dir=one") == 0
    (images,) = (tmp_path / "cache").glob("*/images.npy")
    changed = bytearray(images.read_bytes())
    changed[-1000] ^= 1  # a bit of one pixel
    images.write_bytes(changed)
    assert program(monkeypatch, tmp_path, *words, "hydra.run.dir=two") == 2
    assert "its checksum is wrong): delete that folder, and it is made anew" in capfd.readouterr().err
    assert not (tmp_path / "two").exists()
