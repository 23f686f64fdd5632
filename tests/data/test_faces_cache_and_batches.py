from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer import thesis
from fer.data import cache
from fer.data.audit import seen
from fer.data.augment import Augmentation
from fer.data.balance import LossWeights, NoBalance, Sampler, ThesisBalance
from fer.data.ckplus import CKPlus
from fer.data.datamodule import BatchSampler, FacesDataModule
from fer.data.demo import draw_data_sets
from fer.data.faces import _memory, digests, room
from fer.data.fer2013 import FER2013
from fer.data.images import read_image
from fer.data.kdef import KDEF
from fer.data.split import Parts, SubjectSplit, ThesisSplit
from fer.errors import UserError
from tests.conftest import make_faces, run_here, run_program, write_csv, write_image


@pytest.fixture
def reader(tmp_path, noise):
    rows = [(code, noise(code), "Training") for code in range(7)] + [(9, noise(9), "Training")]
    write_csv(tmp_path / "raw" / "fer2013.csv", rows)
    return FER2013(str(tmp_path / "raw"))


def readers(root):
    return {
        "fer2013": FER2013(str(root / "fer2013")),
        "ckplus": CKPlus(str(root / "ckplus"), contempt="as_neutral"),
        "kdef": KDEF(str(root / "kdef")),
    }


def test_cache_gives_back_what_was_read(reader, tmp_path):
    fresh = cache.read(reader, 48, 1, "skip", str(tmp_path / "cache"))
    again = cache.read(reader, 48, 1, "skip", str(tmp_path / "cache"))
    assert isinstance(again.images, np.memmap)
    np.testing.assert_array_equal(again.images, fresh.images)
    pd.testing.assert_frame_equal(again.table, fresh.table)
    assert again.left_out.to_numpy().tolist() == fresh.left_out.to_numpy().tolist()


def test_a_changed_raw_folder_or_option_is_read_anew(reader, tmp_path, noise):
    place = str(tmp_path / "cache")
    cache.read(reader, 48, 1, "skip", place)
    assert cache.read(reader, 32, 1, "skip", place).images.shape == (7, 32, 32)
    write_csv(tmp_path / "raw" / "fer2013.csv", [(0, noise(50), "Training")])
    assert len(cache.read(reader, 48, 1, "skip", place)) == 1


def test_a_same_size_change_is_noticed_by_its_time(reader, tmp_path):
    place, file = str(tmp_path / "cache"), tmp_path / "raw" / "fer2013.csv"
    before = cache.read(reader, 48, 1, "skip", place)
    file.write_text(file.read_text().replace("\n1,", "\n2,"))
    os.utime(file, ns=(1, 1))
    after = cache.read(reader, 48, 1, "skip", place)
    assert (before.emotion != after.emotion).any()


@pytest.mark.parametrize("file", ["images.npy", "table.csv", "checksum.txt"])
def test_a_damaged_cache_is_named(reader, tmp_path, file):
    cache.read(reader, 48, 1, "skip", str(tmp_path / "cache"))
    victim = next((tmp_path / "cache").rglob(file))
    content = bytearray(victim.read_bytes())
    content[-2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(UserError, match=r"the cache .* cannot be read .*: delete that folder"):
        cache.read(reader, 48, 1, "skip", str(tmp_path / "cache"))


def test_digest_tells_pictures_apart(noise):
    a, b = noise(1), noise(2)
    first, second, third = digests(np.stack([a, b, a]))
    assert first == third != second


def test_faces_that_do_not_fit_together_are_refused():
    faces = make_faces({"kdef": (1,) * 7})
    with pytest.raises(ValueError, match="7 rows"):
        replace(faces, images=faces.images[:6])
    with pytest.raises(ValueError, match=r"labels lie in 0\.\.7"):
        replace(faces, table=faces.table.assign(emotion=[0, 1, 2, 3, 4, 5, 7]))
    with pytest.raises(ValueError, match="expected uint8"):
        replace(faces, images=faces.images.astype(np.float32))


def test_sixteen_bit_alpha_and_turned_pictures(tmp_path, noise):
    deep = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), (deep >> 8).astype(np.uint8))
    assert read_image(write_image(tmp_path / "alpha.png", noise(1, 8, 8, 4))).shape == (8, 8, 3)
    picture = Image.fromarray(noise(2, 8, 4))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned a quarter
    picture.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(np.asarray(picture), -1))


