"""What visitors may do to the page, good and bad."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.predict.conftest import ASTRONAUT
from tests.web.conftest import served

SECONDS = float(os.environ.get("FER_LOAD_SECONDS", 6))
"""How long the crowd stays; a minute was done once (README)."""

API = "gradio_api/"


async def answer(client: httpx.AsyncClient, endpoint: str, *sent: object) -> str:
    """Calls an endpoint of the page as gradio's clients do; gives the last line of its stream."""
    begun = await client.post(f"{API}call/{endpoint}", json={"data": sent})
    begun.raise_for_status()
    got = await client.get(f"{API}call/{endpoint}/{begun.json()['event_id']}")
    got.raise_for_status()
    return got.text


async def upload(client: httpx.AsyncClient, name: str, content: bytes) -> httpx.Response:
    return await client.post(f"{API}upload", files={"files": (name, content)})


def upload_of(path: str) -> dict[str, object]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def memory(process: subprocess.Popen[bytes]) -> float:
    """MiB that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


def leaks(text: str, uploads: Path) -> list[str]:
    """Words of an answer that tell how this machine looks; gradio's clients need the paths of uploads."""
    return re.findall(rf"Traceback|site-packages|{REPOSITORY}|/tmp\S*|\w+\.py\b", text.replace(str(uploads), ""))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_crowd_is_answered_and_leaves_nothing_behind(tmp_path):
    files = {"good.jpg": ASTRONAUT.read_bytes(), "cut.jpg": ASTRONAUT.read_bytes()[:20_000], "large.jpg": bytes(1_500_000)}
    counted: Counter[str] = Counter()
    bodies: set[str] = set()

    async def visitor(address: str, number: int, until: float) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120) as client:
            while True:
                name = list(files)[number % 3]
                number += 1
                sent = await upload(client, name, files[name])
                if name == "large.jpg":
                    assert sent.status_code == 413
                    text = sent.text
                else:
                    text = await answer(client, "picture", upload_of(sent.json()[0]), False)
                    assert ("1: happy" in text) if name == "good.jpg" else ("event: error" in text)
                counted[name] += 1
                bodies.add(text)
                if time.monotonic() > until:
                    break

    async def crowd(address: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(visitor(address, number, until) for number in range(100)))

    with served(tmp_path, "--limit", 1, "--keep", 1) as (address, process):
        (uploads,) = tmp_path.glob("fer-web-*/uploads")
        results = uploads.with_name("results")
        own = set(uploads.glob("*/*"))
        asyncio.run(crowd(address, 5))  # threads and caches are there from now on
        before = memory(process)
        counted.clear()
        asyncio.run(crowd(address, SECONDS))
        after = memory(process)
        assert len(list(uploads.glob("*/good.jpg"))) == 1
        for path in {*uploads.rglob("*"), *results.rglob("*")}:
            os.utime(path, (0, 0))  # as after a long time
        time.sleep(8)  # they are looked at each tenth of --keep
        assert process.poll() is None
        assert set(uploads.glob("*/*")) == own
        assert list(results.glob("*/*")) == []
        assert httpx.get(address).status_code == 200
        assert min(counted.values()) > SECONDS
        assert after < before + 100
        assert [leak for body in bodies for leak in leaks(body, uploads)] == []
        print(f"{dict(counted)} in {SECONDS:.0f} s, {before:.0f} MiB before and {after:.0f} MiB after")  # noqa: T201
    assert list(tmp_path.glob("fer-web-*")) == []  # a stopped page takes all files with it
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" not in log
    assert not re.search("public URL|Could not create share link", log)  # which gradio would open for GRADIO_SHARE=true


@pytest.fixture
def client(address):
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def call(client: httpx.Client, endpoint: str, *sent: object) -> str:
    event = client.post(f"{API}call/{endpoint}", json={"data": sent}).json()["event_id"]
    return client.get(f"{API}call/{endpoint}/{event}").text


