"""Function: where runs predict differently, and whether runs close in weights predict alike.

Two runs disagree on a test image if their final weights predict different classes for it. Runs of
accuracies a and b whose errors are independent, and spread evenly over the K - 1 wrong classes,
disagree on a share 1 - (a b + (1 - a)(1 - b) / (K - 1)) of the images; the ratio to it tells what
runs share beyond how good they are. Of images that both get wrong, such runs give the same wrong
class for 1 / (K - 1).

Distance between weights is Euclidean, over all layers together. It is compared with disagreement
over the pairs of runs of one width by a Mantel test (Mantel 1967): Spearman's correlation over the
pairs, and p by permuting runs, since the pairs of a run are not independent. The partial one holds
the difference of the two accuracies fixed (Smouse, Long, Sokal 1986).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.errors import WeightscapeError
from weightscape.heads import MeasureHead, Table
from weightscape.measures.distances import distances
from weightscape.measures.job import Job
from weightscape.measures.layer import is_moderate, tell_left_out
from weightscape.measures.pairs import ALL_WIDTHS, pairs_of_groups, with_ends
from weightscape.measures.ranks import average_ranks
from weightscape.measures.vectors import Matched, Run, vectors_of
from weightscape.runs.collecting import KEYS, check_found
from weightscape.storage.images import open_dataset
from weightscape.storage.shards import Shard, open_shard, read_population
from weightscape.storage.tables import write_table

HEAD = MeasureHead(
    reads=("runs", "grouping", "matching.h5", "images", "shards"),
    tables={
        "predicted_classes": Table(
            row=(
                "run: how many classes it predicts for the test images, and how often the most "
                "frequent one"
            ),
            keys=("model", "dataset", "width", "seed", "group"),
            columns={
                "n_classes_predicted": (
                    "classes that the final weights predict for at least one test image; empty "
                    "without stored predictions"
                ),
                "largest_class_share": (
                    "share of the test images that get the most frequently predicted class "
                    "(%); empty without stored predictions"
                ),
            },
        ),
        "disagreement": Table(
            row=(
                "two groups: the share of test images for which two runs predict different "
                "classes, with its interval (disagreement_low, disagreement_high)"
            ),
            keys=("model", "dataset"),
            columns={
                "group_a": "group of one run of each pair",
                "group_b": "group of the other run",
                "widths": "which pairs count: of the same width, of an other width, or all",
                "n_runs": "runs that are in at least one pair",
                "n_pairs": "pairs of two runs that the means are over",
                "disagreement": (
                    "share of the test images for which the two runs predict different "
                    "classes, mean over the pairs, from 0 to 1"
                ),
                "disagreement_low": (
                    "lower end of the 95 % bootstrap interval of disagreement, over runs; "
                    "empty with fewer than 5 runs on a side"
                ),
                "disagreement_high": "upper end of the 95 % bootstrap interval of disagreement",
                "expected": (
                    "mean of 1 - (ab + (1 - a)(1 - b)/(K - 1)): disagreement of independent "
                    "errors at accuracies a, b and K classes"
                ),
                "ratio": (
                    "disagreement / expected; below 1 where runs agree more than their "
                    "accuracies alone make them"
                ),
                "ratio_low": "lower end of the 95 % bootstrap interval of ratio",
                "ratio_high": "upper end of the 95 % bootstrap interval of ratio",
                "same_wrong": (
                    "of the test images that both runs get wrong, share with the same wrong "
                    "class, mean over the pairs, from 0 to 1"
                ),
                "same_wrong_low": "lower end of the 95 % bootstrap interval of same_wrong",
                "same_wrong_high": "upper end of the 95 % bootstrap interval of same_wrong",
                "same_wrong_expected": (
                    "1/(K - 1) for K classes: same_wrong of independent errors spread evenly "
                    "over the wrong classes"
                ),
            },
            texts=("group_a", "group_b", "widths"),
        ),
        "weight_function": Table(
            row=(
                "width and embedding: whether runs that are close in weights are close in what "
                "they predict"
            ),
            keys=("model", "dataset", "width"),
            columns={
                "embedding": (
                    "order of the nodes when weights are compared: width (as they are) or "
                    "matched (to the width's best run)"
                ),
                "n": "runs of the width; for all, those of every width of at least 5 runs",
                "n_pairs": "pairs of runs of one width that the correlation is over",
                "spearman": (
                    "Spearman's correlation over pairs of disagreement and distance of the "
                    "weights; for all, mean over widths weighted by runs"
                ),
                "p": (
                    "one-sided p of a spearman at least as high, from 999 permutations of the "
                    "runs (Mantel 1967)"
                ),
                "partial": (
                    "the same correlation with the pair's difference of test accuracy held "
                    "fixed (partial rank correlation)"
                ),
                "p_partial": (
                    "one-sided p of a partial at least as high, from the same permutations"
                ),
            },
            texts=("embedding",),
        ),
        "function_pairs": Table(
            row=(
                "pair of runs of one width: their disagreement, and the distance between their "
                "weights"
            ),
            keys=("model", "dataset", "width"),
            columns={
                "seed_a": (
                    "seed of one run of the pair; 2,000 pairs of a width at most, drawn at random"
                ),
                "seed_b": "seed of the other run of the pair",
                "disagreement": (
                    "share of the test images for which the two runs predict different "
                    "classes, from 0 to 1"
                ),
                "accuracy_difference": (
                    "absolute difference of the two test accuracies (percentage points)"
                ),
                "distance": (
                    "Euclidean distance of the two runs' final weights, all layers together, "
                    "nodes as they are"
                ),
                "matched_distance": (
                    "the same with the nodes of both in the order that matches the width's "
                    "best run; empty if nodes cannot be reordered"
                ),
            },
            joined=False,
        ),
    },
    cost="pairs",
)

log = logging.getLogger(__name__)

BLOCK_BYTES = 2**26  # of one-hot predictions at a time
PERMUTATIONS = 999
FEWEST_OF_WIDTH = 5  # runs: ten pairs, and 120 orders to permute to
PAIRS_OF_WIDTH = 2000  # that are kept for the figure

CLASSES_COLUMNS = tuple(HEAD.tables["predicted_classes"].written)
DISAGREEMENT_COLUMNS = tuple(HEAD.tables["disagreement"].names)
WEIGHT_COLUMNS = tuple(HEAD.tables["weight_function"].names)
PAIR_COLUMNS = tuple(HEAD.tables["function_pairs"].names)


def make(job: Job) -> None:
    outputs = {name: job.output(name) for name in HEAD.tables}
    measure(job.shards, job.runs, job.path_or_none("images"), job.path("matching.h5"), outputs)


class Answers(NamedTuple):
    """What n runs predict."""

    runs: pd.DataFrame
    """KEYS, group, shard, row, and is_moderate: whether all weights are finite and not huge"""
    predicted: np.ndarray
    """(n, N_test) classes"""
    is_matched: bool
    """whether matching reorders nodes of these networks"""


def measure(
    shards: list[str],
    runs: pd.DataFrame,
    dataset: Path | None,
    matching: Path,
    outputs: dict[str, Path],
) -> None:
    """Compare what the runs of the table `runs` predict, and write `outputs`.

    Runs whose shard has no predictions have an empty row in `predicted_classes` and are in no other
    table; without a `dataset` none has any. Runs with weights that are not finite or huge have no
    distance. In memory are the predictions, n N_test bytes, and some n^2 numbers.
    """
    labels, classes = read_labels(dataset)
    answers = read_answers(shards, runs, len(labels))
    pair = dict(runs[KEYS[:2]].iloc[0])
    write_table(describe_predictions(answers, runs), outputs["predicted_classes"])
    found = compare(answers.predicted, labels, classes)
    rows = compare_groups(found, answers.runs)
    table = pd.DataFrame([pair | row for row in rows], columns=list(DISAGREEMENT_COLUMNS))
    write_table(table, outputs["disagreement"])
    correlations, pairs = compare_weights(answers, found, matching)
    columns = list(WEIGHT_COLUMNS)
    write_table(
        pd.DataFrame([pair | row for row in correlations], columns=columns),
        outputs["weight_function"],
    )
    write_table(pairs.assign(**pair)[list(PAIR_COLUMNS)], outputs["function_pairs"])


def read_labels(dataset: Path | None) -> tuple[np.ndarray, int]:
    """Of the test images, and the number of classes."""
    if dataset is None:
        return np.zeros(0, np.int64), 2
    with open_dataset(dataset) as file:
        return file["test/labels"][()], int(file.attrs["classes"])


def read_answers(shards: list[str], runs: pd.DataFrame, n_images: int) -> Answers:
    """The predictions of the runs of a table, for `n_images` test images, in the shards' order."""
    groups = runs.set_index(KEYS)["group"].to_dict()
    rows: list[tuple[Any, ...]] = []
    predicted, is_matched, lacking = [], False, 0
    left_out: list[str] = []
    for shard in read_population(shards):
        answers = shard.predictions()
        if answers is not None:
            check_images(shard, answers, n_images)
        is_matched |= any(link.is_free for link in shard.links)
        for row, seed in enumerate(shard.seeds):
            key = (*shard.key, seed)
            if key not in groups:
                continue
            if answers is None:
                lacking += 1
                continue
            moderate = all(map(is_moderate, _final_weights(shard, row).values()))
            left_out += [] if moderate else [f"{shard.header.width}, seed {seed}"]
            rows.append((*key, groups[key], str(shard.path), row, moderate))
            predicted.append(answers[row])
    check_found(len(rows) + lacking, runs)
    if lacking:
        log.info("%d of %d runs have no predictions and are left out", lacking, len(runs))
    tell_left_out(log, "distances between weights", left_out, len(runs))
    columns = [*KEYS, "group", "shard", "row", "is_moderate"]
    table = pd.DataFrame(rows, columns=columns).astype(runs[KEYS].dtypes)
    stacked = np.stack(predicted) if predicted else np.zeros((0, n_images), np.uint8)
    return Answers(table, stacked, is_matched)


