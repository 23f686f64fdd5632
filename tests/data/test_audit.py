from __future__ import annotations

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from fer.data.audit import audit, near_pairs, perceptual_hash, seen
from fer.data.faces import Faces, digests
from fer.data.sheet import contact_sheet
from fer.emotions import EMOTIONS
from tests.conftest import run_here, write_csv


def photo(seed: int) -> np.ndarray:
    """A smooth random picture, as compressible as a photograph."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return np.asarray(Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC))


def made(images, **columns) -> Faces:
    table = pd.DataFrame({"emotion": 0, "source": "x", "subject": "", "sequence": "", "usage": ""}, index=range(len(images)))
    table = table.assign(file=[f"{n}.png" for n in range(len(images))], digest=digests(np.stack(images)), **columns)
    return Faces(np.stack(images), table)


def affected(found, check) -> tuple[int, int]:
    row = found.summary.set_index("check").loc[check]
    return row["groups"], row["affected"]


def test_copies_and_conflicting_labels_are_counted():
    images = [photo(0), photo(0), photo(0), photo(1), photo(1), photo(2)]
    found = audit(made(images, emotion=[0, 0, 3, 1, 1, 2]))
    assert affected(found, "identical") == (2, 3)
    assert affected(found, "identical, labels differ") == (1, 3)
    rows = found.findings[found.findings["check"] == "identical, labels differ"]
    assert rows["file"].tolist() == ["0.png", "1.png", "2.png"]
    assert rows["emotion"].tolist() == [EMOTIONS[0], EMOTIONS[0], EMOTIONS[3]]


def test_recompressed_and_brightened_copies_are_near_identical_and_others_are_not():
    original = Image.fromarray(photo(0))
    brighter = np.clip(photo(0).astype(int) + 12, 0, 255).astype(np.uint8)
    images = [photo(0), brighter, np.asarray(original.filter(ImageFilter.GaussianBlur(0.7))), *map(photo, range(1, 30))]
    found = audit(made(images, emotion=[0, 1, *[0] * 30]))
    assert affected(found, "near-identical") == (1, 3)
    assert affected(found, "near-identical, labels differ") == (1, 3)
    assert affected(found, "identical") == (0, 0)


def test_constant_and_nearly_black_pictures_are_named():
    black = np.zeros((48, 48), np.uint8)
    speck = black.copy()
    speck[:3, :3] = 255
    found = audit(made([black, np.full((48, 48), 90, np.uint8), speck, photo(0)]))
    assert affected(found, "constant") == (2, 2)
    assert affected(found, "nearly empty") == (1, 1)
    assert found.findings[found.findings["check"] == "nearly empty"]["file"].tolist() == ["2.png"]


def test_official_parts_and_two_sides_are_compared():
    images = [photo(0), photo(0), photo(1), photo(1), photo(2)]
    usage = ["Training", "PrivateTest", "Training", "PublicTest", "PrivateTest"]
    faces = made(images, usage=usage, subject=["a", "b", "c", "d", "a"], sequence=["", "", "s", "s", ""])
    parts = {"train": np.array([0, 2]), "val": np.array([3]), "test": np.array([1, 4])}
    found = audit(faces, parts)
    assert affected(found, "PrivateTest in Training: image") == (1, 1)
    assert affected(found, "PublicTest in Training: image") == (1, 1)
    assert affected(found, "test in train: image") == (1, 1)
    assert affected(found, "test in train: person") == (1, 1)
    assert affected(found, "val in train: sequence") == (1, 1)
    assert affected(found, "test in val: image") == (0, 0)
    assert seen(faces.table.iloc[[0, 2, 3]], faces.table.iloc[parts["test"]]).tolist() == ["image", "person"]


def test_hash_is_that_of_imagehash():
    images = np.stack([np.asarray(Image.fromarray(photo(seed)).resize((32, 32))) for seed in range(20)])
    expected = [int(str(imagehash.phash(Image.fromarray(image))), 16) for image in images]
    assert perceptual_hash(images).tolist() == expected


@pytest.mark.parametrize("distance", [0, 1, 4, 9])
def test_near_pairs_are_those_of_comparing_all(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**63, 60, np.uint64)
    flipped = hashes.copy()
    for bit in rng.integers(0, 64, (60, 5)).T:
        flipped ^= np.uint64(1) << bit.astype(np.uint64)
    both = np.concatenate([hashes, flipped, hashes[:5]])
    every = [(a, b) for a in range(len(both)) for b in range(a + 1, len(both)) if int(both[a] ^ both[b]).bit_count() <= distance]
    assert list(map(tuple, near_pairs(both, distance).tolist())) == every


def test_many_hashes_take_another_way_to_the_same_pairs():
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**64, 12_000, np.uint64)
    for bit in range(8):  # the second thousand differs from the first in up to 8 bits
        hashes[1000:2000] = (hashes[:1000] if bit == 0 else hashes[1000:2000]) ^ (
            np.uint64(1) << rng.integers(0, 64, 1000, np.uint64)
        )
    hashes[2000:2100] = hashes[:100]
    blocks = np.split(np.arange(len(hashes)), 24)
    every = [
        np.stack([rows[a], b], axis=1)
        for rows in blocks
        for a, b in [np.nonzero(np.bitwise_count(hashes[rows, None] ^ hashes[None]) <= 8)]
    ]
    every = np.concatenate(every)
    every = every[every[:, 0] < every[:, 1]]
    assert len(every) > 1000
    np.testing.assert_array_equal(near_pairs(hashes, 8), every)


def test_the_command_writes_tables_and_a_contact_sheet_even_without_a_split(tmp_path):
    rows = [(n % 6, photo(n % 20), "Training") for n in range(40)] + [(3, np.zeros((48, 48), np.uint8), "PrivateTest")]
    write_csv(tmp_path / "fer2013" / "fer2013.csv", rows)
    words = ("-m", "fer.data", "audit", "data=fer2013", "dataset.fer2013.root=fer2013", "--out", "found")
    result = run_here(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "The split is not looked at: no face is marked 'PublicTest'" in result.stdout
    assert "does not name its people" in result.stdout
    summary = pd.read_csv(tmp_path / "found" / "summary.csv", index_col="check")
    assert summary.loc["identical", "affected"] == 20
    assert summary.loc["constant", "affected"] == 1
    assert set(pd.read_csv(tmp_path / "found" / "audit.csv")["check"]) >= {"identical", "constant"}
    assert np.asarray(Image.open(tmp_path / "found" / "contact_sheet.png").convert("L")).std() > 5

    result = run_here(*words, "--distance", "99", cwd=tmp_path)
    assert result.returncode == 2
    assert "--distance 99: expected 0..63" in result.stderr


def test_a_clean_data_set_has_an_empty_sheet():
    found = audit(made([photo(seed) for seed in range(5)]))
    assert found.findings.empty
    contact_sheet(made([photo(0)]), found)
