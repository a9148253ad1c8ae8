"""What is trained in a benchmark, and what trains it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weightscape import models
from weightscape.datasets import load
from weightscape.models import Model

BATCH, LEARNING_RATE = 100, 0.001  # Table 1
OPTIONS: dict[str, dict[str, Any]] = {
    "dnn": {},
    "cnn": {"head": "flatten"},
    "vit": {"tokens": "patches", "d_model": 784, "feedforward": 2048, "dropout": 0.1, "depth": 1},
}


class Case(NamedTuple):
    """A model of one width on real images (N, channels, height, width) uint8."""

    network: Model
    model: str
    dataset: str
    width: str
    images: np.ndarray
    labels: np.ndarray


class Contender(NamedTuple):
    """Training that goes on where it was: each call makes a step per row of (steps, BATCH)."""

    name: str
    runs: int
    train: Callable[[np.ndarray], None]


def make_case(model: str, dataset: Path, width: str, **options: Any) -> Case:
    prepared = load(dataset)
    network = models.build(model, width, prepared.shape, prepared.classes, OPTIONS[model] | options)
    return Case(network, model, prepared.name, width, *prepared.train)
