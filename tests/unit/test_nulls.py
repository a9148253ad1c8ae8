"""Null models: what they keep, what they don't, and that they follow from the run alone."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from weightscape.errors import WeightscapeError
from weightscape.measures.runs import nulls
from weightscape.measures.runs.nulls import (
    COLUMNS,
    KINDS,
    gaussian,
    measure,
    shuffled,
    stream,
    weights_of,
)
from weightscape.measures.runs.weights import COLUMNS as OF_PASS
from weightscape.measures.runs.weights import measure as one_pass
from weightscape.storage.shards import CURVES, RunRecord, open_shard, write_shard
from weightscape.storage.tables import add_groups, read_table

pytestmark = pytest.mark.filterwarnings("error")

SHAPES = {"fc1": (30, 50), "fc2": (20, 30), "fc3": (4, 20)}
RUNS = [("30x20", 0, "low"), ("30x20", 2, "high")]

weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)


def record(seed, change=None):
    """A run whose fc1 grew a strong node and heavy tails."""
    random = np.random.default_rng(seed)
    initial = {f"{name}.weight": random.normal(0, 0.05, shape) for name, shape in SHAPES.items()}
    final = {name: weight + random.standard_t(3, weight.shape) for name, weight in initial.items()}
    final["fc1.weight"][0] *= 20
    biases = {f"{name}.bias": np.zeros(shape[0]) for name, shape in SHAPES.items()}
    snapshots = {
        epoch: {name: values.astype(np.float32) for name, values in (found | biases).items()}
        for epoch, found in ((0, initial), (3, final))
    }
    if change:
        change(snapshots[3])
    curves = dict.fromkeys(CURVES, np.zeros(4))
    norms = {f"gradient_norm/{layer}": np.ones(4) for layer in SHAPES}
    return RunRecord(seed, snapshots, curves, dict.fromkeys(CURVES, 1.0), norms)


@pytest.fixture
def write(header, tmp_path):
    def write(name, records, width="30x20"):
        own = header._replace(model="dnn", width=width, layers=list(SHAPES))
        write_shard(tmp_path / name, own, len(records), [], records)
        return str(tmp_path / name)

    return write


def table_of(keys=RUNS):
    rows = [("dnn", "digits", *key) for key in keys]
    return pd.DataFrame(rows, columns=["model", "dataset", "width", "seed", "group"])


def measured(paths, folder, keys=RUNS):
    measure(paths, table_of(keys), folder / "nulls.csv")
    return add_groups(read_table(folder / "nulls.csv"), table_of(keys))


def passed(paths, folder, keys=RUNS):
    """What the one pass finds of the final weights: statistics, strength and spectra."""
    files = {name: folder / f"{name}.csv" for name in OF_PASS}
    one_pass(paths, table_of(keys), files)
    return [read_table(files[name]) for name in ("statistics", "strength", "spectra")]


def test_a_row_per_run_null_model_and_layer(write, tmp_path):
    table = measured([write("a.h5", [record(seed) for seed in range(3)])], tmp_path)
    assert tuple(table.drop(columns="group").columns) == COLUMNS
    found = list(
        table[["width", "seed", "group", "weights", "layer"]].itertuples(index=False, name=None)
    )
    assert found == [(*run, kind, layer) for run in RUNS for kind in KINDS for layer in SHAPES]


def test_numbers_are_those_that_the_one_pass_finds_of_the_same_weights(write, tmp_path):
    """A shard whose final weights are another's null model, measured as any shard is."""
    path = write("a.h5", [record(seed) for seed in range(3)])
    table = measured([path], tmp_path)
    for kind in KINDS:
        records = []
        with open_shard(path) as shard:
            for row in range(3):
                null = {f"{name}.weight": weights_of(kind, shard, name, row) for name in SHAPES}
                records.append(record(row, change=lambda final, null=null: final.update(null)))
        found = table[table["weights"] == kind].reset_index(drop=True)
        tables = passed([write(f"{kind}.h5", records)], tmp_path)
        for expected, prefix in zip(tables, ("", "strength_", ""), strict=True):
            names = [name for name in expected.columns[5:] if f"{prefix}{name}" in table]
            assert len(names) >= 10
            pd.testing.assert_frame_equal(
                found[[f"{prefix}{name}" for name in names]].set_axis(names, axis=1),
                expected[names],
            )


