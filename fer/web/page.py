"""The page itself: a picture, a webcam or a video in; boxes, bars, Grad-CAM and a table out."""

from __future__ import annotations

import base64
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # a page that listens on this machine tells nobody else

import gradio as gr
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fer.data.images import read_image
from fer.emotions import EMOTIONS
from fer.errors import UserError
from fer.predict import output
from fer.predict.draw import COLOURS, annotate
from fer.predict.network import TorchNetwork
from fer.predict.predictor import Face, Predictor
from fer.predict.sources import Frame, Still, Video
from fer.predict.stream import stream

EXAMPLES = Path(__file__).parent / "examples"

_NOTE = """
**What this can and cannot say.** It says which of seven words people would most likely write under a picture of this face,
learned from pictures of the web. It does not say what a person feels: people smile when they are not happy, and feel much
that no face shows. It errs on many faces, and more often on such as were rare among those it learned from: children, old
people, dark skin, glasses, hands, turned heads, poor light. Never judge or treat anyone by it; in the EU, inferring
emotions at work and in education is prohibited (AI Act, article 5).
"""

THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # no fonts from elsewhere
"""How the page looks."""

_PROGRESS = gr.Progress()


def page(predictor: Predictor, name: str, keep: float = 3600) -> gr.Blocks:
    """Makes the page.

    Args:
        predictor: Finds and classifies; the page asks it for one thing at a time.
        name: What to call the model.
        keep: Seconds until uploads and results are deleted. All of them go with the program.

    Returns:
        The page, to be launched with `THEME`. Its API has the endpoints `/picture`, `/webcam` and `/video`.
    """
    app = _App(predictor, keep)
    alone: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
    explains = isinstance(predictor.network, TorchNetwork)
    blocks: gr.Blocks = gr.Blocks(title="Facial-expression recognition", analytics_enabled=False)
    with blocks:
        gr.Markdown(f"# Facial-expression recognition\n{_about(predictor, name)}")
        with gr.Tab("Picture"), gr.Row():
            with gr.Column():
                picture = gr.Image(label="Picture", sources=["upload", "clipboard"], type="filepath", height=360)
                _left_to_us(picture)
                explain = gr.Checkbox(label="Show what spoke for each emotion (Grad-CAM)", visible=explains)
                gr.Examples([[str(path)] for path in sorted(EXAMPLES.glob("*.jpg"))], picture)
            with gr.Column():
                outputs = [
                    gr.Image(label="Faces", height=360, format="png", buttons=["download", "fullscreen"]),
                    gr.HTML(label="Probabilities"),
                    gr.Dataframe(label="Table", headers=list(output.COLUMNS), wrap=False),
                    gr.DownloadButton("Download the table", size="sm"),
                ]
            gr.on([picture.change, explain.change], app.picture, [picture, explain], outputs, api_name="picture", **alone)
        with gr.Tab("Webcam"), gr.Row():
            camera = gr.Image(label="Webcam", sources=["webcam"], type="filepath", streaming=True)
            _left_to_us(camera)
            with gr.Column():
                live = [gr.Image(label="Faces", format="jpeg", buttons=[]), gr.HTML(label="Probabilities")]
            camera.stream(app.webcam, camera, live, stream_every=0.2, show_progress="hidden", api_name="webcam", **alone)
        with gr.Tab("Video"), gr.Row():
            with gr.Column():
                video = gr.Video(label="Video", sources=["upload"], height=360)
                smooth = gr.Slider(0, 2, 0.3, step=0.1, label="Smoothing (half-life in seconds)")
                start = gr.Button("Recognise", variant="primary")
            with gr.Column():
                shown = [
                    gr.Video(label="Faces", height=360, autoplay=True),
                    gr.HTML(label="Emotions"),
                    gr.DownloadButton("Download the table", size="sm"),
                ]
            start.click(app.video, [video, smooth], shown, api_name="video", **alone)
        gr.Markdown(_NOTE)
    app.start_sweeping()
    return blocks


