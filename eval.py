"""Tests a trained network again: `python eval.py run=<run folder>` or `checkpoint=<file>`, on its own data or other."""

from __future__ import annotations

import time
from pathlib import Path

from omegaconf import DictConfig

from fer.config import as_dict, command
from fer.results import CHECKPOINTS, TRAINING


@command("eval")
def main(config: DictConfig) -> float | None:
    """Rebuilds data and network from what the run recorded, tests, reports; gives the recorded validation accuracy."""
    import pandas as pd
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate

    from fer.console import console
    from fer.errors import UserError
    from fer.model import checkpoint
    from fer.model.classifier import Classifier
    from fer.report import finish, run

    began = time.perf_counter()
    folder = Path(HydraConfig.get().runtime.output_dir)
    weights = config.checkpoint or Path(config.run, CHECKPOINTS[config.test])
    network, recipe = checkpoint.load(weights)

    plain = as_dict(config)  # before Hydra puts values in the place of interpolations
    data = instantiate(config.data, _convert_="all")
    if recipe["image"] != {"size": data.image_size, "channels": data.channels}:
        raise UserError(f"{weights} takes faces of {recipe['image']}: leave data.image_size and data.channels as recorded")
    data.prepare_data()
    data.setup()
    finish.show_data(folder, data)

    classifier = Classifier(network, test_sets=list(data.test_sets), tta=config.tta, temperature=recipe.get("temperature", 1.0))
    plainly = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": console.is_terminal}
    trainer = instantiate(config.trainer, **plainly, _convert_="all")
    trainer.test(classifier, data, verbose=False)
    seen = Path(weights).resolve().parent.parent / TRAINING
    training = pd.read_csv(seen, dtype=str, keep_default_na=False) if seen.is_file() else None
    ran = run.environment(time.perf_counter() - began, ["eval.py", *HydraConfig.get().overrides.task])
    return finish.report(folder, config.test, trainer, classifier, data, plain, recipe.get("metrics", {}), training, ran)


if __name__ == "__main__":
    main()
