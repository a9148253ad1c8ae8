"""Similarity: whether two runs represent the test images alike, by linear CKA of hidden layers.

CKA (Kornblith, Norouzi, Lee, Hinton 2019) of two layers is HSIC(a, b) / sqrt(HSIC(a, a) HSIC(b, b))
of their outputs' Gram matrices over images: 1 if one is a rotation and scaling of the other,
whatever the number of units. HSIC is the unbiased estimate (Song et al. 2012), which is 0 for
unrelated layers however wide they are, as a mean over minibatches (Nguyen, Raghu, Kornblith 2021).

The unbiased HSIC is the inner product of two Gram matrices that are centred in such a way that
their diagonal does not count (Szekely and Rizzo 2014). So the upper triangles of all runs are the
rows of one matrix, and its product with itself has all pairs of runs.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.measures.layer import is_moderate
from weightscape.measures.networks import (
    Shown,
    answer,
    build_network,
    is_known,
    read_parameters,
    read_test_images,
)
from weightscape.measures.pairs import pairs_of_groups
from weightscape.measures.runs.purity import Settings, compare_high
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS, runs_in
from weightscape.storage.directions import add_directions, add_runs, write_directions
from weightscape.storage.shards import Shard, open_shard

HEAD = MeasureHead(
    reads=("runs", "grouping", "images", "shards"),
    tables={
        "similarity": Table(
            row=(
                "layer, weights and two groups: how alike two runs represent the test images "
                "(linear CKA), with its interval (cka_low, cka_high)"
            ),
            keys=("model", "dataset", "layer"),
            columns={
                "weights": "final weights, or initial ones, which are the null",
                "group_a": "group of one run of each pair, by its final accuracy",
                "group_b": "group of the other run",
                "widths": "which pairs count: of the same width, of an other width, or all",
                "n_runs": "runs that are in at least one pair",
                "n_pairs": "pairs of two runs that the mean is over",
                "cka": (
                    "debiased linear CKA of the layer's outputs, after the ReLU, mean over the "
                    "pairs; 1 alike but for rotation and scale, about 0 unrelated"
                ),
                "cka_low": (
                    "lower end of the 95 % bootstrap interval of cka, over runs; empty with fewer "
                    "than 5 runs on a side"
                ),
                "cka_high": "upper end of the 95 % bootstrap interval of cka",
            },
            texts=("weights", "group_a", "group_b", "widths"),
        ),
        "similarity_purity": Table(
            row=(
                "layer: whether runs of the group high represent the test images more like each "
                "other than like those of low and mid"
            ),
            keys=("model", "dataset", "layer"),
            columns={
                "edges": (
                    "which edges make the groups: as set (groups.edges), or other, as in "
                    "grouping.csv"
                ),
                "widths": "all, or without the smallest",
                "n": "runs of low, mid and high that are compared, by their final weights",
                "neighbours": (
                    "runs of the highest CKA that are looked at, as in purity.csv; 0 with fewer "
                    "than two groups"
                ),
                "purity": (
                    "mean over the runs of the group high of the share of their neighbours that "
                    "are high, from 0 to 1"
                ),
                "purity_low": "lower end of the 95 % bootstrap interval of purity, over runs",
                "purity_high": "upper end of the 95 % bootstrap interval of purity, over runs",
                "shuffled": "mean purity when the groups are shuffled among all n runs",
                "p": "(1 + shuffles at least as pure) / (1 + shuffles), of all n runs",
                "p_less": "(1 + shuffles at most as pure) / (1 + shuffles), of all n runs",
                "shuffled_within_width": "mean purity when shuffled among runs of one width",
                "p_within_width": "as p, of groups shuffled among the runs of each width only",
                "p_less_within_width": "as p_less, of groups shuffled likewise",
            },
            texts=("edges", "widths"),
        ),
    },
    files=("similarity.h5",),
    settings={
        "neighbours": "projection.neighbours",
        "shuffles": "projection.shuffles",
    },
    cost="pairs",
)

log = logging.getLogger(__name__)

IMAGES = {"final": 10_000, "initial": 2560}
"""Of the test split at most; of the null a quarter, as its mean needs no more."""
BATCH = 256  # images of a Gram matrix
FEWEST_IMAGES = 4  # the unbiased estimate divides by m - 3
ROUNDING = 1e-6  # of float32, relative to the largest product
BLOCK_BYTES = 2**29  # of Gram matrices at a time


def make(job: Job) -> None:
    images, settings = job.path_or_none("images"), Settings(**job.settings)
    kept = job.output("similarity.h5")
    job.write(**measure(job.shards, job.runs_regrouped, images, settings, kept))


def measure(
    shards: list[str], runs: pd.DataFrame, dataset: Path | None, settings: Settings, kept: Path
) -> dict[str, pd.DataFrame]:
    """The tables `similarity` and `similarity_purity` of the runs of the table `runs`.

    What the runs make of a first minibatch is written to `kept`, for comparisons of families.
    Without a `dataset` they are empty, and of a family that is not known here or tells no layers'
    outputs. Runs whose weights are not finite or huge are left out, and a run of which all images
    make a layer's outputs equal is left out there.
    """
    pair, rows, purities = runs[KEYS[:2]].iloc[0].to_dict(), [], []
    shown = {weights: read_test_images(dataset, most) for weights, most in IMAGES.items()}
    layers = find_layers(runs, shown["final"])
    with write_directions(kept, pair["model"], pair["dataset"], layers) as file:
        for weights in IMAGES if layers else ():
            with threadpool_limits(1):  # of small products a second thread would make slow ones
                members, between = compare(shards, runs, shown[weights], layers, weights, file)
            for layer, similar in between.items():
                known = ~np.isnan(similar.diagonal())
                if not known.all():
                    why = "their weights are not finite or huge, or all images look alike to it"
                    told = (~known).sum(), len(known), layer, weights, why
                    log.warning("%d of %d runs are left out of %s, %s weights: %s", *told)
                known_pairs = similar[np.ix_(known, known)]
                for pairs in pairs_of_groups(members[known]):
                    of = {"layer": layer, "weights": weights, **pairs.names}
                    rows.append(pair | of | pairs.mean_with_interval("cka", known_pairs))
                if weights == "final":
                    found = compare_high(1 - known_pairs, members[known], settings)
                    purities += [pair | {"layer": layer} | row for row in found]
    found_rows = {"similarity": rows, "similarity_purity": purities}
    return {
        name: pd.DataFrame(found_rows[name], columns=table.names)
        for name, table in HEAD.tables.items()
    }


def find_layers(runs: pd.DataFrame, shown: Shown) -> list[str]:
    """The layers that a ReLU follows; none where their outputs can't be told, as the log says."""
    model, layers = runs["model"].iloc[0], list[str]()
    if len(shown.images) >= FEWEST_IMAGES and is_known(model):
        with open_shard(runs["shard"].iloc[0]) as shard:
            network = build_network(shard, shown)
            parameters = read_parameters(network, shard, 0, shard.header.final_epoch)
            layers = list(answer(network, parameters, shown.images[:1])[1])
    if not layers:
        log.info("%s tells no layers' outputs of test images: no run is compared by them", model)
    return layers