def check_images(shard: Shard, answers: np.ndarray, n_images: int) -> None:
    """Raises WeightscapeError unless the predictions (..., images) are for as many images."""
    if answers.shape[-1:] != (n_images,):
        raise WeightscapeError(
            f"the shard {shard.path} is refused: its predictions have the shape "
            f"{answers.shape}, but there are {n_images} test images; delete it and run again"
        )


def _final_weights(shard: Shard, row: int) -> dict[str, np.ndarray]:
    header = shard.header
    return {layer: shard.weight(header.final_epoch, layer, row) for layer in header.layers}


def describe_predictions(answers: Answers, runs: pd.DataFrame) -> pd.DataFrame:
    """CLASSES_COLUMNS, a row per run of `runs`: how many classes it predicts for at least one
    test image, and the share (%) of the images that get the most frequent; NaN without predictions.
    """
    rows = []
    for own in answers.predicted:
        counts = np.unique(own, return_counts=True)[1]
        rows.append((len(counts), 100 * counts.max() / counts.sum()))
    found = pd.DataFrame(rows, columns=list(CLASSES_COLUMNS[-2:]), dtype=float)
    named = pd.concat([answers.runs[KEYS], found], axis=1)
    return runs[KEYS].merge(named, on=KEYS, how="left")


class Between(NamedTuple):
    """What n runs have in common, pair by pair, (n, n) float32 each."""

    disagreement: np.ndarray
    """share of the images that get different classes"""
    expected: np.ndarray
    """the same for independent errors of these accuracies"""
    same_wrong: np.ndarray
    """share with the same wrong class, of the images that both get wrong; NaN if there are none"""
    accuracy: np.ndarray
    """(n,) share of right predictions"""
    classes: int


