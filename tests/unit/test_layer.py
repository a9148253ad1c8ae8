"""A layer's weights, against exact sums, numpy and counting one by one."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from weightscape.measures.layer import LayerWeights

pytestmark = pytest.mark.filterwarnings("error")

SHARES = np.array([0, 0.05, 0.25, 1 / 3, 0.5, 0.75, 0.95, 1])

weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)


def layer_of(*values):
    return LayerWeights(np.array([values], np.float32))


@pytest.mark.parametrize(
    ("shape", "fan_in", "size"),
    [((10, 784), 784, 7840), ((8, 3, 3, 3), 27, 216), ((5, 1), 1, 5), ((1, 7), 7, 7)],
)
def test_a_node_reads_all_but_the_first_axis(shape, fan_in, size):
    layer = LayerWeights(np.zeros(shape, np.float32))
    assert (layer.fan_in, layer.size) == (fan_in, size)


@given(weights)
def test_mean_and_variance_are_those_of_exact_sums(weight):
    layer, exact = LayerWeights(weight), [Fraction(float(value)) for value in weight.ravel()]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    assert layer.mean == pytest.approx(float(mean), rel=1e-12, abs=1e-12)
    assert layer.variance == pytest.approx(float(variance), rel=1e-12, abs=1e-24)
    assert layer.std == pytest.approx(math.sqrt(variance), rel=1e-12, abs=1e-12)


@given(weights)
def test_values_and_deviations_keep_the_order_of_the_weights(weight):
    layer = LayerWeights(weight)
    assert layer.values.dtype == layer.deviations.dtype == np.float64
    assert layer.values.tolist() == [float(value) for value in weight.ravel()]
    assert layer.deviations.tolist() == [float(value) - layer.mean for value in weight.ravel()]


def test_sums_are_in_float64():
    # in float32 the spread beside this mean is lost
    weight = np.where(np.arange(100_000) % 2, 1000.0, 1000.0625).astype(np.float32)
    layer = LayerWeights(weight.reshape(100, 1000))
    assert layer.mean == pytest.approx(1000.03125, rel=1e-12)
    assert layer.std == pytest.approx(0.03125, rel=1e-9)


@pytest.mark.parametrize("value", [0.1, -1 / 3, 3e38, 1e-40])
def test_equal_weights_have_no_spread_at_all(value):
    # their sum is exact in float64, so no rounding passes for a spread
    assert LayerWeights(np.full((37, 1001), value, np.float32)).variance == 0


@given(weights)
def test_quantiles_are_those_of_numpy(weight):
    expected = np.quantile(weight.astype(np.float64), SHARES)
    np.testing.assert_allclose(LayerWeights(weight).quantiles(SHARES), expected, 1e-12, 1e-12)


def test_quantiles_of_one_weight_are_that_weight():
    assert layer_of(-0.5).quantiles(SHARES).tolist() == [-0.5] * len(SHARES)


@given(weights, st.floats(0, 100) | st.just(0.0))
def test_the_share_within_a_bound_is_counted(weight, bound):
    found = sum(abs(float(value)) <= bound for value in weight.ravel())
    assert LayerWeights(weight).share_within(bound) == found / weight.size


@given(weights, st.data())
def test_a_weight_at_the_bound_is_within(weight, data):
    bound = abs(float(data.draw(st.sampled_from(weight.ravel().tolist()))))
    found = sum(abs(float(value)) <= bound for value in weight.ravel())
    assert LayerWeights(weight).share_within(bound) == found / weight.size


def test_a_bound_is_not_rounded_to_float32():
    tenth = float(np.float32(0.1))  # 0.100000001
    assert layer_of(tenth, -tenth).share_within(0.1) == 0
    assert layer_of(tenth, -tenth).share_within(tenth) == 1


def test_sorted_weights_have_nan_last():
    np.testing.assert_array_equal(layer_of(2, math.nan, -1).sorted, [-1, 2, math.nan])


def test_nan_among_the_weights_makes_quantiles_and_shares_nan():
    layer = layer_of(1, math.nan, -1)
    assert np.isnan(layer.quantiles(SHARES)).all()
    assert math.isnan(layer.share_within(0.5))
    assert math.isnan(layer_of(1, 2).share_within(math.nan))


@pytest.mark.parametrize(
    ("values", "is_finite"),
    [
        ((1, 2), True),
        ((3e38, -3e38), True),
        ((1, math.nan), False),
        ((1, math.inf), False),
        ((math.inf, -math.inf), False),
    ],
)
def test_only_finite_weights_make_a_finite_layer(values, is_finite):
    layer = layer_of(*values)
    assert layer.is_finite is is_finite
    assert math.isfinite(layer.std) is is_finite


def test_the_weights_are_left_as_they_came():
    weight = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    layer, before = LayerWeights(weight), weight.copy()
    assert layer.std > 0
    assert layer.sorted[0] == before.min()
    assert layer.weight is weight
    np.testing.assert_array_equal(weight, before)
