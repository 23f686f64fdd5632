"""Predicts on everything that is named, in batches over pictures and frames, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from fer.data.images import cores
from fer.errors import UserError
from fer.predict.predictor import Face, Predictor
from fer.predict.sources import Camera, Frame, Source
from fer.predict.tracking import Tracker

T = TypeVar("T")

_FRAMES = 32
_BYTES = 64 * 2**20


class Result(NamedTuple):
    """A frame and its faces, each with its number: 1, 2, ... in a picture, one throughout in a video."""

    frame: Frame
    faces: list[tuple[int, Face]]


def stream(
    predictor: Predictor, sources: Iterable[Source], fail: Callable[[UserError], None], smooth: float = 0.0
) -> Iterator[Result]:
    """Yields every frame of every source with its faces.

    At most two chunks of frames are in memory at once, the one at work and the next, each of 32 frames or 64 MiB.

    Args:
        predictor: Finds and classifies.
        sources: What to predict on.
        fail: Told of each source that is damaged; the others go on.
        smooth: Half-life, in seconds, of the smoothing over a video's frames; 0 does not smooth.

    Raises:
        UserError: `smooth` is negative.
    """

    def find(frame: Frame) -> list[Face]:
        return predictor.find(frame.image, moving=frame.source.rate > 0)

    tracker, source = Tracker(smooth), None
    with ThreadPoolExecutor(cores()) as pool:
        for chunk in _ahead(_chunks(_frames(sources, fail))):
            for frame, faces in zip(chunk, predictor.classify(list(pool.map(find, chunk))), strict=True):
                if frame.source is not source:
                    tracker, source = Tracker(smooth), frame.source
                yield Result(frame, tracker.update(faces, frame.time) if source.rate else list(enumerate(faces, 1)))


def _frames(sources: Iterable[Source], fail: Callable[[UserError], None]) -> Iterator[Frame]:
    for source in sources:
        try:
            yield from source.frames()
        except UserError as error:
            fail(error)


def _chunks(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    chunk, size = list[Frame](), 0
    for frame in frames:
        chunk.append(frame)
        size += frame.image.nbytes
        if len(chunk) == _FRAMES or size >= _BYTES or isinstance(frame.source, Camera):  # a camera is shown at once
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields the items, each of which a thread makes while the one before is at work."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
