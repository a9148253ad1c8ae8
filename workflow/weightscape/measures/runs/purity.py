"""Purity: whether runs of a group lie nearer to each other than to runs of other groups.

Groups are compared in the spaces that t-SNE starts from (projection), layer by layer: the share of
a run's nearest neighbours that are of its group, beside that under shuffled groups; and beside the
same of null models of the weights (nulls), which are not embedded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.heads import WAYS, MeasureHead, Table
from weightscape.measures.distances import distances
from weightscape.measures.job import Job
from weightscape.measures.resampling import blocks, interval
from weightscape.measures.runs.nulls import FINAL, KINDS
from weightscape.measures.runs.projection import (
    ALL_WIDTHS,
    embeddings,
    form_of,
    keys_of,
    locate,
    neighbours,
    read_vectors,
)
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS
from weightscape.runs.groups import groups_in
from weightscape.storage.shards import open_shard
from weightscape.storage.tables import grow_table

HEAD = MeasureHead(
    reads=("runs", "grouping", "matching.h5", "shards"),
    tables={
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
                "groups": (
                    "all: every group among all others; high: the runs of the group high among "
                    "low, mid and high"
                ),
                "edges": (
                    "which edges make the groups: as set (groups.edges), or other, as in "
                    "grouping.csv"
                ),
                "widths": "all, or without the smallest; as edges, it varies for high alone",
                "weights": "final weights, or a null model of them: initial, shuffled or gaussian",
                "n": (
                    "runs compared, those that are ungrouped left out; of high also those that "
                    "are non"
                ),
                "neighbours": (
                    "nearest neighbours of a run that are looked at, at most a third of the "
                    "others; 0 with fewer than two groups"
                ),
                "purity": (
                    "mean over the runs (of high: over the runs of that group) of the share of a "
                    "run's nearest neighbours that are of its own group, from 0 to 1"
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
            texts=("embedding", "groups", "edges", "widths", "weights"),
        ),
    },
    settings={
        "neighbours": "projection.neighbours",
        "shuffles": "projection.shuffles",
    },
    cost="pairs",
)

ALL, HIGH = "all", "high"  # which groups are looked at
AS_SET = {name: WAYS[name][0] for name in ("edges", "widths")}
OF_NULLS = ("width", "padded")  # whose groups are compared by null models of the weights too
RESAMPLES = 1000  # of the runs, for the interval of the purity
OBSERVED = ("purity", "purity_low", "purity_high")
COLUMNS = tuple(HEAD.tables["purity"].names)


class Settings(NamedTuple):
    """Of the config's section `projection`."""

    neighbours: int
    shuffles: int


def make(job: Job) -> None:
    settings, table = Settings(**job.settings), job.output("purity")
    measure(job.shards, job.runs_regrouped, job.path("matching.h5"), settings, table)


def measure(
    shards: list[str], runs: pd.DataFrame, matching: Path, settings: Settings, table: Path
) -> None:
    """Compare the groups of the runs of the table `runs` in each layer, and write `table`; `runs`
    has their `other_group` too.

    Runs whose weights are not finite or huge, and embeddings of fewer than FEWEST runs, are left
    out. In memory are the distances of one embedding, n^2 numbers.
    """
    with open_shard(shards[0]) as shard:
        layers = shard.header.layers
    pair = dict(runs[KEYS[:2]].iloc[0])
    with grow_table(table, COLUMNS) as add, Progress("groups", len(layers)) as progress:
        for layer in layers:
            places, shapes, is_matched = locate(shards, runs, layer)
            for embedding, width, members in embeddings(places, is_matched):
                keys = keys_of(runs, members)
                form, length = form_of(embedding, members, layer, shapes, matching)
                for kind in (FINAL, *KINDS) if embedding in OF_NULLS else (FINAL,):
                    vectors = read_vectors(members, layer, kind, form)
                    between = distances(vectors, len(members), length)
                    of = {"layer": layer, "embedding": embedding, "width": width, "weights": kind}
                    found = compare_groups(between, keys["group"], keys["width"], settings)
                    add([{**pair, **of, "groups": ALL, **AS_SET, **found}])
                    if kind == FINAL:
                        is_varied = width == ALL_WIDTHS
                        rows = compare_high(between, keys, settings, is_varied)
                        add([{**pair, **of, "groups": HIGH, **row} for row in rows])
                    del between  # before the next kind's
            progress.add()


def compare_high(
    between: np.ndarray, runs: pd.DataFrame, settings: Settings, is_varied: bool = True
) -> Iterator[dict[str, Any]]:
    """What `compare_groups` finds of the group high, by the edges that are set and with all widths;
    where `is_varied` also by other edges, if there are any, and without the smallest width."""
    choices = product(WAYS["edges"], WAYS["widths"]) if is_varied else [tuple(AS_SET.values())]
    for edges, widths in choices:
        groups = groups_in(runs, edges, widths)
        if (groups != "").any():
            found = compare_groups(between, groups, runs["width"], settings, HIGH)
            yield {"edges": edges, "widths": widths} | found


