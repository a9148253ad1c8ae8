"""Projection: t-SNE of the weights of one layer, a point per run (paper, Figures 11-13).

Weight vectors of unequal widths have unequal lengths, and the paper does not say what it did. There
are four embeddings:

- `width`: one embedding per width, of the weights as they are;
- `matched`: the same with each run's nodes in the order that matches a reference run (matching);
- `padded`: all widths together, each layer in the corner of the largest and zeros elsewhere, as the
  paper may have done: runs of unequal widths are then apart by construction;
- `quantiles`: all widths together by QUANTILES quantiles of the layer's weights, whose distance is
  the 2-Wasserstein distance between the two runs' distributions of weights.

Groups are compared in the space that t-SNE starts from: the share of a run's nearest neighbours
that are of its group, beside that under shuffled groups; and beside the same of null models of the
weights (nulls), which are not embedded.
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
from weightscape.measures.resampling import interval
from weightscape.measures.runs.nulls import FINAL, KINDS, weights_of
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
        "purity": Table(
            row=(
                "layer and embedding: whether groups are nearer to themselves than shuffled "
                "groups are, over all runs and within widths"
            ),
            keys=("model", "dataset", "layer"),
            columns={
                "embedding": (
                    "vectors whose distances count: width, matched (nodes in matched order), "
                    "padded (with zeros), quantiles (of the weights)"
                ),
                "width": (
                    "width of the runs compared; all where runs of all widths are compared together"
                ),
                "weights": "final weights, or a null model of them: initial, shuffled or gaussian",
                "n": "runs compared, those that are ungrouped left out",
                "neighbours": (
                    "nearest neighbours of a run that are looked at, at most a third of the "
                    "others; 0 with fewer than two groups"
                ),
                "purity": (
                    "mean over the runs of the share of a run's nearest neighbours that are of "
                    "its own group, from 0 to 1"
                ),
                "purity_low": "lower end of the 95 % bootstrap interval of purity, over runs",
                "purity_high": "upper end of the 95 % bootstrap interval of purity, over runs",
                "shuffled": "mean purity when the groups are shuffled among all n runs",
                "p": (
                    "(1 + shuffles at least as pure) / (1 + shuffles), of groups shuffled "
                    "among all n runs"
                ),
                "p_less": (
                    "(1 + shuffles at most as pure) / (1 + shuffles), of groups shuffled among "
                    "all n runs"
                ),
                "shuffled_within_width": (
                    "mean purity when groups are shuffled among runs of one width; empty with "
                    "one width, or where each has one group"
                ),
                "p_within_width": "as p, of groups shuffled among the runs of each width only",
                "p_less_within_width": (
                    "as p_less, of groups shuffled among the runs of each width only"
                ),
            },
            texts=("embedding", "weights"),
        ),
    },
    settings={
        "perplexities": "projection.perplexities",
        "repeats": "projection.repeats",
        "neighbours": "projection.neighbours",
        "shuffles": "projection.shuffles",
    },
    each="layer",
    cost="pairs",
)

log = logging.getLogger(__name__)

EMBEDDINGS = ("width", "matched", "padded", "quantiles")
OF_NULLS = ("width", "padded")  # whose groups are compared by null models of the weights too
QUANTILES = 256
FEWEST = 7  # runs that are worth an embedding: two neighbours of each
LARGE = 2000  # runs beyond which openTSNE is faster than scikit-learn
BLOCK_ROWS = 500
RESAMPLES = 1000  # of the runs, for the interval of the purity

COLUMNS = tuple(HEAD.tables["projection"].names)
OBSERVED = ("purity", "purity_low", "purity_high")
PURITY_COLUMNS = tuple(HEAD.tables["purity"].names)
ALL_WIDTHS = "all"


Form = Callable[[Shard, int, np.ndarray], np.ndarray]
"""From a shard, a row and the weights that a run has there to what its vector is made of."""


class Settings(NamedTuple):
    """The config's section `projection`."""

    perplexities: list[int]
    repeats: int
    neighbours: int
    shuffles: int


def make(job: Job) -> None:
    measure(
        job.shards,
        job.runs,
        job.path("matching.h5"),
        job.layer,
        Settings(**job.settings),
        job.output("projection"),
        job.output("purity"),
    )


def measure(
    shards: list[str],
    runs: pd.DataFrame,
    matching: Path,
    layer: str,
    settings: Settings,
    table: Path,
    purity: Path,
) -> None:
    """Embed a layer of the runs of the table `runs`, and write `table` and `purity`.

    Runs whose weights are not finite or huge, and embeddings of fewer than FEWEST runs, are left
    out.
    """
    places, shapes, is_matched = _locate(shards, runs, layer)
    jobs = list(_embeddings(places, is_matched))
    with (
        grow_table(table, COLUMNS) as add,
        grow_table(purity, PURITY_COLUMNS) as add_purity,
        Progress(f"{layer}: embedding", sum(len(job.runs) for job in jobs)) as progress,
    ):
        for embedding, width, members in jobs:
            keys = _keys(runs, members)
            named = {"layer": layer, "embedding": embedding}
            pair = dict(zip(KEYS[:2], keys[KEYS[:2]].iloc[0], strict=True))
            form, length = form_of(embedding, members, layer, shapes, matching)
            for kind in (FINAL, *KINDS) if embedding in OF_NULLS else (FINAL,):
                between = distances(read_vectors(members, layer, kind, form), len(members), length)
                if kind == FINAL:
                    for rows in _project(between, settings):
                        add(keys.assign(**named, **rows))
                found = compare_groups(between, keys["group"], keys["width"], settings)
                add_purity([{**pair, **named, "width": width, "weights": kind, **found}])
                del between  # n^2 numbers, before the next kind's
            progress.add(len(members))


