"""Barrier: how much worse networks on the straight line between two runs are than its ends.

Each run is joined to the best run of its width, with its nodes as they are, and in the order that
matches the best run's (matching). If two runs lie in one basin but for the order of their nodes,
the matched barrier is 0 (Entezari et al. 2022; Ainsworth, Hayase, Srinivasa 2023).

The barrier of a loss L is the maximum over t of L((1 - t) a + t b) - ((1 - t) L(a) + t L(b)), over
all parameters of the networks. It is taken over seven points: the ends, where it is 0, and five
between them, so that the middle is one, near which barriers of two runs of like loss are highest.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.measures.layer import is_moderate, tell_left_out
from weightscape.measures.networks import (
    Parameters,
    Shown,
    answer,
    build_network,
    is_known,
    read_parameters,
    read_test_images,
)
from weightscape.measures.runs.matching import (
    Orders,
    best_run,
    read_orders,
    reorder,
    reorder_bias,
)
from weightscape.messages.progress import Progress
from weightscape.models import Model
from weightscape.runs.collecting import runs_in
from weightscape.storage.shards import Shard, open_shard

HEAD = MeasureHead(
    reads=("runs", "matching.h5", "images", "shards"),
    tables={
        "barrier": Table(
            row=(
                "run but the best of its width: how much worse networks on the straight line to "
                "the best one are, before and after its nodes are matched"
            ),
            keys=("model", "dataset", "width", "seed", "group"),
            columns={
                "reference_seed": (
                    "seed of the run at the other end: the width's best by final test accuracy, "
                    "to which nodes are matched"
                ),
                "n_images": "test images that losses and errors are means over",
                "loss_barrier": (
                    "highest test loss on the line above the straight line between the losses of "
                    "its ends, over 7 points, nodes as they are (nats per image)"
                ),
                "matched_loss_barrier": (
                    "the same with the run's nodes in the order that best matches the other run; "
                    "empty for a model that tells no links"
                ),
                "error_barrier": (
                    "highest test error on the line above the straight line between the errors "
                    "of its ends, nodes as they are (percentage points)"
                ),
                "matched_error_barrier": "the same with matched nodes",
            },
        ),
    },
    cost="shards",
)

log = logging.getLogger(__name__)

IMAGES = 2000  # of the test split at most
BATCH = 250  # images at a time
POINTS = np.linspace(0, 1, 7)


def make(job: Job) -> None:
    shards, images, matching = job.shards, job.path_or_none("images"), job.path("matching.h5")
    job.write(barrier=measure(shards, job.runs, images, matching))


def measure(
    shards: list[str], runs: pd.DataFrame, dataset: Path | None, matching: Path
) -> pd.DataFrame:
    """The table `barrier` of the runs of the table `runs`, with `matching` as matching.h5.

    It is empty without a `dataset`, and of a family that is not known here. Where the weights of a
    run, or of the best of its width, are not finite or huge, barriers are NaN. In memory are two
    runs, and what a network makes of BATCH images.
    """
    model, columns = runs["model"].iloc[0], HEAD.tables["barrier"].written
    shown = read_test_images(dataset, IMAGES)
    if not len(shown.labels) or not is_known(model):
        log.info("%s answers no test images here, so no run has a barrier", model)
        return pd.DataFrame(columns=columns)
    rows, left_out = [], []
    with Progress("barriers", len(runs)) as progress, threadpool_limits(1):
        for run, found in _barriers(shards, runs, shown, matching):
            if found is not None:
                rows.append(run | found | {"n_images": len(shown.labels)})
                if math.isnan(found["loss_barrier"]):
                    left_out.append(f"{run['width']}, seed {run['seed']}")
            progress.add()
    tell_left_out(log, "barriers, or the best run of their width is not", left_out, len(runs))
    return pd.DataFrame(rows, columns=columns)


def _barriers(
    shards: list[str], runs: pd.DataFrame, shown: Shown, matching: Path
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each run with its reference and barriers; the reference of a width with none."""
    best = {str(width): best_run(of_width) for width, of_width in runs.groupby("width")}
    width = ""
    for shard, row, run in runs_in(shards, runs):
        reference = best[run["width"]]
        if run["width"] != width:
            width = run["width"]
            orders = read_orders(matching, width, shard.links)
            with open_shard(reference.shard) as other:
                end = read_end(other, other.seeds.index(reference.seed), shown)
        if run["seed"] == reference.seed:
            yield run, None
            continue
        order = orders[run["seed"]] if shard.links else None
        found = describe(read_end(shard, row, shown), end, order, shown)
        yield run, {"reference_seed": reference.seed, **found}


