"""Joins trained runs into one that averages their probabilities: `python -m fer.ensemble RUN RUN ... --out FOLDER`.

What it makes is a run folder without a training of its own: `python eval.py run=FOLDER` tests it, and predict, web and export
take it like any other.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from fer import config
from fer.errors import UserError
from fer.model import checkpoint
from fer.model.networks import Ensemble
from fer.predict import network as networks
from fer.results import CHECKPOINTS, RECORD, TRAINING


def join(runs: Sequence[Path], out: Path) -> None:
    """Writes the run folder of an ensemble.

    Args:
        runs: Folders of two runs or more that were trained on the same faces; each takes part with the weights it tested.
        out: The folder to make.

    Raises:
        UserError: There are too few of them, one cannot be read, they saw other faces, or the folder exists.
    """
    if len(runs) < 2:
        raise UserError(f"an ensemble of {len(runs)}: name two runs or more")
    if out.exists():
        raise UserError(f"--out {out} exists already: name another folder")
    records = [config.as_dict(config.recorded(str(run), "run")) for run in runs]
    loaded = [networks.read(run, "cpu") for run in runs]
    trained = [one for one in loaded if isinstance(one, networks.TorchNetwork)]  # all: a run folder holds no other kind
    first = trained[0].recipe
    for run, one in zip(runs, trained, strict=True):
        for key, what in (("data", "trained, validated or tested on other faces than"), ("image", "made for other faces than")):
            if one.recipe.get(key) != first.get(key):
                raise UserError(f"{run} was {what} {runs[0]}: join runs of the same data and split")
    members = [{"network": one.recipe["network"], "temperature": one.temperature, "tta": one.tta} for one in trained]
    network: dict[str, Any] = {"_target_": f"{Ensemble.__module__}.{Ensemble.__name__}", "members": members}
    ensemble = Ensemble(members)
    for member, one in zip(ensemble.members, trained, strict=True):
        member.load_state_dict(one.module.state_dict())
    described = {**first, "network": network, "temperature": 1.0, "tta": None, "metrics": {}}
    described.pop("tests", None)
    record = records[0] | {"tta": None}  # each member has its own
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    checkpoint.write(draft / CHECKPOINTS[str(record.get("test", "last"))], ensemble, described)
    (draft / RECORD).write_text(yaml.safe_dump(record, sort_keys=False))
    if (runs[0] / TRAINING).is_file():
        shutil.copy(runs[0] / TRAINING, draft / TRAINING)
    draft.rename(out)


@config.friendly
def main() -> None:
    """Joins what is named and says how to go on."""
    parser = argparse.ArgumentParser(prog="python -m fer.ensemble", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    arguments = parser.parse_args()
    join(arguments.runs, arguments.out)
    Console(highlight=False).print(
        f"{arguments.out} averages {len(arguments.runs)} runs; test it: python eval.py run={arguments.out}", soft_wrap=True
    )


if __name__ == "__main__":
    main()
