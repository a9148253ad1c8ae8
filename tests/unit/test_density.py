"""Densities, against scipy's exact estimator, closed forms and numpy's histogram."""

import math

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.polynomial.hermite_e import hermeval
from scipy.stats import gaussian_kde, norm

from weightscape.measures import density
from weightscape.measures.density import (
    BAND,
    COVERED,
    FINEST,
    POINTS,
    REACH,
    RULES,
    SHOWN_BINS,
    Densities,
    Histogram,
    estimate,
    on_grid,
    standard_grid,
)
from weightscape.measures.layer import LayerWeights

TOLERANCE = 0.005  # of the peak
WIDTH = 2 * REACH / POINTS  # of a cell of the curve, in standard deviations


def layer(values):
    return LayerWeights(np.asarray(values, np.float32).reshape(1, -1))


def make_samples():
    random = np.random.default_rng(0)

    def normal(n, mean=0.0, std=1.0):
        return random.normal(mean, std, n)

    half = normal(500)
    return {
        "gaussian": normal(2000, 0.01, 0.05),
        "far from zero": normal(2000, 100, 0.01),
        "uniform": random.uniform(-0.1, 0.1, 2000),
        "bimodal": np.r_[normal(1000, -3, 0.5), normal(1000, 3, 0.5)],
        "heavy-tailed": 0.1 * random.standard_t(2, 2000),
        "small": normal(50),
        "a pair": np.array([-1.0, 1.0]),
        "peaked": np.r_[normal(1800, 0, 0.001), normal(200)],
        "one weight far out": np.r_[normal(1999), 60],
        "half zeros": np.r_[np.zeros(1000), half, -half],
        "half zeros, skewed": np.r_[np.zeros(1000), np.exp(normal(1000))],
        "nearly all zeros": np.r_[np.zeros(1900), np.ones(50), -np.ones(50)],
    }


SAMPLES = make_samples()
WITHIN_REACH = {name for name, v in SAMPLES.items() if np.abs(v - v.mean()).max() < REACH * v.std()}


def exact(values, bandwidth, grid):
    """Scipy's sum of a Gaussian of this bandwidth at each weight."""
    values = np.asarray(values, np.float32).astype(float)
    return gaussian_kde(values, bandwidth / values.std(ddof=1))(grid)


def fine_grid(values):
    """Places all over the reach, dense where most weights are."""
    mean, std, median = np.mean(values), np.std(values), np.median(values)
    wide = np.linspace(mean - REACH * std, mean + REACH * std, 1603)[1:-1]
    return np.sort(np.r_[wide, median + std * np.linspace(-0.3, 0.3, 401)])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SAMPLES)
def test_within_half_a_percent_of_the_peak_of_the_exact_estimator(name, rule):
    values = SAMPLES[name]
    curve, grid = estimate(layer(values), rule), fine_grid(values)
    expected = exact(values, curve.bandwidth, grid)
    found = on_grid(curve.density, curve.mean, curve.std, grid)
    assert np.abs(found - expected).max() < TOLERANCE * expected.max()


def quantiles_of_the_normal(n, mean, std):
    return norm.ppf((np.arange(n) + 0.5) / n, mean, std)


@pytest.mark.parametrize("rule", RULES)
def test_smoothed_gaussian_weights_are_gaussian(rule):
    # N(mean, std^2) and a Gaussian of bandwidth h give N(mean, std^2 + h^2)
    curve = estimate(layer(quantiles_of_the_normal(100_000, 0.3, 0.02)), rule)
    grid = np.linspace(0.2, 0.4, 501)
    expected = norm.pdf(grid, 0.3, math.hypot(0.02, curve.bandwidth))
    found = on_grid(curve.density, curve.mean, curve.std, grid)
    assert np.abs(found - expected).max() < 0.001 * expected.max()


@pytest.mark.parametrize("name", SAMPLES)
def test_mean_and_standard_deviation_are_kept(name):
    curve, values = estimate(layer(SAMPLES[name]), "scott"), np.float32(SAMPLES[name]).astype(float)
    assert curve.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
    assert curve.std == pytest.approx(values.std(ddof=0), rel=1e-9)


@pytest.mark.parametrize("name", SAMPLES)
def test_bandwidths_by_hand(name):
    values = np.float32(SAMPLES[name]).astype(float)
    std, n = values.std(), len(values)
    low, high = np.percentile(values, [25, 75])
    spread = min(std, (high - low) / 1.34) or std
    expected = {"scott": 1.06 * std * n**-0.2, "silverman": 0.9 * spread * n**-0.2}
    for rule, bandwidth in expected.items():
        found = estimate(layer(values), rule).bandwidth
        assert found == pytest.approx(max(bandwidth, std / 32), rel=1e-6)


