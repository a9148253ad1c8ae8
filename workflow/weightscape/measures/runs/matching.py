"""Matching: each run's nodes in the order in which they best match those of a reference run.

The hidden units of a network have no order: any order of a layer's rows, with the next layer's
columns in the same order, computes the same function. Runs are matched to the best run of their
width by weight matching (Ainsworth, Hayase, Srinivasa 2023, Git Re-Basin, algorithm 1): one link's
order at a time, each an assignment problem, until none changes. Links that other maps than orders
leave alone (`is_free` false) keep their order.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import scipy

from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.measures.layer import is_moderate
from weightscape.messages.progress import Progress
from weightscape.models import Link
from weightscape.runs.collecting import runs_in
from weightscape.storage.hdf5 import read_file, write_file
from weightscape.storage.shards import Shard, open_shard
from weightscape.storage.tables import grow_table

HEAD = MeasureHead(
    reads=("runs", "shards"),
    tables={
        "matching": Table(
            row=(
                "run and layer: cosine with the best run of its width, before and after its "
                "nodes are matched"
            ),
            keys=("model", "dataset", "width", "seed", "group", "layer"),
            columns={
                "reference_seed": (
                    "seed of the run that the nodes are matched to: the width's best by final "
                    "test accuracy, however runs are grouped"
                ),
                "cosine": (
                    "cosine of the layer's final weights with the reference run's, nodes in "
                    "the order in which they are"
                ),
                "matched_cosine": (
                    "the same with the run's nodes in the order that best matches the "
                    "reference run, all layers together; empty for a model that tells no links"
                ),
            },
        ),
    },
    files=("matching.h5",),
    cost="shards",
)

log = logging.getLogger(__name__)

MATCHING_VERSION = 1
SWEEPS = 20
COLUMNS = tuple(HEAD.tables["matching"].written)

Weights = dict[str, np.ndarray]
"""Layer -> weights (out, in) or (out, in, kh, kw) of one run."""
Orders = dict[Link, np.ndarray]
"""Link -> for each place, the part of the run that is to stand there."""


def make(job: Job) -> None:
    measure(job.shards, job.runs, job.output("matching"), job.output("matching.h5"))


def match(weights: Weights, reference: Weights, links: list[Link]) -> Orders:
    """The orders of the free links' parts that bring `weights` closest to `reference`.

    Ascends the sum over layers of <ordered weights, reference>, which ends no lower than it is
    without an order. Weights keep their order if they or the reference's are not finite or huge.
    """
    free = [link for link in links if link.is_free]
    own = {link: np.arange(_parts(link, weights)) for link in free}
    if not all(is_moderate(w) for w in (*weights.values(), *reference.values())):
        return own
    orders = _ascend(weights, reference, own, set())
    if _product(weights, reference, orders) < _product(weights, reference, own):
        return _ascend(weights, reference, own, set(free))
    return orders


def _product(weights: Weights, reference: Weights, orders: Orders) -> float:
    """The sum over layers of <ordered weights, reference>."""
    return sum(
        float(np.vdot(reorder(name, weights, orders), reference[name])) for name in reference
    )


def _ascend(weights: Weights, reference: Weights, start: Orders, settled: set[Link]) -> Orders:
    """Sweeps over the links until no order changes.

    Links that are not `settled` have no order yet: the first are found by what has one already.
    """
    orders, free = dict(start), list(start)
    for _ in range(SWEEPS):
        changed = False
        for link in free:
            known = {other: orders[other] for other in settled - {link}}
            unknown = {other for other in free if other not in settled}
            gain = _gain(link, weights, reference, known, unknown)
            order = scipy.optimize.linear_sum_assignment(gain, maximize=True)[1]
            changed |= link not in settled or bool((order != orders[link]).any())
            orders[link] = order
            settled.add(link)
        if not changed:
            break
    return orders


def _parts(link: Link, weights: Weights) -> int:
    return link.parts or len(weights[link.sources[0]])


def _gain(
    link: Link, weights: Weights, reference: Weights, known: Orders, unknown: set[Link]
) -> np.ndarray:
    """(parts, parts): what it adds to the inner product if part j stands in the reference's i."""
    parts = _parts(link, weights)
    gain = np.zeros((parts, parts))
    for name in link.sources:
        theirs, ours = (
            _by_rows(w, parts) for w in (reference[name], reorder(name, weights, known))
        )
        gain += theirs @ ours.T
    if not any(link.target in other.sources for other in unknown):
        ours = reorder(link.target, weights, known)
        gain += _by_columns(reference[link.target], parts) @ _by_columns(ours, parts).T
    return gain


def _by_rows(weight: np.ndarray, parts: int) -> np.ndarray:
    """(parts, weights that come into a part)."""
    return weight.reshape(parts, -1)


def _by_columns(weight: np.ndarray, parts: int) -> np.ndarray:
    """(parts, weights that read a part)."""
    return weight.reshape(len(weight), parts, -1).swapaxes(0, 1).reshape(parts, -1)


