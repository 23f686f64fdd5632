"""Times whole training steps of a recipe (network, loss, gradients, optimizer, and augmentation if of whole batches) on made-up
faces that lie on the device, in bfloat16 on a GPU and float32 on a CPU; the choices are train.py's:

    python tests/bench/recipe.py experiment=fer2013_best batch_size=512 compile=default
"""

from __future__ import annotations

import torch
from hydra.utils import instantiate
from measured import arguments, show, timed

from fer.config import composed, friendly
from fer.data.augment import BatchAugmentation
from fer.data.datamodule import Batch
from fer.model.classifier import Classifier


def main() -> None:
    parser = arguments(__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("choices", nargs="*", help="as for train.py")
    given = parser.parse_args()
    config = composed(given.choices)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = instantiate(config.model, _convert_="all")
    settings = {"label_smoothing": config.label_smoothing, "mixup": config.mixup, "compile_mode": config.compile}
    classifier = Classifier(network, test_sets=["none"], **settings).to(device)
    optimizer = instantiate(config.optimizer, _convert_="all")(classifier.network.parameters())
    augment = instantiate(config.augment, _convert_="all")
    size = config.data.image_size
    images = torch.randint(0, 256, (config.batch_size, config.data.channels, size, size), dtype=torch.uint8, device=device)
    emotion = torch.randint(0, 7, (config.batch_size,), device=device)
    row = torch.arange(config.batch_size, device=device)

    def step() -> None:
        faces = augment(images, row, (0, 0)) if isinstance(augment, BatchAugmentation) else images
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = classifier.training_step(Batch(faces, emotion, row, emotion), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def steps(count: int) -> None:
        for _ in range(count):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    (first,) = timed(lambda: steps(3))
    seconds = [value / given.steps for value in timed(lambda: steps(given.steps), 3)]
    faces = config.batch_size / min(seconds)
    rows = {" ".join(given.choices) or "train.py": [1000 * value for value in seconds]}
    show("Training step", "ms", rows, given.json, first_three_steps=f"{first:.1f} s", best=f"{faces:,.0f} faces/s")


if __name__ == "__main__":
    friendly(main)()