class Limit:
    """Refuses requests that are larger than uploads may be; gradio minds the size of uploaded files only.

    Args:
        app: What to guard, an ASGI application.
        megabytes: Largest upload; a request may be a third and 1 MB larger, since pictures can come as text.
    """

    def __init__(self, app: ASGIApp, megabytes: int) -> None:
        self._app, self._bytes = app, megabytes * 4_000_000 // 3 + 1_000_000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with 413, or 411 where a request does not say how large it is, or lets it pass."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        size = headers.get("content-length", "0")
        if "transfer-encoding" in headers:
            await PlainTextResponse("Say how large the request is.", 411)(scope, receive, send)
        elif not size.isdecimal() or int(size) > self._bytes:
            await PlainTextResponse("The request exceeds the maximum allowed size.", 413)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _App:
    """What the page's controls call.

    Args:
        predictor: Finds and classifies.
        keep: Seconds until results are deleted.
    """

    def __init__(self, predictor: Predictor, keep: float) -> None:
        self._predictor, self._keep = predictor, keep
        self._folder = tempfile.TemporaryDirectory(prefix="fer-web-")
        self._results, self._uploads = (Path(self._folder.name).resolve() / name for name in ("results", "uploads"))
        self._results.mkdir()
        self._uploads.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(self._uploads)  # else one that all users of the machine share

    def picture(self, file: str | None, explain: bool = False) -> tuple[Any, ...]:
        """Finds the faces of a picture; gives the annotated picture, bars, table and CSV."""
        if not file:
            return None, "", None, None
        with self._upload(file) as path:
            frame = Frame(read_image(path), Still(path.name))
            faces = self._predictor.predict(frame.image)
            heat = self._predictor.explain(faces) if explain else None
        numbered = list(enumerate(faces, 1))
        csv = self._new() / "predictions.csv"
        with closing(output.Table(csv, "csv")) as table:
            table.write(frame, numbered)
        drawn = annotate(frame.image, numbered, len(faces) > 1, heat)
        return drawn, _bars(numbered, heat), pd.DataFrame(output.rows(frame, numbered)), str(csv)

    def webcam(self, file: str | None) -> tuple[Any, ...]:
        """Finds the faces of a webcam's frame; gives the annotated frame and bars."""
        if not file:
            return None, ""
        with self._upload(file) as path:
            image = read_image(path)
        (faces,) = self._predictor.classify([self._predictor.find(image, moving=True)])
        numbered = list(enumerate(faces, 1))
        return annotate(image, numbered, len(numbered) > 1), _bars(numbered)

    def video(self, file: str | None, smooth: float = 0.0, progress: gr.Progress = _PROGRESS) -> tuple[Any, ...]:
        """Finds the faces of every frame of a video; gives the annotated video, a summary and CSV."""
        if not file:
            raise gr.Error("There is no video yet: choose one first.", print_exception=False)
        folder = self._new()
        table, film = folder / "predictions.csv", folder / "faces.webm"
        seconds: dict[str, float] = dict.fromkeys(EMOTIONS, 0.0)
        with self._upload(file) as path, closing(output.Table(table, "csv")) as rows, ExitStack() as ending:
            source = Video.open(path)
            writer = None
            for frame, faces in stream(self._predictor, [source], _raise, smooth):
                progress((frame.number, source.count or None), unit="frames")
                if writer is None:
                    writer = output.video_writer(film, frame)
                    ending.callback(writer.release)
                writer.write(cv2.cvtColor(annotate(frame.image, faces, numbered=True), cv2.COLOR_RGB2BGR))
                rows.write(frame, faces)
                for _, face in faces:
                    seconds[face.emotion] += 1 / source.rate
        return str(film), _summary(seconds), str(table)

    @contextmanager
    def _upload(self, sent: str) -> Iterator[Path]:
        """Gives the file that was sent, and shows a mistake about it as a message in the page, which lives on."""
        with ExitStack() as ending:
            if sent.startswith("data:"):  # a webcam's frame
                frame = ending.enter_context(tempfile.NamedTemporaryFile(prefix="frame-", dir=self._uploads))
                with suppress(ValueError):  # then the file stays empty
                    frame.write(base64.b64decode(sent.partition(",")[2]))
                frame.flush()
            file = Path(frame.name if sent.startswith("data:") else sent)
            if self._uploads not in file.resolve().parents:  # whatever gradio makes of a request that was written by hand
                raise gr.Error(f"{file.name} was not uploaded.", print_exception=False)
            try:
                yield file
            except UserError as error:
                message = str(error).replace(str(file.parent) + os.sep, "")  # where it lies is none of the visitor's business
                raise gr.Error(message, print_exception=False) from None

    def _new(self) -> Path:
        """Makes a folder for the files of one call."""
        return Path(tempfile.mkdtemp(dir=self._results))

    def start_sweeping(self) -> None:
        """Deletes what is older than `keep` from now on, the page's own examples aside; gradio forgets broken uploads."""
        own = set(self._uploads.rglob("*"))

        def sweep() -> None:
            while True:
                time.sleep(min(self._keep / 10, 60))
                for path in sorted({*self._uploads.rglob("*"), *self._results.rglob("*")} - own, reverse=True):
                    with suppress(OSError):  # it is gone already, or a folder that is not empty
                        if time.time() - path.stat().st_mtime > self._keep:
                            path.rmdir() if path.is_dir() else path.unlink()

        threading.Thread(target=sweep, daemon=True).start()


