"""Reliability: how much of the ranking of runs by test accuracy is more than luck of the images.

The test images are split into two random halves, many times. Per width the halves' accuracies are
compared by Spearman's rank correlation over the runs, and its mean r over the splits tells how well
half of the images ranks the runs; 2 r / (1 + r) is that of all images (Spearman 1910, Brown 1910).
Its root is the highest correlation with measured accuracy that anything can be expected to have.

The interval is by a jackknife over runs (Tukey 1958) of atanh(r). A bootstrap has no place here: a
run that is drawn twice ranks equally in both halves, which adds to r.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.measures.resampling import LEVEL
from weightscape.measures.runs.function import check_images, read_labels
from weightscape.runs.collecting import KEYS, runs_in

HEAD = MeasureHead(
    reads=("runs", "grouping", "images", "shards"),
    tables={
        "reliability": Table(
            row="width: how much of the ranking of its runs by accuracy is no luck of the images",
            keys=("model", "dataset", "width"),
            columns={
                "runs": "which runs of the width count: all, or converged (those that are not non)",
                "n": "runs with predictions",
                "n_images": "test images that are split; 0 where there are none",
                "half": (
                    "Spearman's correlation over runs of the accuracies on two random halves of "
                    "the test images, mean over 200 splits; empty with fewer than 4 runs, and "
                    "where it is defined in no split"
                ),
                "reliability": (
                    "2 half / (1 + half), the same of as many images as there are "
                    "(Spearman-Brown); at most 1, and below 0 where half is"
                ),
                "reliability_low": (
                    "lower end of the 95 % interval of reliability, by a jackknife over runs; "
                    "empty with fewer than 5 runs, and where half is 1 without one of them"
                ),
                "reliability_high": "upper end of the 95 % interval of reliability",
                "ceiling": (
                    "square root of reliability, 0 where that is negative: the highest "
                    "correlation with test accuracy that can be expected of anything"
                ),
            },
            texts=("runs",),
        ),
    },
    cost="shards",
)

log = logging.getLogger(__name__)

SPLITS = 200
FEWEST = 4  # runs; of three, a third of all random rankings agree to 0.5 or more
FEWEST_RESAMPLED = 5  # runs: each without one of them is enough
PARTS = 50  # that a jackknife leaves out in turn; single runs, if there are no more
BLOCK_BYTES = 2**26  # of right answers as float32 at a time


def make(job: Job) -> None:
    job.write(reliability=measure(job.shards, job.runs, job.path_or_none("images")))


def measure(shards: list[str], runs: pd.DataFrame, dataset: Path | None) -> pd.DataFrame:
    """The table `reliability` of the runs of the table `runs`.

    Runs whose shard has no predictions are left out; without a `dataset` none has any. In memory
    are a bit per run and test image, and 400 numbers per run.
    """
    labels, _ = read_labels(dataset)
    halves = split(len(labels))
    right: dict[str, list[np.ndarray]] = {width: [] for width in dict.fromkeys(runs["width"])}
    is_non: dict[str, list[bool]] = {width: [] for width in right}
    groups = runs.set_index(KEYS)["group"].to_dict()
    for shard, row, run in runs_in(shards, runs):
        if shard.has_predictions:
            predicted = shard.read("predictions/test", row)
            check_images(shard, predicted, len(labels))
            right[run["width"]].append(np.packbits(predicted == labels))
            is_non[run["width"]].append(groups[tuple(run.values())] == "non")
    if lacking := len(runs) - sum(map(len, right.values())):
        log.info("%d of %d runs have no predictions and are left out", lacking, len(runs))
    rows = []
    for width, answers in right.items():
        counts, non = count(answers, halves), np.array(is_non[width], bool)
        for name, chosen in (("all", counts), ("converged", counts[~non])):
            of = {**runs[KEYS[:2]].iloc[0], "width": width, "runs": name, "n_images": len(labels)}
            rows.append(of | describe(chosen))
    return pd.DataFrame(rows, columns=HEAD.tables["reliability"].names)


def split(n_images: int) -> np.ndarray:
    """(n_images, 2, SPLITS) bool: the halves of each split; of an odd number one image is in
    neither, as both must be equally long."""
    random, size = np.random.default_rng(0), n_images // 2
    halves = np.zeros((n_images, 2, SPLITS), bool)
    for number in range(SPLITS):
        order = random.permutation(n_images)
        halves[order[:size], 0, number] = True
        halves[order[size : 2 * size], 1, number] = True
    return halves


def count(answers: list[np.ndarray], halves: np.ndarray) -> np.ndarray:
    """(n, 2, SPLITS) float32: the right answers of n runs, each in bits, in each half; exact."""
    n_images, *shape = halves.shape
    sides = halves.reshape(n_images, math.prod(shape)).astype(np.float32)
    found = np.zeros((len(answers), sides.shape[1]), np.float32)
    size = max(1, BLOCK_BYTES // (4 * max(n_images, 1)))
    for first in range(0, len(answers), size):
        bits = np.stack(answers[first : first + size])
        found[first : first + size] = np.unpackbits(bits, 1, n_images).astype(np.float32) @ sides
    return found.reshape(-1, *shape)


def describe(counts: np.ndarray) -> dict[str, Any]:
    """n, half, reliability with its interval, and ceiling of runs with these right answers
    (n, 2, SPLITS)."""
    half = correlate(counts)
    low, high = jackknife(counts, half)
    reliability = lengthen(half)
    return {
        "n": len(counts),
        "half": half,
        "reliability": reliability,
        "reliability_low": lengthen(low),
        "reliability_high": lengthen(high),
        "ceiling": math.sqrt(max(reliability, 0)) if math.isfinite(reliability) else math.nan,
    }


def lengthen(half: float) -> float:
    """The reliability of twice as many images (Spearman-Brown)."""
    return 2 * half / (1 + half) if half > -1 else math.nan


def correlate(counts: np.ndarray) -> float:
    """Spearman's correlation over the runs between the halves, mean over the splits in which
    neither half has all runs equal; NaN with fewer than FEWEST runs."""
    n = len(counts)
    if n < FEWEST:
        return math.nan
    ranks = pd.DataFrame(counts.reshape(n, -1)).rank().to_numpy().reshape(counts.shape)
    ranks = ranks - (n + 1) / 2
    squares = np.square(ranks).sum(0).prod(0)
    with np.errstate(invalid="ignore"):
        found = ranks.prod(1).sum(0) / np.sqrt(squares)
    return float(found[squares > 0].mean()) if squares.any() else math.nan


def jackknife(counts: np.ndarray, half: float) -> tuple[float, float]:
    """The interval of `half`: runs are left out one by one, or in PARTS random parts.

    atanh(half) +- t s, with s^2 = (k - 1) / k sum (z_i - mean z)^2 of the z without each of k
    parts, and t of k - 1 degrees of freedom.
    """
    n = len(counts)
    if n < FEWEST_RESAMPLED:
        return math.nan, math.nan
    k = min(n, PARTS)
    part = np.random.default_rng(0).permutation(n) % k
    with np.errstate(all="ignore"):
        without = np.arctanh([correlate(counts[part != left_out]) for left_out in range(k)])
        spread = math.sqrt((k - 1) * without.var()) * float(stdtrit(k - 1, (1 + LEVEL) / 2))
        low, high = np.tanh(np.arctanh(half) + np.array([-spread, spread]))
    return float(low), float(high)
