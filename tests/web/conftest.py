"""The page, served on this machine by a process of its own, as users do."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import environment


@contextmanager
def served(folder: Path, *words: object) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serves the page with the model that comes along; gives its address and its process, whose temporary files lie in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fer.web", "--device", "cpu", "--port", str(port), *map(str, words)]
    with (
        open(folder / "log.txt", "wb") as log,
        subprocess.Popen(
            command, env=environment() | {"TMPDIR": str(folder), "GRADIO_SHARE": "true"}, stdout=log, stderr=log
        ) as process,
    ):
        address = f"http://127.0.0.1:{port}/"
        for _ in range(600):
            try:
                urllib.request.urlopen(address).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.1)
        try:
            yield address, process
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def address(tmp_path_factory) -> Iterator[str]:
    """The address of a page that takes uploads of 1 MB at most."""
    with served(tmp_path_factory.mktemp("web"), "--limit", 1) as (address, _):
        yield address
