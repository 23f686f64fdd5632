from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from fer.data.kdef import KDEF
from fer.emotions import EMOTIONS, KDEF_CODES
from fer.errors import UserError
from tests.conftest import write_image


@pytest.fixture
def root(tmp_path, noise):
    for person in ("AF01", "BF01", "AM02"):
        for letters in KDEF_CODES:
            for angle in ("S", "HL", "HR"):
                write_image(tmp_path / person / f"{person}{letters}{angle}.JPG", noise(1, 76, 56, 3))
    (tmp_path / "readme.txt").write_text("beside it")
    return tmp_path


def test_thesis_takes_session_a_straight(root):
    faces = KDEF(str(root)).read(48, 1, "stop")
    assert faces.counts().loc["kdef"].tolist() == [2] * 7
    assert set(faces.table["subject"]) == {"F01", "M02"}
    letters = {row.file.rsplit("/", 1)[1][4:6]: EMOTIONS[row.emotion] for row in faces.table.itertuples()}
    assert letters == KDEF_CODES


def test_a_person_is_the_same_in_both_sessions_and_all_angles(root):
    faces = KDEF(str(root), angles=("S", "HL", "HR"), sessions=("A", "B")).read(48, 1, "stop")
    assert len(faces) == 63
    assert set(faces.table["subject"]) == {"F01", "M02"}


def test_misnamed_and_black_files(tmp_path, noise):
    for name in ("AF31V.JPG", "AM31H.JPG", "AF01SUFR.JPG", "AF01AFFR.jpg"):
        write_image(tmp_path / name, noise(1, 76, 56, 3))
    faces = KDEF(str(tmp_path), angles=("S", "HL", "HR", "FL", "FR")).read(48, 1, "stop")
    got = {row.file: (EMOTIONS[row.emotion], row.subject) for row in faces.table.itertuples()}
    assert got == {"AF31V.JPG": ("sad", "F31"), "AM31H.JPG": ("surprise", "M31"), "AF01AFFR.jpg": ("fear", "F01")}
    assert faces.left_out["file"].tolist() == ["AF01SUFR.JPG"]


def test_class_folders_without_a_person_in_the_name(tmp_path, noise):
    for seed, emotion in enumerate(["Afraid", "angry", "disgusted", "happiness", "neutral", "sad", "surprised"]):
        write_image(tmp_path / emotion / f"{seed}.png", noise(seed, 256, 256))
    faces = KDEF(str(tmp_path)).read(48, 1, "stop")
    assert faces.counts().loc["kdef"].tolist() == [1] * 7
    assert set(faces.table["subject"]) == {""}


def test_pictures_are_shrunk_whole_with_an_area_filter(tmp_path, noise):
    picture = noise(1, 762, 562, 3)
    write_image(tmp_path / "AF01ANS.png", picture)
    faces = KDEF(str(tmp_path)).read(48, 1, "stop")
    expected = cv2.resize(np.asarray(Image.fromarray(picture).convert("L")), (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(faces.images[0].astype(int) - expected).max() <= 1


def test_angles_that_are_not_there(root):
    with pytest.raises(UserError, match="no picture of angles FR"):
        KDEF(str(root), angles=("FR",)).read(48, 1, "stop")


def test_a_text_file_named_like_a_picture(root):
    (root / "AM02" / "AM02ANS.JPG").write_text("not a picture")
    with pytest.raises(UserError, match=r"AM02ANS\.JPG is no picture that can be read: .*data\.on_error=skip"):
        KDEF(str(root)).read(48, 1, "stop")
    faces = KDEF(str(root)).read(48, 1, "skip")
    assert len(faces) == 13
    assert faces.left_out["file"].tolist() == ["AM02/AM02ANS.JPG"]
