from __future__ import annotations

import pytest

from fer.data.balance import peak_frames
from fer.data.ckplus import CKPlus
from fer.emotions import EMOTIONS
from fer.errors import UserError
from tests.conftest import write_image


def named(faces):
    return {row.file: EMOTIONS[row.emotion] for row in faces.table.itertuples()}


@pytest.fixture
def ck48(tmp_path, noise):
    for seed, (folder, subject) in enumerate([("anger", "S010"), ("contempt", "S011"), ("sadness", "S012")]):
        for frame in (15, 16, 17):
            write_image(tmp_path / "CK+48" / folder / f"{subject}_004_{frame:08d}.png", noise(seed * 10 + frame))
    return tmp_path


@pytest.fixture
def original(tmp_path, noise):
    for subject, frames in (("S005", 11), ("S006", 4), ("S007", 6)):
        for frame in range(1, frames + 1):
            place = tmp_path / "cohn-kanade-images" / subject / "001" / f"{subject}_001_{frame:08d}.png"
            write_image(place, noise(frame, 49, 64, 3) if subject == "S006" else noise(frame, 49, 64))
    for subject, frame, label in (("S005", 11, "   3.0000000e+00\n"), ("S006", 4, "2")):
        file = tmp_path / "Emotion" / subject / "001" / f"{subject}_001_{frame:08d}_emotion.txt"
        file.parent.mkdir(parents=True)
        file.write_text(label)
    return tmp_path


def test_ck48_contempt_as_neutral(ck48):
    faces = CKPlus(str(ck48), contempt="as_neutral").read(48, 1, "stop")
    assert faces.counts().loc["ckplus", ["neutral", "angry", "sad"]].tolist() == [3, 3, 3]
    assert set(faces.table["subject"]) == {"S010", "S011", "S012"}
    assert set(faces.table["sequence"]) == {"S010_004", "S011_004", "S012_004"}


def test_ck48_contempt_dropped_is_recorded(ck48):
    faces = CKPlus(str(ck48), contempt="drop").read(48, 1, "stop")
    assert len(faces) == 6
    assert len(faces.left_out) == 3
    assert faces.left_out["reason"].eq("contempt (contempt=drop)").all()


def test_peak_is_the_last_frame(ck48):
    faces = CKPlus(str(ck48)).read(48, 1, "stop")
    assert [name[-6:-4] for name in faces.table["file"].iloc[peak_frames(faces)]] == ["17", "17"]


def test_number_folders_are_in_the_thesis_order(tmp_path, noise):
    write_image(tmp_path / "4" / "S010_004_00000017.png", noise(1))
    assert list(named(CKPlus(str(tmp_path)).read(48, 1, "stop")).values()) == ["happy"]


def test_original_release_gives_the_last_three_frames_of_labelled_sequences(original):
    faces = CKPlus(str(original), contempt="as_neutral").read(48, 1, "stop")
    frames = {name.rsplit("/", 1)[1]: emotion for name, emotion in named(faces).items()}
    assert frames == {f"S005_001_{n:08d}.png": "disgust" for n in (9, 10, 11)} | {
        f"S006_001_{n:08d}.png": "neutral" for n in (2, 3, 4)
    }
    assert faces.left_out["reason"].tolist() == ["the sequence has no emotion label"]


def test_original_release_gives_neutral_frames_if_asked(original):
    faces = CKPlus(str(original), neutral_frames=True).read(48, 1, "stop")
    assert [row.file[-12:] for row in faces.table.itertuples() if row.emotion == 0] == ["00000001.png"] * 2
    assert faces.images.shape == (5, 48, 48)


def test_ck48_has_no_neutral_frames_to_ask_for(ck48):
    with pytest.raises(UserError, match="has no neutral frames"):
        CKPlus(str(ck48), neutral_frames=True).read(48, 1, "stop")


def test_bad_label_file_stops_or_is_left_out(original):
    label = next(original.rglob("S005*_emotion.txt"))
    label.write_text("9.0")
    with pytest.raises(UserError, match=r"S005.*holds '9\.0' where one number 0\.\.7"):
        CKPlus(str(original)).read(48, 1, "stop")
    faces = CKPlus(str(original), contempt="as_neutral").read(48, 1, "skip")
    assert len(faces) == 3
    assert any("holds '9.0'" in reason for reason in faces.left_out["reason"])


def test_another_data_set_is_recognised(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(UserError, match=r"no CK\+ data .*seems to hold FER2013"):
        CKPlus(str(tmp_path)).read(48, 1, "stop")
