"""Where variation comes from, against least squares, scipy and planted populations."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from weightscape.claims.analyses import variation
from weightscape.claims.analyses.variation import (
    CHOSEN,
    COLUMNS,
    PARTS,
    WIDTH_COLUMNS,
    combine,
    complete,
    components,
    describe,
    describe_width,
    find_layouts,
    intervals,
    measure,
    pool,
    shares,
    welch,
)

pytestmark = pytest.mark.filterwarnings("error")

crossed = st.tuples(st.integers(2, 6), st.integers(2, 6))
values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
grids = crossed.flatmap(lambda shape: arrays(float, shape, elements=values))


def draw(random, widths, variances, a=10, b=10, kind="normal", times=1):
    """Crossed grids (times, a, b) of each width, of planted components, and of exact means."""
    kinds = {
        "normal": lambda shape: random.normal(size=shape),
        "skew": lambda shape: random.exponential(size=shape) - 1,
    }
    init, shuffle, residual = np.sqrt(variances)
    shapes = {"init": (times, a, 1), "shuffle": (times, 1, b), "residual": (times, a, b)}
    return [
        mean
        + scale
        * (
            init * kinds[kind](shapes["init"])
            + shuffle * kinds[kind](shapes["shuffle"])
            + residual * kinds[kind](shapes["residual"])
        )
        for mean, scale in widths
    ]


def planted(widths, variances):
    """The variance of PARTS of a run of a width drawn from `widths` (mean and scale)."""
    means, scales = np.array(widths).T
    within = np.mean(scales**2)
    return np.array([np.mean((means - means.mean()) ** 2), *(within * np.array(variances))])


WIDTHS = [(0.0, 3.0), (1.0, 1.0), (3.0, 0.2), (3.5, 0.5)]
VARIANCES = (0.3, 0.1, 0.6)


# mean squares and components


def residual_of(y, *factors):
    """Sum of squares that least squares leave of y (n,) by an intercept and indicators."""
    columns = [np.ones(len(y))]
    for factor in factors:
        columns += [(factor == level).astype(float) for level in np.unique(factor)]
    design = np.array(columns).T
    return np.sum((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2)


@given(grids)
def test_mean_squares_and_f_are_those_of_least_squares(grid):
    a, b = grid.shape
    init, shuffle = (factor.ravel() for factor in np.indices(grid.shape))
    y = grid.ravel() - grid.mean()
    both = residual_of(y, init, shuffle)
    assume(both > 1e-6 * max(1, np.sum(y**2)))
    left = both / ((a - 1) * (b - 1))
    found, tests = components(grid), describe_width(grid)
    for other, levels, part, name in ((shuffle, a, 2, "init"), (init, b, 3, "shuffle")):
        square = (residual_of(y, other) - both) / (levels - 1)
        runs_of_level = grid.size / levels
        assert found[part] == pytest.approx(
            (square - left) / runs_of_level, rel=1e-6, abs=1e-6 * left
        )
        assert tests[f"f_{name}"] == pytest.approx(square / left, rel=1e-6, abs=1e-6)
        p = stats.f.sf(square / left, levels - 1, (a - 1) * (b - 1))
        assert tests[f"p_{name}"] == pytest.approx(p, rel=1e-4, abs=1e-9)
    assert found[4] == pytest.approx(left, rel=1e-6)
    assert found[0] == pytest.approx(grid.mean(), rel=1e-9, abs=1e-6)


def test_components_of_plain_runs_are_those_of_a_one_way_analysis():
    """(F - 1) of scipy's, by the mean square within, is n times the variance of random means."""
    random = np.random.default_rng(0)
    plain = [random.normal(mean, 2, (12, 1)) for mean in (0, 1, 5)]
    within = np.mean([np.var(grid, ddof=1) for grid in plain])
    f = stats.f_oneway(*(grid[:, 0] for grid in plain)).statistic
    found = pool(np.stack([components(grid) for grid in plain], axis=1))
    assert found[0] == pytest.approx((1 - 1 / 3) * (f - 1) * within / 12)
    assert found[3] == pytest.approx(within)
    assert np.isnan(found[1:3]).all()


