"""Node strength, against loops, networkx, scipy and closed forms."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from weightscape.measures.layer import LayerWeights, linked
from weightscape.measures.layers import strength_heads
from weightscape.measures.layers.strength import (
    COLUMNS,
    describe,
    gini,
    strengths,
)
from weightscape.models import links_of

pytestmark = pytest.mark.filterwarnings("error")

SHAPES = [(7, 5), (1, 6), (6, 1), (1, 1), (4, 3, 2, 2), (3, 1, 3, 3)]
VIT = {"d_model": 8, "depth": 1}
OF_LINK = ("target", "in_out_pearson", "in_out_spearman")

weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)
amounts = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1e6))


def random_weight(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(0.1, 0.4, shape).astype(np.float32)


def alone(weight):
    """COLUMNS of a layer that no other reads."""
    return describe(LayerWeights(np.asarray(weight, np.float32)))


def in_population(layers, links, measure=describe):
    """By layer, of those of which there is something to say."""
    found = linked({name: LayerWeights(weight) for name, weight in layers.items()}, links)
    described = {name: measure(layer) for name, layer in found.items()}
    return {name: columns for name, columns in described.items() if columns}


@pytest.mark.parametrize("shape", SHAPES)
def test_strengths_are_sums_of_absolute_weights_one_by_one(shape):
    weight = random_weight(*shape)
    incoming, signed, outgoing = np.zeros(shape[0]), np.zeros(shape[0]), np.zeros(shape[1])
    for place in itertools.product(*map(range, shape)):
        value = float(weight[place])
        incoming[place[0]] += abs(value)
        signed[place[0]] += value
        outgoing[place[1]] += abs(value)
    found = strengths(LayerWeights(weight))
    np.testing.assert_allclose(found.incoming, incoming, rtol=1e-12)
    np.testing.assert_allclose(found.signed, signed, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.outgoing, outgoing, rtol=1e-12)
    assert found.fan_in == math.prod(shape[1:])
    assert found.incoming.dtype == found.signed.dtype == found.outgoing.dtype == np.float64


@pytest.mark.parametrize("shape", SHAPES)
def test_strengths_are_weighted_degrees_of_the_graph(shape):
    weight, graph = random_weight(*shape), nx.MultiDiGraph()
    for (out, into, *_), value in np.ndenumerate(weight):
        graph.add_edge(("in", into), ("node", out), absolute=abs(float(value)), signed=float(value))
    found = strengths(LayerWeights(weight))
    for node in range(shape[0]):
        name = ("node", node)
        assert found.incoming[node] == pytest.approx(graph.in_degree(name, "absolute"), rel=1e-12)
        assert found.signed[node] == pytest.approx(graph.in_degree(name, "signed"), abs=1e-12)
    for channel in range(shape[1]):
        expected = graph.out_degree(("in", channel), "absolute")
        assert found.outgoing[channel] == pytest.approx(expected, rel=1e-12)


def test_sums_are_in_float64():
    # 2^24 + 1 is no float32
    weight = np.array([[2.0**24, 1.0], [1.0, 0.0]], np.float32)
    assert strengths(LayerWeights(weight)).incoming.tolist() == [2**24 + 1, 1]
    assert strengths(LayerWeights(weight)).signed.tolist() == [2**24 + 1, 1]
    assert strengths(LayerWeights(weight)).outgoing.tolist() == [2**24 + 1, 1]


@given(weights)
def test_the_mean_strength_is_fan_in_times_the_mean_absolute_weight(weight):
    found, fan_in = alone(weight), weight[0].size
    mean = math.fsum(abs(float(value)) for value in weight.ravel()) / weight.size
    assert found["mean"] == pytest.approx(fan_in * mean, rel=1e-12, abs=1e-300)
    assert found["mean_per_input"] == pytest.approx(mean, rel=1e-12, abs=1e-300)


@given(weights)
def test_what_comes_in_comes_out_of_the_layer_before(weight):
    found = strengths(LayerWeights(weight))
    assert found.incoming.sum() == pytest.approx(found.outgoing.sum(), rel=1e-12)
    assert (np.abs(found.signed) <= found.incoming * (1 + 1e-12)).all()


@pytest.mark.parametrize("shape", SHAPES[:2] + SHAPES[4:])
def test_every_column_against_numpy(shape):
    weight = random_weight(*shape)
    wide = weight.astype(np.float64)
    rest = tuple(range(1, weight.ndim))
    node, signed = np.abs(wide).sum(rest), wide.sum(rest)
    out = np.abs(wide).sum((0, *rest[1:]))
    fan_in, std = math.prod(shape[1:]), wide.std()
    quantiles = {f"q{q:02d}": np.percentile(node, q) for q in (5, 25, 50, 75, 95)}
    found = alone(weight)
    assert tuple(found) == COLUMNS
    assert {name: found[name] for name in COLUMNS[:-3]} == pytest.approx(
        {
            "n_nodes": shape[0],
            "fan_in": fan_in,
            "mean": node.mean(),
            "std": node.std(ddof=0),
            "gini": double_sum(node),
            "min": node.min(),
            **quantiles,
            "max": node.max(),
            "mean_per_input": np.abs(wide).mean(),
            "relative_mean": node.mean() / (fan_in * std * stats.halfnorm.mean()),
            "relative_std": node.std() / (std * math.sqrt(fan_in) * stats.halfnorm.std()),
            "signed_mean": signed.mean(),
            "signed_std": signed.std(),
            "signed_min": signed.min(),
            "signed_max": signed.max(),
            "n_inputs": shape[1],
            "out_mean": out.mean(),
            "out_std": out.std(),
            "out_gini": double_sum(out),
            "out_max": out.max(),
        },
        rel=1e-11,
        abs=1e-12,
    )


def double_sum(values):
    """Gini by its definition."""
    total = sum(abs(a - b) for a in values.tolist() for b in values.tolist())
    return total / (2 * len(values) ** 2 * values.mean())


@given(amounts)
def test_gini_is_its_double_sum(values):
    if values.sum() > 1e-290:
        assert gini(values) == pytest.approx(double_sum(values), rel=1e-9, abs=1e-12)


@given(amounts, st.sampled_from([0.25, 2.0, 1024.0]), st.randoms())
def test_gini_knows_neither_unit_nor_order(values, factor, random):
    if values.sum() > 1e-290:
        mixed = (values * factor).tolist()
        random.shuffle(mixed)
        assert gini(np.array(mixed)) == pytest.approx(gini(values), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_gini_runs_from_all_alike_to_one_that_has_all(n):
    assert gini(np.full(n, 0.3)) == pytest.approx(0, abs=1e-12)
    assert gini(np.eye(n)[n // 2]) == pytest.approx((n - 1) / n, rel=1e-12)


def test_gini_of_whole_numbers_by_hand():
    # 1, ..., n: (n - 1) / (3 n), in any order
    assert gini(np.array([3.0, 1, 4, 2, 5])) == pytest.approx(4 / 15, rel=1e-15)


def test_gini_of_nothing_is_undefined():
    assert math.isnan(gini(np.zeros(3)))
    assert math.isnan(gini(np.array([1.0, math.nan])))


@pytest.mark.parametrize(("n", "fan_in", "sigma"), [(2000, 500, 0.05), (3000, 100, 3.0)])
def test_a_gaussian_layer_has_relative_strengths_of_one(n, fan_in, sigma):
    # standard errors: of the mean below 0.002, of the std 1 / sqrt(2 n) below 0.016
    weight = np.random.default_rng(0).normal(0, sigma, (n, fan_in))
    found = alone(weight)
    assert found["relative_mean"] == pytest.approx(1, abs=0.006)
    assert found["relative_std"] == pytest.approx(1, abs=0.05)
    assert found["mean_per_input"] == pytest.approx(sigma * math.sqrt(2 / math.pi), rel=0.006)


def test_a_uniform_layer_has_the_relative_mean_of_its_flatter_shape():
    # E|w| / sigma = (a / 2) / (a / sqrt 3)
    weight = np.random.default_rng(0).uniform(-0.2, 0.2, (1000, 500))
    expected = math.sqrt(3) / 2 / math.sqrt(2 / math.pi)
    assert alone(weight)["relative_mean"] == pytest.approx(expected, abs=0.005)


def test_nodes_of_unequal_scale_show_in_the_spread_alone():
    # the same weights, dealt out at random and by size
    random = np.random.default_rng(0)
    even = random.normal(size=(100, 200))
    uneven = np.sort(np.abs(even), axis=None).reshape(100, 200) * random.choice([-1, 1], (100, 200))
    found, spread = alone(even), alone(uneven)
    assert spread["mean"] == pytest.approx(found["mean"], rel=1e-6)
    assert found["relative_std"] < 1.3
    assert spread["relative_std"] > 10
    assert spread["gini"] > 10 * found["gini"]


@given(weights, st.sampled_from([2.0, 16.0]))
def test_width_free_forms_have_no_unit(weight, factor):
    found, again = alone(weight), alone(weight * np.float32(factor))
    for name in ("gini", "out_gini", "relative_mean", "relative_std", "n_nodes", "fan_in"):
        assert again[name] == pytest.approx(found[name], rel=1e-9, abs=1e-12, nan_ok=True)
    for name in ("mean", "std", "q05", "max", "mean_per_input", "signed_min", "out_std"):
        assert again[name] == pytest.approx(factor * found[name], rel=1e-12, abs=1e-300)


@given(weights)
def test_negated_weights_are_as_strong_and_signed_the_other_way(weight):
    found, again = alone(weight), alone(-weight)
    for name in ("mean", "std", "gini", "q50", "out_mean", "out_gini", "signed_std"):
        assert again[name] == pytest.approx(found[name], rel=1e-12, nan_ok=True)
    assert again["signed_mean"] == -found["signed_mean"]
    assert (again["signed_min"], again["signed_max"]) == (
        -found["signed_max"],
        -found["signed_min"],
    )


@pytest.mark.parametrize("value", [0.25, -3.0])
def test_a_layer_of_equal_weights_has_no_relative_strength(value):
    found = alone(np.full((3, 4), value))
    undefined = {name for name in COLUMNS[:-3] if math.isnan(found[name])}
    assert undefined == {"relative_mean", "relative_std"}
    assert (found["mean"], found["std"], found["gini"]) == (4 * abs(value), 0, 0)
    assert found["signed_max"] == 4 * value


def test_a_layer_of_zeros_has_no_gini_either():
    found = alone(np.zeros((3, 4)))
    undefined = {name for name in COLUMNS[:-3] if math.isnan(found[name])}
    assert undefined == {"relative_mean", "relative_std", "gini", "out_gini"}


def test_a_single_weight_is_its_own_node():
    found = alone([[-2.0]])
    assert (found["n_nodes"], found["n_inputs"], found["fan_in"]) == (1, 1, 1)
    assert (found["mean"], found["signed_mean"], found["out_max"]) == (2, -2, 2)


def test_nan_among_the_weights_makes_the_layer_nan():
    found = alone([[1, math.nan], [2, 3]])
    for name in ("mean", "std", "gini", "min", "q50", "max", "signed_mean", "out_mean"):
        assert math.isnan(found[name])
    assert (found["n_nodes"], found["fan_in"], found["n_inputs"]) == (2, 2, 2)


def test_infinite_weights_are_described_without_a_warning():
    weight = np.array([[math.inf, -math.inf], [1, 2]], np.float32)
    found = describe(LayerWeights(weight))
    assert (found["min"], found["max"], found["mean"]) == (3, math.inf, math.inf)
    for name in ("signed_mean", "std", "gini", "relative_mean"):
        assert math.isnan(found[name])


@pytest.mark.parametrize("width", ["6", "5x9"])
def test_a_dnn_s_units_are_compared_with_the_columns_that_read_them(width):
    first, *_, second = map(int, width.split("x") * 2)
    layers = {
        "fc1": random_weight(first, 11),
        "fc2": random_weight(second, first),
        "fc3": random_weight(3, second),
    }
    found = in_population(layers, links_of("dnn", width, {}))
    for source, target in (("fc1", "fc2"), ("fc2", "fc3")):
        into = np.abs(layers[source].astype(np.float64)).sum(1)
        out = np.abs(layers[target].astype(np.float64)).sum(0)
        assert found[source]["target"] == target
        assert found[source]["in_out_pearson"] == pytest.approx(stats.pearsonr(into, out)[0])
        assert found[source]["in_out_spearman"] == pytest.approx(stats.spearmanr(into, out)[0])
    assert found["fc3"]["target"] is None
    assert math.isnan(found["fc3"]["in_out_pearson"])


@pytest.mark.parametrize("places", [1, 4])
def test_a_cnn_s_kernels_are_compared_with_their_channel_s_block_of_the_flatten(places):
    channels = 5
    layers = {
        "conv1": random_weight(channels, 2, 3, 3),
        "fc": random_weight(3, channels * places),
    }
    into, out = np.zeros(channels), np.zeros(channels)
    for channel in range(channels):
        into[channel] = sum(abs(float(w)) for w in layers["conv1"][channel].ravel())
        for place in range(places):
            out[channel] += sum(abs(float(w)) for w in layers["fc"][:, channel * places + place])
    found = in_population(layers, links_of("cnn", "5", {"head": "flatten"}))["conv1"]
    assert found["target"] == "fc"
    assert found["in_out_pearson"] == pytest.approx(stats.pearsonr(into, out)[0])
    assert found["in_out_spearman"] == pytest.approx(stats.spearmanr(into, out)[0])


def vit_layers(d_model=8, hidden=6):
    names = ("query", "key", "value", "attention_out")
    square = {name: random_weight(d_model, d_model, seed=i) for i, name in enumerate(names)}
    return square | {"mlp1": random_weight(hidden, d_model), "mlp2": random_weight(d_model, hidden)}


def test_a_vit_links_values_and_mlp_units_row_by_row():
    layers = vit_layers()
    found = in_population(layers, links_of("vit", "4", VIT))
    targets = {name: columns["target"] for name, columns in found.items()}
    assert targets == {
        "query": None,
        "key": None,
        "value": "attention_out",
        "attention_out": None,
        "mlp1": "mlp2",
        "mlp2": None,
    }
    for source, target in (("value", "attention_out"), ("mlp1", "mlp2")):
        into = np.abs(layers[source].astype(np.float64)).sum(1)
        out = np.abs(layers[target].astype(np.float64)).sum(0)
        assert found[source]["in_out_pearson"] == pytest.approx(stats.pearsonr(into, out)[0])


def test_a_head_is_one_node_of_query_key_and_value():
    layers, heads = vit_layers(), 4
    found = in_population(layers, links_of("vit", str(heads), VIT), strength_heads.describe)
    assert set(found) == {"query", "key", "value"}
    rows = [slice(2 * head, 2 * head + 2) for head in range(heads)]
    out = [np.abs(layers["attention_out"][:, own].astype(np.float64)).sum() for own in rows]
    for name, columns in found.items():
        wide = layers[name].astype(np.float64)
        into = np.array([np.abs(wide[own]).sum() for own in rows])
        signed = np.array([wide[own].sum() for own in rows])
        assert tuple(columns) == COLUMNS
        assert (columns["n_nodes"], columns["fan_in"], columns["n_inputs"]) == (4, 16, 8)
        assert (columns["mean"], columns["max"]) == pytest.approx((into.mean(), into.max()))
        assert columns["gini"] == pytest.approx(double_sum(into))
        assert columns["signed_min"] == pytest.approx(signed.min())
        assert columns["mean_per_input"] == pytest.approx(np.abs(wide).mean())
        assert columns["target"] == "attention_out"
        assert columns["in_out_pearson"] == pytest.approx(stats.pearsonr(into, out)[0])
        assert columns["in_out_spearman"] == pytest.approx(stats.spearmanr(into, out)[0])


def test_heads_of_a_gaussian_layer_have_relative_strengths_of_one():
    # 512 heads of 4 x 512 weights: standard error of the spread 1 / sqrt(2 x 512) = 0.03
    names = ("query", "key", "value", "attention_out")
    random = np.random.default_rng(0)
    layers = {name: random.normal(0, 0.2, (2048, 512)).astype(np.float32) for name in names}
    layers["attention_out"] = random.normal(0, 0.2, (8, 2048)).astype(np.float32)
    links = links_of("vit", "512", {"d_model": 2048, "depth": 1})[:1]
    for columns in in_population(layers, links, strength_heads.describe).values():
        assert columns["relative_mean"] == pytest.approx(1, abs=0.01)
        assert columns["relative_std"] == pytest.approx(1, abs=0.12)


def test_heads_of_a_deeper_vit_are_read_in_their_own_block():
    layers = vit_layers()
    layers |= {f"{name}_2": weight[::-1].copy() for name, weight in vit_layers().items()}
    found = in_population(layers, links_of("vit", "2", VIT | {"depth": 2}), strength_heads.describe)
    assert found["key"]["target"] == "attention_out"
    assert found["key_2"]["target"] == "attention_out_2"


def test_models_without_heads_have_none():
    layers = {"fc1": random_weight(4, 6), "fc2": random_weight(4, 4), "fc3": random_weight(3, 4)}
    assert in_population(layers, links_of("dnn", "4", {}), strength_heads.describe) == {}


def test_units_read_as_strongly_as_they_are_fed_correlate_fully():
    fed = np.array([[1.0], [2], [4], [8]])
    layers = {
        "fc1": (fed * [[0.5, -0.25]]).astype(np.float32),
        "fc2": random_weight(4, 4),
        "fc3": random_weight(3, 4),
    }
    links = links_of("dnn", "4", {})
    # as strong, as strong in rank only, and the other way round
    for out, pearson, spearman in ((fed, 1, 1), (fed**3, None, 1), (-np.log(fed) + 3, None, -1)):
        layers["fc2"] = (out.T * [[1], [-1], [1], [-1]]).astype(np.float32)
        found = in_population(layers, links)["fc1"]
        assert found["in_out_spearman"] == pytest.approx(spearman)
        if pearson is None:
            assert abs(found["in_out_pearson"]) < 0.99
        else:
            assert found["in_out_pearson"] == pytest.approx(pearson)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([[1], [2]], [[1, 2]]),
        ([[2], [-2], [2]], [[1, 2, 3]]),
        ([[1], [2], [3]], [[1, -1, 1]]),
        ([[1], [2], [math.nan]], [[1, 2, 3]]),
        ([[1], [2], [3]], [[1, math.inf, 1]]),
    ],
    ids=["two nodes", "fed alike", "read alike", "NaN", "infinite"],
)
def test_no_correlation_is_claimed_where_there_is_none_to_have(first, second):
    layers = {"fc1": np.array(first, np.float32), "fc2": np.array(second, np.float32)}
    links = links_of("dnn", str(len(first)), {})[:1]
    columns = in_population(layers, links)["fc1"]
    assert columns["target"] == "fc2"
    assert math.isnan(columns["in_out_pearson"])
    assert math.isnan(columns["in_out_spearman"])
