"""Accuracy from weights: a run's accuracy predicted, beside what width alone predicts.

Each run is predicted by a model that saw neither it nor another run of its initial weights. R2 over
all runs says how well that goes; R2 within widths says how much of it is more than knowing the
width. After Unterthiner et al. 2020 (arXiv 2002.11448).
"""

from __future__ import annotations

import itertools
import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from weightscape.claims.comparisons import Array, Numbers
from weightscape.claims.effects import Draws, spearman
from weightscape.claims.features import (
    by_layer,
    final_weights,
    initial_weights,
    width_names,
    width_numbers,
)
from weightscape.claims.learners import LEARNERS, Learner, deal, predict
from weightscape.heads import MeasureHead, Table
from weightscape.measures import resampling
from weightscape.measures.job import Job
from weightscape.runs.collecting import KEYS

HEAD = MeasureHead(
    reads=("runs", "grouping", "layers", "nulls"),
    tables={
        "accuracy_from_weights": Table(
            row=(
                "features, learner and validation: how well weights predict accuracy, beside "
                "what width and initial weights predict"
            ),
            keys=("model", "dataset"),
            columns={
                "features": (
                    "what the learner is told of a run: its width, numbers of its initial "
                    "weights, of its final weights, or weights+width"
                ),
                "learner": "linear (ridge regression) or boosting (gradient boosted trees)",
                "validation": (
                    "nested (5 outer folds of every width's runs) or leave_one_width_out (a "
                    "width is predicted from the others)"
                ),
                "n": "runs predicted; 0 where there are too few runs or widths",
                "n_features": "numbers of each run that the learner gets as inputs",
                "n_folds": "outer folds, each predicted by a model that was trained on the others",
                "r2": (
                    "1 - sum (y - p)^2 / sum (y - mean y)^2 of final accuracies y and their "
                    "predictions p; below 0 if worse than the mean"
                ),
                "r2_low": (
                    "lower end of the 95 % bootstrap interval of r2, over runs drawn within "
                    "each width"
                ),
                "r2_high": "upper end of the 95 % bootstrap interval of r2",
                "mean_absolute_error": "mean of |y - p| (percentage points)",
                "spearman": (
                    "Spearman's rank correlation of accuracy and prediction over all runs; "
                    "empty if all predictions are equal"
                ),
                "r2_within_width": (
                    "r2 of accuracies and predictions less their mean over the runs of the "
                    "width; 0 if no more than the width is known"
                ),
                "r2_within_width_low": (
                    "lower end of the 95 % bootstrap interval of r2_within_width"
                ),
                "r2_within_width_high": (
                    "upper end of the 95 % bootstrap interval of r2_within_width"
                ),
                "n_ranked_within_width": (
                    "runs that spearman_within_width rests on, of widths of 4 runs or more"
                ),
                "spearman_within_width": (
                    "Spearman's correlation of accuracy and prediction in each width, mean "
                    "weighted by runs; empty if width alone is told"
                ),
            },
            texts=("features", "learner", "validation"),
        ),
        "predicted_accuracy": Table(
            row=(
                "run, kind of features, learner and validation: the accuracy that was "
                "predicted without the run"
            ),
            keys=("model", "dataset", "width", "seed", "group"),
            columns={
                "features": (
                    "what the learner is told of a run: its width, numbers of its initial "
                    "weights, of its final weights, or weights+width"
                ),
                "learner": "linear (ridge regression) or boosting (gradient boosted trees)",
                "validation": (
                    "nested (5 outer folds of every width's runs) or leave_one_width_out (a "
                    "width is predicted from the others)"
                ),
                "accuracy": (
                    "final accuracy of the run (%), on the split that claims are about "
                    "(claims.accuracy)"
                ),
                "predicted": "accuracy that a model predicts which was not trained on this run (%)",
                "beyond": (
                    "predicted less the mean of the same model's predictions for all runs of "
                    "the width (percentage points)"
                ),
            },
            texts=("features", "learner", "validation"),
            joined=False,
        ),
    },
    settings={
        "accuracy": "claims.accuracy",
        "resamples": "claims.resamples",
    },
)

log = logging.getLogger(__name__)

FEATURES = ("width", "initial", "weights", "weights+width")
OUTER = 5  # folds of the nested validation
INNER = {"nested": 3, "leave_one_width_out": 2}  # the second has as many outer folds as widths
FEWEST_STARTS = 2 * OUTER  # from which a population is predicted
FEWEST_WIDTHS = 4  # from which one is left out, since the others are to learn and to choose from