@pytest.mark.parametrize("kind", ["normal", "skew"])
@pytest.mark.parametrize(("a", "b"), [(10, 10), (3, 6)])
def test_estimates_of_planted_components_are_unbiased(kind, a, b):
    """Means of 4,000 populations, within four standard errors; widths scatter by 15 to 1."""
    random = np.random.default_rng(a)
    populations = draw(random, WIDTHS, VARIANCES, a, b, kind, times=4000)
    found = pool(np.stack([components(grid) for grid in populations], axis=1))
    assert found.shape == (4, 4000)
    errors = found.std(axis=1, ddof=1) / math.sqrt(4000)
    assert (np.abs(found.mean(axis=1) - planted(WIDTHS, VARIANCES)) < 4 * errors).all()


def test_estimates_of_absent_components_fall_on_both_sides_of_zero():
    """The mean of 4,000 is 0 only since half are negative, which no share shows."""
    random = np.random.default_rng(1)
    populations = draw(random, [(2.0, 1.0)] * 4, (0, 0, 1), times=4000)
    found = pool(np.stack([components(grid) for grid in populations], axis=1))
    errors = found.std(axis=1, ddof=1) / math.sqrt(4000)
    assert (np.abs(found.mean(axis=1) - [0, 0, 0, 1]) < 4 * errors).all()
    assert ((found[:3] < 0).mean(axis=1) > 0.3).all()
    of_run = shares(found)
    assert of_run.min() == 0
    np.testing.assert_allclose(of_run.sum(axis=0), 1)


def test_a_variance_of_a_mean_is_that_of_the_planted_components():
    random = np.random.default_rng(2)
    (grid,) = draw(random, [(0.0, 1.0)], VARIANCES, 8, 5, times=4000)
    of_mean = VARIANCES[0] / 8 + VARIANCES[1] / 5 + VARIANCES[2] / 40
    assert np.mean(components(grid)[1]) == pytest.approx(of_mean, rel=0.05)
    assert np.var(grid.mean((1, 2))) == pytest.approx(of_mean, rel=0.1)


# shares and intervals


@given(st.lists(grids, min_size=1, max_size=3))
def test_shares_are_of_one_whole_and_within_their_intervals(population):
    found = describe(population)
    told = [part for part in PARTS if len(population) > 1 or part != "width"]
    of_parts = [found[f"share_{part}"] for part in told]
    if np.isnan(of_parts).any():
        assert all(np.ptp(grid) == 0 for grid in population)
        return
    assert sum(of_parts) == pytest.approx(1)
    assert min(of_parts) >= 0
    assert found["variance"] == pytest.approx(
        sum(found[f"variance_{part}"] for part in told), rel=1e-9, abs=1e-9
    )
    for part in told:
        low, high = found[f"share_{part}_low"], found[f"share_{part}_high"]
        if not math.isnan(low):  # two levels, or all variation in one of them
            assert 0 <= low <= found[f"share_{part}"] + 1e-9
            assert found[f"share_{part}"] <= high + 1e-9 <= 1 + 2e-9


