from __future__ import annotations

import pickle

import pytest
import torch

from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.model import checkpoint
from fer.model.networks import ThesisCNN

SMALL = {"filters": [4, 4], "kernel_sizes": [3, 3], "dense": [8]}


def saved(path, **changes):
    network = ThesisCNN(**SMALL)
    recipe = checkpoint.recipe({"_target_": "fer.model.networks.ThesisCNN", **SMALL}, 48, 1, {"seed": 0}) | {"metrics": {}}
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": weights, "fer": recipe | changes}, path)
    return network.eval()


def test_a_network_comes_back_with_its_recipe(tmp_path):
    network = saved(tmp_path / "a.ckpt")
    loaded, recipe = checkpoint.load(tmp_path / "a.ckpt")
    faces = torch.rand(3, 1, 48, 48)
    torch.testing.assert_close(loaded(faces), network(faces))
    assert not loaded.training
    assert recipe["emotions"] == list(EMOTIONS)
    assert recipe["image"] == {"size": 48, "channels": 1}


def test_safetensors_hold_the_same(tmp_path):
    network = saved(tmp_path / "a.ckpt").to(memory_format=torch.channels_last)
    described = checkpoint.read(tmp_path / "a.ckpt")["fer"] | {"temperature": 1 / 3}
    checkpoint.write(tmp_path / "a.safetensors", network, described)
    again, recipe = checkpoint.load(tmp_path / "a.safetensors")
    assert recipe == described
    assert not again.training
    weights = again.state_dict()
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())


class Bomb:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('exploded').touch()",)


def test_code_in_a_checkpoint_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "fer": Bomb()}, "evil.ckpt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Bomb()))
    for name in ("evil.ckpt", "evil.pkl"):
        with pytest.raises(UserError, match="is no checkpoint that can be read"):
            checkpoint.load(name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("target", ["os.system", "fer.model.networks.nn", "fer.model.networks.to_input", "torch.nn.Linear"])
def test_a_recipe_cannot_name_foreign_code(tmp_path, target):
    saved(tmp_path / "a.ckpt", network={"_target_": target, "command": "true"})
    with pytest.raises(UserError, match="is none of"):
        checkpoint.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "has format 99, but this version reads 1"),
        ({"emotions": ["happy", "sad"]}, "was trained for the emotions"),
        ({"network": {"_target_": "fer.model.networks.ThesisCNN"}}, "do not fit together"),
        ({"network": {"_target_": "fer.model.networks.ThesisCNN", "colour": 3}}, "do not fit together"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, changes, message):
    saved(tmp_path / "a.ckpt", **changes)
    with pytest.raises(UserError, match=message):
        checkpoint.load(tmp_path / "a.ckpt")


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "none.ckpt")
    saved(tmp_path / "a.ckpt")
    (tmp_path / "half.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:2000])
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    for name, what in (("half", "checkpoint"), ("text", "checkpoint"), ("other", "model of this project"), ("list", "checkpoint")):
        with pytest.raises(UserError, match=f"{name}.ckpt is no {what}"):
            checkpoint.load(tmp_path / f"{name}.ckpt")