def test_demo_goes_through_the_readers_in_the_real_proportions(demo):
    data = FacesDataModule(readers(demo), ThesisBalance(), ThesisSplit())
    data.setup()
    found = data.counts["found"]
    expected = thesis.FOUND.loc["fer2013"] * 0.05
    assert (found.loc["fer2013"] - expected).abs().max() <= 2  # each of the three official parts is rounded
    assert found.loc["kdef"].tolist() == [4] * 7
    assert found.loc["ckplus", "surprise"] == 12
    assert len(set(data.counts["balanced"].sum())) == 1
    assert data.faces.table["usage"].value_counts().to_dict().keys() == {"", "Training", "PublicTest", "PrivateTest"}
    assert all(rows.size for rows in data.test_sets.values())


def test_no_image_stands_on_two_sides(demo):
    data = FacesDataModule(readers(demo), ThesisBalance(), ThesisSplit())
    data.setup()
    sides = [set(data.faces.table["digest"].iloc[rows]) for rows in (data.parts.train, data.parts.val, data.parts.test)]
    assert len(set.union(*sides)) == sum(map(len, sides))


def test_balance_after_the_split_touches_the_training_part_only(demo):
    data = FacesDataModule(readers(demo), ThesisBalance(before_split=False), ThesisSplit())
    data.setup()
    whole = FacesDataModule(readers(demo), NoBalance(), ThesisSplit())
    whole.setup()
    np.testing.assert_array_equal(data.parts.test, whole.parts.test)
    assert len(set(data.counts["train"].sum())) == 1
    assert data.counts["val"].equals(whole.counts["val"])
    assert set(data.parts.train) <= set(whole.parts.train)


def test_a_subject_split_trains_on_equal_classes_of_people_it_does_not_test(demo):
    data = FacesDataModule(readers(demo), ThesisBalance(before_split=False), SubjectSplit())
    data.setup()
    assert len(set(data.counts["train"].sum())) == 1
    assert not seen(data.training, data.faces.table.iloc[data.parts.test]).astype(bool).any()
    table = data.faces.table
    people = [
        set(zip(part["source"], part["subject"], strict=True))
        for part in (table.iloc[data.parts.train], table.iloc[data.parts.test])
    ]
    assert {source for source, person in people[0] & people[1] if person} == set()


def test_train_on_keeps_other_sets_for_testing_only(demo):
    data = FacesDataModule(readers(demo), Sampler(), SubjectSplit(folds=3), train_on=["kdef"])
    data.setup()
    assert list(data.counts["train"].index) == list(data.counts["val"].index) == ["kdef"]
    assert set(data.test_sets) == {"kdef", "ckplus", "fer2013"}
    assert data.dropped["of data sets that only test"] > 0
    with pytest.raises(UserError, match=r"data\.train_on=kdeff: .* did you mean 'kdef'"):
        FacesDataModule(readers(demo), Sampler(), SubjectSplit(), train_on=["kdeff"])


def test_a_split_that_uses_a_face_twice_does_not_pass(demo):
    def careless(faces, seed):
        return Parts(np.arange(10), np.arange(10, 20), np.arange(19, 30), {})

    with pytest.raises(ValueError, match="put 1 faces, the first in row 19, into val and test"):
        FacesDataModule(readers(demo), NoBalance(), careless).setup()


def test_the_sampler_balance_serves_classes_equally_often(demo):
    data = FacesDataModule(readers(demo), Sampler(), ThesisSplit(), batch_size=64)
    data.setup()
    loader = data.train_dataloader()
    drawn = np.zeros(7)
    for epoch in range(5):
        loader.sampler.set_epoch(epoch)
        rows = np.concatenate([batch.row.numpy() for batch in loader])
        assert len(rows) == len(data.parts.train)
        assert set(rows) <= set(data.parts.train)
        drawn += np.bincount(data.faces.emotion[rows], minlength=7)
    expected = drawn.sum() / 7
    assert np.abs(drawn - expected).max() < 5 * np.sqrt(expected)  # the smallest class has a tenth of the largest's faces
    weighted = FacesDataModule(readers(demo), LossWeights(), ThesisSplit())
    weighted.setup()
    assert weighted.chances is None
    assert weighted.loss_weights.argmax() == weighted.counts["train"].sum().to_numpy().argmin()


def test_batches_hold_the_faces_of_their_rows(demo):
    data = FacesDataModule(readers(demo), ThesisBalance(), ThesisSplit(), batch_size=16)
    data.setup()
    rows = []
    for batch in data.train_dataloader():
        np.testing.assert_array_equal(batch.images[:, 0].numpy(), data.faces.images[batch.row.numpy()])
        np.testing.assert_array_equal(batch.emotion.numpy(), data.faces.emotion[batch.row.numpy()])
        rows += batch.row.tolist()
    assert sorted(rows) == data.parts.train.tolist()


def test_size_and_channels_are_options(demo):
    data = FacesDataModule(readers(demo), ThesisBalance(), ThesisSplit(), image_size=64, channels=3)
    data.setup()
    assert next(iter(data.train_dataloader())).images.shape[1:] == (3, 64, 64)


