"""The LightningDataModule: reads, balances, splits and serves batches."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fer.data import cache
from fer.data.audit import SEEN_BY
from fer.data.augment import Augmentation, BatchAugmentation
from fer.data.balance import Balance, Selection
from fer.data.demo import draw_data_sets
from fer.data.faces import Faces, OnError
from fer.data.reader import Reader
from fer.data.split import Parts, Split
from fer.errors import UserError, did_you_mean


class Batch(NamedTuple):
    """A batch of faces.

    Args:
        images: uint8 (B, C, H, W).
        emotion: Class, int64 (B,).
        row: Row in `Faces`, int64 (B,).
        target: What the loss compares with: `emotion`, or votes as shares of each emotion, float32 (B, 7).
    """

    images: Tensor
    emotion: Tensor
    row: Tensor
    target: Tensor


class FacesDataModule(L.LightningDataModule):
    """Merges data sets, makes the classes equal, splits, and serves batches of uint8 faces.

    After `setup`, `faces` holds everything found, `parts` the rows of each part, `counts` the number of
    faces per data set and emotion at each stage, and `loss_weights` those of the classes if the balance sets them.

    Args:
        readers: Name -> reader of each data set to merge.
        balance: Chooses the faces to keep.
        split: Divides them into three parts.
        augment: Changes training faces, one by one on the CPU or batch by batch where the network is; None leaves them.
        train_on: Names of the data sets that train and validate; the others only test. None: all of them.
        root: Folder of the raw folders; only used when faces are drawn.
        scale: None reads what is there; a number first draws demo faces at this share of the real counts into `root`.
        image_size: Height and width of the faces served, pixels.
        channels: 1 (grey) or 3 (RGB).
        on_error: "stop" or "skip" at a damaged file.
        cache_dir: Folder of the cache; None reads the raw folders every time.
        batch_size: Faces per training batch.
        eval_batch_size: Faces per validation and test batch.
        workers: Processes that make batches beside the training process; none where the faces lie on the device.
        resident: Whether the faces lie on a GPU as a whole, uint8, so that batches are made there; None where they take
            less than half of its free memory.
        seed: Seed of balance, split, order and augmentation.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        balance: Balance,
        split: Split,
        augment: Augmentation | BatchAugmentation | None = None,
        train_on: list[str] | None = None,
        root: str = "data",
        scale: float | None = None,
        image_size: int = 48,
        channels: int = 1,
        on_error: OnError = "stop",
        cache_dir: str | None = None,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        workers: int = 0,
        resident: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise UserError(f"data.channels={channels}: expected 1 (grey) or 3 (RGB)")
        for name, value in (("data.image_size", image_size), ("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise UserError(f"{name}={value}: expected 1 or more")
        if not readers:
            raise UserError("dataset=[] names no data set: choose some, for example dataset=[fer2013,ckplus,kdef]")
        for name in train_on or ():
            if name not in readers:
                raise UserError(
                    f"data.train_on={name}: that is none of the data sets in dataset=[...]: " + did_you_mean(name, readers)
                )
        self.readers, self.balance, self.split, self.augment = readers, balance, split, augment
        self.train_on = list(readers if train_on is None else train_on)
        self.root, self.scale = root, scale
        self.image_size, self.channels, self.on_error, self.cache_dir = image_size, channels, on_error, cache_dir
        self.batch_size, self.eval_batch_size, self.workers, self.seed = batch_size, eval_batch_size, workers, seed
        self.resident = resident
        self.faces: Faces
        self.parts: Parts
        self.chances: NDArray[np.float64] | None = None
        self.loss_weights: NDArray[np.float32] | None = None
        self.counts: dict[str, Any] = {}
        self.dropped: dict[str, int] = {}
        self._tensors: _Tensors | None = None

    def prepare_data(self) -> None:
        """Draws the demo faces if they are wanted and not there yet."""
        if self.scale is not None:
            draw_data_sets(Path(self.root), self.scale)

    def setup(self, stage: str = "") -> None:
        """Reads, balances and splits; a second call does nothing.

        Raises:
            UserError: The data cannot be read, balanced or split as configured.
        """
        if self.counts:
            return
        self.faces = faces = Faces.concatenate(
            [cache.read(r, self.image_size, self.channels, self.on_error, self.cache_dir) for r in self.readers.values()]
        )
        rows = np.arange(len(faces))
        if self.balance.before_split:
            rows = self._balanced(faces, rows)
        parts = self.split(faces.select(rows, pictures=False), self.seed)
        self.dropped |= parts.dropped
        parts = self._only_trained_on(faces, Parts(rows[parts.train], rows[parts.val], rows[parts.test], {}))
        if not self.balance.before_split:
            parts = replace(parts, train=self._balanced(faces, parts.train))
        self.parts = _disjoint(parts)
        self.counts = {"found": faces.counts()}
        if self.balance.before_split:
            self.counts["balanced"] = faces.counts(rows)
        self.counts |= {part: faces.counts(rows) for part, rows in parts.rows.items()}

    def _balanced(self, faces: Faces, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        selection: Selection = self.balance(faces.select(rows, pictures=False), self.seed)
        self.dropped |= selection.dropped
        self.chances, self.loss_weights = selection.chances, selection.loss_weights
        return rows[selection.rows]

    def _only_trained_on(self, faces: Faces, parts: Parts) -> Parts:
        if set(self.train_on) == set(self.readers):
            return parts
        wanted = faces.table["source"].isin(self.train_on).to_numpy()
        train, val = parts.train[wanted[parts.train]], parts.val[wanted[parts.val]]
        for name, rows in (("train", train), ("validate", val)):
            if not len(rows):
                raise UserError(f"data.train_on={self.train_on}: these data sets have no face to {name} on: choose others")
        self.dropped["of data sets that only test"] = len(parts.train) + len(parts.val) - len(train) - len(val)
        return replace(parts, train=train, val=val)

    @property
    def training(self) -> pd.DataFrame:
        """Who and what training and the choice of weights see: the columns `fer.data.audit.SEEN_BY`, a row per face."""
        return self.faces.table.iloc[np.concatenate([self.parts.train, self.parts.val])][list(SEEN_BY)]

    @property
    def test_sets(self) -> dict[str, NDArray[np.int64]]:
        """Rows of each test set: one per data set that has test faces, smallest first."""
        source = self.faces.table["source"].to_numpy()[self.parts.test]
        return {str(name): self.parts.test[source == name] for name in self.counts["test"].index}

    @property
    def digest(self) -> str:
        """Digest of every face's pixels and class in each part, in order: equal for equal data only."""
        whole = hashlib.blake2b(digest_size=16)
        keys = (self.faces.table["digest"] + ":" + self.faces.table["emotion"].astype(str)).to_numpy()
        for part, rows in self.parts.rows.items():
            whole.update(f"{part} {' '.join(keys[rows])}\n".encode())
        return whole.hexdigest()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Serves the training part in a new order every epoch."""
        return self._loader(self.parts.train, self.batch_size, training=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Serves the validation part."""
        return self._loader(self.parts.val, self.eval_batch_size)

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Serves each of `test_sets` in a loader of its own.

        Raises:
            UserError: It is asked for while a network is being trained.
        """
        if self.trainer and self.trainer.state.fn == "fit":
            raise UserError("test faces were asked for during training: nothing may be chosen by them; use validation faces")
        return [self._loader(rows, self.eval_batch_size) for rows in self.test_sets.values()]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments a training batch where the network is."""
        if isinstance(self.augment, BatchAugmentation) and self.trainer and self.trainer.training:
            return batch._replace(images=self.augment(batch.images, batch.row, (self.seed, self.trainer.current_epoch)))
        return batch

    def _loader(self, rows: NDArray[np.int64], batch_size: int, training: bool = False) -> DataLoader[Batch]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        each = self.augment if training and isinstance(self.augment, Augmentation) else None
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if self._tensors is None:
            self._tensors = _Tensors.of(self.faces)
            if device.type == "cuda" and not isinstance(self.augment, Augmentation) and self._fits(device):
                self._tensors = self._tensors.to(device)
        place = self._tensors.images.device
        workers = self.workers if place.type == "cpu" else 0
        chances = self.chances if training else None
        return DataLoader(
            FacesDataset(self._tensors, torch.from_numpy(rows).to(place), each, self.seed),
            sampler=BatchSampler(len(rows), batch_size, training, self.seed, rank, world, chances, place),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda" and place.type == "cpu",
            # Lightning would seed workers from, and Python's default base seed advance, the global generator,
            # and with it every dropout mask after it.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _fits(self, device: torch.device) -> bool:
        return self.resident if self.resident is not None else 2 * self.faces.images.nbytes < torch.cuda.mem_get_info(device)[0]


def _disjoint(parts: Parts) -> Parts:
    """Gives the parts back; a row on two sides is a defect of the split, which must not go unseen."""
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = np.intersect1d(getattr(parts, one), getattr(parts, other))
        if len(both):
            raise ValueError(f"the split put {len(both)} faces, the first in row {both[0]}, into {one} and {other}")
    return parts


class _Tensors(NamedTuple):
    """`Faces` as tensors on one device: uint8 (N, H, W[, 3]), int64 (N,), and votes, float32 (N, 7), or None."""

    images: Tensor
    emotion: Tensor
    votes: Tensor | None

    @classmethod
    def of(cls, faces: Faces) -> _Tensors:
        """Shares the memory of faces on the CPU."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*not writable.*")  # the cache is mapped for reading, and only read here
            images, emotion = torch.from_numpy(faces.images), torch.from_numpy(faces.emotion)
            return cls(images, emotion, None if faces.votes is None else torch.from_numpy(faces.votes))

    def to(self, device: torch.device) -> _Tensors:
        """Copies them to a device."""
        votes = None if self.votes is None else self.votes.to(device)
        return _Tensors(self.images.to(device), self.emotion.to(device), votes)


class FacesDataset(Dataset[Batch]):
    """Batches of some faces: an item is a whole batch, taken by one index selection on the device where they lie.

    Args:
        faces: All of them.
        rows: Rows to serve, int64 (N,), on the same device.
        augment: Changes each face, on the CPU; None leaves them as they are.
        seed: Seed of the changes.
    """

    def __init__(self, faces: _Tensors, rows: Tensor, augment: Augmentation | None, seed: int) -> None:
        self.faces, self.rows, self.augment, self.seed = faces, rows, augment, seed

    def __getitem__(self, batch: tuple[int, Tensor]) -> Batch:
        """Gives one batch for (epoch, positions in `rows`)."""
        epoch, positions = batch
        rows = self.rows[positions]
        images = self.faces.images.index_select(0, rows)
        if self.augment:
            pictures = images.numpy()
            for place, row in enumerate(rows.tolist()):
                pictures[place] = self.augment(pictures[place], (self.seed, epoch, row))
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        emotion = self.faces.emotion[rows]
        return Batch(images, emotion, rows, emotion if self.faces.votes is None else self.faces.votes[rows])


class BatchSampler(Sampler[tuple[int, Tensor]]):
    """Positions of each batch, int64 (B,), the same for the same seed and epoch whatever came before.

    In training every process gets the same number of batches, the last few positions being used twice if need be; in
    evaluation every position belongs to exactly one process.

    Args:
        size: Number of positions.
        batch_size: Positions per batch. A last batch of a single position joins the one before, since
            batch normalisation cannot train on one face.
        training: Whether to draw a new order every epoch.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
        chances: Probability of each position at every draw of a training epoch, which then draws with replacement;
            None draws each position once.
        device: Where the positions are wanted; they go there once an epoch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        training: bool,
        seed: int,
        rank: int = 0,
        world: int = 1,
        chances: NDArray[np.float64] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.size, self.batch_size, self.training, self.seed = size, batch_size, training, seed
        self.rank, self.world, self.chances, self.device = rank, world, chances, device
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next (Lightning calls it)."""
        self.epoch = epoch

    def _share(self) -> int:
        return -(-self.size // self.world) if self.training else len(range(self.rank, self.size, self.world))

    def __len__(self) -> int:
        share = self._share()
        full, rest = divmod(share, self.batch_size)
        alone = self.training and rest == 1 and full > 0 and self.batch_size > 1
        return full + (rest > 0 and not alone)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        positions = np.arange(self.size)
        if self.training:
            rng = np.random.default_rng([self.seed, 3, self.epoch])
            if self.chances is None:
                rng.shuffle(positions)
            else:
                positions = rng.choice(self.size, self.size, p=self.chances)
            positions = np.resize(positions, self._share() * self.world)
        mine = torch.from_numpy(np.ascontiguousarray(positions[self.rank :: self.world])).to(self.device)
        for at in range(count := len(self)):
            end = len(mine) if at == count - 1 else (at + 1) * self.batch_size
            yield self.epoch, mine[at * self.batch_size : end]
