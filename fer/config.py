"""The border between Hydra and the rest: composes, checks every key and type, and turns errors into one sentence.

Top-level keys have a schema in Hydra's ConfigStore. Below it, a node with a `_target_` is checked against that
target's own signature, so that a class and its configuration cannot drift apart.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import math
import os
import re
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer import cluster, errors
from fer.errors import UserError, did_you_mean
from fer.results import CHECKPOINTS, FAILED, METRICS, RECORD

CONF = Path(__file__).resolve().parent.parent / "conf"
"""Folder of the YAML files."""

_CHOICES = {
    "contempt": ("as_neutral", "drop"),
    "test": ("last", "best"),
    "tta": (None, "flip", "tencrop"),
    "compile": (None, "default", "reduce-overhead", "max-autotune"),
}


@dataclass
class TrainConfig:
    """Top-level keys of `python train.py`; conf/train.yaml says what they mean."""

    data: Any = MISSING
    dataset: dict[str, Any] = field(default_factory=dict)
    balance: Any = MISSING
    split: Any = MISSING
    augment: Any = None
    model: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = None
    trainer: Any = MISSING
    logger: Any = MISSING
    seed: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    label_smoothing: float = MISSING
    mixup: float = 0.0
    averaging: float | None = None
    tta: str | None = None
    early_stopping: int | None = None
    test: str = MISSING
    contempt: str = MISSING
    compile: str | None = None
    resume: str | None = None
    allow_changes: bool = False


@dataclass
class EvalConfig(TrainConfig):
    """Top-level keys of `python eval.py`."""

    run: str | None = None
    checkpoint: str | None = None


def command(name: str) -> Callable[[Callable[[DictConfig], float | None]], Callable[[], None]]:
    """Turns a function of a composed configuration into a command-line program.

    Args:
        name: The file of conf/ to compose, "train" or "eval".

    Returns:
        A decorator. The decorated program checks the configuration before anything else happens; a `UserError` becomes
        one sentence on standard error and exit code 2.
    """

    def decorate(function: Callable[[DictConfig], float | None]) -> Callable[[], None]:
        @functools.wraps(function)
        def checked(config: DictConfig) -> float | None:
            hydra_config = HydraConfig.get()
            folder, sweeps = Path(hydra_config.runtime.output_dir), hydra_config.mode == RunMode.MULTIRUN
            try:
                check(config)
                _one_device_a_job(config)
                quieten()
                cluster.warned_as_stopped()
                cluster.watch_processes(folder)
                done = _taken_up(config)
                return function(config) if done is None else done
            except Exception as error:
                if sweeps:
                    return _failed(error, config)
                if cluster.is_lost_process(error):
                    cluster.tell_lost_process(folder)
                    os._exit(1)  # an orderly end would wait for that process
                if not _is_users_mistake(error):
                    raise
                with contextlib.suppress(OSError):  # where Hydra made a folder for a run that never began
                    folder.rmdir()
                    folder.parent.rmdir()
                errors.fail(_sentence(error))  # Hydra would put words of its own before an exception
            except SystemExit as stop:  # Lightning leaves without a code after SIGTERM and with 1 after Ctrl-C
                if sweeps:
                    print(f"The sweep goes on by the same command with hydra.sweep.dir={hydra_config.sweep.dir}")
                elif stop.code is None and (said := cluster.requeue()):
                    print(said)
                raise SystemExit(143 if stop.code is None else 130) from None

        @functools.wraps(function)
        @friendly
        def program() -> None:
            main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=prepare(name, sys.argv[1:]))
            main(checked)()

        return program

    return decorate


def _one_device_a_job(config: DictConfig) -> None:
    """Keeps a sweep from starting processes that would each start the sweep again."""
    if HydraConfig.get().mode == RunMode.MULTIRUN and "ddp" in str((config.trainer or {}).get("strategy", "")):
        raise UserError(
            "a sweep trains each job on one device: leave trainer=ddp out of it and run its jobs side by side with "
            "hydra/launcher=parallel or slurm, or train a single run with trainer=ddp"
        )


def _taken_up(config: DictConfig) -> float | None:
    """Finds out how far a job came that is run once more: of a sweep, or by SLURM.

    Returns:
        Its validation accuracy if it is finished. Else None; `resume` is set where there is a checkpoint to go on from.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    again = HydraConfig.get().mode == RunMode.MULTIRUN or cluster.is_requeued()
    if not again or not (folder / CHECKPOINTS["last"]).is_file():
        return None
    config.resume = str(folder)
    if not (folder / METRICS).is_file():
        return None
    unchanged(config)
    print(f"{folder} is finished already")
    return float(json.loads((folder / METRICS).read_text())["trained"].get("val/accuracy", float("nan")))