class End(NamedTuple):
    """A run at one end of a line."""

    network: Model
    parameters: Parameters
    score: np.ndarray
    """(2,): loss (nats per image) and error (%) of the test images"""


def read_end(shard: Shard, row: int, shown: Shown) -> End | None:
    """A run by its final weights; None where they are not finite or huge."""
    network = build_network(shard, shown)
    parameters = read_parameters(network, shard, row, shard.header.final_epoch)
    if not all(map(is_moderate, parameters.values())):
        return None
    return End(network, parameters, score(network, parameters, shown))


def score(network: Model, parameters: Parameters, shown: Shown) -> np.ndarray:
    """(2,): mean cross-entropy (nats) and error (%)."""
    sums = np.zeros(2)
    for first in range(0, len(shown.labels), BATCH):
        labels = shown.labels[first : first + BATCH]
        logits, _ = answer(network, parameters, shown.images[first : first + BATCH])
        right = logits[np.arange(len(labels)), labels].astype(np.float64)
        top = logits.max(1)
        with np.errstate(invalid="ignore"):  # of logits that are infinite
            total = np.exp(logits - top[:, None]).sum(1, dtype=np.float64)
            losses = top + np.log(total) - right
        sums += losses.sum(), 100 * (logits.argmax(1) != labels).sum()
    found: np.ndarray = sums / len(shown.labels)
    return found


def describe(
    run: End | None, reference: End | None, orders: Orders | None, shown: Shown
) -> dict[str, float]:
    """The barriers of a run, nodes as they are and in these orders; NaN where there are none."""
    as_is = matched = np.full(2, np.nan)
    if run and reference:
        as_is = barrier(run, reference, run.parameters, shown)
        if orders is not None:
            matched = barrier(run, reference, permute(run, orders), shown)
    names = ("loss_barrier", "matched_loss_barrier", "error_barrier", "matched_error_barrier")
    return dict(zip(names, np.stack([as_is, matched], 1).ravel().tolist(), strict=True))


def barrier(run: End, reference: End, parameters: Parameters, shown: Shown) -> np.ndarray:
    """(2,): barriers of loss and of error from `parameters`, which compute what the run does."""
    inside = [
        score(run.network, between(parameters, reference.parameters, t), shown)
        for t in POINTS[1:-1].tolist()
    ]
    scores = np.array([run.score, *inside, reference.score])
    straight = np.outer(1 - POINTS, run.score) + np.outer(POINTS, reference.score)
    found: np.ndarray = (scores - straight).max(0)
    return found


def between(start: Parameters, end: Parameters, t: float) -> Parameters:
    """The parameters at `t` on the straight line."""
    return {name: (1 - t) * value + t * end[name] for name, value in start.items()}


def permute(run: End, orders: Orders) -> Parameters:
    """The parameters of a run with its nodes in these orders: the same function."""
    own, names = run.parameters, [layer.name for layer in run.network.layers]
    weights = {name: own[f"{name}.weight"] for name in names}
    moved = {f"{name}.weight": reorder(name, weights, orders) for name in names}
    moved |= {f"{name}.bias": reorder_bias(name, own[f"{name}.bias"], orders) for name in names}
    return own | moved
