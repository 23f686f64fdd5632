from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

import fer
from fer.data.images import read_image
from fer.errors import UserError
from tests.conftest import environment
from tests.predict.conftest import ASTRONAUT, save_checkpoint


def test_a_picture_gives_its_faces(shipped):
    (face,) = shipped.predict(ASTRONAUT)
    assert face.emotion == "happy" == fer.EMOTIONS[face.probabilities.argmax()]
    assert face.probabilities.shape == (7,)
    assert face.probabilities.dtype == np.float32
    assert face.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert face.image.shape == (48, 48)
    assert face.confidence > 1


def test_every_kind_of_picture_means_the_same(shipped):
    array = read_image(ASTRONAUT)
    with Image.open(ASTRONAUT) as picture:
        opaque = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
        kinds = [ASTRONAUT, str(ASTRONAUT), array, picture.copy(), opaque, array.astype(np.uint16) * 256]
        found = shipped.predict(kinds)
    assert len(found) == len(kinds)
    for faces in found:
        assert faces[0].box == found[0][0].box
        np.testing.assert_allclose(faces[0].probabilities, found[0][0].probabilities, atol=1e-6)
    grey = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)
    for one in shipped.predict([grey, grey[..., None]]):
        np.testing.assert_allclose(one[0].probabilities, found[0][0].probabilities, atol=0.01)


def test_a_list_gives_a_list_for_each_picture_in_order(shipped):
    array = read_image(ASTRONAUT)
    empty = np.full((100, 100), 128, np.uint8)
    both = np.concatenate([array, array], axis=1)
    found = shipped.predict([empty, both, array, empty])
    assert [len(faces) for faces in found] == [0, 2, 1, 0]
    np.testing.assert_allclose(found[1][0].probabilities, found[2][0].probabilities, atol=0.2)
    assert shipped.predict([]) == []
    assert shipped.predict(empty) == []


@pytest.mark.parametrize(
    "image", [np.zeros((48, 48)), np.zeros((4, 48, 48, 3), np.uint8), np.zeros((48, 48, 2), np.uint8), np.zeros((0, 5), np.uint8)]
)
def test_an_array_of_another_kind_is_refused(shipped, image):
    with pytest.raises(UserError, match=r"expected uint8 or uint16, \(H, W\) grey, \(H, W, 3\) RGB"):
        shipped.predict(image)


def test_crops_are_predicted_whole_as_eval_would(tmp_path, noise):
    """Faces of the network's size reach it unchanged, in its own colours and size."""
    import torch

    from fer.model import checkpoint
    from fer.model.networks import to_input

    for channels, shape in ((1, (64, 64)), (3, (64, 64, 3))):
        path = save_checkpoint(tmp_path / f"{channels}.ckpt", channels, 64)
        faces = [noise(seed, *shape) for seed in range(3)]
        found = fer.load(path, faces="whole").predict(faces)
        planes = torch.tensor(np.stack(faces))
        planes = planes[:, None] if channels == 1 else planes.permute(0, 3, 1, 2)
        with torch.no_grad():
            expected = checkpoint.load(path)[0](to_input(planes)).softmax(1)
        np.testing.assert_allclose([face.probabilities for (face,) in found], expected, atol=1e-6)
        assert found[0][0].box == (0, 0, 64, 64)
        assert fer.load(path, faces="whole").predict(noise(9, 30, 20))[0].image.shape == shape


def test_onnx_predicts_the_same_without_pytorch(shipped, onnx_file):
    code = f"""
import sys, fer
(face,) = fer.load({str(onnx_file)!r}).predict({str(ASTRONAUT)!r})
print(face.emotion, face.box, *face.probabilities.tolist())
assert not {{"torch", "lightning", "hydra", "omegaconf", "captum", "gradio"}} & set(sys.modules), "imported too much"
"""
    result = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (face,) = shipped.predict(ASTRONAUT)
    assert result.stdout.startswith(f"{face.emotion} {face.box} ")
    np.testing.assert_allclose([float(p) for p in result.stdout.split(") ")[1].split()], face.probabilities, atol=1e-4)


def test_importing_fer_imports_nothing_heavy():
    code = "import sys, fer; print(fer.EMOTIONS[0], sorted({'numpy', 'torch', 'cv2', 'pandas', 'hydra'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert result.stdout == "neutral []\n"


def test_a_run_folder_gives_the_weights_it_tested(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    save_checkpoint(run / "checkpoints/best.ckpt", image_size=64)
    save_checkpoint(run / "checkpoints/last.ckpt", image_size=32)
    for test, size in (("best", 64), ("last", 32)):
        (run / "config.yaml").write_text(f"test: {test}\n")
        assert fer.load(run).image_size == size
    kdef = {"accuracy": 0.5, "support": [1, 2, 3, 0, 0, 0, 0], "recall": [1, 0.5, 0, 0, 0, 0, 0]}
    (run / "metrics.json").write_text(json.dumps({"tested": "last", "test": {"kdef": kdef, "combined": kdef}}))
    assert fer.load(run).network.tests == {"kdef": {"accuracy": 0.5, "faces": 6, "recall": kdef["recall"]}}
    assert fer.load(run / "checkpoints/last.ckpt").network.tests == fer.load(run).network.tests
    assert fer.load(run / "checkpoints/best.ckpt").network.tests == {}  # which were not what was tested


def test_a_model_that_is_none_is_refused(tmp_path):
    cases = {
        "nothing.ckpt": "there is no model .*nothing.ckpt: name a run folder, a checkpoint",
        "empty": "is no run folder, since it has no config.yaml",
        "bad.onnx": "is no ONNX model that can be read",
        "bad.ckpt": "is no checkpoint that can be read",
    }
    (tmp_path / "empty").mkdir()
    for name in ("bad.onnx", "bad.ckpt"):
        (tmp_path / name).write_bytes(b"something else")
    for name, message in cases.items():
        with pytest.raises(UserError, match=message):
            fer.load(tmp_path / name)
    with pytest.raises(UserError, match="a smallest face of 2: expected a share"):
        fer.load(min_face=2)
