"""Whatever lies in a folder, readers give sound faces or one sentence, and account for every file and row."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer.data.ckplus import CKPlus
from fer.data.faces import Faces
from fer.data.fer2013 import FER2013
from fer.data.images import find_images, read_image
from fer.data.kdef import KDEF
from fer.errors import UserError

ROW = ",".join(["3", " ".join(["7"] * 2304), "Training"]).encode()
EXAMPLES = Path(__file__).parents[2] / "fer/web/examples"
PICTURE = (EXAMPLES / "drawn.jpg").read_bytes()

some_bytes = st.binary(max_size=300)
cells = st.one_of(
    st.binary(max_size=40),
    st.integers(-10, 10**30).map(lambda number: str(number).encode()),
    st.sampled_from([b"0", b"6", b"7", b"Training", b"PublicTest", ROW.split(b",")[1], b'"1 2"', b"", b"\xff", b"1" * 5000]),
)
lines = st.one_of(st.just(ROW), st.lists(cells, max_size=4).map(b",".join), some_bytes.map(lambda text: text.replace(b"\n", b"")))
names = st.one_of(
    st.sampled_from(
        ["S010_004_00000017.png", "AF01ANS.JPG", "A.jpg", "Training_1.jpg", "S010_004_00000017_emotion.txt", "AM31H.JPG"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
)
folders = st.one_of(st.sampled_from(["train", "angry", "Surprise", "Emotion", "S010", "3", "contempt", "validation"]), names)


def sound(faces: Faces) -> None:
    assert faces.images.shape == (len(faces.table), 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.table["emotion"].between(0, 6).all()
    assert faces.table["digest"].map(len).eq(32).all()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(lines, max_size=5),
    st.sampled_from([b"emotion,pixels,Usage", b"emotion, Usage, pixels"]),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_every_row_of_a_csv_is_a_face_or_is_told(rows, header, end):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fer2013.csv")
        path.write_bytes(header + end + end.join(rows) + end)
        try:
            faces = FER2013(folder).read(48, 1, "skip")
        except UserError as error:
            assert str(path) in str(error)
            return
        sound(faces)
        filled = [row for row in b"\n".join(rows).split(b"\n") if row.strip(b' "\r\n')]
        assert len(faces) + len(faces.left_out) == len(filled)
        for on_error in ("stop", "skip"):
            try:
                assert len(FER2013(folder).read(48, 1, on_error)) == len(faces)
                assert on_error == "skip" or faces.left_out.empty
            except UserError as error:
                assert on_error == "stop"
                assert not faces.left_out.empty
                assert f"{path}, line " in str(error)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([FER2013, CKPlus, KDEF]),
    st.lists(st.tuples(st.lists(folders, max_size=2), names, st.one_of(st.just(PICTURE), some_bytes)), min_size=1, max_size=4),
)
def test_any_tree_of_names_gives_faces_or_a_sentence(kind, files):
    with tempfile.TemporaryDirectory() as root:
        for parts, name, content in files:
            path = Path(root, *parts, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except (OSError, ValueError):  # a name that this system has not, or that of a folder
                continue
        try:
            faces = kind(root).read(48, 1, "skip")
        except UserError as error:
            assert str(error)
            return
        sound(faces)
        taken = set(faces.table["file"])
        assert len(taken) == len(faces)
        for path in find_images(Path(root)):
            name = path.relative_to(root).as_posix()
            if name in taken:
                assert read_image(path).dtype == np.uint8


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["drawn.jpg", "astronaut.jpg"]),
    st.integers(0, 40_000),
    some_bytes,
    st.sampled_from(["jpg", "png", "tiff", "webp"]),
)
def test_a_damaged_picture_is_read_or_told(name, at, some, suffix):
    whole = (EXAMPLES / name).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{suffix}")
        path.write_bytes(whole[:at] + some + whole[at + len(some) :])
        try:
            image = read_image(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert image.dtype == np.uint8
            assert image.ndim in (2, 3)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a" + b"\xff" * 40, b"BM" + b"\xff" * 60, b"II*\0" + b"\xff" * 40]
)
def test_a_header_alone_is_no_picture(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png (is no picture|is damaged|is too large)"):
        read_image(tmp_path / "a.png")