def test_a_shuffled_layer_keeps_its_distribution_and_loses_its_nodes(write, tmp_path):
    path = write("a.h5", [record(seed) for seed in range(3)])
    table = measured([path], tmp_path).set_index(["seed", "layer"])
    table = table[table["weights"] == "shuffled"]
    statistics, strength, spectra = (
        found.set_index(["seed", "layer"]) for found in passed([path], tmp_path)
    )
    kept = [
        "mean",
        "std",
        "skew",
        "excess_kurtosis",
        "near_zero_share",
        "l2_norm",
        "min",
        "q05",
        "q25",
        "q50",
        "q75",
        "q95",
        "max",
    ]
    np.testing.assert_allclose(table[kept], statistics[kept], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(table["frobenius_norm"], spectra["frobenius_norm"], rtol=1e-7)
    np.testing.assert_allclose(table["strength_mean"], strength["mean"], rtol=1e-7)
    for seed in (0, 2):
        null, final = table.loc[seed, "fc1"], spectra.loc[seed, "fc1"]
        assert null["strength_gini"] < strength.loc[(seed, "fc1"), "gini"] / 1.5
        assert null["spectral_norm"] < final["spectral_norm"] / 1.5
        assert null["stable_rank"] > 2 * final["stable_rank"]


def test_initial_weights_are_those_of_epoch_0(write, tmp_path):
    records = [record(seed) for seed in range(3)]
    table = measured([write("a.h5", records)], tmp_path).set_index(["weights", "seed", "layer"])
    for seed in (0, 2):
        for layer in SHAPES:
            weight = records[seed].snapshots[0][f"{layer}.weight"].astype(float)
            row = table.loc["initial", seed, layer]
            assert row["std"] == pytest.approx(weight.std(), rel=1e-7)
            assert row["spectral_norm"] == pytest.approx(np.linalg.norm(weight, 2), rel=1e-7)
            assert row["strength_max"] == pytest.approx(np.abs(weight).sum(1).max(), rel=1e-7)


@given(weights, st.integers(0, 2**32 - 1))
def test_shuffling_keeps_every_weight(weight, seed):
    before = weight.copy()
    found = shuffled(weight, np.random.default_rng(seed))
    assert (found.shape, found.dtype) == (weight.shape, weight.dtype)
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(weight, axis=None))
    np.testing.assert_array_equal(weight, before)


def test_every_order_is_as_likely_as_any_other():
    # 3! orders of 2,400 shuffles: chi-square of 5 degrees of freedom
    weight = np.array([[1], [2], [3]], np.float32)
    orders = [tuple(shuffled(weight, stream(["x", n])).ravel()) for n in range(2400)]
    counts = pd.Series(orders).value_counts()
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.001


def test_a_gaussian_layer_has_the_mean_and_std_and_nothing_else():
    # 200,000 weights: standard errors std / 447 of the mean, std / 632 of the std
    random = np.random.default_rng(0)
    weight = (0.3 + 0.1 * random.gamma(0.5, 1, (400, 500))).astype(np.float32)
    found = gaussian(weight, random)
    assert (found.shape, found.dtype) == (weight.shape, np.float32)
    std = weight.std(dtype=float)
    assert found.mean(dtype=float) == pytest.approx(weight.mean(dtype=float), abs=4 * std / 447)
    assert found.std(dtype=float) == pytest.approx(std, abs=4 * std / 632)
    standard = (found.astype(float) - weight.mean(dtype=float)) / std
    assert stats.kstest(standard.ravel(), "norm").pvalue > 0.001
    neighbours = stats.pearsonr(standard[:, :-1].ravel(), standard[:, 1:].ravel())
    assert neighbours.pvalue > 0.001