@pytest.mark.parametrize("endpoint", ["picture", "webcam", "video"])
@pytest.mark.parametrize("marked", [True, False])
def test_files_that_were_not_uploaded_are_out_of_reach(client, tmp_path, endpoint, marked):
    Image.open(ASTRONAUT).save(tmp_path / "secret.png")
    for path in (str(tmp_path / "secret.png"), f"../../../../../..{tmp_path}/secret.png", f"file://{tmp_path}/secret.png"):
        sent = upload_of(path) if marked else {"path": path}
        text = call(client, endpoint, {"video": sent} if endpoint == "video" else sent, 0)
        assert "event: error" in text
        assert "happy" not in text
        assert str(tmp_path) not in text
        got = client.get(f"{API}file={path}")
        assert got.status_code in (403, 404)
        assert b"PNG" not in got.content


def test_an_upload_is_found_only_by_whom_it_belongs_to(client):
    sent = Path(client.post(f"{API}upload", files={"files": ("mine.jpg", ASTRONAUT.read_bytes())}).json()[0])
    assert client.get(f"{API}file={sent}").content == ASTRONAUT.read_bytes()
    assert re.fullmatch(r"[0-9a-f]{64}", sent.parent.name)  # nobody guesses that
    for place in (sent.parent, sent.parent.parent, sent.parent.parent.parent, sent.parent / "*", sent.parent.parent / "*/mine.jpg"):
        assert client.get(f"{API}file={place}").status_code == 403


def test_a_request_larger_than_uploads_may_be_is_refused(client):
    frame = {"url": "data:image/png;base64," + "A" * 3_000_000, "meta": {"_type": "gradio.FileData"}}
    assert client.post(f"{API}call/webcam", json={"data": [frame]}).status_code == 413
    assert client.post(f"{API}call/webcam", content=iter([b"A" * 3_000_000])).status_code == 411
    many = [("files", (f"{number}.jpg", bytes(900_000))) for number in range(5)]
    assert client.post(f"{API}upload", files=many).status_code == 413


def test_a_damaged_frame_is_a_message(client):
    for url in ("data:image/png;base64,AAAA", "data:image/png;base64,###", "data:,", "data:image/png;base64"):
        text = call(client, "webcam", {"url": url, "meta": {"_type": "gradio.FileData"}})
        assert re.search(r"frame-\w+ is no picture that can be read", json.loads(text.partition("data: ")[2])["error"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0 lets others reach the page: write a password into a file"),
        ("--host ::", "--host :: lets others reach the page"),
        ("--host example.org", "--host example.org lets others reach the page"),
        ("--share", "--share lets others reach the page"),
        ("--share --password-file none.txt", "--password-file none.txt cannot be read"),
        ("--host 0.0.0.0 --password-file short.txt", "short.txt holds 5 characters: use 12 or more, such as "),
    ],
)
def test_a_public_page_needs_a_password(tmp_path, monkeypatch, capsys, words, message):
    from fer.web.__main__ import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("12345\n")
    monkeypatch.setattr(sys, "argv", ["fer.web", *words.split()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_password_keeps_strangers_out(tmp_path):
    (tmp_path / "password.txt").write_text("correct horse battery\n")
    public = served(tmp_path, "--host", "0.0.0.0", "--password-file", tmp_path / "password.txt")
    with public as (address, _), httpx.Client(base_url=address, timeout=60) as client:
        file = {"files": ("a.jpg", ASTRONAUT.read_bytes())}
        tried = [
            client.post(f"{API}upload", files=file),
            client.post(f"{API}call/picture", json={"data": [None, False]}),
            client.post(f"{API}run/picture", json={"data": [None, False]}),
            client.post(f"{API}queue/join", json={"data": [None, False], "fn_index": 0, "session_hash": "a"}),
            client.get("config"),
            client.get(f"{API}info"),
            client.get(f"{API}file={ASTRONAUT}"),
        ]
        assert [got.status_code for got in tried] == [401] * len(tried)
        for user, password in (
            ("fer", "wrong"),
            ("fer", ""),
            ("", "correct horse battery"),
            ("admin", "correct horse battery"),
        ):
            assert client.post("login", data={"username": user, "password": password}).status_code in (400, 422)
        assert client.get("config").status_code == 401
        assert client.post("login", data={"username": "fer", "password": "correct horse battery"}).status_code == 200
        sent = client.post(f"{API}upload", files=file)
        assert "1: happy" in call(client, "picture", upload_of(sent.json()[0]), False)
