from __future__ import annotations

import numpy as np
import pytest

from fer.data.fer2013 import FER2013, USAGES
from fer.emotions import EMOTIONS, FER2013_CODES
from fer.errors import UserError
from tests.conftest import write_csv, write_image


def read(root, on_error="stop", image_size=48, channels=1):
    return FER2013(str(root)).read(image_size, channels, on_error)


@pytest.fixture
def rows(noise):
    return [(code, noise(code), USAGES[code % 3]) for code in range(7)]


def test_csv_gives_pixels_emotions_usage_and_line(tmp_path, rows):
    write_csv(tmp_path / "any_name.csv", rows)
    faces = read(tmp_path)
    np.testing.assert_array_equal(faces.images, np.stack([pixels for _, pixels, _ in rows]))
    assert [EMOTIONS[e] for e in faces.emotion] == list(FER2013_CODES)
    assert faces.table["usage"].tolist() == [usage for _, _, usage in rows]
    assert faces.table["file"].tolist() == [f"any_name.csv:{line}" for line in range(2, 9)]


def test_every_pixel_value_survives(tmp_path):
    face = np.resize(np.arange(256, dtype=np.uint8), (48, 48))
    write_csv(tmp_path / "f.csv", [(0, face, "Training")])
    np.testing.assert_array_equal(read(tmp_path).images[0], face)


def test_icml_csv_has_spaces_and_another_order(tmp_path, rows):
    write_csv(tmp_path / "icml_face_data.csv", [(e, u, p) for e, p, u in rows], "emotion, Usage, pixels")
    faces = read(tmp_path)
    np.testing.assert_array_equal(faces.images, np.stack([pixels for _, pixels, _ in rows]))
    assert faces.table["usage"].tolist() == [usage for _, _, usage in rows]


def test_quotes_carriage_returns_and_double_spaces(tmp_path, noise):
    face = noise(1)
    text = "emotion,pixels,Usage\r\n" + f'3,"{"  ".join(map(str, face.ravel()))}",PublicTest\r\n'
    (tmp_path / "f.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(read(tmp_path).images[0], face)


def test_train_csv_without_usage_is_training_and_unlabelled_test_csv_is_recorded(tmp_path, noise):
    write_csv(tmp_path / "train.csv", [(0, noise(1))], "emotion,pixels")
    write_csv(tmp_path / "test.csv", [(noise(2),)], "pixels")
    faces = read(tmp_path)
    assert faces.table["usage"].tolist() == ["Training"]
    assert faces.left_out[["file", "reason"]].to_numpy().tolist() == [["test.csv", "not read: its rows have no label"]]


def test_csv_with_usage_wins_over_one_without(tmp_path, rows):
    write_csv(tmp_path / "a_train.csv", [row[:2] for row in rows[:2]], "emotion,pixels")
    write_csv(tmp_path / "fer2013.csv", rows)
    faces = read(tmp_path)
    assert len(faces) == 7
    assert faces.left_out["file"].tolist() == ["a_train.csv"]


@pytest.mark.parametrize(
    ("names", "usages"),
    [
        (["train/angry/Training_1.jpg", "test/sad/PublicTest_2.jpg", "test/Happy/PrivateTest_3.PNG"], USAGES),
        (["train/anger/a.png", "validation/sad/b.png", "test/happiness/c.png"], USAGES),
        (["train/angry/a.png", "test/sad/b.png", "test/happy/c.png"], ("Training", "Test", "Test")),
    ],
)
def test_folders(tmp_path, noise, names, usages):
    for seed, name in enumerate(names):
        write_image(tmp_path / name, noise(seed))
    faces = read(tmp_path)
    got = {file: (EMOTIONS[e], usage) for file, e, usage in faces.table[["file", "emotion", "usage"]].itertuples(index=False)}
    assert got == dict(zip(names, zip(("angry", "sad", "happy"), usages, strict=True), strict=True))


def test_larger_and_colour_copies_are_fitted(tmp_path, noise):
    write_image(tmp_path / "train/sad/a.png", noise(1, 224, 224, 3))
    assert read(tmp_path).images.shape == (1, 48, 48)
    assert read(tmp_path, image_size=64, channels=3).images.shape == (1, 64, 64, 3)


BAD = [
    ((9, None, "Training"), "label is '9' where 0..6"),
    ((0, "1 2 3", "Training"), "it has 3 pixels where 48 x 48 = 2,304"),
    ((0, " ".join(["256"] * 2304), "Training"), "a pixel is '256'"),
    ((0, " ".join(["-1"] * 2304), "Training"), "a pixel is '-1'"),
    ((0, " ".join(["1.5"] * 2304), "Training"), "a pixel is '1.5'"),
    ((0, None, "Trainig"), "Usage is 'Trainig'"),
    ((0, None, "Training", "more"), "4 columns where the header has 3"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_row_stops_with_its_line_or_is_left_out(tmp_path, rows, noise, bad, message):
    bad = tuple(noise(9) if cell is None else cell for cell in bad)
    write_csv(tmp_path / "fer2013.csv", [rows[0], bad, *rows[1:]])
    with pytest.raises(UserError, match="line 3: ") as error:
        read(tmp_path)
    assert message in str(error.value)
    faces = read(tmp_path, on_error="skip")
    np.testing.assert_array_equal(faces.images, np.stack([pixels for _, pixels, _ in rows]))
    assert faces.left_out["file"].tolist() == ["fer2013.csv:3"]
    assert message in faces.left_out["reason"][0]


def test_a_pixel_missing_in_one_row_and_too_many_in_the_next_is_noticed(tmp_path, rows):
    short, long = rows[1][1].ravel()[:-1], np.append(rows[2][1], 7)
    write_csv(tmp_path / "f.csv", [rows[0], (1, short, "Training"), (2, long, "Training"), rows[3]])
    faces = read(tmp_path, on_error="skip")
    assert faces.left_out["file"].tolist() == ["f.csv:3", "f.csv:4"]
    np.testing.assert_array_equal(faces.images, np.stack([rows[0][1], rows[3][1]]))


def test_truncated_image_stops_or_is_left_out(tmp_path, noise):
    good = write_image(tmp_path / "train/sad/a.png", noise(1))
    (tmp_path / "train/sad/b.png").write_bytes(good.read_bytes()[:700])
    with pytest.raises(UserError, match=r"b\.png is damaged"):
        read(tmp_path)
    faces = read(tmp_path, on_error="skip")
    assert faces.table["file"].tolist() == ["train/sad/a.png"]
    assert faces.left_out["file"].tolist() == ["train/sad/b.png"]


def test_wrong_folders_say_what_they_hold(tmp_path, noise):
    with pytest.raises(UserError, match=r"does not exist: .*dataset\.fer2013\.root"):
        read(tmp_path / "none")
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="columns a, b, but FER2013 needs 'emotion' and 'pixels'"):
        read(tmp_path)
    (tmp_path / "x.csv").unlink()
    write_image(tmp_path / "AF01" / "AF01ANS.JPG", noise(1))
    with pytest.raises(UserError, match="seems to hold KDEF"):
        read(tmp_path)


def test_header_without_rows(tmp_path):
    write_csv(tmp_path / "fer2013.csv", [])
    with pytest.raises(UserError, match="no row that can be read"):
        read(tmp_path)