def test_equal_weights_stay_equal():
    weight = np.full((3, 4), 0.25, np.float32)
    np.testing.assert_array_equal(gaussian(weight, np.random.default_rng(0)), weight)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_run_that_is_not_finite_keeps_its_rows(write, tmp_path, bad):
    def spoil(parameters):
        parameters["fc1.weight"][3, 4] = bad

    path = write("a.h5", [record(0, change=spoil), record(1), record(2)])
    table = measured([path], tmp_path)
    assert len(table) == 2 * 3 * 3
    is_lost = (table["seed"] == 0) & (table["layer"] == "fc1") & (table["weights"] != "initial")
    for name in ("std", "spectral_norm"):
        assert table[name].isna().tolist() == is_lost.tolist()


def test_huge_weights_are_no_error(write, tmp_path):
    def spoil(parameters):
        parameters["fc2.weight"][:] = np.finfo(np.float32).max

    table = measured([write("a.h5", [record(0, change=spoil)])], tmp_path, RUNS[:1])
    assert len(table) == 9


def test_what_is_drawn_does_not_depend_on_the_shard_or_the_order(write, tmp_path):
    together = write("a.h5", [record(seed) for seed in range(3)])
    apart = [write(f"{seed}.h5", [record(seed)]) for seed in (2, 0)]
    found = measured(apart, tmp_path).sort_values(["seed", "weights", "layer"], ignore_index=True)
    table = measured([together], tmp_path)
    expected = table.sort_values(["seed", "weights", "layer"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)


def test_runs_and_layers_of_the_same_weights_are_drawn_apart(header, tmp_path):
    weight = np.arange(64, dtype=np.float32).reshape(8, 8)
    paths = []
    for width in ("8", "8x8"):
        own = header._replace(model="dnn", width=width, layers=["fc1", "fc2"])
        parameters = {f"{layer}.weight": weight for layer in own.layers}
        parameters |= {f"{layer}.bias": np.zeros(8, np.float32) for layer in own.layers}
        records = [
            record(seed)._replace(snapshots={0: parameters, 3: parameters}) for seed in range(2)
        ]
        write_shard(tmp_path / f"{width}.h5", own, 2, [], records)
        paths.append(tmp_path / f"{width}.h5")
    for kind in ("shuffled", "gaussian"):
        found = set()
        for path in paths:
            with open_shard(path) as shard:
                found |= {
                    weights_of(kind, shard, layer, row).tobytes()
                    for layer in ("fc1", "fc2")
                    for row in range(2)
                }
        assert len(found) == 8, kind


def test_each_run_layer_and_kind_has_draws_of_its_own():
    keys = [
        ["dnn", "digits", width, seed, layer, kind]
        for width in ("4", "5")
        for seed in (0, 1)
        for layer in ("fc1", "fc2")
        for kind in KINDS
    ]
    draws = [tuple(stream(key).integers(0, 2**62, 2)) for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws[0] == tuple(stream(keys[0]).integers(0, 2**62, 2))


def test_a_run_that_is_in_no_shard_is_told(write, tmp_path):
    path = write("a.h5", [record(0)])
    with pytest.raises(WeightscapeError, match="1 of the 2 runs"):
        measured([path], tmp_path)
    assert not (tmp_path / "nulls.csv").exists()


def test_one_run_is_in_memory_at_a_time(write, tmp_path, monkeypatch):
    rows = []
    inner = nulls.describe_run

    def describe_run(shard, row):
        assert len(shard.weight(3, "fc1", row)) == 30
        rows.append(row)
        return inner(shard, row)

    monkeypatch.setattr(nulls, "describe_run", describe_run)
    measured([write("a.h5", [record(seed) for seed in range(3)])], tmp_path)
    assert rows == [0, 2]