def test_the_finest_bandwidth_is_two_points_of_the_curve():
    assert pytest.approx(2 * (standard_grid()[1] - standard_grid()[0])) == FINEST


def test_of_normal_weights_improved_sheather_jones_finds_the_optimal_bandwidth():
    values = np.random.default_rng(1).normal(0, 0.05, 200_000)
    found = estimate(layer(values), "isj").bandwidth
    assert found == pytest.approx(0.05 * (4 / (3 * len(values))) ** 0.2, rel=0.05)


def test_of_two_far_modes_improved_sheather_jones_keeps_to_the_modes():
    # two equal modes have half the integral of the squared second derivative of one
    random = np.random.default_rng(2)
    values = np.r_[random.normal(-1, 0.1, 50_000), random.normal(1, 0.1, 50_000)]
    found = estimate(layer(values), "isj").bandwidth
    assert found == pytest.approx(max(0.1 * (8 / (3 * len(values))) ** 0.2, 1 / 32), rel=0.1)
    assert found < estimate(layer(values), "silverman").bandwidth / 2


def roughness(gaps, order, time):
    """||f^(order)||^2 of a sum of Gaussians of variance `time`, from the weights' differences."""
    std = math.sqrt(2 * time)
    derivative = hermeval(gaps / std, [0] * 2 * order + [1]) * norm.pdf(gaps / std)
    return (-1) ** order * derivative.mean() / std ** (2 * order + 1)


def gamma(order, n, gaps, time):
    """gamma_j of Botev et al. (2010), eq. 29."""
    odd = math.prod(range(1, 2 * order, 2))
    scale = (1 + 0.5 ** (order + 0.5)) / 3 * odd / (n * math.sqrt(math.pi / 2))
    return (scale / roughness(gaps, order + 1, time)) ** (2 / (3 + 2 * order))


def direct_bandwidth(values):
    """The smallest root of t = xi gamma_1(... gamma_6(t)) on a fine grid of bandwidths."""
    gaps = np.subtract.outer(values, values).ravel()
    xi = ((6 * math.sqrt(2) - 3) / 7) ** 0.4
    previous = None
    for bandwidth in np.geomspace(0.03, 1.0, 300):
        time = (bandwidth * values.std()) ** 2
        for order in range(6, 0, -1):
            time = gamma(order, len(values), gaps, time)
        found = math.sqrt(xi * time) / values.std()
        if found <= bandwidth:
            return math.sqrt(bandwidth * previous) * values.std()
        previous = bandwidth
    raise AssertionError("no root")


@pytest.mark.parametrize("modes", [(0.0,), (-1.0, 1.0), (-3.0, 0.0, 1.0)])
def test_improved_sheather_jones_against_a_direct_solution(modes):
    random = np.random.default_rng(3)
    values = np.concatenate([random.normal(mode, 0.3, 120 // len(modes)) for mode in modes])
    values = values.astype(np.float32).astype(float)
    assert estimate(layer(values), "isj").bandwidth == pytest.approx(
        direct_bandwidth(values), rel=0.02
    )


def test_few_weights_without_a_root_have_the_bandwidth_of_scott():
    found, scott = (estimate(layer([-1.0, 1.0]), rule) for rule in ("isj", "scott"))
    assert found.bandwidth == scott.bandwidth


@pytest.mark.parametrize("rule", RULES)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(20, 200),
    shift=st.floats(-10, 10),
    factor=st.floats(0.01, 100),
    sign=st.sampled_from([-1, 1]),
)
def test_shifted_and_scaled_weights_have_the_shifted_and_scaled_density(
    rule, seed, n, shift, factor, sign
):
    values = np.random.default_rng(seed).gamma(2.0, size=n)
    changed = shift + sign * factor * values
    curve, again = (estimate(LayerWeights(v.reshape(1, -1)), rule) for v in (values, changed))
    assert again.bandwidth == pytest.approx(factor * curve.bandwidth, rel=1e-2)
    grid = np.linspace(-2, 10, 200)
    found = on_grid(again.density, again.mean, again.std, shift + sign * factor * grid)
    expected = on_grid(curve.density, curve.mean, curve.std, grid) / factor
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * expected.max())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", sorted(WITHIN_REACH))
def test_the_curve_integrates_to_1_and_is_nowhere_negative(name, rule):
    density = estimate(layer(SAMPLES[name]), rule).density
    assert density.sum(dtype=float) * WIDTH == pytest.approx(1, abs=1e-6)
    assert density.min() >= 0


@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (-1, 1)])
def test_weights_beyond_the_reach_are_left_out_by_their_share(signs):
    # 2 weights of 1000 at 500 standard deviations of the others, about 22 of all
    values = np.r_[np.random.default_rng(4).normal(size=998), 500 * np.array(signs)]
    density = estimate(layer(values), "scott").density
    assert density.sum(dtype=float) * WIDTH == pytest.approx(0.998, abs=1e-6)