TAILS = ((1 - resampling.LEVEL) / 2, (1 + resampling.LEVEL) / 2)
CASE = ("features", "learner", "validation")
PREDICTED = tuple(HEAD.tables["predicted_accuracy"].names)
COUNTS = ("n", "n_features", "n_folds", "n_ranked_within_width")
COLUMNS = tuple(HEAD.tables["accuracy_from_weights"].names)


def make(job: Job) -> None:
    final, initial = final_weights(job.layers()), initial_weights(job.table("nulls"))
    split, resamples = job.settings["accuracy"], job.settings["resamples"]
    scores, predicted = measure(job.runs, final, initial, split, resamples)
    job.write(accuracy_from_weights=scores, predicted_accuracy=predicted)


class Validation(NamedTuple):
    """Who is predicted from whom, and how those are split again to choose by."""

    folds: Array
    """(n,) the fold of each run"""
    strata: Array
    groups: Array
    """(n,) both: of the inner folds, as `deal` takes them"""
    n_inner: int

    def inner(self, training: Array) -> Array:
        """Folds of the training runs, which are told as (n,) bool."""
        random = np.random.default_rng(1)
        return deal(self.strata[training], self.groups[training], self.n_inner, random)


def measure(
    runs: pd.DataFrame, final: pd.DataFrame, initial: pd.DataFrame, split: str, resamples: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """COLUMNS of one population, and PREDICTED of its runs, for the final accuracy on `split`.

    `final` and `initial` come from `features.final_weights` and `initial_weights`. What a
    population is too small for has a row of n = 0, and no predictions.
    """
    known = with_accuracy(runs, split)
    tables, parts = [], []
    with threadpool_limits(1):
        for name in INNER:
            validation = make_validation(known, name)
            if validation is None:
                log.info("%s: left out, there are too few runs or widths", name)
                continue
            found = []
            for features, x in tell(known, final, initial, name).items():
                for learner in LEARNERS:
                    log.info("%s: from %s by %s", name, features, learner)
                    case = {"features": features, "learner": learner, "validation": name}
                    sizes = {"n_features": x.shape[1], "n_folds": len(set(validation.folds))}
                    part = out_of_fold(x, known, validation, LEARNERS[learner])
                    found.append(part.assign(**case, **sizes))
            tables.append(score(found, resamples))
            parts += found
    return _all_cases(runs, tables), pd.concat([known[:0], *parts]).reindex(columns=[*PREDICTED])


def with_accuracy(runs: pd.DataFrame, split: str) -> pd.DataFrame:
    """The runs that have a final accuracy on `split`, as their column `accuracy`."""
    accuracy = runs[f"{split}_accuracy"].astype(float)
    return runs.assign(accuracy=accuracy)[np.isfinite(accuracy)].reset_index(drop=True)


def _all_cases(runs: pd.DataFrame, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """COLUMNS with a row for each case, those without predictions too."""
    cases = itertools.product(INNER, FEATURES, LEARNERS)
    rows = pd.DataFrame(cases, columns=["validation", "features", "learner"])
    found = rows.merge(pd.concat(tables), "left", [*CASE]) if tables else rows
    found = found.reindex(columns=[name for name in COLUMNS if name not in KEYS])
    counts = found[list(COUNTS)].astype(float).fillna(0).astype(int)
    return found.assign(**counts, **runs[KEYS[:2]].iloc[0])[list(COLUMNS)]


def make_validation(runs: pd.DataFrame, name: str) -> Validation | None:
    """The validation of this name; None where there are too few runs or widths for it.

    nested: OUTER folds of every width's runs, those of equal initial weights in one of them, and
    inner folds of the rest alike. leave_one_width_out: a fold for each width, and inner folds of
    whole widths, so that what is chosen is what serves an unseen width.
    """
    widths, n_inner = runs["width"].to_numpy(str), INNER[name]
    if name == "leave_one_width_out":
        known, folds = np.unique(widths, return_inverse=True)
        enough = len(known) >= FEWEST_WIDTHS
        return Validation(folds, np.zeros(len(runs)), widths, n_inner) if enough else None
    starts = name_starts(runs)
    if len(set(starts)) < FEWEST_STARTS:
        return None
    return Validation(
        deal(widths, starts, OUTER, np.random.default_rng(0)), widths, starts, n_inner
    )


def name_starts(runs: pd.DataFrame) -> Array:
    """(n,) the same name for runs that began from the same initial weights."""
    return (runs["width"] + " " + runs["init_seed"].astype(str)).to_numpy(str)


def tell(
    runs: pd.DataFrame, final: pd.DataFrame, initial: pd.DataFrame, validation: str
) -> dict[str, Numbers]:
    """FEATURES of the runs, each (n, features); none that no run has.

    The width is its number's logarithm and, where each width is known from other runs, a column for
    each width too: then any mean accuracy by width can be learned, and no weights do better by
    merely telling it.
    """
    width = width_numbers(runs["width"])
    if validation == "nested":
        width = np.concatenate([width, width_names(runs["width"])], axis=1)
    weights = by_layer(final, runs)
    both = np.concatenate([weights, width], axis=1)
    told = dict(zip(FEATURES, (width, by_layer(initial, runs), weights, both), strict=True))
    return {features: x for features, x in told.items() if x.shape[1]}


def out_of_fold(
    x: Numbers, runs: pd.DataFrame, validation: Validation, learner: Learner
) -> pd.DataFrame:
    """The runs with what models that were not told their `accuracy` have `predicted`.

    `beyond` is the prediction less the mean of the same model's predictions over all runs of the
    width: what it says of the run that it does not say of the width. (The mean of a width's other
    runs is a little lower where a fold's own runs are better. That is no knowledge, and a model
    that knows no more says nothing here.)
    """
    accuracy = runs["accuracy"].to_numpy(float)
    predicted, beyond = np.empty((2, len(runs)))
    for fold in np.unique(validation.folds):
        held = validation.folds == fold
        found = predict(learner, x[~held], accuracy[~held], x, validation.inner(~held))
        predicted[held], beyond[held] = found[held], off_width_mean(found, runs["width"])[held]
    return runs.assign(predicted=predicted, beyond=beyond)


def off_width_mean(values: Array | pd.Series, widths: pd.Series) -> Numbers:
    """(n,) values less their mean over the runs of the width, without rounding errors."""
    series = pd.Series(np.asarray(values))
    return (series - series.groupby(np.asarray(widths)).transform("mean")).round(9).to_numpy(float)


def score(found: list[pd.DataFrame], resamples: int) -> pd.DataFrame:
    """How good predictions of the same runs are, a row for each of `found`.

    r2 = 1 - sum (y - p)^2 / sum (y - mean y)^2 over all runs. r2_within_width is the same of
    accuracies less their width's mean, and of `beyond`: 0 if no more is known than the width.
    mean_absolute_error is in percentage points. Rank correlations are Spearman's; that within
    widths is as in `effects`, between accuracy and `beyond`.
    """
    accuracy, widths = found[0]["accuracy"].to_numpy(), found[0]["width"].to_numpy(str)
    predicted, beyond = (
        np.stack([part[name] for part in found], axis=1) for name in ("predicted", "beyond")
    )
    of_width = off_width_mean(accuracy, found[0]["width"])
    r2 = r_squared(predicted, accuracy, widths, resamples)
    r2_within = r_squared(beyond, of_width, widths, resamples)
    rows = []
    for number, part in enumerate(found):
        pooled = spearman(accuracy, predicted[:, number], widths, Draws(1)).pooled
        within = spearman(accuracy, beyond[:, number], widths, Draws(1)).within
        rows.append(
            {
                **part[[*CASE, "n_features", "n_folds"]].iloc[0],
                "n": len(part),
                **_with_ends("r2", r2[:, number]),
                "mean_absolute_error": np.abs(accuracy - predicted[:, number]).mean(),
                "spearman": pooled.value,
                **_with_ends("r2_within_width", r2_within[:, number]),
                "n_ranked_within_width": within.n,
                "spearman_within_width": within.value,
            }
        )
        log.info(
            "%(validation)s, %(learner)s on %(features)s: n = %(n)d, R2 %(r2).3f, "
            "within width %(r2_within_width).3f",
            rows[-1],
        )
    return pd.DataFrame(rows)


def _with_ends(name: str, values: Numbers) -> dict[str, float]:
    """A number and the ends of its interval, by their columns."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def r_squared(predicted: Numbers, values: Numbers, widths: Array, resamples: int) -> Numbers:
    """R2 of predictions (n, k) of the values (n,), and its interval: (3, k).

    1 - sum (value - prediction)^2 / sum (value - mean)^2, and percentile bootstrap intervals over
    runs, drawn within each width, about the mean of all. NaN where all values are equal.
    """
    if np.ptp(values) < 1e-9:
        return np.full((3, predicted.shape[1]), np.nan)
    errors = (values[:, None] - predicted) ** 2
    columns = np.column_stack([errors, (values - values.mean()) ** 2])
    cells = [np.flatnonzero(widths == width) for width in np.unique(widths)]
    drawn = resampling.resamples(cells, len(widths), resamples, np.random.default_rng(0))
    sums = np.concatenate([counts @ columns for counts in drawn])
    low, high = np.quantile(
        1 - sums[:, :-1] / sums[:, -1:],
        TAILS,
        axis=0,
    )
    found = np.stack([1 - errors.sum(0) / columns[:, -1].sum(), low, high])
    return found.round(9) + 0.0  # no -0 of a rounding error
