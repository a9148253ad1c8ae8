"""Learners: scikit-learn, arithmetic and planted effects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from weightscape.claims.learners import (
    ALPHAS,
    LEARNERS,
    REACH,
    ROUNDS,
    boosting,
    deal,
    linear,
    predict,
    ridge,
    standard_scores,
)

pytestmark = pytest.mark.filterwarnings("error")


def draw(n=60, p=4, seed=0):
    """Features, and accuracies of which the first one tells half."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p))
    return x, 80 + x[:, 0] + random.normal(size=n)


@pytest.mark.parametrize("p", [3, 90], ids=["more runs", "more features"])
def test_ridge_is_scikit_learn_s(p):
    x, y = draw(40, p)
    x, y = x - x.mean(0), y - y.mean()
    for alpha, found in zip(ALPHAS, ridge(x, y).T, strict=True):
        expected = Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(x, y).coef_
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_linear_is_a_ridge_regression_on_standard_scores():
    x, y = draw()
    new = draw(7, seed=1)[0]
    low, high = np.percentile(x, [25, 75], axis=0)
    scale = (high - low) / 1.349
    middle = np.median(x, axis=0)
    for alpha, found in zip(ALPHAS, linear(x, y, new), strict=True):
        model = Ridge(alpha=alpha).fit((x - middle) / scale, y)
        np.testing.assert_allclose(found, model.predict((new - middle) / scale), rtol=1e-9)


@pytest.mark.parametrize("name", LEARNERS)
def test_units_do_not_matter(name):
    x, y = draw()
    scaled = LEARNERS[name](x * [1e-6, 1, 1e6, 3] + 5, y, x * [1e-6, 1, 1e6, 3] + 5)
    np.testing.assert_allclose(scaled, LEARNERS[name](x, y, x), rtol=1e-6)


def test_boosting_gives_the_rounds_of_one_fit():
    x, y = draw()
    settings = {"learning_rate": 0.2, "max_leaf_nodes": 4, "min_samples_leaf": 5, "max_bins": 32}
    for rounds, found in zip(ROUNDS, boosting(x, y, x), strict=True):
        model = HistGradientBoostingRegressor(max_iter=rounds, early_stopping=False, **settings)
        np.testing.assert_allclose(found, model.fit(x, y).predict(x))


def test_scores_are_cut_and_missing_ones_stay():
    training = np.array([[0.0, 0, 1], [1, 0, 1], [2, 0, 1], [3, 4, 1], [4, 0, np.nan]])
    found = standard_scores(training, np.array([[2.0, 4, 1], [1e30, np.nan, 3]]))
    # the second has no interquartile range: its standard deviation is 1.6; the third has neither
    np.testing.assert_allclose(found, [[0, 2.5, 0], [REACH, np.nan, 2]])


@pytest.mark.parametrize("name", LEARNERS)
def test_missing_and_huge_features_harm_nothing(name):
    x, y = draw(200)
    whole = LEARNERS[name](x[:150], y[:150], x[150:])
    x[3, 0], x[4, 1], x[:, 3] = 1e25, np.nan, np.nan
    broken = LEARNERS[name](x[:150], y[:150], x[150:])
    assert np.isfinite(broken).all()
    assert ((broken[-2] - whole[-2]) ** 2).mean() < 0.1


@pytest.mark.parametrize("name", LEARNERS)
def test_that_a_number_is_missing_can_tell_accuracy(name):
    random = np.random.default_rng(0)
    failed = random.random(100) < 0.3
    x = np.where(failed, np.nan, random.normal(size=100))[:, None]
    y = np.where(failed, 10.0, 90.0)
    found = predict(LEARNERS[name], x, y, x, np.arange(100) % 3)
    assert np.abs(found - y).max() < 2


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_learned_knows_training_runs_only(name):
    """Predictions of a run do not depend on which other runs are predicted with it."""
    x, y = draw(50)
    together = LEARNERS[name](x[:30], y[:30], x[30:])
    moved = np.concatenate([x[30:31], 100 * x[31:]])
    np.testing.assert_allclose(LEARNERS[name](x[:30], y[:30], moved)[:, 0], together[:, 0])


def test_the_candidate_is_that_of_least_error_in_the_folds():
    def candidates(training, accuracy, others):
        return np.stack([np.full(len(others), value) for value in (accuracy.mean(), 7.0, 1.0)])

    x, y = np.zeros((6, 1)), np.array([6.0, 8, 6, 8, 6, 8])
    # the mean of the others is 8 where 6 is held out, and 6 where 8 is
    assert predict(candidates, x, y, x[:2], np.arange(6) % 2).tolist() == [7, 7]
    # and is as good as can be where folds are mixed and the constants are wrong
    assert predict(candidates, x, y + 20, x[:2], np.repeat([0, 1, 2], 2)).tolist() == [27, 27]


@st.composite
def grouped(draw):
    """Groups with their stratum, of one run or more, in any order."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=30))
    rows = [(stratum, name) for name, (stratum, size) in enumerate(sizes) for _ in range(size)]
    return np.array(draw(st.permutations(rows)))


@given(grouped(), st.integers(2, 5), st.integers(0, 3))
def test_folds_split_no_group_and_spread_each_stratum(rows, n_folds, seed):
    strata, groups = rows.T
    folds = deal(strata, groups, n_folds, np.random.default_rng(seed))
    of_group = {}
    for group, fold in zip(groups, folds, strict=True):
        assert of_group.setdefault(group, fold) == fold
    for names in [set(groups), *(set(groups[strata == stratum]) for stratum in set(strata))]:
        counts = np.bincount([of_group[name] for name in names], minlength=n_folds)
        assert counts.max() - counts.min() <= 1


def test_folds_are_dealt_at_random_and_again_alike():
    strata, groups = np.repeat([0, 1], 20), np.arange(40)
    first, again, other = (
        deal(strata, groups, 5, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()
