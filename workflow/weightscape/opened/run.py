"""A run: what its shard keeps of it, and the network that its weights make."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole
from weightscape.foreign.formats.safetensors import Tensor as Written
from weightscape.foreign.formats.safetensors import write_tensors
from weightscape.storage.images import open_dataset
from weightscape.storage.shards import Header, RunRecord, open_shard
from weightscape.study.catalogue import BUILTIN

if TYPE_CHECKING:
    from torch import Tensor, nn

LAST = "last"


class Run:
    """One run of a study. Arrays are read when they are first asked for."""

    def __init__(self, shard: Path, header: Header, seed: int, datasets: Path):
        """`datasets` is the folder of prepared images, which may be gone."""
        self.shard, self.header, self.seed = shard, header, seed
        self._datasets = datasets

    def __repr__(self) -> str:
        of = self.header
        return f"Run({of.model!r}, {of.dataset!r}, width={of.width!r}, seed={self.seed})"

    @cached_property
    def _record(self) -> RunRecord:
        with open_shard(self.shard) as shard:
            return shard.run(shard.seeds.index(self.seed))

    @property
    def recipe(self) -> dict[str, Any]:
        """All that determines the weights beside model, dataset, width and seed."""
        return self.header.recipe

    @property
    def epochs(self) -> list[int]:
        """Epochs after which the weights were kept; 0 is before training."""
        return sorted(self._record.snapshots)

    def weights(self, epoch: int | str = LAST) -> dict[str, np.ndarray]:
        """All parameters after an epoch, float32: `fc1.weight` (out, in), `fc1.bias` (out,) ..."""
        return self._record.snapshots[find_epoch(epoch, self.epochs, repr(self))]

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Losses (nats) and accuracies (%) on both splits; a row per epoch, the first untrained."""
        return pd.DataFrame(self._record.curves).rename_axis("epoch")

    @cached_property
    def telemetry(self) -> pd.DataFrame:
        """`dead_units/<layer>` (share) and `gradient_norm/<layer>`; a row per epoch."""
        return pd.DataFrame(self._record.telemetry).rename_axis("epoch")

    @property
    def final(self) -> dict[str, float]:
        """Losses (nats) and accuracies (%) of the final weights on the whole of each split."""
        return {name: float(value) for name, value in self._record.final.items()}

    @property
    def predictions(self) -> np.ndarray | None:
        """(test images,) the class that the final weights predict for each; None if not kept."""
        return self._record.predictions.get("test")

    def module(self, epoch: int | str = LAST) -> nn.Module:
        """The network with these weights: uint8 images (n, channels, height, width), or float ones
        in [0, 1], to logits (n, classes).

        It is without dropout, and computes what the stored predictions come from. Raises
        WeightscapeError for networks that were trained elsewhere, whose forward pass is not known,
        and of which no image's shape is known.
        """
        of, parameters = self.header, self.weights(epoch)
        if of.model not in models.families():
            raise WeightscapeError(
                f"the forward pass of {of.model} is not known here; state_dict() has its weights. "
                "If it is a model of model_files, name its file to weightscape.models.use_files"
            )
        from weightscape.opened.module import Network

        classes = len(parameters[f"{of.layers[-1]}.bias"])
        options = of.recipe.get("options", {})
        return Network(models.build(of.model, of.width, self._shape, classes, options), parameters)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        path = self._datasets / f"{self.header.dataset}.h5"
        if path.exists():
            with open_dataset(path) as file:
                channels, height, width = file["test/images"].shape[1:]
                return channels, height, width
        if self.header.dataset in BUILTIN:
            return BUILTIN[self.header.dataset].shape
        raise WeightscapeError(
            f"the shape of the images of {self.header.dataset} is not known, since {path} is not "
            "there; put it beside the study"
        )

    def state_dict(self, epoch: int | str = LAST) -> dict[str, Tensor]:
        """All parameters as tensors, by the names that `module` has for them."""
        import torch

        return {name: torch.from_numpy(value.copy()) for name, value in self.weights(epoch).items()}

    def save(self, path: Path | str, epoch: int | str = LAST) -> None:
        """All parameters to a safetensors file, with the run's names as its metadata."""
        of = self.header
        facts = {"model": of.model, "dataset": of.dataset, "width": of.width}
        facts |= {"seed": str(self.seed), "recipe_digest": of.recipe_digest}
        tensors = [
            Written(name, value.shape, value.dtype, partial(iter, [value]))
            for name, value in self.weights(epoch).items()
        ]
        with replace_whole(Path(path)) as aside:
            write_tensors(aside, tensors, facts)


def find_epoch(epoch: int | str, kept: list[int], of: str) -> int:
    """The epoch that is meant, among those whose weights were `kept`, in order; else an error that
    names what they are `of`."""
    if epoch == LAST:
        return kept[-1]
    if epoch not in kept:
        there = ", ".join(map(str, kept))
        raise WeightscapeError(f"{of} has no weights of epoch {epoch}; it has {there}")
    return int(epoch)