def compare(predicted: np.ndarray, labels: np.ndarray, classes: int) -> Between:
    """Each pair of runs; `predicted` is (n, images), `labels` (images,)."""
    right = predicted == labels
    alike, both_right = agreement(predicted), agreement(right, only=True)
    n_right = both_right.diagonal()
    accuracy = n_right.astype(np.float64) / len(labels)
    both_wrong = len(labels) - n_right[:, None] - n_right + both_right
    with np.errstate(invalid="ignore"):
        same_wrong = (alike - both_right) / both_wrong
    a, b = accuracy.astype(np.float32)[:, None], accuracy.astype(np.float32)
    expected = 1 - (a * b + (1 - a) * (1 - b) / (classes - 1))
    return Between(1 - alike / len(labels), expected, same_wrong, accuracy, classes)


def agreement(predicted: np.ndarray, only: Any = None) -> np.ndarray:
    """(n, n) float32: for how many images two rows of (n, images) have the same value; with
    `only`, both have that value.

    A product of one-hot blocks: exact, as float32 counts to 16 million.
    """
    n, images = predicted.shape
    values = np.unique(predicted) if only is None else np.array([only])
    found = np.zeros((n, n), np.float32)
    size = max(1, BLOCK_BYTES // (4 * max(1, n * len(values))))
    for first in range(0, images, size):
        block = predicted[:, first : first + size, None] == values
        hot = block.reshape(n, block[0].size if n else 0).astype(np.float32)
        found += hot @ hot.T
    return found


def compare_groups(between: Between, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """DISAGREEMENT_COLUMNS but model and dataset, for each two groups and relation of widths.

    Means are over pairs of two runs. Intervals are 95 % bootstrap intervals over runs, drawn within
    each width, with pairs of a run with itself left out; NaN where a group has too few runs.
    """
    for pairs in pairs_of_groups(runs):
        observed, draws = pairs.mean(between.disagreement)
        expected, expected_draws = pairs.mean(between.expected)
        with np.errstate(all="ignore"):
            ratio, ratio_draws = np.float64(observed) / expected, draws / expected_draws
        yield {
            **pairs.names,
            **{"disagreement": observed, "expected": expected, "ratio": ratio},
            **with_ends("disagreement", draws),
            **with_ends("ratio", ratio_draws),
            **pairs.mean_with_interval("same_wrong", between.same_wrong),
            "same_wrong_expected": 1 / (between.classes - 1),
        }


def compare_weights(
    answers: Answers, between: Between, matching: Path
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """WEIGHT_COLUMNS and PAIR_COLUMNS, but model and dataset, of the widths of enough runs.

    `all` is the mean over these widths, weighted by their runs, and its p is of runs permuted
    within each width. Of the pairs of a width PAIRS_OF_WIDTH are drawn if there are more.
    """
    found: dict[str, dict[str, Mantel]] = {"width": {}}
    if answers.is_matched:
        found["matched"] = {}
    kept = [pd.DataFrame(columns=list(PAIR_COLUMNS[2:]))]
    n_images = answers.predicted.shape[1]
    random = np.random.default_rng(0)  # for all widths, each of which is permuted on its own
    for width, rows in _rows_of_widths(answers.runs).items():
        other = between.disagreement[np.ix_(rows, rows)]
        # in images: differences of shares that are equal may differ in their last bits
        right = np.rint(between.accuracy[rows] * n_images)
        apart = np.abs(np.subtract.outer(right, right))
        members = [
            Run(*run)
            for run in answers.runs.iloc[rows][["shard", "row", "width", "seed"]].itertuples(
                index=False, name=None
            )
        ]
        away = {}
        for embedding, by_width in found.items():
            order = Matched(matching, width) if embedding == "matched" else None
            away[embedding] = weight_distances(members, order)
            by_width[width] = mantel(away[embedding], other, apart, random)
        kept.append(_pairs(members, other, apart / n_images, away))
    rows_found = [
        {"width": width, "embedding": embedding, **row}
        for embedding, by_width in found.items()
        for width, row in _correlations(by_width)
    ]
    return rows_found, pd.concat(kept[1:] or kept, ignore_index=True)


def _rows_of_widths(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """The runs with distances of each width that has enough of them."""
    usable = runs["is_moderate"].to_numpy(bool)
    rows = {
        width: np.flatnonzero(usable & (runs["width"] == width).to_numpy())
        for width in dict.fromkeys(runs["width"])
    }
    return {width: own for width, own in rows.items() if len(own) >= FEWEST_OF_WIDTH}


def weight_distances(members: list[Run], order: Matched | None) -> np.ndarray:
    """(n, n) float32: Euclidean distances over the weights of all layers together."""

    def vector(shard: Shard, row: int) -> np.ndarray:
        weights = _final_weights(shard, row).items()
        return np.concatenate(
            [
                (order(shard, row, layer, weight) if order else weight).ravel()
                for layer, weight in weights
            ]
        )

    with open_shard(members[0].shard) as shard:
        length = len(vector(shard, members[0].row))
    return distances(vectors_of(members, vector), len(members), length)


def _pairs(
    members: list[Run], other: np.ndarray, apart: np.ndarray, away: dict[str, np.ndarray]
) -> pd.DataFrame:
    first, second = np.triu_indices(len(members), 1)
    if len(first) > PAIRS_OF_WIDTH:
        drawn = np.random.default_rng(0).choice(len(first), PAIRS_OF_WIDTH, replace=False)
        first, second = first[np.sort(drawn)], second[np.sort(drawn)]
    seeds = np.array([run.seed for run in members])
    nothing = np.full_like(other, np.nan)
    return pd.DataFrame(
        {
            "width": members[0].width,
            "seed_a": seeds[first],
            "seed_b": seeds[second],
            "disagreement": other[first, second],
            "accuracy_difference": 100 * apart[first, second],
            "distance": away["width"][first, second],
            "matched_distance": away.get("matched", nothing)[first, second],
        }
    )


class Mantel(NamedTuple):
    """Correlations over the pairs of n runs, and each of them under PERMUTATIONS of the runs."""

    n: int
    simple: float
    partial: float
    null: np.ndarray
    partial_null: np.ndarray


def mantel(x: np.ndarray, y: np.ndarray, z: np.ndarray, random: np.random.Generator) -> Mantel:
    """Spearman's correlation of x and y over the pairs, and the partial one given z, each (n, n).

    r = r_xy, and (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)); permutations reorder the runs
    of x. NaN where x or y is the same for all pairs, and for the partial one z too.
    """
    a, b, c = map(_standard_ranks, (x, y, z))
    fixed = float(np.vdot(b, c)) / 2
    orders = [np.arange(len(x)), *(random.permutation(len(x)) for _ in range(PERMUTATIONS))]
    shuffled = (a[np.ix_(order, order)] for order in orders)
    xy, xz = np.array([(np.vdot(own, b), np.vdot(own, c)) for own in shuffled]).T / 2
    with np.errstate(all="ignore"):
        partial = (xy - xz * fixed) / np.sqrt((1 - xz**2) * (1 - fixed**2))
    partial[~np.isfinite(partial)] = np.nan
    return Mantel(len(x), float(xy[0]), float(partial[0]), xy[1:], partial[1:])


def _standard_ranks(matrix: np.ndarray) -> np.ndarray:
    """Ranks of the pairs, symmetric with 0 on the diagonal, so that half the inner product of two
    such matrices is their correlation; NaN if all are equal."""
    n = len(matrix)
    upper = np.triu_indices(n, 1)
    ranks = average_ranks(matrix[upper])
    ranks -= ranks.mean()
    length = math.sqrt(ranks @ ranks)
    found = np.zeros((n, n))
    found[upper] = ranks / length if length else math.nan
    return found + found.T


def _correlations(by_width: dict[str, Mantel]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A row per width, and one of all."""
    for width, found in by_width.items():
        yield width, combine([found])
    if by_width:
        yield ALL_WIDTHS, combine(list(by_width.values()))


def combine(parts: list[Mantel]) -> dict[str, Any]:
    """The mean correlations of some widths, weighted by their runs, each with its one-sided p."""
    used = [part for part in parts if math.isfinite(part.simple)]
    value, p = _weighted(
        [part.n for part in used], [part.simple for part in used], [part.null for part in used]
    )
    both = [part for part in parts if math.isfinite(part.partial)]
    partial, p_partial = _weighted(
        [part.n for part in both],
        [part.partial for part in both],
        [part.partial_null for part in both],
    )
    return {
        "n": sum(part.n for part in parts),
        "n_pairs": sum(part.n * (part.n - 1) // 2 for part in parts),
        "spearman": value,
        "p": p,
        "partial": partial,
        "p_partial": p_partial,
    }


def _weighted(
    weights: list[int], values: list[float], nulls: list[np.ndarray]
) -> tuple[float, float]:
    """The weighted mean of values, and the share of its permutations that are at least as high."""
    if not values:
        return math.nan, math.nan
    value = float(np.average(values, weights=weights))
    null = np.average(nulls, axis=0, weights=weights)
    return value, float((1 + (null >= value - 1e-12).sum()) / (1 + len(null)))
