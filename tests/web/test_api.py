"""The page's API, through gradio_client."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import fer
from tests.predict.conftest import ASTRONAUT, write_video


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


def test_a_picture_gives_boxes_bars_and_a_table(client):
    drawn, bars, table, file = client.predict(handle_file(ASTRONAUT), False, api_name="/picture")
    (face,) = fer.load(device="cpu").predict(ASTRONAUT)
    with Image.open(drawn) as picture:
        assert picture.size == (512, 512)
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - np.asarray(Image.open(ASTRONAUT))).max() > 100
    assert "1: happy" in bars
    assert all(emotion in bars for emotion in fer.EMOTIONS)
    rows = pd.read_csv(file)
    assert rows.loc[0, ["file", "emotion"]].tolist() == ["astronaut.jpg", "happy"]
    assert tuple(rows.loc[0, ["left", "top", "width", "height"]]) == face.box
    np.testing.assert_allclose(rows.loc[0, list(fer.EMOTIONS)].astype(float), face.probabilities, atol=1e-5)
    assert table["headers"] == list(rows.columns)
    assert len(table["data"]) == 1


def test_gradcam_colours_the_face(client):
    plain, explained = (client.predict(handle_file(ASTRONAUT), explain, api_name="/picture")[0] for explain in (False, True))
    change = np.abs(np.asarray(Image.open(plain).convert("RGB")).astype(int) - np.asarray(Image.open(explained).convert("RGB")))
    down, across = np.nonzero(change.max(2) > 30)
    left, top, width, height = fer.load(device="cpu").predict(ASTRONAUT)[0].box
    assert len(down) > 1000
    assert (left - 2 <= across.min(), across.max() <= left + width + 2) == (True, True)
    assert (top - 2 <= down.min(), down.max() <= top + height + 2) == (True, True)


def test_a_picture_without_a_face_says_so(client, tmp_path):
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    _, bars, _, file = client.predict(handle_file(tmp_path / "grey.png"), True, api_name="/picture")
    assert "No face was found" in bars
    assert pd.read_csv(file)["emotion"].isna().tolist() == [True]


def test_a_video_gives_a_video_and_a_row_a_frame(client, tmp_path):
    film, summary, file = client.predict(handle_file(write_video(tmp_path / "a.mp4", 40)), 0.2, api_name="/video")
    assert Path(film).suffix == ".webm"
    assert cv2.VideoCapture(film).get(cv2.CAP_PROP_FRAME_WIDTH) == 320
    assert "seconds of faces" in summary
    assert pd.read_csv(file)["frame"].nunique() == 40


@pytest.mark.parametrize(("name", "endpoint"), [("cut.jpg", "/picture"), ("text.png", "/picture"), ("cut.mp4", "/video")])
def test_a_damaged_file_is_a_message_and_the_page_lives_on(client, tmp_path, name, endpoint):
    content = {"cut.jpg": ASTRONAUT.read_bytes()[:20_000], "text.png": b"no picture", "cut.mp4": b"\0\0\0\x18ftypmp42" + bytes(100)}
    (tmp_path / name).write_bytes(content[name])
    given = handle_file(tmp_path / name)
    with pytest.raises(AppError, match=rf"^{name} is (damaged|no picture that can be read|neither a picture nor a video)"):
        client.predict(given, 0, api_name=endpoint)
    assert "happy" in client.predict(handle_file(ASTRONAUT), False, api_name="/picture")[1]


def test_an_upload_over_the_limit_is_refused(client, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(1_500_000))
    with pytest.raises(Exception, match=r"413|exceed"):
        client.predict(handle_file(tmp_path / "large.png"), False, api_name="/picture")
