"""Projection: t-SNE of the weights of one layer, a point per run (paper, Figures 11-13).

Weight vectors of unequal widths have unequal lengths, and the paper does not say what it did. There
are four embeddings:

- `width`: one embedding per width, of the weights as they are;
- `matched`: the same with each run's nodes in the order that matches a reference run (matching);
- `padded`: all widths together, each layer in the corner of the largest and zeros elsewhere, as the
  paper may have done: runs of unequal widths are then apart by construction;
- `quantiles`: all widths together by QUANTILES quantiles of the layer's weights, whose distance is
  the 2-Wasserstein distance between the two runs' distributions of weights.

Groups are compared in the space that t-SNE starts from, by the measure `purity`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.heads import MeasureHead, Table
from weightscape.measures.distances import Vectors, distances
from weightscape.measures.job import Job
from weightscape.measures.layer import LayerWeights, is_moderate, tell_left_out
from weightscape.measures.runs.nulls import FINAL, weights_of
from weightscape.measures.vectors import Matched, Run, vectors_of
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS, check_found
from weightscape.storage.shards import Shard, read_population
from weightscape.storage.tables import grow_table

HEAD = MeasureHead(
    reads=("runs", "matching.h5", "shards"),
    tables={
        "projection": Table(
            row="run, layer and map: place in the t-SNE map, and the map's trustworthiness",
            keys=("model", "dataset", "width", "seed", "group", "layer"),
            columns={
                "embedding": (
                    "vectors that t-SNE starts from: width, matched (nodes in matched order), "
                    "padded (with zeros), quantiles (of the weights)"
                ),
                "perplexity": (
                    "perplexity of t-SNE (runs), about the number of neighbours that count"
                ),
                "repeat": "number of the random start, from 0",
                "x": "first coordinate of the run in the t-SNE map, without a unit",
                "y": "second coordinate of the run in the t-SNE map",
                "trustworthiness": (
                    "how far nearest neighbours in the map are also near in the original "
                    "space, up to 1; of the whole map (Venna and Kaski 2001)"
                ),
                "kl_divergence": (
                    "Kullback-Leibler divergence that t-SNE reached for the whole map (nats); "
                    "lower is better"
                ),
            },
            texts=("embedding",),
        ),
    },
    settings={
        "perplexities": "projection.perplexities",
        "repeats": "projection.repeats",
        "neighbours": "projection.neighbours",
    },
    each="layer",
    cost="pairs",
)

log = logging.getLogger(__name__)

EMBEDDINGS = ("width", "matched", "padded", "quantiles")
QUANTILES = 256
FEWEST = 7  # runs that are worth an embedding: two neighbours of each
LARGE = 2000  # runs beyond which openTSNE is faster than scikit-learn
BLOCK_ROWS = 500

COLUMNS = tuple(HEAD.tables["projection"].written)
ALL_WIDTHS = "all"


Form = Callable[[Shard, int, np.ndarray], np.ndarray]
"""From a shard, a row and the weights that a run has there to what its vector is made of."""


class Settings(NamedTuple):
    """The config's section `projection`."""

    perplexities: list[int]
    repeats: int
    neighbours: int


def make(job: Job) -> None:
    measure(
        job.shards,
        job.runs,
        job.path("matching.h5"),
        job.layer,
        Settings(**job.settings),
        job.output("projection"),
    )


def measure(
    shards: list[str],
    runs: pd.DataFrame,
    matching: Path,
    layer: str,
    settings: Settings,
    table: Path,
) -> None:
    """Embed a layer of the runs of the table `runs`, and write `table`.

    Runs whose weights are not finite or huge, and embeddings of fewer than FEWEST runs, are left
    out.
    """
    places, shapes, is_matched = locate(shards, runs, layer)
    jobs = list(embeddings(places, is_matched))
    with (
        grow_table(table, COLUMNS) as add,
        Progress(f"{layer}: embedding", sum(len(job.runs) for job in jobs)) as progress,
    ):
        for embedding, _, members in jobs:
            keys = keys_of(runs, members)
            form, length = form_of(embedding, members, layer, shapes, matching)
            between = distances(read_vectors(members, layer, FINAL, form), len(members), length)
            for rows in _project(between, settings):
                add(keys.assign(layer=layer, embedding=embedding, **rows)[list(COLUMNS)])
            progress.add(len(members))