def _failed(error: Exception, config: DictConfig) -> float:
    """Records why a job of a sweep failed, so that the others go on; gives what no search will prefer."""
    users = _is_users_mistake(error)
    sentence = _sentence(error) if users else f"{type(error).__name__}: {error}"
    folder = Path(HydraConfig.get().runtime.output_dir)
    OmegaConf.save(config, folder / RECORD)
    (folder / FAILED).write_text(sentence + "\n" + ("" if users else "\n" + "".join(traceback.format_exception(error))))
    print(f"error: {sentence} ({folder / FAILED})", file=sys.stderr)
    return float("-inf")


class SweepReport(Callback):
    """Reports a whole sweep when its last job is done."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Writes the sweep's page, names the jobs that failed, and ends with exit code 1 if there are any."""
        from fer.report import page

        folder = Path(config.hydra.sweep.dir)
        if page.write([folder], folder / "report"):
            raise SystemExit(1)


def unchanged(config: DictConfig) -> bool:
    """Compares the configuration with what the run that is resumed was begun with.

    Returns:
        Whether changes are allowed, which is taken out of the configuration: it holds for this time only.

    Raises:
        UserError: A value differs, and `allow_changes` is not set.
    """
    allowed, config.allow_changes = bool(config.allow_changes), False
    if config.resume is None:
        return allowed
    from fer.report.run import settings

    before, now = settings(as_dict(recorded(config.resume, "resume"))), settings(as_dict(config))
    if allowed:
        if before.get("epochs") != now.get("epochs") and before.get("scheduler") in ("onecycle", "cosine"):
            raise UserError(
                f"resume={config.resume} epochs={now.get('epochs')}: scheduler={before['scheduler']} was laid out for "
                f"{before.get('epochs')} epochs, which cannot change under way: begin a new run"
            )
        return True
    differ = [f"{key} was {before.get(key)} and is {now.get(key)}" for key in {**before, **now} if before.get(key) != now.get(key)]
    if differ:
        raise UserError(
            f"resume={config.resume}: {', '.join(differ)}: leave that as it was, begin a new run, or go on with the change by "
            "allow_changes=true"
        )
    return False