def compare(
    shards: list[str],
    runs: pd.DataFrame,
    shown: Shown,
    layers: list[str],
    weights: str,
    kept: h5py.File,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """KEYS and group of the runs in the shards' order, and the CKA (n, n) of each layer: NaN with a
    run that is left out.

    In memory are triangles of BLOCK_BYTES, or those of one minibatch and layer of all runs; the
    runs are read once for each such block. What they make of the first minibatch is `kept`.
    """
    n, n_batches = len(runs), -(-len(shown.images) // BATCH)
    batches = [shown.images[batch::n_batches] for batch in range(n_batches)]
    parts = [(batch, layer) for batch in range(n_batches) for layer in layers]
    size = max(1, BLOCK_BYTES // (2 * n * BATCH**2))
    sums = {layer: np.zeros((n, n)) for layer in layers}
    with Progress(f"{weights} weights", n * -(-len(parts) // size)) as progress:
        for first in range(0, len(parts), size):
            block = {p: Triangles.of(n, len(batches[p[0]])) for p in parts[first : first + size]}
            used = {batch: batches[batch] for batch, _ in block}
            keys: list[dict[str, Any]] = []
            for shard, row, run in runs_in(shards, runs):
                for part, outputs in read_outputs(shard, row, weights, shown, used):
                    if part in block:
                        block[part].put(len(keys), outputs)
                keys.append(run)
                progress.add()
            for part in list(block):  # each is let go before there is room for the next ones
                triangles = block.pop(part)
                sums[part[1]] += triangles.products()
                if part[0] == 0:
                    known = triangles.lengths > 0
                    add_directions(kept, weights, part[1], triangles.directions, known)
    if "width" not in kept:
        add_runs(kept, keys)
    members = pd.DataFrame(keys).merge(runs[[*KEYS, "group", "other_group"]], on=KEYS, how="left")
    return members, {layer: normalise(products) for layer, products in sums.items()}


def read_outputs(
    shard: Shard, row: int, weights: str, shown: Shown, batches: dict[int, np.ndarray]
) -> Iterator[tuple[tuple[int, str], np.ndarray]]:
    """Minibatch and layer, and the layer's outputs, of a run whose weights are moderate."""
    network = build_network(shard, shown)
    epoch = shard.header.final_epoch if weights == "final" else 0
    parameters = read_parameters(network, shard, row, epoch)
    if all(map(is_moderate, parameters.values())):
        for batch, images in batches.items():
            for layer, outputs in answer(network, parameters, images)[1].items():
                yield (batch, layer), outputs


class Triangles(NamedTuple):
    """Centred Gram matrices of n runs over the m images of a minibatch."""

    directions: np.ndarray
    """(n, m (m - 1) / 2) float32: upper triangles, each of length 1"""
    lengths: np.ndarray
    """(n,) float64: roots of the HSIC of each run with itself; NaN without finite outputs"""

    @classmethod
    def of(cls, n: int, m: int) -> Triangles:
        return cls(np.zeros((n, m * (m - 1) // 2), np.float32), np.full(n, np.nan))

    def put(self, run: int, outputs: np.ndarray) -> None:
        self.directions[run], self.lengths[run] = triangle(outputs)

    def products(self) -> np.ndarray:
        """(n, n) float64: the unbiased HSIC of each two runs."""
        cosines = self.directions @ self.directions.T
        found: np.ndarray = cosines * self.lengths * self.lengths[:, None]
        return found


def triangle(outputs: np.ndarray) -> tuple[np.ndarray, float]:
    """Direction and length of the centred Gram matrix of outputs (m, ...), above its diagonal; the
    length as the root of the unbiased HSIC, over m (m - 3) / 2.

    k_ij - sum_l k_il / (m - 2) - sum_l k_lj / (m - 2) + sum_lk k_lk / ((m - 1)(m - 2)), for a k of
    which the diagonal is 0. A shift of the outputs does not change it: they are first told from the
    first image's, so that outputs that are equal have a length of exactly 0.
    """
    m = len(outputs)
    with np.errstate(invalid="ignore"):  # infinity from infinity
        flat = outputs.reshape(m, -1) - outputs[:1].reshape(1, -1)
    scale = float(np.abs(flat).max(initial=0))
    if not 0 < scale < np.inf:
        return np.zeros(m * (m - 1) // 2, np.float32), 0.0 if scale == 0 else np.nan
    flat /= scale
    flat -= flat.mean(0)
    gram = flat @ flat.T
    np.fill_diagonal(gram, 0)
    largest = float(np.abs(gram).max())
    sums = gram.sum(0) / (m - 2)
    gram -= sums - sums.sum() / (m - 1)
    gram -= sums[:, None]
    direction = gram.take(_above_diagonal(m))
    length = float(np.linalg.norm(direction))
    # as where one image alone moves the outputs: what is left is rounding, and no direction
    if length <= ROUNDING * largest * m:
        return np.zeros_like(direction), 0.0
    direction /= length
    return direction, length * scale**2 / math.sqrt(m * (m - 3) / 2)


@functools.cache
def _above_diagonal(m: int) -> np.ndarray:
    """Places of the upper triangle in a matrix (m, m) that is read row by row."""
    return np.ravel_multi_index(np.triu_indices(m, 1), (m, m))


def normalise(products: np.ndarray) -> np.ndarray:
    """CKA from HSIC."""
    lengths = np.sqrt(products.diagonal())
    with np.errstate(invalid="ignore"):
        found: np.ndarray = products / np.outer(lengths, lengths)
    return found
