"""The page in a real browser, where there is one (Debian: apt-get install chromium)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import cv2
import pytest

from tests.predict.conftest import ASTRONAUT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture
def tab(address, tmp_path) -> Iterator:
    """The page in a tab, whose every request is recorded in `requests`, in a browser whose camera sees a face."""
    from playwright.sync_api import sync_playwright

    picture = cv2.cvtColor(cv2.resize(cv2.imread(str(ASTRONAUT)), (480, 480)), cv2.COLOR_BGR2YUV_I420)
    (tmp_path / "camera.y4m").write_bytes(b"YUV4MPEG2 W480 H480 F15:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + picture.tobytes()) * 15)
    camera = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={tmp_path / 'camera.y4m'}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *camera])
        tab = browser.new_context(viewport={"width": 1280, "height": 1000}, permissions=["camera"]).new_page()
        tab.requests = []
        tab.on("request", lambda request: tab.requests.append(request.url))
        tab.goto(address)
        tab.get_by_text("What this can and cannot say").wait_for()
        yield tab
        browser.close()


def test_an_uploaded_picture_shows_box_bars_and_gradcam(tab):
    tab.set_input_files("input[type=file] >> nth=0", ASTRONAUT)
    tab.get_by_text("1: happy").wait_for(timeout=60_000)
    assert tab.get_by_role("img", name="face 1: happy").count() == 1
    first = tab.get_by_role("img", name="face 1: happy").get_attribute("src")
    tab.get_by_label("Show what spoke for each emotion").check()
    tab.wait_for_function("first => document.querySelector('img[alt=\"face 1: happy\"]')?.src !== first", arg=first, timeout=60_000)
    assert tab.get_by_role("button", name="Download the table").is_enabled()
    assert [url for url in tab.requests if "127.0.0.1" not in url and not url.startswith(("data:", "blob:"))] == []


def test_a_damaged_file_shows_a_message_and_an_example_still_works(tab, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(ASTRONAUT.read_bytes()[:20_000])
    tab.set_input_files("input[type=file] >> nth=0", tmp_path / "cut.jpg")
    tab.get_by_text("cut.jpg is damaged (image file is truncated").first.wait_for(timeout=60_000)
    tab.get_by_role("img", name="astronaut.jpg").or_(tab.locator(".gallery-item")).first.click()
    tab.get_by_text("1: happy").wait_for(timeout=60_000)


def test_a_webcam_is_followed(tab):
    tab.get_by_role("tab", name="Webcam").click()
    tab.get_by_text("Click to Access Webcam").click()
    tab.locator("button:visible", has_text="Record").click()
    tab.get_by_text("1: happy").wait_for(timeout=60_000)
