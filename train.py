"""Trains a network and tests it: `python train.py optimizer=rmsprop epochs=500`; conf/train.yaml names every choice."""

from __future__ import annotations

import time
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fer.config import as_dict, command, unchanged
from fer.results import CHECKPOINTS, RECORD, TRAINING


@command("train")
def main(config: DictConfig) -> float | None:
    """Composes, seeds, fits, tests the chosen weights, reports; gives the validation accuracy of those weights."""
    import lightning as L
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate
    from lightning.pytorch.utilities import rank_zero_only

    from fer.console import console
    from fer.model import checkpoint
    from fer.model.classifier import Classifier
    from fer.model.layers import keep_memory
    from fer.report import finish, run
    from fer.report.callbacks import callbacks, plugins

    began = time.perf_counter()
    folder = Path(HydraConfig.get().runtime.output_dir)
    changes_allowed = unchanged(config)
    L.seed_everything(config.seed, workers=True, verbose=False)

    plain = as_dict(config)  # before Hydra puts values in the place of interpolations
    data = instantiate(config.data, _convert_="all")
    data.prepare_data()
    data.setup()
    resume = folder / CHECKPOINTS["last"] if config.resume else None
    if resume and not changes_allowed:
        checkpoint.check_data(resume, data.digest)

    keep_memory()
    classifier = Classifier(
        network=instantiate(config.model, _convert_="all"),
        optimizer=instantiate(config.optimizer, _convert_="all"),
        scheduler=instantiate(config.scheduler, _convert_="all") or None,
        recipe=checkpoint.recipe(
            as_dict(config.model, resolve=True), data.image_size, data.channels, plain, data.digest, config.tta
        ),
        test_sets=list(data.test_sets),
        label_smoothing=config.label_smoothing,
        mixup=config.mixup,
        loss_weights=data.loss_weights,
        compile_mode=config.compile,
        tta=config.tta,
    )
    trainer = instantiate(
        config.trainer,
        callbacks=callbacks(folder, config.early_stopping, config.averaging),
        plugins=plugins(),
        logger=instantiate(config.logger, _convert_="all"),
        enable_progress_bar=console.is_terminal,
        _convert_="all",
    )

    rank_zero_only(OmegaConf.save)(OmegaConf.create(plain), folder / RECORD)
    rank_zero_only(data.training.to_csv)(folder / TRAINING, index=False)
    finish.show_data(folder, data)
    trainer.fit(classifier, data, ckpt_path=resume, weights_only=True)
    trainer.strategy.barrier()  # the first process has written all checkpoints only now
    # Not by ckpt_path: Lightning would resume, with the history until then and the weights beside an average.
    tested = checkpoint.read(folder / CHECKPOINTS[config.test])
    classifier.load_state_dict(tested["state_dict"])
    classifier.temperature = tested["fer"].get("temperature", 1.0)
    trainer.test(classifier, data, verbose=False)
    ran = run.environment(time.perf_counter() - began, ["train.py", *HydraConfig.get().overrides.task])
    return finish.report(folder, config.test, trainer, classifier, data, plain, tested["fer"]["metrics"], data.training, ran)


if __name__ == "__main__":
    main()