def compare_groups(
    between: np.ndarray,
    groups: pd.Series,
    widths: pd.Series,
    settings: Settings,
    which: str = ALL,
) -> dict[str, float]:
    """How pure the runs' neighbourhoods are in the original space; ungrouped runs are left out.

    With `which` HIGH only the runs of that group are looked at, among those of low, mid and high,
    as in the paper's claim.

    purity is the mean share of a run's nearest neighbours, at most a third of the others, that are
    of its own group, purity_low and purity_high its 95 % bootstrap interval over runs, each of
    which keeps its neighbours; `shuffled` its mean over shuffles of the groups, and
    `shuffled_within_width` over shuffles among the runs of each width, which leave what width alone
    explains. p = (1 + shuffles as pure) / (1 + shuffles), p_less the same of shuffles that are no
    purer. NaN with fewer than two groups, and within widths where there is one width only, or none
    with two groups.
    """
    left_out = ("ungrouped",) if which == ALL else ("ungrouped", "non")
    rows = np.flatnonzero(~groups.isin(left_out).to_numpy())
    of_row = groups.to_numpy()[rows]
    labels, names = pd.factorize(of_row if which == ALL else of_row == HIGH)
    looked_at = None if which == ALL else int(np.argmax(names)) if len(names) else 0
    found = {"n": len(rows), "neighbours": 0, **dict.fromkeys(OBSERVED, math.nan)}
    nothing = dict.fromkeys(COLUMNS[-6:], math.nan)
    if len(names) < 2 or len(rows) < 3:
        return found | nothing
    # all others as neighbours would be as pure under any shuffle
    k = min(settings.neighbours, max(1, (len(rows) - 1) // 3))
    nearest, _ = neighbours(
        between if len(rows) == len(between) else between[np.ix_(rows, rows)], k
    )
    observed = _purity(labels, nearest, looked_at), *_interval(labels, nearest, looked_at)
    found |= {"neighbours": k, **dict(zip(OBSERVED, observed, strict=True))}
    strata, of_width = pd.factorize(widths.to_numpy()[rows])
    shuffle = partial(_shuffled, labels, nearest, looked_at, found["purity"], settings.shuffles)
    anywhere = shuffle(np.zeros_like(strata))
    # where each width has one group there is nothing to shuffle within it
    if len(of_width) < 2 or len(np.unique([strata, labels], axis=1).T) == len(of_width):
        return found | nothing | dict(zip(COLUMNS[-6:-3], anywhere, strict=True))
    within = shuffle(strata)
    return found | dict(zip(COLUMNS[-6:], (*anywhere, *within), strict=True))


def _shares(labels: np.ndarray, nearest: np.ndarray, looked_at: int | None) -> np.ndarray:
    """Of each run that is looked at, the share of its neighbours that are of its group."""
    rows = slice(None) if looked_at is None else labels == looked_at
    own: np.ndarray = (labels[nearest[rows]] == labels[rows, None]).mean(1)
    return own


def _purity(labels: np.ndarray, nearest: np.ndarray, looked_at: int | None) -> float:
    return float(_shares(labels, nearest, looked_at).mean())


def _interval(
    labels: np.ndarray, nearest: np.ndarray, looked_at: int | None
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean over runs of their neighbours' share."""
    random = np.random.default_rng(0)
    own = _shares(labels, nearest, looked_at)
    means = [
        own[random.integers(len(own), size=(size, len(own)))].mean(1)
        for size in blocks(RESAMPLES, len(own))
    ]
    return interval(np.concatenate(means))


def _shuffled(
    labels: np.ndarray,
    nearest: np.ndarray,
    looked_at: int | None,
    purity: float,
    shuffles: int,
    strata: np.ndarray,
) -> tuple[float, float, float]:
    """Mean purity, and its p on either side, of labels that are shuffled within each stratum."""
    random = np.random.default_rng(0)
    by_stratum, parts = np.argsort(strata, kind="stable"), []
    for size in blocks(shuffles, nearest.size):
        # a sort by stratum and then at random shuffles all strata at once
        mixed = np.argsort(strata + random.random((size, len(labels))), axis=1)
        shuffled = np.empty((size, len(labels)), labels.dtype)
        shuffled[:, by_stratum] = labels[mixed]
        own = (shuffled[:, nearest] == shuffled[:, :, None]).mean(2)
        weights = None if looked_at is None else shuffled == looked_at
        parts.append(np.average(own, axis=1, weights=weights))
    null = np.concatenate(parts)
    as_pure, no_purer = np.mean(null >= purity - 1e-12), np.mean(null <= purity + 1e-12)
    p, p_less = ((1 + shuffles * float(share)) / (1 + shuffles) for share in (as_pure, no_purer))
    return float(null.mean()), p, p_less