class Embedding(NamedTuple):
    """The runs whose vectors are compared with each other."""

    name: str
    width: str
    """or ALL_WIDTHS"""
    runs: list[Run]


def locate(
    shards: list[str], runs: pd.DataFrame, layer: str
) -> tuple[list[Run], dict[str, tuple[int, ...]], bool]:
    """The runs of the table whose weights of `layer` are finite and not huge.

    Also the layer's shape by width, and whether matching reorders it.
    """
    wanted = set(runs[KEYS].itertuples(index=False, name=None))
    places, shapes, is_matched = [], {}, False
    left_out: list[str] = []
    for shard in read_population(shards):
        is_matched |= any(
            layer in (*link.sources, link.target) for link in shard.links if link.is_free
        )
        for row, seed in enumerate(shard.seeds):
            if (*shard.key, seed) not in wanted:
                continue
            weight = shard.weight(shard.header.final_epoch, layer, row)
            if is_moderate(weight):
                places.append(Run(str(shard.path), row, shard.header.width, seed))
                shapes[shard.header.width] = weight.shape
            else:
                left_out.append(f"{shard.header.width}, seed {seed}")
    check_found(len(places) + len(left_out), runs)
    tell_left_out(log, f"the maps of {layer}", left_out, len(runs))
    return places, shapes, is_matched


def embeddings(places: list[Run], is_matched: bool) -> Iterator[Embedding]:
    by_width: dict[str, list[Run]] = {}
    for run in places:
        by_width.setdefault(run.width, []).append(run)
    for width, members in by_width.items():
        if len(members) >= FEWEST:
            yield Embedding("width", width, members)
            if is_matched:
                yield Embedding("matched", width, members)
    if len(places) >= FEWEST:
        if len(by_width) > 1:
            yield Embedding("padded", ALL_WIDTHS, places)
        yield Embedding("quantiles", ALL_WIDTHS, places)


def keys_of(runs: pd.DataFrame, members: list[Run]) -> pd.DataFrame:
    """Keys of the runs, and groups where the table has them, in the order of `members`."""
    wanted = pd.MultiIndex.from_tuples([(run.width, run.seed) for run in members])
    indexed = runs.set_index(["width", "seed"], drop=False)
    columns = [*KEYS, *(name for name in ("group", "other_group") if name in runs)]
    return indexed.loc[wanted, columns].reset_index(drop=True)


def form_of(
    embedding: str,
    members: list[Run],
    layer: str,
    shapes: dict[str, tuple[int, ...]],
    matching: Path,
) -> tuple[Form, int]:
    """How to make a run's vector that an embedding starts from of its weights, and its length."""
    if embedding == "matched":
        matched = Matched(matching, members[0].width)
        length = math.prod(shapes[members[0].width])
        return lambda shard, row, w: matched(shard, row, layer, w), length
    if embedding == "padded":
        largest = tuple(map(max, zip(*(shapes[run.width] for run in members), strict=True)))
        return lambda shard, row, w: _pad(w, largest), math.prod(largest)
    if embedding == "quantiles":
        return lambda shard, row, w: _quantiles(w), QUANTILES
    return lambda shard, row, w: w, math.prod(shapes[members[0].width])


def read_vectors(members: list[Run], layer: str, kind: str, form: Form) -> Vectors:
    """The runs' vectors of a `kind` of weights: the final ones, or those of a null model."""
    return vectors_of(
        members, lambda shard, row: form(shard, row, weights_of(kind, shard, layer, row)).ravel()
    )