def as_dict(node: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """Gives a node as plain values; with `resolve` interpolations become what they stand for."""
    plain = OmegaConf.to_container(node, resolve=resolve, throw_on_missing=resolve)
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def _is_users_mistake(error: Exception) -> bool:
    """Tells a value that a constructor refuses from a defect of ours, whose traceback is wanted."""
    cause = error.__cause__ if isinstance(error, InstantiationException) else error
    return isinstance(cause, ValueError) or type(cause).__name__ == "MisconfigurationException"


def friendly(program: Callable[[], None]) -> Callable[[], None]:
    """Does what `fer.errors.friendly` does for Hydra's errors too."""

    @functools.wraps(program)
    def run() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them its own way
        try:
            program()
        except (HydraException, OmegaConfBaseException) as error:
            if isinstance(error, InstantiationException) and not _is_users_mistake(error):
                raise
            raise UserError(_sentence(error)) from None

    return errors.friendly(run)


def composed(overrides: list[str], program: str = "train") -> DictConfig:
    """Composes and checks what a program ("train" or "eval") would for these overrides, its trainer and logger aside.

    Raises:
        UserError: A key is unknown or a value has the wrong type.
    """
    name = prepare(program, overrides)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(name, overrides)
    config.trainer = config.logger = None  # they name the run folder, which there is none of
    check(config)
    return config


def prepare(name: str, overrides: list[str]) -> str:
    """Registers the schema and what a run recorded, and gives the name of the file of conf/ to compose.

    Args:
        name: "train" or "eval".
        overrides: The words of the command line.

    Raises:
        UserError: The run or checkpoint that is named cannot be read.
    """
    _register_resolvers()
    store = ConfigStore.instance()
    store.store("schema", TrainConfig)
    named = dict(word.split("=", 1) for word in overrides if re.match(r"(run|checkpoint|resume)=.", word))
    if not named:
        if name == "eval" and not {"--help", "-h", "--cfg", "--info"} & set(overrides):
            raise UserError("nothing to evaluate: name a run folder with run=<folder> or a file with checkpoint=<file>")
        store.store("recorded", EvalConfig)
        return name
    key, value = next(iter(named.items()))
    record = as_dict(recorded(value.strip("'\""), key))
    if name == "eval":  # a group that is chosen anew replaces what was recorded rather than mixing with it
        chosen = {word.partition("=")[0] for word in overrides}
        record = {group: node for group, node in record.items() if group not in chosen}
    schema = EvalConfig if name == "eval" else TrainConfig
    store.store("recorded", OmegaConf.merge(OmegaConf.structured(schema), record))
    return "eval" if name == "eval" else "resume"


def recorded(place: str, key: str) -> DictConfig:
    """Reads what a run was composed of, from its folder or from a checkpoint.

    Args:
        place: The run folder, or the checkpoint's file where `key` is "checkpoint".
        key: How the user named it, for the error: "run", "resume" or "checkpoint".

    Raises:
        UserError: There is no such run or checkpoint.
    """
    if key == "checkpoint":
        from fer.model import checkpoint

        source, loaded = place, OmegaConf.create(checkpoint.read(place)["fer"]["config"])
    else:
        source = str(Path(place, RECORD))
        if not Path(source).is_file():
            raise UserError(
                f"{key}={place}: that is no run folder, since it has no {RECORD}: name the folder that train.py printed"
            )
        try:
            loaded = OmegaConf.load(source)
        except (yaml.YAMLError, ValueError, OSError) as error:
            raise UserError(f"{source} cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{source} holds no configuration")
    plain = as_dict(loaded)
    for path, text in _walk(plain):
        if isinstance(text, str) and "${" in _PLAIN_INTERPOLATION.sub("", text):
            raise UserError(f"{source}: {path}={text} could make up anything when it is read, so it is not: write the value itself")
    for path, node in _targets(plain):
        if not _is_known(str(node["_target_"])):
            raise UserError(
                f"{source}: {path}._target_ names the code {node['_target_']}, which no file of conf/ does, so it is not run: "
                "if it is yours, name it in a file there"
            )
    return loaded


_PLAIN_INTERPOLATION = re.compile(r"\$\{(hydra:)?[\w.]+\}")
"""Refers to another value; others call functions such as oc.decode, which makes nodes of text, or oc.env."""


def _is_known(target: str) -> bool:
    """Tells what a recorded configuration may call: what conf/ names, and optimizers and augmentations of the libraries."""
    if target in _named_in_conf():
        return True
    module, _, name = target.rpartition(".")
    if module == "torch.optim":
        import torch

        return _is_subclass(getattr(torch.optim, name, None), torch.optim.Optimizer)
    if module == "albumentations":
        import albumentations

        return _is_subclass(getattr(albumentations, name, None), albumentations.BasicTransform)
    return False


@functools.cache
def _named_in_conf() -> frozenset[str]:
    return frozenset(name for file in CONF.rglob("*.yaml") for name in re.findall(r"_target_:\s*([\w.]+)", file.read_text()))


def _is_subclass(kind: Any, parent: type) -> bool:
    return inspect.isclass(kind) and issubclass(kind, parent)


def _register_resolvers() -> None:
    now = cluster.run_name()
    OmegaConf.register_new_resolver("run_folder", lambda resume: resume or f"runs/{now}", replace=True)
    OmegaConf.register_new_resolver("eval_folder", lambda run: f"{run}/eval/{now}" if run else f"runs/eval_{now}", replace=True)


def check(config: DictConfig) -> None:
    """Checks every key and value.

    Raises:
        UserError: A key is unknown to what it configures, or a value has the wrong type; names the key and near matches.
    """
    try:
        plain = as_dict(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(_sentence(error)) from None
    for key, choices in _CHOICES.items():
        if plain[key] not in choices:
            raise UserError(f"{key}={plain[key]}: expected {' or '.join(choice or 'null' for choice in choices)}")
    for key in ("epochs", "batch_size", "early_stopping"):
        if plain[key] is not None and plain[key] < 1:
            raise UserError(f"{key}={plain[key]}: expected 1 or more")
    if not 0 <= plain["mixup"] < math.inf:
        raise UserError(f"mixup={plain['mixup']}: expected 0 or more, such as 0.2")
    if plain["averaging"] is not None and not 0 <= plain["averaging"] < 1:
        raise UserError(f"averaging={plain['averaging']}: expected 0 or more and below 1, such as 0.999")
    for path, node in _targets({key: plain[key] for key in sorted(plain, key=lambda key: str(key) == "data")}):
        _check_node(path, node)


def _walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields plain values and everything below them, each with its dotted path."""
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _walk(child, f"{path}.{key}" if path else str(key))


def _targets(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every node that has a `_target_`, with its dotted path."""
    return ((path, below) for path, below in _walk(node) if isinstance(below, dict) and "_target_" in below)


def _check_node(path: str, node: dict[str, Any]) -> None:
    try:
        target = hydra.utils.get_object(node["_target_"])
    except (ImportError, ValueError, AttributeError, HydraException):
        raise UserError(f"{path}._target_={node['_target_']}: there is no such class or function") from None
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    hints = _hints(target)
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if key not in parameters:
            raise UserError(f"unknown key '{path}.{key}': " + did_you_mean(key, parameters))
        if key in hints and not _holds_targets(value):
            _check_type(f"{path}.{key}", value, hints[key])


def _hints(target: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # a library that keeps its types for the type checker
        return {}


def _holds_targets(value: Any) -> bool:
    return value == {} or next(_targets(value), None) is not None


def _check_type(key: str, value: Any, hint: Any) -> None:
    from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

    try:
        TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"[{part}]" for part in problem["loc"] if isinstance(part, int))
        raise UserError(f"{key}{place}={problem['input']}: {problem['msg'].replace('Input should', 'it should')}") from None
    except (PydanticSchemaGenerationError, PydanticUserError):
        return


def _sentence(error: Exception) -> str:
    """Says in one sentence what Hydra says in many lines."""
    text = str(error)
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, UserError):
        return str(error.__cause__)  # names its key itself
    if isinstance(error, InstantiationException) and error.__cause__:
        return f"{text.splitlines()[-1].removeprefix('full_key: ')}: {str(error.__cause__).splitlines()[0]}"
    merging = re.fullmatch(r"Error merging override (.*)", text)
    if merging and error.__cause__:
        return f"{merging[1]}: {str(error.__cause__).splitlines()[0]}"
    unknown = re.search(r"Could not override '([^']+)'|Key '[^']+' (?:is )?not in[^\n]*\n\s*full_key: (\S+)", text)
    if unknown:
        key = unknown[1] or unknown[2]
        if (CONF / key).is_dir():
            return f"{key}: what a run has recorded is not chosen anew here; change single values, such as {key}.<name>=<value>"
        return f"unknown key '{key}': " + did_you_mean(key, known_keys())
    choice = re.search(r"Could not find '([^']+)'", text)
    if choice:
        group, _, name = choice[1].rpartition("/")
        options = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return f"unknown choice {group}={name}: " + did_you_mean(name, options) if group else f"there is no conf/{name}.yaml"
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("object_type")]
    key_line = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    sentence = lines[0] if lines else type(error).__name__
    return f"{key_line}: {sentence}" if key_line else sentence


def known_keys() -> list[str]:
    """Names every dotted key of the default configuration, and every group of conf/."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(hydra.compose("train"), resolve=False)
    return [*_paths(plain), *(path.name for path in CONF.iterdir() if path.is_dir())]


def _paths(node: Any, path: str = "") -> Iterator[str]:
    for key, child in node.items() if isinstance(node, dict) else ():
        full = f"{path}.{key}" if path else str(key)
        yield full
        yield from _paths(child, full)


def quieten() -> None:
    """Silences what Lightning says at every start and what no user can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    messages = (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*treespec.*",
        ".*sync_dist=True.*",  # all processes compute the same numbers
    )
    for message in messages:
        warnings.filterwarnings("ignore", message)