@given(st.integers(1, 200), st.integers(1, 70), st.booleans(), st.integers(1, 3), st.integers(0, 2))
def test_sampler_serves_every_position(size, batch_size, training, world, epoch):
    shares = []
    for rank in range(world):
        sampler = BatchSampler(size, batch_size, training, seed=1, rank=rank, world=world)
        sampler.set_epoch(epoch)
        batches = [positions.tolist() for _, positions in sampler]
        assert len(batches) == len(sampler)
        if training and batch_size > 1 and len(batches) > 1:
            assert min(map(len, batches)) > 1
        shares.append([position for batch in batches for position in batch])
    everything = [position for share in shares for position in share]
    assert set(everything) == set(range(size))
    if training:
        assert len({len(share) for share in shares}) == 1
    else:
        assert len(everything) == size


def test_orders_differ_between_epochs_and_repeat_for_a_seed():
    def order(epoch, seed):
        sampler = BatchSampler(50, 50, True, seed)
        sampler.set_epoch(epoch)
        return next(iter(sampler))[1].tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_augmentation_repeats_for_a_seed_and_differs_between_epochs_and_images(noise):
    import albumentations as A

    augment = Augmentation([A.Affine(rotate=(-20, 20), p=1.0), A.GaussNoise(p=1.0)])
    image = noise(1)
    one = augment(image, (0, 1, 2))
    np.testing.assert_array_equal(one, augment(image, (0, 1, 2)))
    for other in ((0, 2, 2), (0, 1, 3), (1, 1, 2)):
        assert not np.array_equal(one, augment(image, other))
    assert one.shape == image.shape
    assert one.dtype == np.uint8


@pytest.mark.parametrize("arguments", [{"channels": 2}, {"batch_size": 0}, {"image_size": 0}, {"readers": {}}])
def test_impossible_arguments_are_refused(demo, arguments):
    with pytest.raises(UserError, match=r"expected|names no data set"):
        FacesDataModule(**{"readers": readers(demo), "balance": NoBalance(), "split": ThesisSplit(), **arguments})


def test_drawing_refuses_a_folder_with_something_else(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    data = FacesDataModule(readers(tmp_path), NoBalance(), ThesisSplit(), root=str(tmp_path), scale=0.01)
    with pytest.raises(UserError, match="is not empty, so no faces are drawn there"):
        data.prepare_data()
    data.scale = -1
    with pytest.raises(UserError, match=r"data\.scale=-1"):
        data.prepare_data()


def test_jobs_that_draw_at_the_same_time_do_not_disturb_each_other(tmp_path):
    root = tmp_path / "demo"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: draw_data_sets(root, 0.004), range(3)))
    assert len(FER2013(str(root / "fer2013")).read(48, 1, "stop")) > 100
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_an_array_larger_than_half_the_memory_lies_in_a_file_that_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    small, large = room((3, 2, 2)), room((_memory() // 2 // 4096 + 1, 64, 64))
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    large[7] = 5
    assert large[7].sum() == 5 * 64 * 64
    assert list(tmp_path.iterdir()) == []


MAPPED = """
import resource, sys
import numpy as np, pandas as pd
from fer.data import cache
from fer.data.balance import NoBalance
from fer.data.datamodule import FacesDataModule
from fer.data.faces import Faces
from fer.data.split import ThesisSplit

class Noise:
    name, root, size = "noise", "raw", 26_000

    def read(self, image_size, channels, on_error):
        images = np.random.default_rng(0).integers(0, 256, (self.size, 48, 48), np.uint8)
        numbers = np.arange(self.size)
        return Faces.build(images, "noise", pd.DataFrame({"emotion": numbers % 7, "file": numbers.astype(str)}))

if sys.argv[1] == "write":
    cache.read(Noise(), 48, 1, "stop", "cache")
    sys.exit()
Noise.read = None  # from the cache or not at all
data = FacesDataModule({"noise": Noise()}, NoBalance(), ThesisSplit(), cache_dir="cache", batch_size=256)
in_use = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (in_use + 45 * 2**20,) * 2)
try:
    np.ones(60 * 2**20, np.uint8)
    sys.exit("the limit does not hold")
except MemoryError:
    pass
data.setup()
print(len(data.parts.train), sum(len(batch.images) for batch in data.train_dataloader()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_set_larger_than_the_memory_left_is_served_from_its_file(tmp_path):
    (tmp_path / "own.py").write_text(MAPPED)
    (tmp_path / "raw").mkdir()
    assert run_here(tmp_path / "own.py", "write", cwd=tmp_path).returncode == 0
    result = run_program("own.py", "read", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    expected, served = map(int, result.stdout.split())
    assert 20_000 < expected == served