def _left_to_us(image: gr.Image) -> None:
    """Takes what was sent as it is; else gradio opens it, and says about a damaged one what only programmers understand."""

    def sent(payload: Any) -> str | None:
        if payload and str(payload.url).startswith("data:"):
            return str(payload.url)
        return payload.path if payload else None

    image.preprocess = sent  # type: ignore[method-assign]


def _raise(error: UserError) -> None:
    raise error


def _about(predictor: Predictor, name: str) -> str:
    """Says what looks at the pictures, and how well it did on its test faces."""
    tests = predictor.network.tests
    results = [f"{result['accuracy']:.0%} of the {result['faces']:,} test faces of {test}" for test, result in tests.items()]
    lines = [f"**Model:** {name}, {'right on ' + ', '.join(results) if results else 'whose accuracy is not known'}."]
    if tests:
        recall = list(tests.values())[-1]["recall"]  # of all sets, where there are several
        lines += [
            "Of each emotion it finds "
            + ", ".join(f"{emotion} {share:.0%}" for emotion, share in zip(EMOTIONS, recall, strict=True))
            + "."
        ]
    return " ".join([*lines, f"**Faces:** {predictor.detector.name}."])


def _bars(faces: Sequence[tuple[int, Face]], heat: NDArray[np.float32] | None = None) -> str:
    """Draws each face as the network saw it beside a bar per emotion, as HTML."""
    if not faces:
        return "<p>No face was found: Haar's cascade wants upright faces seen from the front, not too small.</p>"
    return "".join(_card(number, face, None if heat is None else heat[at]) for at, (number, face) in enumerate(faces))


def _card(number: int, face: Face, heat: NDArray[np.float32] | None) -> str:
    image = face.image
    if heat is not None:
        from fer.model.explain import overlay

        image = overlay(image, heat)
    png = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    order = np.argsort(-face.probabilities)
    bars = "".join(_bar(EMOTIONS[label], float(face.probabilities[label])) for label in order)
    return (
        '<div style="display:flex;gap:14px;align-items:center;margin:10px 0">'
        f'<img src="{source}" alt="face {number}: {face.emotion}" style="width:112px;height:112px;border-radius:6px">'
        f'<div style="flex:1;min-width:0"><b>{number}: {face.emotion}</b>{bars}</div></div>'
    )


def _bar(emotion: str, share: float) -> str:
    colour = "rgb({}, {}, {})".format(*COLOURS[emotion])
    return (
        '<div style="display:flex;gap:8px;align-items:center;font-size:13px;line-height:17px">'
        f'<span style="width:62px">{emotion}</span><span style="flex:1;background:rgba(128,128,128,.18);border-radius:3px">'
        f'<span style="display:block;height:10px;width:{share:.1%};background:{colour};border-radius:3px"></span></span>'
        f'<span style="width:48px;text-align:right">{share:.1%}</span></div>'
    )


def _summary(seconds: dict[str, float]) -> str:
    """Draws for how long each emotion was the top one, over all faces, as HTML."""
    total = sum(seconds.values())
    if not total:
        return "<p>No face was found.</p>"
    bars = "".join(_bar(emotion, value / total) for emotion, value in sorted(seconds.items(), key=lambda item: -item[1]))
    return f"<b>{total:.1f} seconds of faces</b>{bars}"
