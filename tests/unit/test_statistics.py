"""Statistics of a layer's weights, against closed forms, exact sums, numpy and scipy."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from weightscape.measures.layer import LayerWeights
from weightscape.measures.layers.statistics import COLUMNS, describe

pytestmark = pytest.mark.filterwarnings("error")

SIZES = ("fan_in", "n_weights")
PLACES = ("min", "q05", "q25", "q50", "q75", "q95", "max")
LINEAR = (
    "mean",
    "std",
    "l2_norm",
    *PLACES,
    "initial_mean",
    "initial_std",
    "initial_l2_norm",
    "distance",
    "bias_mean",
    "bias_std",
)
ODD = ("mean", "skew", "initial_mean", "bias_mean")
OF_INITIAL = ("initial_mean", "initial_std", "initial_l2_norm")
OF_BIAS = ("bias_mean", "bias_std")
SHAPES = [(7, 5), (1, 40), (40, 1), (6, 2, 3, 3)]

weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)


def described(weight, initial=None, bias=(0.0,)):
    weight = np.asarray(weight, np.float32)
    initial = weight if initial is None else np.asarray(initial, np.float32)
    return describe(LayerWeights(weight, initial, np.asarray(bias, np.float32)))


def random_layer(shape, seed=0):
    """Skewed, heavy-tailed weights, initial ones that they depend on, and biases."""
    random = np.random.default_rng(seed)
    initial = random.normal(0.1, 0.5, shape)
    final = initial + random.gamma(0.7, 0.5, shape) * random.choice([-1, 2], shape)
    biases = random.normal(0.3, 2, shape[0])
    return [array.astype(np.float32) for array in (final, initial, biases)]


def height_at_zero(w):
    """By scipy's estimate with Silverman's bandwidth."""
    spread = min(np.std(w), (np.quantile(w, 0.75) - np.quantile(w, 0.25)) / 1.34)
    factor = 0.9 * spread * len(w) ** -0.2 / np.std(w, ddof=1)
    return stats.gaussian_kde(w, factor)(0.0).item()


def expected(final, initial, bias):
    """COLUMNS by numpy and scipy."""
    fan_in = math.prod(final.shape[1:])
    w, w0, b = (array.astype(np.float64).ravel() for array in (final, initial, bias))
    norm, norm0 = np.linalg.norm(w), np.linalg.norm(w0)
    return {
        "fan_in": fan_in,
        "n_weights": len(w),
        "mean": np.mean(w),
        "std": np.std(w, ddof=0),
        "skew": stats.skew(w),
        "excess_kurtosis": stats.kurtosis(w),
        "near_zero_share": np.mean(np.abs(w) <= 0.1 * np.std(w)),
        "density_at_zero": height_at_zero(w),
        "l2_norm": norm,
        "min": np.min(w),
        "q05": np.quantile(w, 0.05),
        "q25": np.quantile(w, 0.25),
        "q50": np.median(w),
        "q75": np.quantile(w, 0.75),
        "q95": np.quantile(w, 0.95),
        "max": np.max(w),
        "initial_mean": np.mean(w0),
        "initial_std": np.std(w0),
        "std_ratio": np.std(w) / np.std(w0),
        "initial_l2_norm": norm0,
        "l2_norm_ratio": norm / norm0,
        "initial_near_zero_share": np.mean(np.abs(w) <= 0.1 * np.std(w0)),
        "distance": np.linalg.norm(w - w0),
        "relative_distance": np.linalg.norm(w - w0) / norm0,
        "cosine": w @ w0 / (norm * norm0),
        "bias_mean": np.mean(b),
        "bias_std": np.std(b, ddof=0),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_column_against_numpy_and_scipy(shape, seed):
    final, initial, bias = random_layer(shape, seed)
    found = describe(LayerWeights(final, initial, bias))
    assert tuple(found) == COLUMNS
    assert found == pytest.approx(expected(final, initial, bias), rel=1e-11, abs=1e-12)


def test_whole_numbers_by_hand():
    # 0, 1, ..., 100: mean 50, variance (101^2 - 1) / 12, quantile q at 100 q
    found = described(np.arange(101).reshape(101, 1))
    assert found["mean"] == 50
    assert found["std"] == pytest.approx(math.sqrt((101**2 - 1) / 12), rel=1e-12)
    assert [found[name] for name in PLACES] == pytest.approx([0, 5, 25, 50, 75, 95, 100])
    assert found["l2_norm"] == pytest.approx(math.sqrt(100 * 101 * 201 / 6), rel=1e-12)
    assert found["skew"] == pytest.approx(0, abs=1e-12)
    # of n whole numbers in a row: -6/5 (n^2 + 1) / (n^2 - 1)
    assert found["excess_kurtosis"] == pytest.approx(-1.2 * (101**2 + 1) / (101**2 - 1), rel=1e-12)
    # |w| <= 0.1 x 29.15: 0, 1 and 2
    assert found["near_zero_share"] == pytest.approx(3 / 101)


@pytest.mark.parametrize(("ones", "n"), [(1, 4), (3, 10), (9, 10)])
def test_moments_of_two_values_are_those_of_bernoulli(ones, n):
    p, found = ones / n, described([[1.0] * ones + [0.0] * (n - ones)])
    q = 1 - p
    assert found["std"] == pytest.approx(math.sqrt(p * q))
    assert found["skew"] == pytest.approx((q - p) / math.sqrt(p * q))
    assert found["excess_kurtosis"] == pytest.approx((1 - 6 * p * q) / (p * q))


@given(weights)
def test_moments_are_those_of_exact_sums(weight):
    values = [Fraction(float(value)) for value in weight.ravel()]
    mean = sum(values) / len(values)
    second, third, fourth = (sum((v - mean) ** k for v in values) / len(values) for k in (2, 3, 4))
    assume(second > Fraction(1, 10**6) * max(abs(v) for v in values) ** 2)
    found = described(weight)
    skew, kurtosis = float(third) / float(second) ** 1.5, float(fourth / second**2) - 3
    assert found["skew"] == pytest.approx(skew, rel=1e-7, abs=1e-7)
    assert found["excess_kurtosis"] == pytest.approx(kurtosis, rel=1e-7, abs=1e-7)


def test_a_gaussian_layer_is_found_to_be_one():
    # n = 200 000: standard errors of skew, kurtosis and share are 0.0055, 0.011 and 0.0006
    weight = np.random.default_rng(0).normal(0, 0.05, (400, 500))
    found = described(weight)
    assert found["skew"] == pytest.approx(0, abs=0.022)
    assert found["excess_kurtosis"] == pytest.approx(0, abs=0.044)
    assert found["near_zero_share"] == pytest.approx(math.erf(0.1 / math.sqrt(2)), abs=0.0024)


@given(weights, st.integers(0, 2**32 - 1))
def test_the_order_of_weights_does_not_matter(weight, seed):
    random = np.random.default_rng(seed)
    initial = random.normal(0, 50, weight.shape).astype(np.float32)
    order = random.permutation(weight.size)
    mixed = [array.ravel()[order].reshape(weight.shape) for array in (weight, initial)]
    found, again = described(weight, initial), described(*mixed)
    for name in (*SIZES, *PLACES):
        assert again[name] == found[name]
    for name in (*LINEAR, "std_ratio", "l2_norm_ratio", "relative_distance", "cosine"):
        assert again[name] == pytest.approx(found[name], rel=1e-9, abs=1e-9, nan_ok=True)


@given(weights, st.sampled_from([2.0, 8.0, 64.0]))
def test_scaled_weights_have_scaled_statistics_and_the_same_ratios(weight, factor):
    # powers of two: nothing is lost
    initial = np.flip(weight)
    found = described(weight, initial, weight[:, 0])
    again = described(weight * factor, initial * factor, weight[:, 0] * factor)
    for name in COLUMNS:
        times = factor if name in LINEAR else 1 / factor if name == "density_at_zero" else 1
        assert again[name] == pytest.approx(times * found[name], 1e-12, 1e-300, nan_ok=True)


@given(weights)
def test_negated_weights_have_mirrored_statistics(weight):
    initial, bias = np.flip(weight), weight[:, 0].ravel()
    found, again = described(weight, initial, bias), described(-weight, -initial, -bias)
    for name, mirror in zip(PLACES, reversed(PLACES), strict=True):
        assert again[name] == pytest.approx(-found[mirror], rel=1e-9, abs=1e-9)
    for name in set(COLUMNS) - set(PLACES):
        sign = -1 if name in ODD else 1
        assert again[name] == pytest.approx(sign * found[name], 1e-12, 1e-300, nan_ok=True)


def test_weights_that_grew_alike_keep_their_direction():
    initial = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    found = described(4 * initial, initial)
    assert found["cosine"] == pytest.approx(1, rel=1e-12)
    assert found["std_ratio"] == pytest.approx(4, rel=1e-12)
    assert found["l2_norm_ratio"] == pytest.approx(4, rel=1e-12)
    assert found["relative_distance"] == pytest.approx(3, rel=1e-12)


def test_weights_that_turned_round_are_twice_their_norm_away():
    initial = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    found = described(-initial, initial)
    assert found["cosine"] == pytest.approx(-1, rel=1e-12)
    assert found["relative_distance"] == pytest.approx(2, rel=1e-12)
    assert found["distance"] == pytest.approx(2 * found["l2_norm"], rel=1e-12)


def test_a_step_at_right_angles_obeys_pythagoras():
    found = described([[3, 4]], [[3, 0]])
    assert (found["distance"], found["l2_norm"], found["cosine"]) == (4, 5, 0.6)
    assert found["relative_distance"] == pytest.approx(4 / 3, rel=1e-15)
    assert described([[0, 4]], [[3, 0]])["cosine"] == 0


def test_weights_that_stayed_have_not_moved():
    found = described([[1, 2], [3, 5]])
    assert (found["distance"], found["relative_distance"]) == (0, 0)
    assert (found["std_ratio"], found["l2_norm_ratio"]) == (1, 1)
    assert found["near_zero_share"] == found["initial_near_zero_share"]


def test_near_zero_is_measured_by_each_of_the_two_spreads():
    # final std 2.5 (bound 0.25), initial std 20 (bound 2)
    final = [[-2, -2, 3, 3], [3, 3, -2, -2]]
    found = described(final, np.array(final) * 8)
    assert (found["std"], found["initial_std"]) == (2.5, 20)
    assert (found["near_zero_share"], found["initial_near_zero_share"]) == (0, 0.5)


def test_biases_are_described_apart():
    found = described([[1, 2], [3, 4]], bias=[5, 11])
    assert (found["bias_mean"], found["bias_std"]) == (8, 3)
    assert found["mean"] == 2.5


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (2, 1, 3, 3)])
@pytest.mark.parametrize("value", [0.1, -7.0, 1e-40])
def test_a_layer_of_equal_weights_has_no_shape(shape, value):
    found = described(np.full(shape, value))
    undefined = {"skew", "excess_kurtosis", "density_at_zero", "std_ratio"}
    assert {name for name in COLUMNS if math.isnan(found[name])} == undefined
    assert (found["std"], found["near_zero_share"]) == (0, 0)
    assert {found[name] for name in PLACES} == {found["mean"]} == {float(np.float32(value))}
    assert found["cosine"] == pytest.approx(1)


def test_a_layer_of_zeros_has_no_direction_either():
    found = described(np.zeros((3, 4)))
    undefined = {
        "skew",
        "excess_kurtosis",
        "density_at_zero",
        "std_ratio",
        "l2_norm_ratio",
        "relative_distance",
        "cosine",
    }
    assert {name for name in COLUMNS if math.isnan(found[name])} == undefined
    assert (found["near_zero_share"], found["initial_near_zero_share"]) == (1, 1)


def test_nothing_can_be_said_over_initial_weights_of_zero():
    found = described([[1, 2]], [[0, 0]])
    undefined = {"std_ratio", "l2_norm_ratio", "relative_distance", "cosine"}
    assert {name for name in COLUMNS if math.isnan(found[name])} == undefined
    assert found["distance"] == pytest.approx(math.sqrt(5), rel=1e-15)


def test_nan_among_the_weights_makes_all_of_them_nan():
    found = described([[1, math.nan], [2, 3]], [[1, 2], [3, 4]], [1, 2])
    known = {*SIZES, *OF_INITIAL, *OF_BIAS}
    assert {name for name in COLUMNS if not math.isnan(found[name])} == known
    assert (found["fan_in"], found["n_weights"], found["bias_mean"]) == (2, 4, 1.5)


@pytest.mark.parametrize("others", [(1.0, 2.0), (-math.inf, 2.0)])
def test_infinite_weights_have_extremes_but_no_spread(others):
    found = described([[math.inf, *others]], [[1, 2, 3]])
    assert (found["min"], found["max"], found["l2_norm"]) == (min(others), math.inf, math.inf)
    for name in ("std", "skew", "excess_kurtosis", "near_zero_share", "std_ratio", "cosine"):
        assert math.isnan(found[name])
    assert all(math.isfinite(found[name]) for name in OF_INITIAL)


def test_nan_among_the_biases_stays_there():
    found = described([[1, 2], [3, 4]], bias=[1, math.nan])
    assert {name for name in COLUMNS if math.isnan(found[name])} == set(OF_BIAS)
