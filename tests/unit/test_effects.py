"""Effects beside scipy, beside loops over pairs and resamples, and beside planted answers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from weightscape.claims.comparisons import _from_others, _Ranks, thirds
from weightscape.claims.effects import (
    FEWEST_OF_WIDTH,
    Draws,
    Effect,
    Pair,
    cliffs_delta,
    scatter,
    spearman,
    spearman_difference,
)

DRAWS = Draws(399)
FEW = Draws(1)


def population(n_widths=4, seeds=12, slope=0.0, between=0.0, seed=0):
    """x, y and widths: `between` moves both with the width, `slope` moves y with x in a width."""
    random = np.random.default_rng(seed)
    widths = np.repeat([str(2**k) for k in range(n_widths)], seeds)
    step = np.repeat(np.arange(n_widths), seeds)
    own = random.normal(size=len(widths))
    x = own + between * step
    y = slope * own + random.normal(size=len(widths)) + between * step
    return x, y, widths


# Spearman


@pytest.mark.parametrize("rounded", [False, True])
def test_a_pooled_effect_is_scipy_s(rounded):
    x, y, widths = population(slope=0.7)
    if rounded:  # ties
        x, y = x.round(), y.round()
    found = spearman(x, y, widths, FEW).pooled
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.n == len(x)


def test_a_within_width_effect_is_the_mean_of_scipy_s_by_information():
    x, y, widths = population(slope=0.7)
    keep = np.arange(len(x)) > 3  # unequal numbers of runs
    x, y, widths = x[keep], y[keep], widths[keep]
    found = spearman(x, y, widths, FEW).within
    own = {w: stats.spearmanr(x[widths == w], y[widths == w]).statistic for w in set(widths)}
    n = {w: (widths == w).sum() for w in own}
    weights = [n[w] - 1 for w in own]  # a correlation of nothing has the variance 1 / (n - 1)
    assert found.value == pytest.approx(np.average(list(own.values()), weights=weights))
    assert found.of_width == pytest.approx(own)
    assert found.n_of_width == n


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=12))
def test_ranks_of_a_resample_are_those_of_its_values(drawn):
    values = np.array([value for value, _ in drawn], float)
    counts = np.array([[count for _, count in drawn]])
    ranks = _Ranks(values)(counts)[0]
    repeated = np.repeat(values, counts[0])
    expected = dict(zip(repeated, stats.rankdata(repeated), strict=True))
    for value, count, rank in zip(values, counts[0], ranks, strict=True):
        if count:
            assert rank == pytest.approx(expected[value])


def test_a_reversal_within_widths_is_found():
    x, y, widths = population(slope=-0.8, between=4.0, seeds=20)
    found = spearman(x, y, widths, DRAWS)
    assert found.pooled.value > 0.5
    assert found.pooled.p < 0.01
    assert found.within.value < -0.3
    assert found.within.p < 0.01
    assert found.sign_flip


@pytest.mark.parametrize(
    ("pooled", "within", "flips"),
    [(0.4, -0.1, True), (-0.4, 0.1, True), (-0.4, 1.8e-17, False), (0.4, -1e-16, False)]
    + [(0.4, 0.1, False), (math.nan, -0.4, False), (-0.4, math.nan, False)],
)
def test_a_sign_flips_where_both_effects_are_there(pooled, within, flips):
    assert Pair(Effect(pooled), Effect(within)).sign_flip == flips


def test_what_width_alone_makes_is_not_there_within_widths():
    x, y, widths = population(between=4.0, seeds=20)
    found = spearman(x, y, widths, DRAWS)
    assert found.pooled.low > 0.5
    assert found.within.low < 0 < found.within.high
    assert found.within.p > 0.05


def test_a_permutation_p_is_near_the_exact_one():
    x, y = np.array([1.0, 2, 3, 4, 5, 6, 7, 8]), np.array([2.0, 1, 4, 3, 7, 5, 8, 6])
    widths = np.full(8, "5")
    rho = stats.spearmanr(x, y).statistic
    every = [stats.spearmanr(x[:7], p).statistic for p in itertools.permutations(y[:7])]
    exact = np.mean(np.abs(every) >= abs(stats.spearmanr(x[:7], y[:7]).statistic) - 1e-12)
    found = spearman(x[:7], y[:7], widths[:7], Draws(20_000)).pooled
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))
    assert spearman(x, y, widths, FEW).pooled.value == pytest.approx(rho)


def test_no_effect_is_found_no_oftener_than_p_says():
    """600 populations without an effect, width moving x and y: within widths, p <= 0.05 in 5 %."""
    draws = Draws(199)
    p = []
    for seed in range(600):
        x, y, widths = population(3, 8, between=3.0, seed=seed)
        p.append(spearman(x, y, widths, draws._replace(seed=seed)).within.p)
    found = np.mean(np.array(p) <= 0.05)
    assert found <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert found >= 0.05 - 3 * math.sqrt(0.05 * 0.95 / 600)


def test_intervals_cover_the_effect_of_all_runs():
    """In 300 populations of bivariate normals, rho_s = 6/pi asin(r/2), in about 95 %."""
    r = 0.5
    truth = 6 / math.pi * math.asin(r / 2)
    covered = np.zeros(2)
    for seed in range(300):
        random = np.random.default_rng(seed)
        x = random.normal(size=75)
        y = r * x + math.sqrt(1 - r * r) * random.normal(size=75)
        widths = np.repeat(["5", "8", "12"], 25)
        found = spearman(x, y, widths, FEW)
        covered += [effect.low <= truth <= effect.high for effect in found[:2]]
    assert (np.abs(covered / 300 - 0.95) <= 3 * math.sqrt(0.05 * 0.95 / 300)).all()


def test_runs_without_a_number_are_left_out():
    x, y, widths = population(slope=1.0)
    x[3], y[5], x[7] = np.nan, np.nan, np.inf
    there = np.isfinite(x) & np.isfinite(y)
    found = spearman(x, y, widths, DRAWS)
    alone = spearman(x[there], y[there], widths[there], DRAWS)
    assert found == alone
    assert found.pooled.n == len(x) - 3


def test_a_width_of_few_runs_counts_only_in_the_pool():
    x, y, widths = population(3, FEWEST_OF_WIDTH)
    few = np.arange(len(x)) > 0
    found = spearman(x[few], y[few], widths[few], FEW)
    own = {"2": FEWEST_OF_WIDTH, "4": FEWEST_OF_WIDTH}
    assert found.pooled.n_of_width == {"1": FEWEST_OF_WIDTH - 1, **own}
    assert found.within.n_of_width == own


def test_one_width_of_few_runs_counts_in_the_pool():
    found = spearman(np.arange(3.0), np.arange(3.0), np.full(3, "5"), FEW)
    assert (found.pooled.n, found.pooled.n_of_width) == (3, {"5": 3})
    assert found.within.n == 0
    assert spearman(np.ones(1), np.ones(1), np.full(1, "5"), FEW).pooled.n == 1


@pytest.mark.parametrize("x", [np.ones(30), np.full(30, np.nan)])
def test_without_variation_there_is_no_effect(x):
    _, y, widths = population(3, 10)
    found = spearman(x, y, widths, DRAWS)
    assert math.isnan(found.pooled.value)
    assert math.isnan(found.within.p)
    assert not found.sign_flip


def test_a_width_without_variation_has_no_say():
    x, y, widths = population(3, 10, slope=1.0)
    x[:10] = 7.0
    found = spearman(x, y, widths, DRAWS)
    assert set(found.within.of_width) == {"2", "4"}
    assert found.within.n == 20


def test_blocks_change_nothing(monkeypatch):
    x, y, widths = population(slope=0.5)
    whole = spearman(x, y, widths, DRAWS)
    monkeypatch.setattr("weightscape.measures.resampling.CELLS", 100 * len(x))
    cut = spearman(x, y, widths, DRAWS)
    assert cut.within.p == whole.within.p
    assert cut.pooled.low == pytest.approx(whole.pooled.low)


# Cliff's delta


def loops(x, upper, lower):
    pairs = [np.sign(a - b) for a in x[upper] for b in x[lower]]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("rounded", [False, True])
def test_cliffs_delta_is_the_count_over_pairs(rounded):
    x, y, widths = population(slope=1.0)
    x = x.round() if rounded else x
    upper, lower = y > 0.5, y < -0.5
    found = cliffs_delta(x, upper, lower, widths, FEW)
    assert found.pooled.value == pytest.approx(loops(x, upper, lower))
    assert found.pooled.n == (upper | lower).sum()


def test_cliffs_delta_within_widths_is_the_mean_by_information():
    x, y, widths = population(slope=1.0, between=3.0, seeds=30)
    upper, lower = thirds(y, widths)
    found = cliffs_delta(x, upper, lower, widths, DRAWS).within
    own = [
        loops(x[widths == w], upper[widths == w], lower[widths == w]) for w in dict.fromkeys(widths)
    ]
    assert found.value == pytest.approx(np.mean(own))
    assert found.low < found.value < found.high
    assert found.p < 0.01


def test_cliffs_delta_p_is_near_mann_whitney_s():
    x, y, _ = population(2, 20, slope=0.4, seed=3)
    upper, lower = y > 0.3, y < -0.3
    found = cliffs_delta(x, upper, lower, np.full(len(x), "1"), Draws(9999)).pooled
    exact = stats.mannwhitneyu(x[upper], x[lower], method="exact").pvalue
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))


def test_a_width_that_has_one_group_only_has_no_delta():
    x, _, widths = population(2, 10)
    upper, lower = widths == "1", widths == "2"
    found = cliffs_delta(x, upper, lower, widths, FEW)
    assert math.isnan(found.within.value)
    assert math.isfinite(found.pooled.value)


# difference


def test_a_difference_is_that_of_two_correlations():
    x, y, widths = population(slope=1.0)
    other = np.random.default_rng(5).normal(size=len(x))
    found = spearman_difference(x, other, y, widths, DRAWS)
    first, second = (spearman(column, y, widths, DRAWS) for column in (x, other))
    assert found.pooled.value == pytest.approx(first.pooled.value - second.pooled.value)
    assert found.within.value == pytest.approx(first.within.value - second.within.value)
    assert found.pooled.p < 0.05


@pytest.mark.parametrize(("widths", "seeds"), [(1, 30), (4, 9), (6, 5)])
def test_columns_that_go_alike_differ_no_oftener_than_p_says(widths, seeds):
    """200 populations whose two columns are as near to y: p <= 0.05 in at most about 5 %."""
    p = []
    for seed in range(200):
        x, y, of = population(widths, seeds, slope=1.0, seed=seed)
        noise = np.random.default_rng([seed, 1]).normal(size=(2, len(x)))
        p.append(spearman_difference(x + noise[0], x + noise[1], y, of, FEW).within.p)
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_columns_that_go_unlike_are_told_apart():
    """Correlations of 0.9 and 0.6 differ in most of 30 studies of 8 widths of 25 runs."""
    p = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        y = random.normal(size=200)
        x, other = (r * y + math.sqrt(1 - r * r) * random.normal(size=200) for r in (0.9, 0.6))
        p.append(spearman_difference(x, other, y, np.repeat(list("abcdefgh"), 25), FEW).within.p)
    assert np.mean(np.array(p) <= 0.05) >= 0.9


# reliability


def test_a_width_weighs_by_its_runs_and_the_root_of_its_reliability():
    x, y, widths = population(3, 10, slope=0.7)
    reliability = {"1": 0.81, "2": 0.25, "4": 1.0}
    found = spearman(x, y, widths, DRAWS, reliability).within
    own = np.array([found.of_width[w] for w in ("1", "2", "4")])
    assert found.value == pytest.approx(np.average(own, weights=[0.9, 0.5, 1.0]))
    corrected = (own * [0.9, 0.5, 1.0]).sum() / (0.81 + 0.25 + 1.0)
    assert found.corrected()[0] == pytest.approx(min(corrected, 1))


def test_a_correlation_with_noisy_accuracies_is_corrected_to_that_with_true_ones():
    """Of true accuracies the correlation is rho_s = 6/pi asin(r/2); noise halves their variance in
    one width and takes nine tenths of it in another."""
    r, found = 0.7, []
    reliability = {"a": 0.5, "b": 0.1}
    for seed in range(60):
        random = np.random.default_rng(seed)
        widths = np.repeat(["a", "b"], 100)
        true = random.normal(size=200)
        x = r * true + math.sqrt(1 - r * r) * random.normal(size=200)
        spread = np.where(widths == "a", 1.0, 3.0)
        measured = true + spread * random.normal(size=200)
        found.append(spearman(x, measured, widths, FEW, reliability).within)
    truth = 6 / math.pi * math.asin(r / 2)
    corrected = [effect.corrected() for effect in found]
    assert np.mean([value for value, _, _ in corrected]) == pytest.approx(truth, abs=0.05)
    assert np.mean([effect.value for effect in found]) < 0.75 * truth
    assert np.mean([low <= truth <= high for _, low, high in corrected]) >= 0.85


# what is not seen


def test_power_is_that_of_studies_whose_effect_is_the_detectable_one():
    """An effect as large as `detectable` is found in about 80 % of 200 studies of 4 x 25 runs."""
    widths = np.repeat(list("abcd"), 25)
    sure = 0
    for seed in range(200):
        x, y = np.random.default_rng(seed).normal(size=(2, 100))
        detectable = spearman(x, y, widths, FEW).within.detectable
        r = 2 * math.sin(math.pi * detectable / 6)
        found = spearman(x, r * x + math.sqrt(1 - r * r) * y, widths, Draws(99, seed)).within
        sure += found.p <= 0.05
    assert sure / 200 == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 200))


@pytest.mark.parametrize(("effect", "most"), [(0.0, 1.0), (0.3, 0.05)])
def test_an_effect_is_called_negligible_only_if_it_is(effect, most):
    """Of 150 studies of 4 x 50 runs; at an effect of 0.3 itself at most 5 % are wrong."""
    widths = np.repeat(list("abcd"), 50)
    r = 2 * math.sin(math.pi * effect / 6)
    p = []
    for seed in range(150):
        x, noise = np.random.default_rng(seed).normal(size=(2, 200))
        found = spearman(x, r * x + math.sqrt(1 - r * r) * noise, widths, FEW).within
        p.append(found.negligible_p(0.3))
    share = np.mean(np.array(p) <= 0.05)
    assert share <= most + 3 * math.sqrt(0.05 * 0.95 / 150)
    assert share >= 0.9 or effect


def test_widths_that_differ_are_told_from_widths_that_scatter():
    widths = np.repeat(list("abcd"), 50)
    sign = np.where(np.isin(widths, ["a", "b"]), 1, -1)
    p, alike = [], []
    for seed in range(100):
        x, noise = np.random.default_rng(seed).normal(size=(2, 200))
        alike.append(spearman(x, x + noise, widths, FEW).within.heterogeneity_p)
        p.append(spearman(x, sign * x + noise, widths, FEW).within)
    assert np.mean(np.array(alike) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)
    assert all(effect.heterogeneity_p < 0.001 and effect.heterogeneity > 0.8 for effect in p)


def test_between_widths_there_are_as_many_points_as_widths():
    x, y, widths = population(5, 12, between=4.0)
    found = spearman(x, y, widths, DRAWS).between
    middles = [[np.median(c[widths == w]) for w in dict.fromkeys(widths)] for c in (x, y)]
    assert found.value == pytest.approx(stats.spearmanr(*middles).statistic)
    assert found.n == 5
    assert found.p == pytest.approx(2 / 120)  # of 120 orders, the same and its reverse


def test_a_level_of_each_width_by_chance_is_between_widths_no_oftener_than_p_says():
    """A statistic with a random level per width is sure over all runs, given these widths, but
    between widths in at most 5 % of 150 studies of 6 x 10 runs."""
    between, pooled = [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        widths = np.repeat(list("abcdef"), 10)
        x, y = (np.repeat(random.normal(size=6), 10) * 3 + random.normal(size=60) for _ in "xy")
        found = spearman(x, y, widths, Draws(720))
        between.append(found.between.p)
        pooled.append(found.pooled.p)
    assert np.mean(np.array(between) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    assert np.mean(np.array(pooled) <= 0.05) > 0.5


# scatter


@pytest.mark.parametrize("k", [2, 3, 4, 7, 8])
def test_a_point_s_middle_is_the_median_of_the_others(k):
    points = np.random.default_rng(k).normal(size=(2, 3, k)).round(1)
    found = _from_others(points)
    for d, i in itertools.product(range(3), range(k)):
        others = np.delete(points[:, d], i, axis=1)
        expected = np.hypot(*(points[:, d, i] - np.median(others, axis=1)))
        assert found[d, i] == pytest.approx(expected)


@pytest.mark.parametrize(("widths", "seeds"), [(4, 9), (8, 12)])
def test_scatter_is_found_no_oftener_than_p_says(widths, seeds):
    """150 populations whose points scatter alike; their middles go with accuracy."""
    p, pooled = [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        n = widths * seeds
        accuracy = random.normal(size=n)
        points = random.normal(size=(2, n)) + 0.5 * accuracy
        of = np.repeat([str(k) for k in range(widths)], seeds)
        found = scatter(points, accuracy, of, Draws(99, seed))
        p.append(found.within.p)
        pooled.append(found.pooled.p)
    for values in (p, pooled):
        assert np.mean(np.array(values) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_runs_that_cluster_more_are_found():
    random = np.random.default_rng(0)
    accuracy = random.normal(size=200)
    points = random.normal(size=(2, 200)) * np.where(accuracy > 0, 0.2, 1.0)
    widths = np.repeat(list("abcdefgh"), 25)
    found = scatter(points, accuracy, widths, DRAWS)
    assert found.within.value < -0.4
    assert found.within.high < 0
    assert found.within.p < 0.01
    assert found.within.n == 8 * 2 * 8


def test_thirds_of_two_runs_have_no_scatter():
    random = np.random.default_rng(0)
    widths = np.repeat(["a", "b"], 8)
    found = scatter(random.normal(size=(2, 16)), random.normal(size=16), widths, FEW)
    assert math.isnan(found.within.value)


# thirds


def test_thirds_of_all_runs_and_of_each_width():
    accuracy = np.array([1.0, 2, 3, 4, 5, 6, 10, 20, 30])
    widths = np.repeat(["a", "b"], [6, 3])
    upper, lower = thirds(accuracy)
    assert accuracy[upper].tolist() == [10, 20, 30]
    assert accuracy[lower].tolist() == [1, 2, 3]
    upper, lower = thirds(accuracy, widths)
    assert accuracy[upper].tolist() == [5, 6, 30]
    assert accuracy[lower].tolist() == [1, 2, 10]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_no_run_is_in_both_thirds_and_equal_runs_are_in_one(accuracy):
    values = np.array(accuracy, float)
    upper, lower = thirds(values)
    assert not (upper & lower).any()
    for value in set(accuracy):
        assert len(set(upper[values == value])) == 1
    if upper.any() and lower.any():
        assert values[upper].min() > values[lower].max()