@given(st.lists(grids, min_size=2, max_size=3), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_no_unit_order_or_name_of_a_level_matters(population, scale, shift):
    variances = pool(np.stack([components(grid) for grid in population], axis=1))
    assume(np.abs(variances).max() > 1e-3)
    moved = [shift + scale * grid[::-1, ::-1] for grid in reversed(population)]
    again = pool(np.stack([components(grid) for grid in moved], axis=1))
    np.testing.assert_allclose(
        again, scale**2 * variances, rtol=1e-5, atol=1e-7 * scale**2 * np.abs(variances).max()
    )
    turned = pool(np.stack([components(grid.T) for grid in population], axis=1))
    np.testing.assert_allclose(
        turned, variances[[0, 2, 1, 3]], rtol=1e-6, atol=1e-9 * np.abs(variances).max()
    )


def test_intervals_are_those_of_leaving_out_a_level_at_a_time():
    """By the jackknife's formula, with components worked out in a loop."""
    random = np.random.default_rng(3)
    population = [grid[0] for grid in draw(random, WIDTHS[:3], VARIANCES, 5, 4)]

    def share_of_init(grids):
        sums = np.zeros(4)
        means, of_means = [], []
        for grid in grids:
            a, b = grid.shape
            rows, columns = grid.mean(1), grid.mean(0)
            left = sum(
                (grid[i, j] - rows[i] - columns[j] + grid.mean()) ** 2
                for i in range(a)
                for j in range(b)
            ) / ((a - 1) * (b - 1))
            init, shuffle = b * np.var(rows, ddof=1), a * np.var(columns, ddof=1)
            sums += [0, (init - left) / b, (shuffle - left) / a, left]
            means.append(grid.mean())
            of_means.append((init + shuffle - left) / grid.size)
        sums /= len(grids)
        sums[0] = np.var(means) - (1 - 1 / len(grids)) * np.mean(of_means)
        return sums[1] / sum(sums)

    variance = 0.0
    for number, grid in enumerate(population):
        for axis, n in enumerate(grid.shape):
            left_out = [
                share_of_init(
                    [*population[:number], np.delete(grid, level, axis), *population[number + 1 :]]
                )
                for level in range(n)
            ]
            variance += (n - 1) / n * sum((s - np.mean(left_out)) ** 2 for s in left_out)
    middle = describe(population)["share_init"]
    reach = stats.t.ppf(0.975, 3) * math.sqrt(variance)
    low, high = intervals(population)
    assert low[1] == pytest.approx(max(0, middle - reach))
    assert high[1] == pytest.approx(min(1, middle + reach))


@pytest.mark.parametrize(("kind", "least"), [("normal", 0.92), ("skew", 0.82)])
def test_intervals_cover_planted_shares(kind, least):
    """In 300 populations of 4 widths x 10 x 10 runs; exponential levels are the harder ones."""
    random = np.random.default_rng(4)
    truth = planted(WIDTHS, VARIANCES) / planted(WIDTHS, VARIANCES).sum()
    populations = draw(random, WIDTHS, VARIANCES, kind=kind, times=300)
    covered = np.zeros(4)
    for number in range(300):
        low, high = intervals([grid[number] for grid in populations])
        covered += (low <= truth) & (truth <= high)
    assert (covered / 300 >= least).all()


@pytest.mark.parametrize("shape", [(2, 8), (8, 2), (2, 1)])
def test_two_levels_give_no_interval(shape):
    population = [np.random.default_rng(n).normal(size=shape) for n in range(2)]
    assert all(np.isnan(ends).all() for ends in intervals(population))
    assert np.isfinite(describe(population)["share_residual"])


# tests


def test_p_of_initialisation_is_uniform_where_it_does_nothing():
    """Of 600 populations whose widths scatter by 15 to 1; Fisher's p is exact for all that."""
    random = np.random.default_rng(5)
    populations = draw(random, WIDTHS, (0, 0.5, 0.5), 4, 5, times=600)
    p_values = [
        combine([variation.f_tests(grid[number])["p_init"] for grid in populations])
        for number in range(600)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_p_is_combined_as_scipy_s():
    p_values = [0.02, 0.4, 1e-200, 0.9]
    assert combine(p_values) == pytest.approx(stats.combine_pvalues(p_values).pvalue)
    assert combine([0.02, math.nan, 0.4]) == pytest.approx(
        stats.combine_pvalues([0.02, 0.4]).pvalue
    )
    assert combine([0.0, 0.5]) == 0
    assert math.isnan(combine([math.nan]))


def test_p_of_width_is_welch_s():
    random = np.random.default_rng(6)
    plain = [
        random.normal(mean, scale, (n, 1))
        for mean, scale, n in ((0, 1, 9), (0.5, 3, 14), (1, 0.3, 5))
    ]
    expected = stats.f_oneway(*(grid[:, 0] for grid in plain), equal_var=False).pvalue
    assert welch(plain) == pytest.approx(expected)


@pytest.mark.parametrize("variances", [(0.8, 0.1, 0.1), (0, 0, 1), (0.5, 0.5, 0)])
def test_p_of_width_finds_none_more_often_than_it_says(variances):
    """In 800 populations of equal means: at most 5 % and twice its standard error below 0.05."""
    random = np.random.default_rng(7)
    widths = [(0.0, scale) for _, scale in WIDTHS]
    populations = draw(random, widths, variances, 10, 6, times=800)
    found = np.mean([welch([grid[n] for grid in populations]) < 0.05 for n in range(800)])
    assert found < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 800)


def test_planted_effects_are_found():
    random = np.random.default_rng(8)
    found = describe([grid[0] for grid in draw(random, WIDTHS, VARIANCES)])
    assert max(found["p_width"], found["p_init"], found["p_shuffle"]) < 0.001


# tables


def table_of(widths, a, b, shuffle_seeds=None):
    """A table of runs; the accuracies are planted per row by the caller."""
    rows = [
        {
            "model": "dnn",
            "dataset": "mnist",
            "width": width,
            "seed": seed,
            "group": "high",
            "init_seed": seed // b if shuffle_seeds else seed,
            "shuffle_seed": seed % b if shuffle_seeds else seed,
        }
        for width in widths
        for seed in range(a * b)
    ]
    return pd.DataFrame(rows)


def measured(runs, layers=("fc1", "fc2"), seed=0):
    """The runs with accuracies, and tables of statistics and strength, all at random."""
    random = np.random.default_rng(seed)
    runs = runs.assign(**{name: random.uniform(0, 100, len(runs)) for name in variation.ACCURACIES})
    tables = {}
    for name, columns in CHOSEN.items():
        table = runs[["model", "dataset", "width", "seed"]].merge(
            pd.DataFrame({"layer": layers}), how="cross"
        )
        for column in columns:
            table[column] = random.normal(size=len(table))
        tables[name] = table.sample(frac=1, random_state=1)
    return runs, tables


def test_a_row_per_quantity_and_layer_with_all_columns():
    runs, tables = measured(table_of(["4", "3x5"], 3, 4, shuffle_seeds=4))
    pooled, by_width = measure(runs, tables)
    assert (list(pooled.columns), list(by_width.columns)) == (list(COLUMNS), list(WIDTH_COLUMNS))
    names = [
        name if table == "statistics" else f"strength_{name}"
        for table, columns in CHOSEN.items()
        for name in columns
    ]
    expected = [
        ("", "test_accuracy"),
        ("", "train_accuracy"),
        *itertools.product(["fc1", "fc2"], names),
    ]
    assert set(zip(pooled["layer"], pooled["statistic"], strict=True)) == set(expected)
    assert len(pooled) == len(expected)
    assert len(by_width) == 2 * len(expected)
    assert by_width["width"].unique().tolist() == ["4", "3x5"]
    counts = pooled[["n", "n_left_out", "n_widths", "n_init", "n_shuffle"]].drop_duplicates()
    assert counts.to_numpy().tolist() == [[24, 0, 2, 6, 8]]


def test_numbers_are_joined_by_run_whatever_the_order_of_rows():
    runs, tables = measured(table_of(["4", "3x5"], 3, 4, shuffle_seeds=4))
    std = tables["statistics"].query("layer == 'fc2'").set_index(["width", "seed"])["std"]
    expected = describe(
        [
            np.array([[std[width, 4 * i + j] for j in range(4)] for i in range(3)])
            for width in ("4", "3x5")
        ]
    )
    for rows in (runs, runs.sample(frac=1, random_state=3)):
        pooled, _ = measure(rows, tables)
        found = pooled.query("layer == 'fc2' and statistic == 'std'").iloc[0]
        for name, value in expected.items():
            assert found[name] == pytest.approx(value), name


def test_an_initialisation_with_a_run_that_diverged_is_left_out():
    runs, tables = measured(table_of(["4", "8"], 5, 4, shuffle_seeds=4))
    statistics = tables["statistics"]
    lost = (statistics["width"] == "8") & statistics["seed"].isin([6, 7, 17])
    statistics.loc[lost & (statistics["layer"] == "fc1"), "std"] = [np.nan, np.inf, np.nan]
    found = measure(runs, tables)[0].set_index(["layer", "statistic"])
    row = found.loc[("fc1", "std")]
    assert (row["n"], row["n_left_out"], row["n_init"], row["n_shuffle"]) == (32, 8, 8, 8)
    std = statistics[statistics["layer"] == "fc1"].set_index(["width", "seed"])["std"].sort_index()
    kept = [std["4"].to_numpy().reshape(5, 4), std["8"].to_numpy().reshape(5, 4)[[0, 2, 3]]]
    assert row["share_init"] == pytest.approx(describe(kept)["share_init"])
    assert found.loc[("fc1", "mean"), "n_left_out"] == 0


def test_a_width_or_a_quantity_of_diverged_runs_alone_is_counted_and_crashes_nothing():
    runs, tables = measured(table_of(["4", "8"], 3, 3, shuffle_seeds=3))
    statistics = tables["statistics"]
    statistics.loc[statistics["width"] == "8", "std"] = np.nan
    statistics["skew"] = np.nan
    statistics["l2_norm"] = 1e300 * statistics["l2_norm"]
    pooled, by_width = measure(runs, tables)
    pooled = pooled.set_index(["layer", "statistic"])
    row = pooled.loc[("fc1", "std")]
    assert (row["n"], row["n_left_out"], row["n_widths"]) == (9, 9, 1)
    assert math.isnan(row["share_width"])
    assert sum(row[f"share_{part}"] for part in PARTS[1:]) == pytest.approx(1)
    row = pooled.loc[("fc1", "skew")]
    assert (row["n"], row["n_left_out"], row["n_widths"]) == (0, 18, 0)
    assert row[[f"share_{part}" for part in PARTS]].isna().all()
    assert np.isnan(pooled.loc[("fc1", "l2_norm"), "share_init"])
    assert "skew" not in set(by_width["statistic"])


@given(grids, st.data())
def test_what_is_complete_is_every_row_that_is_finite(grid, data):
    holes = data.draw(arrays(bool, grid.shape))
    bad = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    found = complete(np.where(holes, bad, grid))
    expected = [
        row for row, lost in zip(grid.tolist(), holes.tolist(), strict=True) if not any(lost)
    ]
    assert found.tolist() == expected


def test_plain_seeds_tell_width_from_the_rest_alone():
    runs, tables = measured(table_of(["4", "8", "12"], 7, 1))
    pooled, by_width = measure(runs, tables)
    for part in ("init", "shuffle"):
        assert pooled[[f"share_{part}", f"variance_{part}", f"p_{part}"]].isna().all(axis=None)
        assert by_width[[f"share_{part}", f"f_{part}"]].isna().all(axis=None)
    np.testing.assert_allclose(pooled["share_width"] + pooled["share_residual"], 1)
    assert pooled["share_residual_low"].notna().all()
    assert (pooled[["n", "n_init", "n_shuffle"]] == 21).all(axis=None)
    assert (by_width["share_residual"] == 1).all()


def test_a_study_of_one_run_has_rows_without_numbers():
    runs, tables = measured(table_of(["4"], 1, 1))
    pooled, by_width = measure(runs, tables)
    assert pooled[["n", "n_left_out"]].drop_duplicates().to_numpy().tolist() == [[0, 1]]
    assert pooled["share_residual"].isna().all()
    assert len(by_width) == 0


def test_layouts_are_crossed_where_every_pair_of_seeds_is_there():
    layouts = find_layouts(table_of(["9", "30", "4"], 2, 3, shuffle_seeds=3))
    assert list(layouts) == ["9", "30", "4"]
    assert layouts["30"].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert find_layouts(table_of(["9"], 6, 1))["9"].shape == (6, 1)
    # one order for all, or one initialisation, crosses nothing
    for a, b in ((5, 1), (1, 5)):
        assert find_layouts(table_of(["9"], a, b, shuffle_seeds=b))["9"].shape == (5, 1)


def test_widths_of_unequal_numbers_of_runs_weigh_the_same():
    random = np.random.default_rng(9)
    unequal = [random.normal(0, scale, (n, 1)) for scale, n in ((1, 30), (5, 4))]
    found = pool(np.stack([components(grid) for grid in unequal], axis=1))
    assert found[3] == pytest.approx(np.mean([np.var(grid, ddof=1) for grid in unequal]))
