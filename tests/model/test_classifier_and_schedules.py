from __future__ import annotations

import functools
import shutil

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support
from torch import nn

from fer.data.augment import BatchAugmentation
from fer.data.balance import NoBalance
from fer.data.datamodule import FacesDataModule, FacesDataset, _Tensors
from fer.data.fer2013 import FER2013
from fer.data.kdef import KDEF
from fer.data.split import ThesisSplit
from fer.errors import UserError
from fer.metrics import evaluate, plain
from fer.model import schedules
from fer.model.classifier import Classifier, mixed
from fer.model.networks import ThesisCNN, to_input
from fer.report.callbacks import callbacks


def small_network():
    torch.manual_seed(0)
    return ThesisCNN(filters=(4, 4), kernel_sizes=(3, 3), dense=(8,), bn_momentum=0.5)


@pytest.fixture
def data(demo):
    module = FacesDataModule(
        {"fer2013": FER2013(str(demo / "fer2013")), "kdef": KDEF(str(demo / "kdef"))}, NoBalance(), ThesisSplit(), batch_size=64
    )
    module.setup()
    return module


def trainer(**options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "enable_checkpointing": False}
    return L.Trainer(accelerator="cpu", use_distributed_sampler=False, num_sanity_val_steps=0, **quiet | options)


def fitted(data, epochs=2):
    optimizer = functools.partial(torch.optim.Adam, lr=3e-3)
    classifier = Classifier(small_network(), optimizer, None, {}, list(data.test_sets))
    run = trainer(max_epochs=epochs)
    run.fit(classifier, data)
    run.test(classifier, data, verbose=False)
    return classifier


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_an_epochs_last_batch_is_not_compiled_for(data, monkeypatch):
    """To compile the network for its size too takes longer than all of an epoch."""
    sizes = {len(batch.target) for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader}
    assert len(sizes) > 2
    monkeypatch.setattr(torch._dynamo.config, "automatic_dynamic_local_pgo", False)  # what runs before have found
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    classifier = Classifier(small_network(), functools.partial(torch.optim.SGD, lr=0.01), compile_mode="default")
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    L.Trainer(max_epochs=2, accelerator="cpu", **options).fit(classifier, data)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # training, validation


