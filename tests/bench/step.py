"""Times a training step of the thesis's CNN, 64 faces: ours, plain PyTorch and, with --keras, Keras in an environment of
its own (uv fetches it once), each in its own process, one after the other in every round.

    python tests/bench/step.py --keras                                   # the CPU
    python tests/bench/step.py --variants eager,bf16,bf16+default,bf16+reduce-overhead    # a GPU where there is one
    python tests/bench/step.py --framework      # Lightning, metrics, logging and data beside a bare loop
    python tests/bench/step.py --scaling        # two processes beside one

Where a step of 359 ms goes (2 cores of an AMD EPYC at some 180 GFLOP/s in a matrix product, which by direct convolution
would be 620 ms; torch.profiler, 2026-11-24): the products and transforms of the three large convolutions some 270 ms, of
which about 170 ms are products (42 GFLOP instead of 112) and the rest transforms bound by memory; batch norm, pooling, ReLU
and dropout 40 ms; the first convolution 9 ms, the dense layers 10 ms, Adam 8 ms.

What paid, by the median of alternating steps: pooling before ReLU (equal, a quarter of the work); channels_last (half);
memory kept by glibc instead of page faults (680 to 596 ms); Winograd for 5x5 and 3x3 kernels (596 to 409 ms); norm, pool,
ReLU and dropout in one function with 16-bit masks (another 45 ms); fused Adam (8 ms).
What did not: torch.compile (652 ms where eager took 592, and 39 s to compile); transparent huge pages beside kept memory;
tiles worked off in chunks of 2 to 32 images for the cache (no gain); oneDNN instead of MKL for the products, as 1x1 and
grouped convolutions (10 to 20 % faster alone, slower with their gradients); larger tiles for 12x12 maps (equal, and twice
the rounding error); bfloat16 (329 ms without Winograd, but other numbers: trainer.precision=bf16-mixed).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from measured import arguments, show, timed
from torch import nn
from torch.nn import functional as F

from fer.model.layers import keep_memory
from fer.model.networks import ThesisCNN, to_input

BATCH, FLOPS = 64, 112e9
"""Faces a step, and its floating-point operations by direct convolution."""


def step_of(variant: str):
    """Makes a function that does one training step of a variant, its device waited for."""
    how, _, mode = variant.partition("+")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    network: nn.Module = ThesisCNN()
    if how in ("plain", "channels_last"):  # what a user of PyTorch would write, as Keras has it: ReLU, then pooling
        layers = [plain(layer) for layer in network.features]
        for at in range(0, len(layers), 5):
            layers[at + 2], layers[at + 3] = layers[at + 3], layers[at + 2]
        network = nn.Sequential(*layers, network.classifier)
    else:
        keep_memory()
    if how != "plain":
        network.to(memory_format=torch.channels_last)
    network.to(device)
    if mode:
        network.compile(mode=mode)
    extra = {} if how in ("plain", "channels_last") else {"fused": True}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, eps=1e-7, **extra)
    faces = torch.randint(0, 256, (BATCH, 1, 48, 48), dtype=torch.uint8, device=device)
    emotion = torch.randint(0, 7, (BATCH,), device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=how == "bf16"):
            loss = F.cross_entropy(network(faces.float().div_(255) if how == "plain" else to_input(faces)), emotion)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def plain(layer: nn.Module) -> nn.Module:
    if not isinstance(layer, nn.Conv2d):
        return layer
    return nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding="same")


def work(variant: str) -> None:
    """Does a step and tells its seconds for every line on standard input."""
    step = step_of(variant)
    for _ in sys.stdin:
        print(*timed(step), flush=True)


def compare(variants: list[str], rounds: int, keras: bool, path: Path | None) -> None:
    here = Path(__file__)
    commands = {variant: [sys.executable, str(here), "--work", variant] for variant in variants}
    if keras:
        threads = str(torch.get_num_threads())
        environment = ["uv", "run", "--no-project", "--quiet", "--python", "3.11", "--with", "tensorflow-cpu==2.21.*", "python"]
        commands["Keras"] = [*environment, str(here.parent / "keras_step.py"), threads]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    workers = {name: subprocess.Popen(command, **pipes) for name, command in commands.items()}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    told: dict[str, str] = {}
    for _ in range(rounds + 5):  # five to warm up
        for name, worker in workers.items():
            worker.stdin.write("step\n")
            worker.stdin.flush()
            first, _, more = worker.stdout.readline().partition(" ")
            if not first:
                raise SystemExit(f"{name} gave no answer: run `{' '.join(commands[name])}` and press Enter to see why")
            seconds[name].append(float(first))
            told |= {name: more.strip()} if more.strip() else {}
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    rows = {name: [1000 * value for value in values[5:]] for name, values in seconds.items()}
    medians = {name: sorted(values)[len(values) // 2] for name, values in rows.items()}
    first = medians[variants[0]]
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    more = {"matrix_product": f"{2 * 2048**3 / min(timed(lambda: a @ b, 10)) / 1e9:.0f} GFLOP/s on the CPU"}
    ratios = ", ".join(f"{name} {value / first:.2f}" for name, value in medians.items())
    show("Training step, 64 faces", "ms", rows, path, **told, **more, **{f"times_as_long_as_{variants[0]}": ratios})


def framework(epochs: int, path: Path | None) -> None:
    """Alternates epochs of `trainer.fit` with everything train.py has and of a bare loop, on the same tensors."""
    import lightning as L
    import numpy as np
    from lightning.pytorch.loggers import TensorBoardLogger

    from fer.data.balance import NoBalance
    from fer.data.datamodule import FacesDataModule
    from fer.data.demo import draw_data_sets
    from fer.data.fer2013 import FER2013
    from fer.data.split import OfficialSplit
    from fer.model.classifier import Classifier
    from fer.report.callbacks import callbacks

    keep_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_data_sets(folder / "demo", 0.1)
        data = FacesDataModule({"fer2013": FER2013(str(folder / "demo/fer2013"))}, NoBalance(), OfficialSplit())
        data.setup()
        faces, emotion = torch.from_numpy(np.array(data.faces.images)).unsqueeze(1), torch.from_numpy(np.array(data.faces.emotion))
        rows, watched = torch.from_numpy(data.parts.train), torch.from_numpy(data.parts.val)
        network = ThesisCNN().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, eps=1e-7, fused=True)
        seconds: dict[str, list[float]] = {"Lightning": [], "bare loop": []}

        def bare() -> None:
            network.train()
            for batch in rows[torch.randperm(len(rows))].split(BATCH):
                loss = F.cross_entropy(network(to_input(faces[batch])), emotion[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.inference_mode():
                for batch in watched.split(256):
                    network(to_input(faces[batch]))

        class Alternate(L.Callback):
            def on_train_epoch_start(self, trainer, pl_module):
                seconds["bare loop"] += timed(bare)
                self.began = time.perf_counter()

            def on_train_epoch_end(self, trainer, pl_module):
                seconds["Lightning"].append(time.perf_counter() - self.began)

        classifier = Classifier(ThesisCNN(), lambda weights: torch.optim.Adam(weights, lr=1e-4, eps=1e-7, fused=True))
        logger = TensorBoardLogger(str(folder), name="tensorboard")
        # its first hook comes before the others' work at an epoch's start, its last one after their checkpoints
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=epochs, logger=logger, callbacks=[*callbacks(folder, None), Alternate()],
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(classifier, data)
    steps = -(-len(rows) // BATCH)
    each = {name: [1000 * value / steps for value in values[1:]] for name, values in seconds.items()}
    extra = [100 * (ours / alone - 1) for ours, alone in zip(each["Lightning"], each["bare loop"], strict=True)]
    cost = f"median {sorted(extra)[len(extra) // 2]:.1f} %, of each pair {[round(x, 1) for x in extra]}"
    title = f"An epoch of {steps} steps, validation, metrics, logs and checkpoints in it"
    show(title, "ms a step", each, path, cost_over_the_bare_loop=cost)


def share(rank: int, world: int, steps: int, folder: str) -> None:
    """Trains in one of `world` processes with a thread each, and writes the seconds of each step."""
    torch.set_num_threads(1)
    keep_memory()
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet{world}", rank=rank, world_size=world)
    network = nn.parallel.DistributedDataParallel(ThesisCNN().to(memory_format=torch.channels_last))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, eps=1e-7, fused=True)
    faces, emotion = torch.randint(0, 256, (BATCH, 1, 48, 48), dtype=torch.uint8), torch.randint(0, 7, (BATCH,))

    def step() -> None:
        F.cross_entropy(network(to_input(faces)), emotion).backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds = timed(step, steps)
    if rank == 0:
        torch.save(seconds[3:], f"{folder}/{world}.pt")
    torch.distributed.destroy_process_group()


def scaling(steps: int, path: Path | None) -> None:
    """One process against two, a thread and a batch of 64 each: what waiting for the other's gradients costs."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for world in (1, 2):
            torch.multiprocessing.spawn(share, (world, steps + 3, folder), nprocs=world)
            rows[f"{world} process(es), {world * BATCH} faces a step"] = [
                1000 * value for value in torch.load(f"{folder}/{world}.pt")
            ]
    one, two = (sorted(values)[len(values) // 2] for values in rows.values())
    show("Training step by DistributedDataParallel (gloo), a thread a process", "ms", rows, path, efficiency=f"{one / two:.0%}")


def main() -> None:
    parser = arguments(__doc__.split("\n")[0])
    parser.add_argument("--variants", default="ours,plain,channels_last", help="ours, plain, channels_last, bf16; +mode compiles")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keras", action="store_true")
    parser.add_argument("--framework", action="store_true")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--work", help="a variant to be timed by another process")
    given = parser.parse_args()
    if given.work:
        work(given.work)
    elif given.scaling:
        scaling(given.rounds, given.json)
    elif given.framework:
        framework(given.rounds // 2, given.json)
    else:
        compare(given.variants.split(","), given.rounds, given.keras, given.json)


if __name__ == "__main__":
    main()
