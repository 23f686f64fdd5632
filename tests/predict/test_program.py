"""`python -m fer.predict`, called as a user would."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer.emotions import EMOTIONS
from tests.conftest import environment, run_here
from tests.predict.conftest import ASTRONAUT, write_video

MODULE = ("-m", "fer.predict")


def predict(cwd: Path, *words: object, code: int = 0) -> tuple[str, str]:
    result = run_here(*MODULE, *words, cwd=cwd)
    assert result.returncode == code, result.stderr
    return " ".join(result.stdout.split()), result.stderr


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with a face in several formats, a picture without one, and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    shutil.copy(ASTRONAUT, folder / "more/face.jpg")
    with Image.open(ASTRONAUT) as picture:
        exif = picture.getexif()
        exif[0x0112] = 8
        picture.rotate(-90, expand=True).save(folder / "turned.jpg", exif=exif, quality=95)
        picture.convert("L").save(folder / "grey.png")
        alpha = picture.convert("RGBA")
        alpha.putalpha(Image.fromarray(np.where(np.arange(512)[:, None] < 480, 255, 0).astype(np.uint8).repeat(512, 1)))
        alpha.save(folder / "alpha.png")
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(np.full((90, 120, 3), 200, np.uint8)).save(folder / "nobody.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_gives_a_table_and_annotated_pictures(pictures, tmp_path):
    said, _ = predict(tmp_path, "pictures", "--out", "out")
    assert "5 faces in 6 pictures or frames: 5 happy" in said
    assert "No face was found in 1 of them" in said
    assert "1 files in the folders are neither pictures nor videos" in said
    table = pd.read_csv(tmp_path / "out/predictions.csv").set_index("file")
    assert list(table.columns[-7:]) == list(EMOTIONS)
    nobody = table.loc["pictures/nobody.png"]
    assert nobody[["frame", "time"]].tolist() == [0, 0]
    assert nobody[["face", "left", "emotion", *EMOTIONS]].isna().all()
    found = table.drop("pictures/nobody.png")
    assert set(found["emotion"]) == {"happy"}
    np.testing.assert_allclose(found[list(EMOTIONS)].sum(axis=1), 1, atol=1e-4)
    for column in ("left", "top", "width"):  # upright, whatever the format
        assert found[column].max() - found[column].min() <= 12
    for name in ("more/face.jpg", "turned.jpg", "grey.png", "alpha.png", "deep.png", "nobody.png"):
        with Image.open(tmp_path / "out/annotated" / name) as annotated:
            assert annotated.size == ((120, 90) if name == "nobody.png" else (512, 512))
            assert annotated.mode == "RGB"
    drawn = np.asarray(Image.open(tmp_path / "out/annotated/grey.png")).astype(int)
    assert (np.ptp(drawn, axis=2) > 60).sum() > 300  # a coloured frame on a grey picture


def test_patterns_several_folders_and_json_lines(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "other")
    said, _ = predict(tmp_path, "pictures/*.png", "other/grey.png", "--out", "out", "--format", "jsonl", "--explain")
    assert "4 faces in 5 pictures" in said
    rows = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows][-1] == "other/grey.png"
    assert rows[-1]["happy"] > 0.5
    assert [row["emotion"] for row in rows if row["file"] == "pictures/nobody.png"] == [None]
    assert (tmp_path / "out/annotated/pictures/grey.png").exists()
    assert (tmp_path / "out/annotated/other/grey.png").exists()


def test_a_video_gives_a_row_a_frame_and_a_video(tmp_path):
    write_video(tmp_path / "walk.mp4", 70)
    said, _ = predict(tmp_path, "walk.mp4", "--out", "out", "--smooth", "0.3", "--min-face", "0.15")
    assert "70 faces in 70 pictures or frames" in said
    table = pd.read_csv(tmp_path / "out/predictions.csv")
    assert table["frame"].tolist() == list(range(70))
    np.testing.assert_allclose(table["time"], np.arange(70) / 25, atol=1e-3)
    assert set(table["face"]) == {1}
    assert table["left"].iloc[38] - table["left"].iloc[0] == pytest.approx(76, abs=8)
    capture = cv2.VideoCapture(str(tmp_path / "out/annotated/walk.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 70
    assert capture.get(cv2.CAP_PROP_FPS) == 25
    predict(tmp_path, "walk.mp4", "--out", "raw", "--table-only", "--min-face", "0.15")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["predictions.csv"]
    happy = [pd.read_csv(tmp_path / f"{name}/predictions.csv")["happy"] for name in ("out", "raw")]
    assert happy[0].diff().abs().sum() < happy[1].diff().abs().sum()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(path: Path, width: int, height: int, extra: bytes = b"") -> None:
    """Writes a black PNG row by row, however large."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + extra + _chunk(b"IDAT", packed) + _chunk(b"IEND", b""))