def test_averaged_weights_are_validated_and_kept(data, tmp_path):
    taken: list[list[torch.Tensor]] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            taken.append([parameter.detach().clone() for parameter in pl_module.network.parameters()])

    classifier = Classifier(small_network(), functools.partial(torch.optim.Adam, lr=3e-3), None, {}, list(data.test_sets))
    own = [*callbacks(tmp_path, None, averaging=0.9), Watch()]
    run = trainer(max_epochs=2, callbacks=own, enable_checkpointing=True)
    run.fit(classifier, data)
    average = taken[0]
    for step in taken[1:]:
        average = [0.9 * old + 0.1 * new for old, new in zip(average, step, strict=True)]
    kept = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    network = small_network().eval()
    network.load_state_dict({name.removeprefix("network."): value for name, value in kept["state_dict"].items()})
    torch.testing.assert_close(list(network.parameters()), average)
    with torch.no_grad():
        faces = torch.from_numpy(data.faces.images[data.parts.val])[:, None]
        right = network(to_input(faces)).argmax(1).numpy() == data.faces.emotion[data.parts.val]
    assert classifier.history[-1]["val/accuracy"] == pytest.approx(right.mean(), abs=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_mixup_blends_faces_and_targets_by_one_share(soft):
    torch.manual_seed(0)
    classes = torch.arange(7).repeat(3)
    shares = nn.functional.one_hot(classes, 7).double()
    images = shares[:, None, None] * 7  # a face is its target, so that both must stay the same
    seen = []
    for _ in range(200):
        blended, target = mixed(images, shares if soft else classes, 0.4)
        torch.testing.assert_close(blended[:, 0, 0] / 7, target)
        torch.testing.assert_close(target.sum(1), torch.ones(21, dtype=torch.float64))
        seen.append(float(target.max(1).values[target.max(1).values < 1].min()))
    # of one share for the whole batch, the larger of it and its rest: in the mean E max(x, 1 - x) of Beta(0.4, 0.4)
    expected = np.random.default_rng(0).beta(0.4, 0.4, 100_000)
    assert np.mean(seen) == pytest.approx(np.maximum(expected, 1 - expected).mean(), abs=0.03)


def test_reported_metrics_are_scikit_learns_on_every_test_set(data):
    classifier = fitted(data)
    rows, probabilities = (values.numpy() for values in classifier.tested)
    np.testing.assert_array_equal(rows, data.parts.test)
    truth, guess = data.faces.emotion[rows], probabilities.argmax(1)
    source = data.faces.table["source"].to_numpy()[rows]
    for name in ("kdef", "fer2013", "combined"):
        chosen = (source == name) | (name == "combined")
        ours, y, p = plain(classifier.computed[f"test/{name}"]), truth[chosen], guess[chosen]
        labels = list(range(7))
        precision, recall, f1, support = precision_recall_fscore_support(y, p, labels=labels, zero_division=0)
        np.testing.assert_allclose(ours["precision"], precision, atol=1e-6)
        np.testing.assert_allclose(ours["recall"], recall, atol=1e-6)
        np.testing.assert_allclose(ours["f1"], f1, atol=1e-6)
        assert ours["support"] == support.tolist()
        assert ours["confusion_matrix"] == confusion_matrix(y, p, labels=labels).tolist()
        assert ours["accuracy"] == pytest.approx(accuracy_score(y, p), abs=1e-6)
        assert ours["loss"] == pytest.approx(log_loss(y, probabilities[chosen], labels=labels), abs=1e-5)
        macro = precision_recall_fscore_support(y, p, labels=labels, average="macro", zero_division=0)[:3]
        np.testing.assert_allclose([ours["macro"][m] for m in ("precision", "recall", "f1")], macro, atol=1e-6)


def test_metrics_of_ready_predictions_are_those_of_the_test(data):
    classifier = fitted(data, epochs=1)
    rows, probabilities = classifier.tested
    ready, tested = evaluate(torch.from_numpy(data.faces.emotion[rows]), probabilities), plain(classifier.computed["test/combined"])
    assert ready.pop("loss") == pytest.approx(tested.pop("loss"), abs=1e-5)
    assert ready == tested


def test_loss_weights_and_votes_reach_the_training_loss_only(data):
    weights = np.linspace(0.5, 2, 7, dtype=np.float32)
    classifier = Classifier(small_network(), loss_weights=weights.tolist())
    batch = next(iter(data.train_dataloader()))
    votes = torch.full((len(batch.row), 7), 1 / 7)
    for training in (True, False):
        classifier.train(training)
        torch.manual_seed(0)
        logits = classifier(batch.images)
        for target in (batch.emotion, votes):
            torch.manual_seed(0)
            loss, _ = classifier._step(batch._replace(target=target))
            expected = nn.functional.cross_entropy(logits, target, weight=torch.tensor(weights) if training else None)
            torch.testing.assert_close(loss, expected)
    assert "loss_weights" not in classifier.state_dict()


@pytest.mark.parametrize("what", ["EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "test_dataloader"])
def test_nothing_can_be_chosen_by_test_faces(data, tmp_path, what):
    class Peeks(L.Callback):
        def on_train_start(self, trainer, pl_module):
            trainer.datamodule.test_dataloader()

    def by_test(optimizer, steps, epochs):
        return schedules.plateau(optimizer, steps, epochs) | {"monitor": "test/combined/loss"}

    callbacks = {
        "EarlyStopping": [EarlyStopping("test/combined/accuracy")],
        "ModelCheckpoint": [ModelCheckpoint(tmp_path, monitor="test/kdef/accuracy"), ModelCheckpoint(tmp_path)],
        "test_dataloader": [Peeks()],
    }.get(what, [])
    optimizer = functools.partial(torch.optim.SGD, lr=0.1)
    classifier = Classifier(small_network(), optimizer, by_test if what == "ReduceLROnPlateau" else None, {}, list(data.test_sets))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    run = L.Trainer(accelerator="cpu", max_epochs=1, use_distributed_sampler=False, callbacks=callbacks, **quiet)
    with pytest.raises(UserError, match="test faces"):
        run.fit(classifier, data)


def test_training_learns_and_keeps_a_history(data):
    history = fitted(data, epochs=4).history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["train/loss"] < history[0]["train/loss"]


def test_validation_metrics_are_those_of_the_validation_part(data):
    classifier = fitted(data)
    classifier.eval()
    batch = data.val_dataloader()
    logits = torch.cat([classifier(b.images) for b in batch])
    truth = torch.cat([b.emotion for b in batch])
    assert classifier.history[-1]["val/accuracy"] == pytest.approx(accuracy_score(truth, logits.argmax(1)), abs=1e-6)
    assert classifier.history[-1]["val/loss"] == pytest.approx(nn.functional.cross_entropy(logits, truth).item(), abs=1e-5)


def rates(schedule, steps, epochs, lr=0.1):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    made = schedule(optimizer, steps=steps, epochs=epochs)
    seen = []
    for _ in range(steps if made["interval"] == "step" else epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made["scheduler"].step(*([1.0] if "monitor" in made else []))
    return seen


def test_onecycle_rises_to_the_learning_rate_and_falls():
    seen = rates(schedules.onecycle, steps=100, epochs=10)
    assert max(seen) == pytest.approx(0.1)
    assert int(np.argmax(seen)) == pytest.approx(29, abs=1)
    assert seen[0] == pytest.approx(0.1 / 25)
    assert seen[-1] < 1e-5


def test_cosine_is_half_a_cosine_and_can_warm_up():
    np.testing.assert_allclose(rates(schedules.cosine, 0, 10), 0.05 * (1 + np.cos(np.pi * np.arange(10) / 10)), atol=1e-12)
    seen = rates(functools.partial(schedules.cosine, warmup=3), 0, 10)
    assert seen[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert seen[4] < 0.1


def test_plateau_lowers_the_rate_when_the_loss_stands_still():
    seen = rates(functools.partial(schedules.plateau, patience=2, factor=0.5), 0, 8)
    assert seen[0] == 0.1
    assert seen[-1] == pytest.approx(0.025)


def test_no_part_of_a_step_waits_for_the_device():
    """Tensors on the meta device have no values: whatever asks for one, as a wait for a GPU does, fails."""
    there = torch.device("meta")
    classifier = Classifier(ThesisCNN(), label_smoothing=0.1, loss_weights=[1.0] * 7).to(there)
    faces = _Tensors(torch.empty(99, 48, 48, dtype=torch.uint8), torch.empty(99, dtype=torch.int64), None).to(there)
    dataset = FacesDataset(faces, torch.empty(90, dtype=torch.int64, device=there), None, 0)
    optimizer = torch.optim.Adam(classifier.network.parameters())
    batch = dataset[0, torch.empty(64, dtype=torch.int64, device=there)]
    augment = BatchAugmentation(brightness=0.2, contrast=0.2, erase=0.5)
    loss = classifier.training_step(batch._replace(images=augment(batch.images, batch.row, (0, 1))), 0)
    loss.backward()
    optimizer.step()
    classifier.eval()
    with torch.no_grad():
        classifier.validation_step(batch, 0)
    with pytest.raises(RuntimeError, match="meta"):
        loss.item()
