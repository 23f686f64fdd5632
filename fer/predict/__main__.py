"""Finds faces in pictures, folders, videos and cameras and says what they show.

Writes predictions.csv (or .jsonl) with a row per face and frame, and pictures and videos with boxes into annotated/.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import closing
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


@friendly
def main() -> None:
    """Predicts on what is named; ends with 1 where something named could not be read."""
    arguments = _parser().parse_args()
    predictor = options.predictor(arguments)
    if arguments.explain:
        predictor.explain([])  # an ONNX file cannot, which is better known now than after an hour
    found = sources.find(arguments.inputs)
    folder = arguments.out or Path(f"runs/predict_{datetime.now():%Y-%m-%d_%H-%M-%S}")
    table = folder / f"predictions.{arguments.format}"
    pictures = folder / "annotated"
    for taken in (table, pictures):
        if taken.exists():
            raise UserError(f"--out {folder}: there is a {taken.name} already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    results = stream(predictor, found.sources, lambda error: found.problems.append(str(error)), arguments.smooth)
    known = all(source.count for source in found.sources)
    total = sum(source.count for source in found.sources) if known else None
    gallery = None if arguments.table_only else output.Gallery(pictures, found.sources)
    frames, faceless, emotions, interrupted = 0, 0, Counter[str](), False
    with closing(output.Table(table, arguments.format)) as rows:
        try:
            for result in progress(results, "Predicting", total):
                frames += 1
                faceless += not result.faces
                emotions.update(face.emotion for _, face in result.faces)
                rows.write(*result)
                if gallery:
                    gallery.write(result.frame, _annotated(result, predictor, arguments.explain))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if gallery:
                gallery.close()
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    _summary(Console(highlight=False), folder, frames, faceless, emotions, found)
    if interrupted and not any(isinstance(source, sources.Camera) for source in found.sources):
        raise KeyboardInterrupt
    if found.problems:
        raise SystemExit(1)


def _annotated(result: Result, predictor: Predictor, explain: bool) -> NDArray[np.uint8]:
    frame, faces = result
    heat = predictor.explain([face for _, face in faces]) if explain else None
    return annotate(frame.image, faces, numbered=len(faces) > 1 or frame.source.rate > 0, heat=heat)


def _summary(console: Console, folder: Path, frames: int, faceless: int, emotions: Counter[str], found: sources.Found) -> None:
    listed = ", ".join(f"{count:,} {emotion}" for emotion, count in emotions.most_common())
    faces = emotions.total()
    console.print(
        f"{faces:,} face{'s' * (faces != 1)} in {frames:,} picture{'s' * (frames != 1)} or frames"
        + (f": {listed}" if listed else "")
    )
    if faceless:
        console.print(
            f"No face was found in {faceless:,} of them: if these are crops of faces already, use --faces whole; small faces are "
            "found with a lower --min-face, turned ones with YuNet",
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
