"""`BatchAugmentation` against torchvision's transforms of one face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as one

from fer.data.augment import BatchAugmentation, uniform
from fer.data.balance import NoBalance
from fer.data.datamodule import FacesDataModule
from fer.data.kdef import KDEF
from fer.data.split import ThesisSplit
from fer.errors import UserError
from fer.model.classifier import Classifier
from fer.model.networks import ThesisCNN
from tests.model.test_classifier_and_schedules import trainer

FACES = torch.randint(0, 256, (32, 1, 48, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ROWS = torch.arange(100, 132)
NOTHING = {"flip": 0.0, "rotate": 0.0, "zoom": (1.0, 1.0), "shift": 0.0}


@pytest.mark.parametrize("channels", [1, 3])
def test_geometry_is_torchvisions(channels):
    faces = FACES.expand(-1, channels, -1, -1)
    got = BatchAugmentation(flip=0.5, rotate=30, zoom=(0.7, 1.3), shift=0.2)(faces, ROWS, (3, 7))
    assert got.dtype == torch.uint8
    draws = uniform(ROWS, (3, 7), 11).tolist()
    mirrored = 0
    for face, changed, draw in zip(faces, got, draws, strict=True):
        turn, zoom, mirror, right, down = draw[:5]
        mirrored += mirror < 0.5
        expected = one.affine(
            face.float().flip(-1) if mirror < 0.5 else face.float(),
            angle=60 * turn - 30,
            translate=[(0.4 * right - 0.2) * 40, (0.4 * down - 0.2) * 48],
            scale=0.7 + 0.6 * zoom,
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        assert (changed.float() - expected).abs().max() <= 1  # rounded to a whole grey
    assert 5 < mirrored < 27


def test_nothing_changes_nothing():
    assert torch.equal(BatchAugmentation(**NOTHING)(FACES, ROWS, (0, 0)), FACES)


def test_light_stays_within_its_bounds():
    grey = torch.full((500, 1, 4, 4), 200, dtype=torch.uint8)
    brighter = BatchAugmentation(**NOTHING, brightness=0.1)(grey, torch.arange(500), (0, 0)).float()
    assert 174 <= brighter.min() < 180 < 195 < brighter.mean() < 205 < 220 < brighter.max() <= 226
    stretched = BatchAugmentation(**NOTHING, contrast=0.5)(grey, torch.arange(500), (0, 0)).float()
    assert 163 <= stretched.min() < 170 < 230 < stretched.max() <= 236.5


def test_erased_rectangles_have_their_size_and_come_as_often_as_they_should():
    white = torch.full((2000, 1, 40, 40), 255, dtype=torch.uint8)
    erased = BatchAugmentation(**NOTHING, erase=0.3, erase_size=(0.25, 0.25))(white, torch.arange(2000), (0, 0)) == 0
    share = erased.flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.21 / 2000) ** 0.5)
    rows, columns = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    assert max(rows.max(), columns.max()) == 10
    assert torch.equal(erased.flatten(1).sum(1), rows * columns)


def test_what_is_drawn_depends_on_face_seed_and_epoch_only():
    augment = BatchAugmentation(brightness=0.2, contrast=0.2, erase=0.5)
    whole = augment(FACES, ROWS, (0, 1))
    order = torch.randperm(32)
    torch.testing.assert_close(whole[order], augment(FACES[order], ROWS[order], (0, 1)), rtol=0, atol=1)
    for other in ((0, 2), (1, 1)):
        assert (whole != augment(FACES, ROWS, other)).flatten(1).any(1).float().mean() > 0.9


def test_draws_are_even_and_independent():
    draws = uniform(torch.arange(100_000), (1, 2), 5)
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        counts = torch.histc(column, 20, 0, 1)
        assert ((counts - 5000) ** 2 / 5000).sum() < 44  # chi-squared with 19 degrees of freedom, 0.1 %
    together = torch.corrcoef(torch.cat([draws[:-1].T, draws[1:, :1].T])).fill_diagonal_(0)
    assert together.abs().max() < 5 / 100_000**0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"flip": 2}, "augment.flip=2: expected 0..1"), ({"zoom": (1.2, 0.8)}, "augment.zoom=.* smaller and a larger number")],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        BatchAugmentation(**options)


def test_only_training_faces_are_changed(demo):
    data = FacesDataModule(
        {"kdef": KDEF(str(demo / "kdef"))}, NoBalance(), ThesisSplit(), augment=BatchAugmentation(), batch_size=16
    )
    data.setup()
    seen: dict[str, list[bool]] = {"train": [], "val": []}

    class Watch(Classifier):
        def training_step(self, batch, batch_idx):
            self.note("train", batch)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.note("val", batch)
            super().validation_step(batch, batch_idx)

        def note(self, stage, batch):
            seen[stage].append(np.array_equal(batch.images[:, 0].numpy(), data.faces.images[batch.row.numpy()]))

    network = ThesisCNN(filters=(4,), kernel_sizes=(3,), dense=(8,))
    trainer(max_epochs=1).fit(Watch(network, lambda weights: torch.optim.SGD(weights, lr=0.01)), data)
    assert not any(seen["train"])
    assert all(seen["val"])
