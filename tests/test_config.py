from __future__ import annotations

import hydra
import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fer import config
from fer.errors import UserError
from tests.conftest import run_program

GROUPS = {
    f"{path.parent.name}={path.stem}": path
    for path in sorted(config.CONF.glob("*/*.yaml"))
    if path.stem != "base" and path.parent.name != "experiment"
}


def compose(*overrides):
    name = config.prepare("train", list(overrides))
    with hydra.initialize_config_dir(str(config.CONF), version_base="1.3"):
        return hydra.compose(name, list(overrides))


@pytest.mark.parametrize("choice", GROUPS)
def test_every_shipped_file_composes_checks_and_instantiates(choice):
    group, name = choice.split("=")
    composed = config.composed([f"{group}=[{name}]" if group == "dataset" else choice])
    if group not in ("trainer", "logger", "scheduler", "optimizer"):
        instantiate(composed[group], _convert_="all")
    first = GROUPS[choice].read_text().splitlines()
    assert any(line.startswith("# ") and not line.startswith("# @") for line in first), "says what it is for"
    assert yaml.safe_load(GROUPS[choice].read_text()) is not None or name == "none"


EXPERIMENTS = sorted(path.stem for path in (config.CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_checks_and_says_what_it_expects(name):
    text = (config.CONF / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n# ")
    composed = config.composed([f"experiment={name}"])
    assert composed.seed == 0


@pytest.mark.parametrize(("launcher", "target"), [("parallel", "JoblibLauncher"), ("slurm", "SlurmLauncher")])
def test_launchers_compose(launcher, target):
    config.prepare("train", [])
    with hydra.initialize_config_dir(str(config.CONF), version_base="1.3"):
        composed = hydra.compose("train", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert composed.hydra.launcher["_target_"].endswith(target)


@pytest.mark.parametrize("name", ["adam", "sgd", "sgd_nesterov", "rmsprop", "adamw"])
def test_optimizers_have_the_thesis_settings(name):
    import torch

    made = instantiate(compose(f"optimizer={name}", "data=thesis").optimizer)([torch.nn.Parameter(torch.zeros(1))])
    thesis = {"adam": (1e-4, 1e-7, (0.9, 0.999)), "sgd": (1e-4, 0.0), "rmsprop": (1e-4, 1e-7, 0.9)}
    defaults = made.defaults
    got = {
        "adam": lambda: (defaults["lr"], defaults["eps"], tuple(defaults["betas"])),
        "sgd": lambda: (defaults["lr"], defaults["momentum"]),
        "rmsprop": lambda: (defaults["lr"], defaults["eps"], defaults["alpha"]),
    }
    if name in thesis:
        assert got[name]() == thesis[name]


@pytest.mark.parametrize("experiment", ["fer2013_small", "shipped", "best", "fer2013_best"])
@pytest.mark.parametrize("choice", ["augment=none", "augment=light", "optimizer=rmsprop", "scheduler=cosine"])
def test_an_option_replaces_the_experiments_own(experiment, choice):
    group = choice.split("=")[0]
    assert compose(f"experiment={experiment}", choice)[group] == compose("data=thesis", choice)[group]


def test_the_thesis_composes_to_its_settings():
    composed = compose("data=thesis")
    assert (composed.epochs, composed.batch_size, composed.test, composed.contempt) == (200, 64, "last", "as_neutral")
    assert composed.model.bn_momentum == 0.01
    assert not composed.augment
    assert not composed.scheduler
    assert sorted(composed.dataset) == ["ckplus", "fer2013", "kdef"]


def test_fer2013_composes_to_the_official_protocol():
    composed = compose("data=fer2013")
    assert list(composed.dataset) == ["fer2013"]
    assert composed.split["_target_"].endswith("OfficialSplit")
    assert composed.balance["_target_"].endswith("NoBalance")
    for balance in ("none", "thesis", "sampler", "loss_weights"):
        assert compose("data=fer2013", f"balance={balance}").balance.before_split is False, "or the test part would shrink"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=0", "epochs=0: expected 1 or more"),
        ("mixup=-1", "mixup=-1.0: expected 0 or more"),
        ("averaging=1", "averaging=1.0: expected 0 or more and below 1"),
        ("model.dropout=half", "model.dropout=half: it should be a valid number"),
        ("model.filters=[64,many]", r"model\.filters\[1\]=many: it should be a valid integer"),
        ("data.on_error=ignore", "data.on_error=ignore: it should be 'stop' or 'skip'"),
        ("dataset.kdef.angles=[X]", r"dataset\.kdef\.angles\[0\]=X: it should be 'S'"),
        ("+optimizer.momentun=0.9", "unknown key 'optimizer.momentun': "),
        ("+split.folds=3", "unknown key 'split.folds'"),
        ("data.train_on=kdef", "data.train_on=kdef: it should be a valid list"),
        ("contempt=keep", "contempt=keep: expected as_neutral or drop"),
        ("test=best_on_test", "test=best_on_test: expected last or best"),
        ("model._target_=fer.model.networks.Nope", "there is no such class or function"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    with pytest.raises((UserError, config.HydraException), match=message):
        config.composed([override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimzer=adam", "did you mean 'optimizer'"),
        ("optimizer.lrr=1", "did you mean 'optimizer.lr'"),
        ("dataset.kdef.angels=[S]", "unknown key 'dataset.kdef.angels': did you mean 'dataset.kdef.angles'"),
        ("optimizer=adm", "unknown choice optimizer=adm: did you mean 'adam'"),
        ("epochs=many", "epochs=many: Value 'many' of type 'str' could not be converted to Integer"),
        ("resume=nowhere", "that is no run folder"),
    ],
)
def test_a_typo_is_one_sentence_with_near_matches_and_leaves_nothing_behind(tmp_path, override, message):
    result = run_program(config.CONF.parent / "train.py", override, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_typo_in_an_experiment_file_does_not_pass(tmp_path):
    (tmp_path / "experiment").mkdir()
    for text, message in (
        ("# @package _global_\nepocs: 3\n", "epocs"),
        ("# @package _global_\nmodel: {droput: 0.1}\n", "model.droput"),
        ("# @package _global_\ndataset: {kdef: {angels: [S]}}\n", "dataset.kdef.angels"),
    ):
        (tmp_path / "experiment" / "mine.yaml").write_text(text)
        with hydra.initialize_config_dir(str(config.CONF), version_base="1.3"):
            config.prepare("train", [])
            with pytest.raises((UserError, config.HydraException), match=message):
                _compose_and_check("experiment=mine", f"hydra.searchpath=[{tmp_path}]")


def _compose_and_check(*overrides):
    composed = hydra.compose("train", list(overrides))
    composed.trainer = composed.logger = None
    config.check(composed)


def test_record_keeps_interpolations(tmp_path):
    OmegaConf.save(compose("data=thesis"), tmp_path / config.RECORD)
    assert OmegaConf.to_container(config.recorded(str(tmp_path), "run"))["data"]["seed"] == "${seed}"
