"""Finds faces in pictures, folders, videos and cameras and says what they show.

Writes predictions.csv (or .jsonl) with a row per face and frame, and pictures and videos with boxes into annotated/.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from fer.data.images import progress
from fer.errors import UserError, friendly
from fer.predict import options, output, sources
from fer.predict.draw import annotate
from fer.predict.predictor import Predictor
from fer.predict.stream import Result, stream


@dataclass
class _Tally:
    """What was seen so far."""

    frames: int = 0
    faceless: int = 0
    emotions: Counter[str] = field(default_factory=Counter)


@friendly
def main() -> None:
    """Predicts on what is named; ends with 1 where something named could not be read."""
    arguments = _parser().parse_args()
    predictor = options.predictor(arguments)
    if arguments.explain:
        predictor.explain([])  # an ONNX file cannot, which is better known now than after an hour
    found, tally, interrupted = sources.find(arguments.inputs), _Tally(), False
    if found.sources:
        folder, table, pictures = _places(arguments)
        results = stream(predictor, found.sources, lambda error: found.problems.append(str(error)), arguments.smooth)
        known = all(source.count for source in found.sources)
        total = sum(source.count for source in found.sources) if known else None
        try:
            with (
                closing(output.Table(table, arguments.format)) as rows,
                closing(output.Gallery(pictures, found.sources)) as gallery,
            ):
                for result in progress(results, "Predicting", total):
                    _count(result, tally)
                    rows.write(*result)
                    if not arguments.table_only:
                        gallery.write(result.frame, _annotated(result, predictor, arguments.explain))
        except KeyboardInterrupt:
            interrupted = not any(isinstance(source, sources.Camera) for source in found.sources)  # whose only end it is
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    if found.sources:
        _summary(Console(highlight=False), folder, tally, found)
    if interrupted:
        raise KeyboardInterrupt
    if found.problems:
        raise SystemExit(1)


def _places(arguments: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Makes the folder to write into; gives it, the table's file and the folder of the pictures, which are yet to be."""
    folder = arguments.out or Path(f"runs/predict_{datetime.now():%Y-%m-%d_%H-%M-%S}")
    table, pictures = folder / f"predictions.{arguments.format}", folder / "annotated"
    for taken in (table, pictures):
        if taken.exists():
            raise UserError(f"--out {folder}: there is a {taken.name} already; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: no folder can be made there ({error.strerror}); name another") from None
    return folder, table, pictures


def _count(result: Result, tally: _Tally) -> None:
    tally.frames += 1
    tally.faceless += not result.faces
    tally.emotions.update(face.emotion for _, face in result.faces)


def _annotated(result: Result, predictor: Predictor, explain: bool) -> NDArray[np.uint8]:
    frame, faces = result
    heat = predictor.explain([face for _, face in faces]) if explain else None
    return annotate(frame.image, faces, numbered=len(faces) > 1 or frame.source.rate > 0, heat=heat)


def _summary(console: Console, folder: Path, tally: _Tally, found: sources.Found) -> None:
    listed = ", ".join(f"{count:,} {emotion}" for emotion, count in tally.emotions.most_common())
    faces, frames = tally.emotions.total(), tally.frames
    seen = f"{faces:,} face{'s' * (faces != 1)} in {frames:,} picture{'s' * (frames != 1)} or frames"
    console.print(f"{seen}: {listed}" if listed else seen)
    if tally.faceless:
        console.print(
            f"No face was found in {tally.faceless:,} of them: if these are crops of faces already, use --faces whole; small "
            "faces are found with a lower --min-face, turned ones with YuNet",
            soft_wrap=True,
        )
    if found.others:
        console.print(f"{found.others:,} files in the folders are neither pictures nor videos and were left aside")
    if found.problems:
        console.print(f"{len(found.problems):,} could not be read, see above")
    console.print(f"Everything is in {folder}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fer.predict", description=__doc__)
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help='picture, video, folder, pattern such as "photos/*.jpg", or number of a camera'
    )
    options.add(parser)
    parser.add_argument("--out", type=Path, help="where to write; else runs/predict_<time>")
    parser.add_argument(
        "--smooth", type=float, default=0.0, help="half-life in seconds of the smoothing over a video's frames (default 0, none)"
    )
    parser.add_argument("--explain", action="store_true", help="lay Grad-CAM over the faces: what spoke for the emotion")
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="of the table (default csv)")
    parser.add_argument("--table-only", action="store_true", help="write no pictures and videos")
    return parser


if __name__ == "__main__":
    sys.exit(main())
