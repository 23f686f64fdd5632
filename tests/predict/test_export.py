from __future__ import annotations

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest

import fer
from fer.errors import UserError
from fer.predict import network
from fer.predict.network import SHIPPED
from tests.conftest import run_here
from tests.predict.conftest import on_drawn_faces


def test_the_file_is_valid_and_describes_itself(onnx_file, shipped):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["emotions"] == ", ".join(fer.EMOTIONS)
    assert "uint8 (N, 1, 48, 48), 0..255, grey" in told["preprocessing"]
    assert told["licence"] == "CC0"
    accuracy = shipped.network.tests["fer2013"]["accuracy"]
    assert f"fer2013 {accuracy:.4f} of 3,549 faces" in told["test_accuracy"]
    recipe = json.loads(told["fer"])["recipe"]
    assert recipe["image"] == {"size": 48, "channels": 1}
    assert "config" not in recipe  # with the paths of whoever trained it
    assert [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input] == [("faces", onnx.TensorProto.UINT8)]


@pytest.mark.parametrize("count", [1, 2, 3, 300])
def test_any_number_of_faces_gives_what_the_network_gives(onnx_file, shipped, noise, count):
    faces = noise(count, count, 48, 48)
    session = onnxruntime.InferenceSession(onnx_file)
    given = session.run(None, {"faces": faces[:, None]})[0]
    np.testing.assert_allclose(given, shipped.network(faces), atol=1e-4)
    np.testing.assert_array_equal(network.read(onnx_file)(faces).argmax(1), shipped.network(faces).argmax(1))


def test_the_program_checks_on_the_test_faces_and_measures_int8(demo, tmp_path):
    result = run_here("-m", "fer.export", SHIPPED, *on_drawn_faces(demo), "--out", "new/small.onnx", "--int8", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert f"No model card of {SHIPPED}, which does not say how it did and was made; name its run folder" in said
    checked = re.search(r"small\.onnx: checked on (\d+) test faces, largest difference in probability (\S+), the same top", said)
    assert float(checked[2]) <= 1e-4
    words = re.search(r"int8\.onnx: accuracy (\S+) instead of (\S+) on (\d+) test faces; (\S+) instead of (\S+) ms", said)
    assert words[3] == checked[1]
    assert abs(float(words[1]) - float(words[2])) < 0.05
    full, small = (tmp_path / f"new/small{kind}.onnx" for kind in ("", "_int8"))
    assert small.stat().st_size < 0.4 * full.stat().st_size
    faces = np.random.default_rng(0).integers(0, 256, (50, 48, 48), np.uint8)
    np.testing.assert_allclose(network.read(small)(faces), network.read(full)(faces), atol=0.25)
    assert network.read(small).recipe == network.read(full).recipe


def test_safetensors_hold_the_weights_and_need_no_data(tmp_path):
    result = run_here("-m", "fer.export", SHIPPED, "--out", "new/small.safetensors", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "new/small.safetensors").read_bytes() == SHIPPED.read_bytes()
    for name, more in (("small.pt", []), ("small.safetensors", ["--int8"])):
        result = run_here("-m", "fer.export", SHIPPED, "--out", name, *more, cwd=tmp_path)
        assert result.returncode == 2
        assert result.stderr == f"error: --out {name}: expected a name that ends with .onnx{'' if more else ' or .safetensors'}\n"


def test_without_the_test_faces_nothing_is_exported(tmp_path):
    result = run_here("-m", "fer.export", SHIPPED, "data.root=nix", "--out", "model.onnx", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: FER2013: the folder nix/fer2013 does not exist")
    assert result.stderr.endswith("the run's test faces are needed to check what is exported\n")
    assert not list(tmp_path.glob("*.onnx"))


def test_an_onnx_file_is_not_exported_again(onnx_file, tmp_path):
    result = run_here("-m", "fer.export", onnx_file, cwd=tmp_path)
    assert result.stderr == f"error: {onnx_file} is an ONNX file already: name a run folder or a checkpoint\n"


def test_an_onnx_file_of_another_kind_is_refused(onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "plain.onnx")
    with pytest.raises(UserError, match=r"does not describe its emotions and faces: export it with python -m fer\.export RUN"):
        network.read(tmp_path / "plain.onnx")
    onnx.helper.set_model_props(model, {"fer": "{}"})
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="describes itself in a way that this version cannot read"):
        network.read(tmp_path / "other.onnx")
