"""Finds faces in pictures, folders, videos and cameras and says what they show.

Writes predictions.csv (or .jsonl) with a row per face and frame, and annotated pictures and videos.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path

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
    problems: list[str] = []

    def fail(error: UserError | str) -> None:
        problems.append(str(error))
        Console(stderr=True, highlight=False).print(f"error: {error}", soft_wrap=True, markup=False)

    predictor = options.predictor(arguments)
    if arguments.explain:
        predictor.explain([])  # an ONNX file cannot, which is better known now than after an hour
    found = sources.find(arguments.inputs)
    for problem in found.problems:
        fail(problem)
    if not found.sources:
        raise SystemExit(1)

    folder = arguments.out or Path(f"runs/predict_{datetime.now():%Y-%m-%d_%H-%M-%S}")
    table = folder / f"predictions.{arguments.format}"
    if table.exists():
        raise UserError(f"--out {folder}: there is a {table.name} already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    results = stream(predictor, found.sources, fail, arguments.smooth)
    known = all(source.count for source in found.sources)
    total = sum(source.count for source in found.sources) if known else None
    gallery = None if arguments.table_only else output.Gallery(folder, found.sources)
    frames, faceless, emotions, interrupted = 0, 0, Counter[str](), False
    with closing(output.Table(table, arguments.format)) as rows:
        try:
            for result in progress(results, "Predicting", total):
                frames += 1
                faceless += not result.faces
                emotions.update(face.emotion for _, face in result.faces)
                _write(result, rows, gallery, predictor, arguments.explain)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if gallery:
                gallery.close()
    _summary(Console(highlight=False), folder, frames, faceless, emotions, found.others, len(problems))
    if interrupted and not any(isinstance(source, sources.Camera) for source in found.sources):
        raise KeyboardInterrupt
    if problems:
        raise SystemExit(1)


def _write(result: Result, rows: output.Table, gallery: output.Gallery | None, predictor: Predictor, explain: bool) -> None:
    frame, faces = result
    for number, face in faces:
        rows.write(output.row(frame, number, face))
    if not faces:
        rows.write(output.row(frame))
    if gallery:
        heat = predictor.explain([face for _, face in faces]) if explain else None
        several = len(faces) > 1 or frame.source.rate
        gallery.write(frame, annotate(frame.image, [(f"{number}" if several else "", face) for number, face in faces], heat))


def _summary(
    console: Console, folder: Path, frames: int, faceless: int, emotions: Counter[str], others: int, problems: int
) -> None:
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
    if others:
        console.print(f"{others:,} files in the folders are neither pictures nor videos and were left aside")
    if problems:
        console.print(f"{problems:,} could not be read, see above")
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