def reorder(name: str, weights: Weights, orders: Orders) -> np.ndarray:
    """The weights of a layer with its rows and columns in these orders."""
    weight = weights[name]
    for link, order in orders.items():
        if name in link.sources:
            weight = _rows_in_order(weight, order)
        if name == link.target:
            columns = weight.reshape(len(weight), len(order), -1)
            weight = columns[:, order].reshape(weight.shape)
    return weight


def reorder_bias(name: str, bias: np.ndarray, orders: Orders) -> np.ndarray:
    """The biases (out,) of a layer with its rows in these orders."""
    for link, order in orders.items():
        if name in link.sources:
            bias = _rows_in_order(bias, order)
    return bias


def _rows_in_order(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Values of the shape (out, ...), whose rows fall into as many equal parts as the order has."""
    parts = values.reshape(len(order), -1, *values.shape[1:])
    ordered: np.ndarray = parts[order].reshape(values.shape)
    return ordered


def measure(shards: list[str], runs: pd.DataFrame, table: Path, orders_file: Path) -> None:
    """Match the runs of the table `runs` and write `table` (COLUMNS) and the orders (HDF5).

    The reference of a width is its run of the highest final test accuracy. The file holds,
    per width, `<width>/seed` (runs,) and `<width>/<sources>` (runs, parts) int32 for each link;
    cosines are with the reference's layer, before and after. Where it is not told which layers read
    which, no run is matched.
    """
    references = {str(w): best_run(of_width) for w, of_width in runs.groupby("width")}
    n_runs = runs["width"].value_counts()
    loaded: dict[str, Weights] = {}
    done: dict[str, int] = dict.fromkeys(references, 0)
    attributes = {"format_version": MATCHING_VERSION, **runs[["model", "dataset"]].iloc[0]}
    with (
        grow_table(table, COLUMNS) as add,
        write_file(orders_file, attributes) as file,
        Progress("matching", len(runs)) as progress,
    ):
        for shard, row, run in runs_in(shards, runs):
            width, best = run["width"], references[run["width"]]
            if width not in loaded:
                loaded = {width: _read_reference(best)}
            ours, theirs = read_weights(shard, row), loaded[width]
            orders = match(ours, theirs, shard.links)
            place = done[width], n_runs[width]
            _store(file.require_group(width), *place, run["seed"], orders)
            done[width] += 1
            compared = _compare(ours, theirs, orders if shard.links else None)
            add([{**run, "reference_seed": best.seed, **row} for row in compared])
            progress.add()
    if not shard.links:
        log.info("%s tells no links between its layers, so that no run is matched", run["model"])


def _compare(ours: Weights, theirs: Weights, orders: Orders | None) -> Iterator[dict[str, Any]]:
    """COLUMNS of each layer but the run's own: cosines with the reference, before and after."""
    for name in ours:
        matched = math.nan
        if orders is not None:
            matched = _cosine(reorder(name, ours, orders), theirs[name])
        yield {
            "layer": name,
            "cosine": _cosine(ours[name], theirs[name]),
            "matched_cosine": matched,
        }


def _store(group: h5py.Group, row: int, n_runs: int, seed: int, orders: Orders) -> None:
    arrays = {_name(link): order for link, order in orders.items()}
    for name, values in {"seed": np.array(seed), **arrays}.items():
        if name not in group:
            group.create_dataset(name, (n_runs, *values.shape), np.int32)
        group[name][row] = values


def _name(link: Link) -> str:
    return "+".join(link.sources)


class Reference(NamedTuple):
    shard: str
    seed: int


def best_run(runs: pd.DataFrame) -> Reference:
    """Of the runs of one width, the one that the others are matched to."""
    accuracy = runs["test_accuracy"].fillna(-1)
    best = runs.iloc[int(accuracy.to_numpy().argmax())]
    return Reference(best["shard"], int(best["seed"]))


def _read_reference(reference: Reference) -> Weights:
    with open_shard(reference.shard) as shard:
        return read_weights(shard, shard.seeds.index(reference.seed))


def read_weights(shard: Shard, row: int) -> Weights:
    """The final weights of one run."""
    last = shard.header.final_epoch
    return {name: shard.weight(last, name, row) for name in shard.header.layers}


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    a, b = (w.ravel().astype(np.float64) for w in (ours, theirs))
    norms = math.sqrt((a @ a) * (b @ b))
    return float(a @ b) / norms if norms else math.nan


def read_orders(path: Path, width: str, links: list[Link]) -> dict[int, Orders]:
    """Seed -> the orders of each matched run of a width, whose links are `links`."""
    with read_file(path, "the matching", MATCHING_VERSION, "delete it and run again") as file:
        group = file[width]
        orders = {link: group[_name(link)][()] for link in links if link.is_free}
        seeds = group["seed"][()].tolist()
    return {
        seed: {link: rows[row] for link, rows in orders.items()} for row, seed in enumerate(seeds)
    }
