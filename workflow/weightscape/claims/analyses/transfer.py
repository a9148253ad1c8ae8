"""Transfer: accuracy of one population's runs, predicted from their weights by another's (C7).

If weights tell accuracy alike in all families and on all datasets, what is learned on one
population ranks the runs of another. Layers differ in number, so a run is told by its first layer,
its last and their means over all; everything is in standard scores of its own population, which
know nothing of its accuracies.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from weightscape.claims.analyses.accuracy_from_weights import (
    Validation,
    make_validation,
    out_of_fold,
    r_squared,
    with_accuracy,
)
from weightscape.claims.comparisons import Numbers
from weightscape.claims.effects import Draws, Pair, spearman
from weightscape.claims.features import final_weights, over_layers, width_numbers
from weightscape.claims.learners import LEARNERS, Learner, predict, standard_scores
from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.runs.collecting import KEYS

HEAD = MeasureHead(
    reads=("runs", "grouping", "layers"),
    tables={
        "transfer": Table(
            row=(
                "two populations: how well one population teaches to predict the accuracy of "
                "another"
            ),
            keys=(),
            columns={
                "trained_model": "model of the runs that the learner was trained on",
                "trained_dataset": "dataset of the runs that the learner was trained on",
                "model": "model of the runs that are predicted",
                "dataset": "dataset of the runs that are predicted",
                "features": (
                    "what the learner is told of a run: its width, or weights (numbers of the "
                    "first layer, the last, and means over layers)"
                ),
                "learner": "linear (ridge regression) or boosting (gradient boosted trees)",
                "n_trained": "runs of the population that was trained on",
                "n": (
                    "runs predicted, a population's own by 5 folds; 0 where there are too few "
                    "to train on"
                ),
                "pooled": (
                    "Spearman's rank correlation of predicted and true final accuracy over all "
                    "n runs"
                ),
                "pooled_low": (
                    "lower end of the 95 % jackknife interval of pooled, given the study's widths"
                ),
                "pooled_high": "upper end of the 95 % jackknife interval of pooled",
                "pooled_p": "two-sided p of pooled, by the same error as its interval",
                "n_within": "runs that within rests on, from widths of 4 runs or more",
                "within": (
                    "that correlation with width held fixed: mean of each width's, weighted by "
                    "information; empty if predictions do not vary within widths"
                ),
                "within_low": "lower end of the 95 % jackknife interval of within",
                "within_high": "upper end of the 95 % jackknife interval of within",
                "within_p": "two-sided p of within, from permutations within each width",
                "sign_flip": "True where pooled and within differ in sign, whatever their p",
                "r2": (
                    "1 - sum (y - p)^2 / sum (y - mean y)^2 of accuracies y in standard scores "
                    "of their own population and predictions p"
                ),
                "r2_low": "lower end of the 95 % bootstrap interval of r2",
                "r2_high": "upper end of the 95 % bootstrap interval of r2",
            },
            texts=("trained_model", "trained_dataset", "features", "learner"),
        ),
    },
    settings={
        "accuracy": "claims.accuracy",
        "resamples": "claims.resamples",
        "permutations": "claims.permutations",
    },
    each="study",
    report="Claims",
)

log = logging.getLogger(__name__)

CASES = (("width", "linear"), ("weights", "linear"), ("weights", "boosting"))
MOST_RESAMPLES, MOST_PERMUTATIONS = 500, 999  # of a pair: nine populations have 81
COLUMNS = tuple(HEAD.tables["transfer"].names)


def make(job: Job) -> None:
    settings = job.settings
    populations = [
        make_taught(runs, final_weights(layers), settings["accuracy"])
        for runs, layers in zip(job.tables("runs"), job.layers_of_each(), strict=True)
    ]
    resamples = min(settings["resamples"], MOST_RESAMPLES)
    draws = Draws(min(settings["permutations"], MOST_PERMUTATIONS))
    job.write(transfer=measure(populations, resamples, draws))


class Taught(NamedTuple):
    """The runs of a population whose accuracy is known, and what is told of them."""

    model: str
    dataset: str
    runs: pd.DataFrame
    """`accuracy` is in standard scores"""
    features: dict[str, Numbers]
    """(n, 1) and (n, 3 x numbers), in standard scores"""
    validation: Validation | None
    """None where there are too few runs to learn from"""


def make_taught(runs: pd.DataFrame, final: pd.DataFrame, split: str) -> Taught:
    """From a table of runs and what `features.final_weights` found, for the accuracy on `split`."""
    known = with_accuracy(runs, split)
    off = known["accuracy"] - known["accuracy"].mean()
    spread = off.std(ddof=0)
    known = known.assign(accuracy=off / spread if spread > 0 else off)
    width = width_numbers(known["width"]).mean(axis=1, keepdims=True)
    told = {"width": width, "weights": over_layers(final, known)}
    scores = {name: standard_scores(x, x) if len(known) else x for name, x in told.items()}
    model, dataset = runs[KEYS[:2]].iloc[0]
    return Taught(model, dataset, known, scores, make_validation(known, "nested"))


def measure(populations: list[Taught], resamples: int, draws: Draws) -> pd.DataFrame:
    """COLUMNS, a row for each ordered pair of populations and each of CASES.

    pooled and within are Spearman's correlations of predicted and true accuracy over the n runs of
    the population that is predicted, as in `effects`; r2 is of accuracies in standard scores. A
    population's own runs are predicted out of fold, so that all rows can be compared.
    """
    rows = []
    with threadpool_limits(1):
        for trained in populations:
            names = {"trained_model": trained.model, "trained_dataset": trained.dataset}
            log.info(
                "learning from %s on %s, n = %d runs",
                trained.model,
                trained.dataset,
                len(trained.runs),
            )
            for features, learner in CASES:
                case = {"features": features, "learner": learner, "n_trained": len(trained.runs)}
                found = _predict(trained, populations, features, LEARNERS[learner])
                for other, part in zip(populations, found, strict=True):
                    keys = {"model": other.model, "dataset": other.dataset}
                    of = names | keys | case | {"n": 0, "n_within": 0}
                    rows.append(of | (_score(part, resamples, draws) if len(part) else {}))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _predict(
    trained: Taught, others: list[Taught], features: str, learner: Learner
) -> list[pd.DataFrame]:
    """The runs of each of the others with what is `predicted`; none if not enough taught."""
    if trained.validation is None:
        return [other.runs[:0] for other in others]
    x, runs = trained.features[features], trained.runs
    everyone = np.concatenate([other.features[features] for other in others])
    folds = trained.validation.inner(np.ones(len(runs), bool))
    predicted = predict(learner, x, runs["accuracy"].to_numpy(), everyone, folds)
    ends = np.cumsum([len(other.runs) for other in others])
    found = zip(others, np.split(predicted, ends[:-1]), strict=True)
    parts = [other.runs.assign(predicted=part) for other, part in found]
    own = next(number for number, other in enumerate(others) if other is trained)
    parts[own] = out_of_fold(x, runs, trained.validation, learner)
    return parts


def _score(found: pd.DataFrame, resamples: int, draws: Draws) -> dict[str, Any]:
    """COLUMNS from n on."""
    accuracy, widths = found["accuracy"].to_numpy(), found["width"].to_numpy(str)
    # runs of equal features differ by the last bits of a sum
    predicted = found["predicted"].to_numpy().round(9)
    pair = spearman(predicted, accuracy, widths, draws)
    if "beyond" in found:  # out of fold, where one model's means of widths are not another's
        beyond = found["beyond"].to_numpy()
        pair = Pair(pair.pooled, spearman(beyond, accuracy, widths, draws).within)
    row = pair.columns() | {"n": len(found), "sign_flip": pair.sign_flip}
    r2 = r_squared(predicted[:, None], accuracy, widths, resamples)
    return row | dict(zip(("r2", "r2_low", "r2_high"), r2[:, 0].tolist(), strict=True))
