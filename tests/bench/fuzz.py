"""Hands readers and loaders what a coverage-guided fuzzer makes up: uv run --with atheris python tests/bench/fuzz.py 600

Whatever comes, each must give something sound or one `UserError`. A finding is printed as bytes; it becomes a case of
tests/test_bad_input.py or tests/data/test_fuzz.py. Ten minutes (202,364 executions, 2026-11-25) found nothing; what is known
from elsewhere are a pixel of 5,000 digits in a CSV and a data set of which no picture can be read, both cases there now.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fer", "PIL", "zipfile"]):
    from fer.config import recorded
    from fer.data.ckplus import CKPlus
    from fer.data.faces import Faces
    from fer.data.fer2013 import FER2013
    from fer.data.images import read_image
    from fer.data.kdef import KDEF
    from fer.errors import UserError
    from fer.model import checkpoint
    from fer.predict.network import SHIPPED
    from fer.recipe import checked

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 600
PICTURE = (Path(__file__).parent.parent.parent / "fer/web/examples/drawn.jpg").read_bytes()
WEIGHTS = {".safetensors": SHIPPED.read_bytes()}
ROW = f"0,{' '.join(['1'] * 2304)},Training\n".encode()

folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
count: Counter[str] = Counter()
checkpoint.write(folder / "a.ckpt", *checkpoint.load(SHIPPED))
WEIGHTS[".ckpt"] = (folder / "a.ckpt").read_bytes()


def write(name: str, content: bytes) -> Path | None:
    """Writes a file that the fuzzer names; None where the system has no such name."""
    path = folder / name
    try:
        if folder not in path.resolve().parents:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except (OSError, ValueError):
        return None
    return path


def sound(faces: Faces) -> None:
    assert len(faces) == len(faces.table) == len(faces.images)
    assert faces.table["emotion"].between(0, 6).all()
    assert faces.images.shape[1:] == (48, 48)


def csv(data: atheris.FuzzedDataProvider) -> None:
    header = data.PickValueInList([b"emotion,pixels,Usage\n", b"emotion, Usage, pixels\r\n", b"pixels,emotion\n", b""])
    rows = ROW * data.ConsumeIntInRange(0, 2)
    cut = data.ConsumeIntInRange(0, len(rows))
    write("fer2013.csv", header + rows[:cut] + data.ConsumeBytes(400) + rows[cut:])
    sound(FER2013(str(folder)).read(48, 1, data.PickValueInList(["stop", "skip"])))


def picture(data: atheris.FuzzedDataProvider) -> None:
    at, name = data.ConsumeIntInRange(0, len(PICTURE)), data.PickValueInList(["a.jpg", "a.png", "a.tiff", "a.webp", "a.bmp"])
    some = data.ConsumeBytes(200)
    path = write(name, some if data.ConsumeBool() else PICTURE[:at] + some + PICTURE[at + len(some) :])
    assert path is not None
    image = read_image(path)
    assert image.dtype == "uint8"
    assert image.ndim in (2, 3)


def names(data: atheris.FuzzedDataProvider) -> None:
    for _ in range(data.ConsumeIntInRange(1, 3)):
        parts = [data.PickValueInList(["train", "test", "angry", "Emotion", "S010", "x"]), data.ConsumeUnicodeNoSurrogates(12)]
        last = data.PickValueInList(["S010_004_00000017.png", "AF01ANS.JPG", "S010_004_00000017_emotion.txt", "Training_1.jpg", ""])
        write("/".join([*parts, last or data.ConsumeUnicodeNoSurrogates(20)]), PICTURE if last else data.ConsumeBytes(20))
    kind = data.PickValueInList([FER2013, CKPlus, KDEF])
    sound(kind(str(folder)).read(48, 1, data.PickValueInList(["stop", "skip"])))


def model(data: atheris.FuzzedDataProvider) -> None:
    suffix = data.PickValueInList(sorted(WEIGHTS))
    whole, some = WEIGHTS[suffix], data.ConsumeBytes(300)
    at = data.ConsumeIntInRange(0, min(len(whole), 20_000 if data.ConsumeBool() else len(whole)))  # or its header alone
    path = write(f"a{suffix}", some if data.ConsumeBool() else whole[:at] + some + whole[at + len(some) :])
    assert path is not None
    checkpoint.load(path)


def record(data: atheris.FuzzedDataProvider) -> None:
    write("config.yaml", data.ConsumeBytes(300))
    recorded(str(folder), "run")


def recipe(data: atheris.FuzzedDataProvider) -> None:
    value = data.PickValueInList([None, 0, -1, 1 << 70, float("nan"), "x", [], {}, [[]], {"size": 1}, True])
    key = data.PickValueInList(["format", "network", "emotions", "image", "config", "data", "metrics", "tests"])
    whole = checkpoint.recipe({"_target_": "fer.model.networks.ThesisCNN"}, 48, 1, {})
    checked({**whole, key: value}, folder, data.PickValueInList([None, {}, {"a": value}]))


def one(content: bytes) -> None:
    """Tries one of them."""
    data = atheris.FuzzedDataProvider(content)
    target = data.PickValueInList([csv, picture, names, model, record, recipe])
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    count[target.__name__] += 1
    if sum(count.values()) % 10_000 == 0:
        print(dict(count), flush=True)
    try:
        target(data)
        count["sound"] += 1
    except UserError as error:
        assert str(error)


if __name__ == "__main__":
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={SECONDS}", "-len_control=0", "-max_len=2000", "-rss_limit_mb=8000", *sys.argv[2:]], one
    )
    atheris.Fuzz()
