"""Networks: what the trained weights of runs make of test images, by their model's forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from weightscape import models
from weightscape.models import Model
from weightscape.storage.images import open_dataset
from weightscape.storage.shards import Shard

Parameters = dict[str, np.ndarray]
"""Name, as fc1.weight -> array, of one run."""


class Shown(NamedTuple):
    """Some images of the test split."""

    images: np.ndarray
    """(n, channels, height, width) uint8"""
    labels: np.ndarray
    """(n,)"""
    classes: int


NO_IMAGES = Shown(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int64), 2)


def read_test_images(dataset: Path | None, most: int) -> Shown:
    """At most so many test images, spread evenly over the split: its order may have a trend.

    Without a dataset, as of imports, there are none.
    """
    if dataset is None:
        return NO_IMAGES
    with open_dataset(dataset) as file:
        n = len(file["test/labels"])
        rows = np.arange(min(n, most)) * n // max(min(n, most), 1)
        images, labels = (file[f"test/{name}"][()][rows] for name in ("images", "labels"))
        return Shown(images, labels, int(file.attrs["classes"]))


def is_known(model: str) -> bool:
    """Whether networks of a family can be built: not so of imports, and of files that are gone."""
    return model in models.families()


def build_network(shard: Shard, shown: Shown) -> Model:
    """The network of a shard's runs, of a family that is known."""
    header, (channels, height, breadth) = shard.header, shown.images.shape[1:]
    options, shape = header.recipe.get("options", {}), (channels, height, breadth)
    return models.build(header.model, header.width, shape, shown.classes, options)


def read_parameters(network: Model, shard: Shard, row: int, epoch: int) -> Parameters:
    """All parameters of one run after an epoch."""
    own = [f"{layer.name}.{kind}" for layer in network.layers for kind in ("weight", "bias")]
    return {name: shard.parameter(epoch, name, row) for name in (*own, *network.auxiliary)}


def answer(
    network: Model, parameters: Parameters, images: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of images (batch, channels, height, width) uint8 the logits (batch, classes), and the outputs
    (batch, ..., units) of each layer that a ReLU follows."""
    with np.errstate(over="ignore", invalid="ignore"):  # as torch has it
        return network.answer(parameters, images)