class _Embedding(NamedTuple):
    name: str
    width: str
    """or ALL_WIDTHS"""
    runs: list[Run]


def _locate(
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


def _embeddings(places: list[Run], is_matched: bool) -> Iterator[_Embedding]:
    by_width: dict[str, list[Run]] = {}
    for run in places:
        by_width.setdefault(run.width, []).append(run)
    for width, members in by_width.items():
        if len(members) >= FEWEST:
            yield _Embedding("width", width, members)
            if is_matched:
                yield _Embedding("matched", width, members)
    if len(places) >= FEWEST:
        if len(by_width) > 1:
            yield _Embedding("padded", ALL_WIDTHS, places)
        yield _Embedding("quantiles", ALL_WIDTHS, places)


def _keys(runs: pd.DataFrame, members: list[Run]) -> pd.DataFrame:
    """Keys and groups of the runs, in their order."""
    wanted = pd.MultiIndex.from_tuples([(run.width, run.seed) for run in members])
    indexed = runs.set_index(["width", "seed"], drop=False)
    return indexed.loc[wanted, [*KEYS, "group"]].reset_index(drop=True)


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


def compare_groups(
    between: np.ndarray, groups: pd.Series, widths: pd.Series, settings: Settings
) -> dict[str, float]:
    """How pure the runs' neighbourhoods are in the original space; ungrouped runs are left out.

    purity is the mean share of a run's nearest neighbours, at most a third of the others, that are
    of its own group, purity_low and purity_high its 95 % bootstrap interval over runs, each of
    which keeps its neighbours; `shuffled` its mean over shuffles of the groups, and
    `shuffled_within_width` over shuffles among the runs of each width, which leave what width alone
    explains. p = (1 + shuffles as pure) / (1 + shuffles), p_less the same of shuffles that are no
    purer. NaN with fewer than two groups, and within widths where there is one width only, or none
    with two groups.
    """
    rows = np.flatnonzero((groups != "ungrouped").to_numpy())
    labels, names = pd.factorize(groups.to_numpy()[rows])
    found = {"n": len(rows), "neighbours": 0, **dict.fromkeys(OBSERVED, math.nan)}
    nothing = dict.fromkeys(PURITY_COLUMNS[-6:], math.nan)
    if len(names) < 2 or len(rows) < 3:
        return found | nothing
    # all others as neighbours would be as pure under any shuffle
    k = min(settings.neighbours, max(1, (len(rows) - 1) // 3))
    nearest, _ = neighbours(
        between if len(rows) == len(between) else between[np.ix_(rows, rows)], k
    )
    observed = _purity(labels, nearest), *_purity_interval(labels, nearest)
    found |= {"neighbours": k, **dict(zip(OBSERVED, observed, strict=True))}
    strata, of_width = pd.factorize(widths.to_numpy()[rows])
    anywhere = _shuffled(labels, nearest, np.zeros_like(strata), found["purity"], settings.shuffles)
    # where each width has one group there is nothing to shuffle within it
    if len(of_width) < 2 or len(np.unique([strata, labels], axis=1).T) == len(of_width):
        return found | nothing | dict(zip(PURITY_COLUMNS[-6:-3], anywhere, strict=True))
    within = _shuffled(labels, nearest, strata, found["purity"], settings.shuffles)
    return found | dict(zip(PURITY_COLUMNS[-6:], (*anywhere, *within), strict=True))


def _purity(labels: np.ndarray, nearest: np.ndarray) -> float:
    return float((labels[nearest] == labels[:, None]).mean())


def _purity_interval(labels: np.ndarray, nearest: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean over runs of their neighbours' share."""
    random = np.random.default_rng(0)
    own = (labels[nearest] == labels[:, None]).mean(1)
    means = [own[random.integers(len(own), size=len(own))].mean() for _ in range(RESAMPLES)]
    return interval(np.array(means))


def _shuffled(
    labels: np.ndarray, nearest: np.ndarray, strata: np.ndarray, purity: float, shuffles: int
) -> tuple[float, float, float]:
    """Mean purity, and its p on either side, of labels that are shuffled within each stratum."""
    random = np.random.default_rng(0)
    by_stratum = np.argsort(strata, kind="stable")
    null = np.empty(shuffles)
    for number in range(shuffles):
        # a sort by stratum and then at random shuffles all strata at once
        mixed = np.lexsort((random.random(len(labels)), strata))
        shuffled = np.empty_like(labels)
        shuffled[by_stratum] = labels[mixed]
        null[number] = _purity(shuffled, nearest)
    as_pure, no_purer = np.mean(null >= purity - 1e-12), np.mean(null <= purity + 1e-12)
    p, p_less = ((1 + shuffles * float(share)) / (1 + shuffles) for share in (as_pure, no_purer))
    return float(null.mean()), p, p_less