def _pad(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    padded = np.zeros(shape, np.float32)
    padded[tuple(map(slice, weight.shape))] = weight
    return padded


def _quantiles(weight: np.ndarray) -> np.ndarray:
    """(QUANTILES,) whose Euclidean distance is the 2-Wasserstein distance, by midpoints."""
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return LayerWeights(weight).quantiles(shares).astype(np.float32) / np.float32(QUANTILES**0.5)


def _project(between: np.ndarray, settings: Settings) -> Iterator[dict[str, Any]]:
    """Columns of the projections at each perplexity and repeat, with their quality."""
    chosen = choose_perplexities(settings.perplexities, len(between))
    found = [
        (perplexity, repeat, *embed(between, perplexity, repeat))
        for perplexity in chosen
        for repeat in range(settings.repeats)
    ]
    trusted = trustworthiness(between, [points for _, _, points, _ in found], settings.neighbours)
    for (perplexity, repeat, points, divergence), trust in zip(found, trusted, strict=True):
        yield {
            "perplexity": perplexity,
            "repeat": repeat,
            "x": points[:, 0],
            "y": points[:, 1],
            "trustworthiness": trust,
            "kl_divergence": divergence,
        }


def choose_perplexities(wanted: list[int], n: int) -> list[int]:
    """Those that `n` runs allow, as t-SNE looks at 3 x perplexity neighbours; else the largest."""
    return [p for p in wanted if 3 * p < n] or [(n - 1) // 3]


def embed(between: np.ndarray, perplexity: int, repeat: int) -> tuple[np.ndarray, float]:
    """t-SNE of a distance matrix: (n, 2) places and the Kullback-Leibler divergence reached.

    van der Maaten and Hinton 2008; Barnes-Hut by scikit-learn, and beyond LARGE runs openTSNE where
    it is installed. `repeat` seeds the random start.
    """
    if len(between) > LARGE and find_spec("openTSNE"):
        return _embed_large(between, perplexity, repeat)
    from sklearn.manifold import TSNE

    found = TSNE(metric="precomputed", init="random", perplexity=perplexity, random_state=repeat)
    return found.fit_transform(between), float(found.kl_divergence_)


def _embed_large(between: np.ndarray, perplexity: int, repeat: int) -> tuple[np.ndarray, float]:
    from openTSNE import TSNE, affinity, initialization, nearest_neighbors

    nearest, away = neighbours(between, 3 * perplexity)
    index = nearest_neighbors.PrecomputedNeighbors(nearest, away)
    affinities = affinity.PerplexityBasedNN(
        knn_index=index, perplexity=perplexity, random_state=repeat, n_jobs=1
    )
    start = initialization.random(len(between), random_state=repeat)
    # interpolation costs as much for hundreds of runs as for ten thousand
    found = TSNE(negative_gradient_method="fft", random_state=repeat, n_jobs=1).fit(
        affinities=affinities, initialization=start
    )
    return np.asarray(found), float(found.kl_divergence)


def neighbours(between: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest others of each run, nearest first, and their distances, (n, k) each."""
    n = len(between)
    nearest, away = np.empty((n, k), np.int64), np.empty((n, k), between.dtype)
    for first in range(0, n, BLOCK_ROWS):
        block = _without_itself(between, first)
        near = np.argpartition(block, k - 1, axis=1)[:, :k]
        far = np.take_along_axis(block, near, 1)
        order = np.argsort(far, axis=1, kind="stable")
        rows = slice(first, first + len(block))
        nearest[rows] = np.take_along_axis(near, order, 1)
        away[rows] = np.take_along_axis(far, order, 1)
    return nearest, away


def _without_itself(between: np.ndarray, first: int) -> np.ndarray:
    """BLOCK_ROWS rows from `first` on, each run infinitely far from itself."""
    block = between[first : first + BLOCK_ROWS].copy()
    np.fill_diagonal(block[:, first:], np.inf)
    return block


def trustworthiness(between: np.ndarray, embeddings: list[np.ndarray], k: int) -> list[float]:
    """How far the k nearest in each embedding are near in the original space too, in [0, 1].

    1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j max(0, rank(i, j) - k) over the k nearest j of i in the
    embedding (Venna and Kaski 2001); k is at most (n - 1) // 2. As scikit-learn's, but in blocks.
    """
    from scipy.spatial import cKDTree

    n = len(between)
    k = min(k, (n - 1) // 2)
    near = [_without(np.asarray(cKDTree(points).query(points, k + 1)[1])) for points in embeddings]
    excess = np.zeros(len(embeddings))
    for first in range(0, n, BLOCK_ROWS):
        order = np.argsort(_without_itself(between, first), axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(1, n + 1)[None], 1)
        for number, nearest in enumerate(near):
            found = np.take_along_axis(ranks, nearest[first : first + len(ranks)], 1)
            excess[number] += np.maximum(found - k, 0).sum()
    result: list[float] = (1 - excess * (2 / (n * k * (2 * n - 3 * k - 1)))).tolist()
    return result


def _without(nearest: np.ndarray) -> np.ndarray:
    """(n, k) of (n, k + 1) nearest points: each row without its own number, or without the last."""
    own = nearest == np.arange(len(nearest))[:, None]
    own[~own.any(1), -1] = True  # more than k others in the same place
    result: np.ndarray = nearest[~own].reshape(len(nearest), -1)
    return result
