"""Statistics of a layer's weights, against closed forms and exact sums."""

import math
import statistics as exact

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from weightscape.statistics import describe, measure

SPREAD = ("std",)
PLACES = ("mean", "min", "q05", "q25", "q50", "q75", "q95", "max")

weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)


def test_whole_numbers_by_hand():
    # 0, 1, ..., 100: mean 50, variance (101^2 - 1) / 12, quantile q at 100 q
    found = describe(np.arange(101, dtype=np.float32).reshape(101, 1))
    assert found["mean"] == 50
    assert found["std"] == pytest.approx(math.sqrt((101**2 - 1) / 12), rel=1e-12)
    assert [found[name] for name in PLACES[1:]] == pytest.approx([0, 5, 25, 50, 75, 95, 100])


@given(weights)
def test_against_exact_sums(weight):
    found, values = describe(weight), [float(value) for value in weight.ravel()]
    assert found["mean"] == pytest.approx(exact.fmean(values), rel=1e-9, abs=1e-9)
    assert found["std"] == pytest.approx(exact.pstdev(values), rel=1e-9, abs=1e-7)
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert found["q50"] == pytest.approx(exact.median(values), rel=1e-9, abs=1e-9)
    assert found["n_weights"] == len(values)


@pytest.mark.parametrize(
    ("shape", "fan_in", "n_weights"),
    [((10, 784), 784, 7840), ((8, 3, 3, 3), 27, 216), ((5, 1), 1, 5), ((1, 7), 7, 7)],
)
def test_sizes_of_a_layer(shape, fan_in, n_weights):
    found = describe(np.zeros(shape, np.float32))
    assert (found["fan_in"], found["n_weights"]) == (fan_in, n_weights)
    assert found["std"] == 0


@given(weights, st.randoms())
def test_the_order_of_weights_does_not_matter(weight, random):
    mixed = weight.ravel().tolist()
    random.shuffle(mixed)
    found, again = describe(weight), describe(np.array(mixed, np.float32).reshape(weight.shape))
    for name in (*SPREAD, *PLACES):
        assert again[name] == pytest.approx(found[name], rel=1e-9, abs=1e-7)


@given(weights, st.sampled_from([0.25, 2.0, 8.0]))
def test_scaled_weights_have_scaled_statistics(weight, factor):
    # powers of two: float32 loses nothing
    found, again = describe(weight), describe(weight * np.float32(factor))
    for name in (*SPREAD, *PLACES):
        assert again[name] == pytest.approx(factor * found[name], rel=1e-9, abs=1e-30)


@given(weights)
def test_negated_weights_have_mirrored_statistics(weight):
    found, again = describe(weight), describe(-weight)
    assert again["std"] == pytest.approx(found["std"], rel=1e-9, abs=1e-7)
    for name, mirror in (("min", "max"), ("q05", "q95"), ("q25", "q75"), ("mean", "mean")):
        assert again[name] == pytest.approx(-found[mirror], rel=1e-7, abs=1e-7)


def test_sums_are_in_float64():
    # in float32 the spread beside this mean is lost
    weight = np.where(np.arange(100_000) % 2, 1000.0, 1000.0625).astype(np.float32)
    found = describe(weight.reshape(100, 1000))
    assert found["mean"] == pytest.approx(1000.03125, rel=1e-12)
    assert found["std"] == pytest.approx(0.03125, rel=1e-9)


def test_a_run_of_nan_is_described_as_nan():
    weight = np.ones((2, 3), np.float32)
    weight[0, 0] = np.nan
    found = describe(weight)
    assert math.isnan(found["mean"])
    assert math.isnan(found["std"])
    assert found["n_weights"] == 6


@pytest.fixture
def population(synthesise, tmp_path):
    records = {
        "2": synthesise(tmp_path / "a.h5", [0, 1]),
        "5": synthesise(tmp_path / "b.h5", [0], width="5"),
    }
    return [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")], records


def table_of(keys):
    rows = [("cnn", "digits", width, seed, group) for width, seed, group in keys]
    return pd.DataFrame(rows, columns=["model", "dataset", "width", "seed", "group"])


def test_a_row_per_run_and_layer_from_the_final_weights(population):
    paths, records = population
    runs = table_of([("2", 0, "low"), ("2", 1, "high"), ("5", 0, "non")])
    table = measure(paths, runs).set_index(["width", "seed", "layer"])
    assert len(table) == 3 * 2
    for width, of_width in records.items():
        for record in of_width:
            for layer in ("conv1", "fc"):
                weight = record.snapshots[3][f"{layer}.weight"].astype(float)
                row = table.loc[(width, record.seed, layer)]
                assert row["mean"] == pytest.approx(weight.mean(), rel=1e-9)
                assert row["std"] == pytest.approx(weight.std(ddof=0), rel=1e-9)
    assert table.loc[("2", 1, "fc"), "group"] == "high"
    assert table.loc[("5", 0, "conv1"), "group"] == "non"


def test_layers_stand_in_the_order_of_the_forward_pass(population):
    table = measure(population[0], table_of([("2", 0, "low")]))
    assert table["layer"].tolist() == ["conv1", "fc"]


def test_runs_that_the_study_does_not_ask_for_are_left_out(population):
    table = measure(population[0], table_of([("2", 1, "low")]))
    assert set(zip(table["width"], table["seed"], strict=True)) == {("2", 1)}
