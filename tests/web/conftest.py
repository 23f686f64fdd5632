"""The page, served on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fer


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serves the page with the model that comes along, uploads of 1 MB at most; gives its address."""
    from fer.web.page import THEME, page

    blocks = page(fer.load(device="cpu"), "the one that comes along")
    options = {"server_name": "127.0.0.1", "prevent_thread_lock": True, "quiet": True, "ssr_mode": False}
    _, url, _ = blocks.launch(max_file_size="1mb", theme=THEME, **options)
    yield url
    blocks.close()