def test_what_cannot_be_read_is_told_and_the_rest_is_done(tmp_path):
    shutil.copy(ASTRONAUT, tmp_path / "good.jpg")
    (tmp_path / "cut.jpg").write_bytes(ASTRONAUT.read_bytes()[:20_000])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "unknown.dat").write_text("nothing")
    (tmp_path / "empty").mkdir()
    _png(tmp_path / "huge.png", 40_000, 40_000)
    text = b"a\0\0" + zlib.compress(bytes(100_000_000))
    _png(
        tmp_path / "bomb.png", 48, 48, struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    )
    Image.fromarray(np.zeros((48, 48), np.float32)).save(tmp_path / "float.tif")
    write_video(tmp_path / "no_frames.mp4", 0)
    write_video(tmp_path / "half.avi", 60)
    half = (tmp_path / "half.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(half[: len(half) // 2])
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    names = "cut.jpg text.png unknown.dat empty huge.png bomb.png float.tif no_frames.mp4 half.avi cut.mp4 nix.jpg 77 good.jpg"
    said, told = predict(tmp_path, *names.split(), "--out", "out", code=1)
    lines = told.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines), told
    expected = {
        "cut.jpg is damaged": 1,
        "text.png is no picture that can be read": 1,
        "unknown.dat is neither a picture nor a video": 1,
        "the folder empty has no picture and no video: it is empty": 1,
        "huge.png is too large: up to 120,000,000 pixels are read": 1,
        "bomb.png is damaged": 1,
        "float.tif: the picture holds floating-point numbers": 1,
        "no_frames.mp4 is": 1,
        "half.avi is damaged: it ends after": 1,
        "cut.mp4 is neither a picture nor a video": 1,
        "there is no file, folder or camera nix.jpg": 1,
        "there is no camera 77": 1,
    }
    assert {part: sum(part in line for line in lines) for part in expected} == expected, told
    assert len(lines) == len(expected)
    assert "12 could not be read" in said
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["emotion"] for row in rows if row["file"] == "good.jpg"] == ["happy"]
    assert 5 < sum(row["file"] == "half.avi" for row in rows) < 60


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model", "nix"],
            "there is no model nix: name a run folder, a checkpoint (.ckpt, .safetensors) or an ONNX file (.onnx)",
        ),
        (["--faces", "nix"], "there is no face detector nix: expected haar, whole, or the file of a YuNet model"),
        (["--min-face", "0"], "a smallest face of 0.0: expected a share of the shorter side, above 0 and up to 1"),
        (["--smooth", "-1"], "a smoothing of -1.0 seconds: expected 0 (none) or more"),
        (["--device", "abacus"], "--device abacus"),
        (["--out", f"{ASTRONAUT}/out"], "no folder can be made there (Not a directory); name another"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, message):
    _, told = predict(tmp_path, ASTRONAUT, "--out", "out", *words, code=2)
    assert told.count("\n") == 1, told
    assert message in told


def test_ctrl_c_keeps_what_is_done(tmp_path):
    write_video(tmp_path / "long.mp4", 1500)
    command = [sys.executable, *MODULE, "long.mp4", "--out", "out"]
    # where the tests run in the background, shells have them and their children ignore Ctrl-C
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, **ignoring)
    until = time.monotonic() + 120
    while not (tmp_path / "out/annotated/long.mp4").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].strip() == "Interrupted."
    assert process.returncode == 130
    frames = pd.read_csv(tmp_path / "out/predictions.csv")["frame"].nunique()
    assert 0 < frames < 1500
    assert cv2.VideoCapture(str(tmp_path / "out/annotated/long.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) in (frames, frames - 1)


def test_where_nothing_can_be_read_nothing_is_written(tmp_path):
    said, told = predict(tmp_path, "nix.jpg", code=1)
    assert (said, told) == ("", "error: there is no file, folder or camera nix.jpg\n")
    assert not list(tmp_path.iterdir())


def test_results_are_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.csv").write_text("precious")
    _, told = predict(tmp_path, ASTRONAUT, "--out", "out", code=2)
    assert told == "error: --out out: there is a predictions.csv already; name another folder\n"
    assert (tmp_path / "out/predictions.csv").read_text() == "precious"


def test_originals_are_not_written_over(pictures, tmp_path):
    before = {path: path.read_bytes() for path in pictures.rglob("*.*")}
    predict(tmp_path, "pictures", "--out", "pictures")
    assert {path: path.read_bytes() for path in before} == before
    assert (pictures / "annotated/grey.png").exists()


def test_an_onnx_model_cannot_be_explained(tmp_path, onnx_file):
    _, told = predict(tmp_path, ASTRONAUT, "--model", onnx_file, "--explain", code=2)
    assert told == "error: Grad-CAM needs gradients, which an ONNX file has not: load the run folder or the checkpoint\n"
