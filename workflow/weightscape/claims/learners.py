"""Learners: accuracy from features of a run, by ridge regression and by gradient boosting.

A learner is a function of training features (n, p), their accuracies (n,) and the features of other
runs (m, p); it gives (candidates, m) predictions, a row for each strength of its regularisation,
all from one fit. Which row to believe is chosen by cross-validation among the training runs.
Features may be NaN; all that is learned of them, scales too, is learned from the training runs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from weightscape.claims.comparisons import Array, Numbers

Learner = Callable[[Numbers, Numbers, Numbers], Numbers]

ALPHAS = 10.0 ** np.arange(-2, 6)
ROUNDS = (1, 2, 5, 10, 20, 40)
REACH = 10.0  # standard deviations beyond which a feature is cut, as of weights that diverged
OF_NORMAL = 1.349  # interquartile range of a normal distribution of standard deviation 1


def linear(training: Numbers, accuracy: Numbers, others: Numbers) -> Numbers:
    """Ridge regression on standard scores, a candidate for each of ALPHAS.

    What is missing is put at the median, and a column that is missing in some of the training runs
    has a column of zeros and ones beside it.
    """
    missing = np.isnan(training)
    partly = missing.any(0) & ~missing.all(0)
    training, others = (
        np.concatenate([part, np.isnan(part[:, partly])], axis=1) for part in (training, others)
    )
    x, new = (np.nan_to_num(standard_scores(training, part)) for part in (training, others))
    middle, mean = x.mean(0), accuracy.mean()
    result: Numbers = mean + ((new - middle) @ ridge(x - middle, accuracy - mean)).T
    return result


def boosting(training: Numbers, accuracy: Numbers, others: Numbers) -> Numbers:
    """Gradient boosting of small trees on histograms, a candidate after each of ROUNDS.

    Trees send what is missing to the side where it serves best.
    """
    unknown = np.isnan(training).all(0)  # of a column without any number there is no histogram
    model = HistGradientBoostingRegressor(
        max_iter=ROUNDS[-1],
        learning_rate=0.2,
        max_leaf_nodes=4,
        min_samples_leaf=5,
        max_bins=32,
        early_stopping=False,
        random_state=0,
    )
    model.fit(np.where(unknown, 0, training), accuracy)
    stages = model.staged_predict(np.where(unknown, 0, others))
    return np.stack([found for number, found in enumerate(stages, 1) if number in ROUNDS])


LEARNERS: dict[str, Learner] = {"linear": linear, "boosting": boosting}


def standard_scores(training: Numbers, table: Numbers) -> Numbers:
    """The columns of `table` as standard scores of the training runs, cut at REACH; NaN stays NaN.

    The centre is the median and the scale the interquartile range over OF_NORMAL, or the standard
    deviation where that range is 0: neither is much moved by a few diverged runs.
    """
    centre = np.zeros(training.shape[1])
    known = ~np.isnan(training).all(0)
    centre[known] = np.nanmedian(training[:, known], axis=0)
    filled = np.where(np.isnan(training), centre, training)
    low, high = np.quantile(filled, [0.25, 0.75], axis=0)
    with np.errstate(over="ignore"):
        scale = np.where(high > low, (high - low) / OF_NORMAL, filled.std(0))
    return np.clip((table - centre) / np.where(scale > 0, scale, 1), -REACH, REACH)


def ridge(x: Numbers, y: Numbers) -> Numbers:
    """(p, alphas) weights w that minimise |x w - y|^2 + alpha |w|^2, of centred x (n, p) and y.

    By the eigenvectors of the smaller Gram matrix, once for all ALPHAS.
    """
    is_wide = x.shape[1] > len(x)
    values, vectors = np.linalg.eigh(x @ x.T if is_wide else x.T @ x)
    found = vectors.T @ (y if is_wide else x.T @ y)
    solved = vectors @ (found[:, None] / (values[:, None] + ALPHAS))
    result: Numbers = x.T @ solved if is_wide else solved
    return result


def predict(
    learner: Learner, training: Numbers, accuracy: Numbers, others: Numbers, folds: Array
) -> Numbers:
    """(m,) predictions of the candidate with the least squared error over the training folds.

    `folds` (n,) is the fold of each training run.
    """
    errors: Numbers | float = 0.0
    for fold in np.unique(folds):
        held = folds == fold
        found = learner(training[~held], accuracy[~held], training[held])
        errors = errors + ((found - accuracy[held]) ** 2).sum(1)
    result: Numbers = learner(training, accuracy, others)[np.argmin(errors)]
    return result


def deal(strata: Array, groups: Array, n_folds: int, random: np.random.Generator) -> Array:
    """The fold of each run, (n,) int: a group of runs in one fold, each stratum over all folds.

    A group is of one stratum. Groups of a stratum are dealt at random, one to each fold in turn,
    and the next stratum goes on where the last one ended, so that folds are as even as can be.
    """
    names, first, of_run = np.unique(groups, return_index=True, return_inverse=True)
    mixed = random.permutation(len(names))
    dealt = mixed[np.argsort(strata[first][mixed], kind="stable")]
    folds = np.empty(len(names), int)
    folds[dealt] = np.arange(len(names)) % n_folds
    return folds[of_run]