def test_beyond_the_reach_a_density_is_0():
    curve = estimate(layer(SAMPLES["gaussian"]), "scott")
    outside = curve.mean + curve.std * np.array([-1000, -8.01, 8.01, 1000])
    assert not on_grid(np.ones(POINTS), curve.mean, curve.std, outside).any()


@pytest.mark.parametrize(
    "values", [[0.1] * 7, [0.0] * 100, [3.0], [1.0, np.nan, 2.0], [1.0, np.inf], [-np.inf, np.inf]]
)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_equal_weights_and_those_that_are_not_finite_have_no_density(values, rule):
    assert estimate(layer(values), rule) is None


numbers = st.floats(-40, 40, width=32)
some_runs = st.lists(
    st.tuples(
        st.sampled_from(["low", "high"]),
        arrays(np.float32, st.integers(1, 40), elements=numbers, fill=numbers),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def few_bins(monkeypatch):
    """Fewer fine bins, for speed, and so that the edges of the reach are met more often."""
    monkeypatch.setattr(density, "BINS", 2**9)


def histogram_of(runs):
    histogram = Histogram()
    for group, values in runs:
        histogram.add(group, layer(values))
    return histogram


def counted(values, edges):
    """Numpy's counts in [edge, next edge), the last bin like the others."""
    return np.histogram(values.astype(float), np.r_[edges, np.inf])[0][:-1]


def of_group(runs, group):
    return [values for name, values in runs if name == group]


@given(some_runs)
@example([("low", np.float32([-(2.0**-60), 1])), ("low", np.float32([0, -(2.0**-149)]))])
def test_counts_are_numpy_s(few_bins, runs):
    histogram = histogram_of(runs)
    fine = np.arange(density.BINS + 1) * (2 * histogram.reach / density.BINS) - histogram.reach
    for group in ("low", "high"):
        values = np.concatenate([[], *of_group(runs, group)])
        np.testing.assert_array_equal(histogram.counts[group], counted(values, fine))
        shown = histogram.join(histogram.counts[group])
        np.testing.assert_array_equal(shown, counted(values, histogram.edges()))
        assert histogram.counts[group].sum() == len(values)


@given(some_runs, st.randoms())
@example([("low", np.float32([-(2.0**-60)])), ("low", np.float32([1]))], None)
def test_the_order_of_runs_does_not_matter(few_bins, runs, random):
    mixed = runs[::-1]
    if random:
        random.shuffle(mixed)
    histogram, again = histogram_of(runs), histogram_of(mixed)
    assert again.reach == histogram.reach
    for group in ("low", "high"):
        np.testing.assert_array_equal(again.counts[group], histogram.counts[group])
        np.testing.assert_allclose(again.shares[group], histogram.shares[group], rtol=1e-12)


@given(some_runs)
def test_each_run_weighs_the_same(few_bins, runs):
    histogram = histogram_of(runs)
    edges = histogram.edges()
    for group in ("low", "high"):
        expected = [counted(values, edges) / len(values) for values in of_group(runs, group)]
        np.testing.assert_allclose(
            histogram.join(histogram.shares[group]), sum(expected, np.zeros(len(edges) - 1)), 1e-9
        )


def assert_covered(runs):
    edges = histogram_of(runs).edges()
    assert len(edges) - 1 < 2 * SHOWN_BINS
    shares = [[np.mean(v < edges[0]), np.mean(v >= edges[-1])] for _, v in runs]
    assert (np.mean(shares, 0) <= (1 - COVERED) / 2 + 1e-9).all()


@pytest.mark.parametrize("low", [-0.999, -0.8325, -0.5, 0.0, 0.99])
def test_the_shown_bins_reach_weights_just_below_a_power_of_two(low):
    assert_covered([("low", np.float32([low, *[0.99999] * 9]))])


@given(some_runs)
def test_the_shown_bins_cover_the_central_share(few_bins, runs):
    assert_covered(runs)


def test_far_weights_do_not_widen_what_is_shown():
    values = np.r_[np.random.default_rng(5).normal(size=10_000), 30, -30]
    edges = histogram_of([("low", values)]).edges()
    low, high = np.quantile(values, [0.0005, 0.9995])
    assert edges[[0, -1]] == pytest.approx([low, high], abs=0.15)
    assert SHOWN_BINS <= len(edges) - 1 < 1.1 * SHOWN_BINS


@pytest.fixture
def file():
    with h5py.File("densities", "w", driver="core", backing_store=False) as opened:
        yield opened


def run_of(seed, std, n):
    return np.random.default_rng(seed).normal(0.1 * seed, std, n).astype(np.float32)


RUNS = [
    ("low", run_of(0, 1.0, 60)),
    ("high", run_of(1, 0.5, 300)),
    ("low", run_of(2, 0.7, 500)),
    ("low", np.full(50, np.nan, np.float32)),
    ("ungrouped", run_of(3, 2.0, 80)),
    ("low", run_of(4, 1.5, 90)),
    ("mid", np.full(50, 0.5, np.float32)),
]


@pytest.fixture
def densities(file):
    """Layer `a` of RUNS, and `b`, whose weights are all equal."""
    collected = Densities(file, ["a", "b"], len(RUNS) + 3, "scott")
    for seed, (group, values) in enumerate(RUNS):
        collected.add("5", seed, group, {"a": layer(values), "b": layer([1.0, 1.0])})
    collected.finish()
    return file


def with_density(group):
    return [v for g, v in RUNS if g == group and np.isfinite(v).all() and v.std() > 0]


def exact_curves(group, grid):
    return np.array([exact(v, 1.06 * v.std() * len(v) ** -0.2, grid) for v in with_density(group)])


@pytest.mark.parametrize("group", ["low", "high", "ungrouped"])
def test_a_group_s_density_is_the_mean_over_its_runs(densities, group):
    found = densities[f"a/{group}"]
    expected = exact_curves(group, found["grid"][()])
    tolerance = TOLERANCE * expected.max()
    np.testing.assert_allclose(found["density"], expected.mean(0), rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        found["band"], np.quantile(expected, BAND, axis=0), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("group", ["low", "high", "ungrouped"])
def test_in_standard_units_each_run_has_its_own(densities, group):
    found = densities[f"a/{group}"]
    units = [(v - v.mean(dtype=float)) / v.std(dtype=float) for v in with_density(group)]
    grid = found["standard_grid"][()]
    expected = np.mean([exact(u, 1.06 * len(u) ** -0.2, grid) for u in units], axis=0)
    tolerance = TOLERANCE * expected.max()
    np.testing.assert_allclose(found["standard_density"], expected, rtol=0, atol=tolerance)


def test_n_is_the_number_of_runs_that_have_a_density(densities):
    assert {g: densities[f"a/{g}"].attrs["n"] for g in densities["a"] if g != "runs"} == {
        "low": 3,
        "high": 1,
        "ungrouped": 1,
    }


def test_a_layer_without_any_density_has_no_groups(densities):
    assert set(densities["b"]) == {"runs"}
    assert densities.attrs["layers"].tolist() == ["a", "b"]


def test_a_group_s_bandwidth_is_the_median_of_its_runs(densities):
    bandwidths = [1.06 * v.std() * len(v) ** -0.2 for v in with_density("low")]
    assert densities["a/low"].attrs["bandwidth"] == pytest.approx(np.median(bandwidths), rel=1e-6)


def test_groups_share_a_grid_and_edges_that_cover_their_weights(densities):
    grids, edges = (
        [densities[f"a/{group}/{name}"][()] for group in ("low", "high", "ungrouped")]
        for name in ("grid", "edges")
    )
    assert all((other == grids[0]).all() for other in grids)
    assert all((other == edges[0]).all() for other in edges)
    assert grids[0][[0, -1]].tolist() == edges[0][[0, -1]].tolist()


@pytest.mark.parametrize("group", ["low", "high", "ungrouped"])
def test_counts_and_shares_of_a_group_are_those_of_its_weights(densities, group):
    found, runs = densities[f"a/{group}"], with_density(group)
    counts = [counted(values, found["edges"][()]) for values in runs]
    np.testing.assert_array_equal(found["counts"], np.sum(counts, axis=0))
    shares = [count / len(values) for count, values in zip(counts, runs, strict=True)]
    np.testing.assert_allclose(found["share"], np.mean(shares, axis=0), rtol=1e-12)
    assert found["share"][()].sum() == pytest.approx(1, abs=0.01)


def test_every_run_keeps_its_own_curve(densities):
    runs = densities["a/runs"]
    assert runs["seed"][: len(RUNS)].tolist() == list(range(len(RUNS)))
    assert set(runs["width"].asstr()[: len(RUNS)]) == {"5"}
    for row, (_, values) in enumerate(RUNS):
        if row in (3, 6):  # not finite, and all equal
            assert np.isnan(runs["standard_density"][row]).all()
            assert np.isnan(runs["std"][row])
        else:
            curve = estimate(layer(values), "scott")
            np.testing.assert_array_equal(runs["standard_density"][row], curve.density)
            assert (runs["mean"][row], runs["std"][row]) == (curve.mean, curve.std)
            assert runs["bandwidth"][row] == curve.bandwidth
