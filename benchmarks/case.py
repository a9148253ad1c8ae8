"""What is trained in a benchmark, and what trains it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weightscape import models, study
from weightscape.engine import training
from weightscape.engine.stack import Split, Stack
from weightscape.engine.streams import RunKey
from weightscape.models import Model
from weightscape.storage.images import load
from weightscape.study.config import check

BATCH, LEARNING_RATE = 100, 0.001  # Table 1, as in the recipe below, for the peers
STACKED = 8  # networks side by side, under the peers' vmap


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


def make_recipe(model: str, width: str, **options: Any) -> dict[str, Any]:
    """The recipe of a study that leaves all but a model's options at the defaults: Table 1."""
    population = {
        "model": model,
        "dataset": "digits",
        "widths": [width],
        "seeds": 1,
        "options": options,
    }
    config = check({"study": "speed", "populations": [population]})
    return study.recipe(config, study.populations(config)[0])


def make_case(model: str, dataset: Path, width: str, **options: Any) -> Case:
    prepared, recipe = load(dataset), make_recipe(model, width, **options)
    network = models.build(model, width, prepared.shape, prepared.classes, recipe["options"])
    return Case(network, model, prepared.name, width, *prepared.train)


def make_stack(case: Case, runs: int = 1, device: str = "cpu") -> Stack:
    """Runs as a training job makes them; on a GPU fewer where its memory ends."""
    split = Split(case.images, case.labels)
    recipe = make_recipe(case.model, case.width, **case.network.options)
    if device != "cpu":
        from weightscape.engine.memory import runs_at_once

        runs = min(runs, runs_at_once(case.network, recipe, split, None))
    keys = [RunKey(case.model, case.dataset, case.width, seed) for seed in range(runs)]
    return training.make_stack(case.network, keys, split, recipe, device)


def parse(doc: str) -> argparse.ArgumentParser:
    """The command line that all benchmarks have."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("datasets", type=Path, help="folder of prepared datasets (*.h5)")
    parser.add_argument("out", type=Path, help="CSV file to write")
    return parser
