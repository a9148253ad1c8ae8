"""Curves and telemetry by epoch, against the records that were written."""

import numpy as np
import pytest

from weightscape.measures.convergence import (
    CURVE_COLUMNS,
    TELEMETRY_COLUMNS,
    curves,
    telemetry,
)
from weightscape.storage.shards import CURVES, open_shard

SEEDS = [4, 9, 2]


@pytest.fixture(scope="module")
def population(synthesise, tmp_path_factory):
    """A shard of three runs, and seed -> what was written."""
    path = tmp_path_factory.mktemp("convergence") / "a.h5"
    return path, {record.seed: record for record in synthesise(path, SEEDS)}


@pytest.fixture
def shard(population):
    with open_shard(population[0]) as opened:
        yield opened


@pytest.fixture
def records(population):
    return population[1]


def test_a_row_per_run_and_epoch(shard):
    table = curves(shard, [0, 1, 2])
    assert tuple(table.columns) == CURVE_COLUMNS
    expected = [(seed, epoch) for seed in SEEDS for epoch in range(4)]
    assert list(zip(table["seed"], table["epoch"], strict=True)) == expected
    for key, value in (("model", "cnn"), ("dataset", "digits"), ("width", "2")):
        assert set(table[key]) == {value}


def test_each_run_has_its_own_curves(shard, records):
    table = curves(shard, [0, 1, 2]).set_index("seed")
    for seed, record in records.items():
        for name in CURVES:
            expected = record.curves[name].astype(np.float32)
            np.testing.assert_array_equal(table.loc[seed, name], expected)


@pytest.mark.parametrize("rows", [[1], [2, 0]])
def test_only_the_wanted_runs_are_there_in_the_order_asked_for(shard, records, rows):
    table, layers = curves(shard, rows), telemetry(shard, rows)
    seeds = [SEEDS[row] for row in rows]
    assert table["seed"].unique().tolist() == layers["seed"].unique().tolist() == seeds
    for seed in seeds:
        own = table[table["seed"] == seed]
        expected = records[seed].curves["test_loss"].astype(np.float32)
        np.testing.assert_array_equal(own["test_loss"], expected)
        norms = layers.loc[(layers["seed"] == seed) & (layers["layer"] == "fc"), "gradient_norm"]
        expected = records[seed].telemetry["gradient_norm/fc"].astype(np.float32)
        np.testing.assert_array_equal(norms, expected)


def test_telemetry_has_a_row_per_run_layer_and_epoch(shard):
    table = telemetry(shard, [0, 1, 2])
    assert tuple(table.columns) == TELEMETRY_COLUMNS
    found = list(zip(table["layer"], table["seed"], table["epoch"], strict=True))
    assert found == [
        (layer, seed, epoch) for layer in ("conv1", "fc") for seed in SEEDS for epoch in range(4)
    ]


def test_telemetry_is_what_was_written(shard, records):
    table = telemetry(shard, [0, 1, 2]).set_index(["seed", "layer"]).sort_index()
    for seed, record in records.items():
        for name, values in record.telemetry.items():
            kind, layer = name.split("/")
            found = table.loc[(seed, layer), kind]
            np.testing.assert_array_equal(found, values.astype(np.float32))


def test_a_layer_without_relu_has_no_dead_units(shard):
    table = telemetry(shard, [0, 2])
    assert table.loc[table["layer"] == "fc", "dead_units"].isna().all()
    assert table.loc[table["layer"] == "conv1", "dead_units"].notna().all()


def test_each_shard_has_its_own_number_of_epochs(synthesise, tmp_path):
    synthesise(tmp_path / "long.h5", [1], final_epoch=5, width="7")
    with open_shard(tmp_path / "long.h5") as long:
        table, layers = curves(long, [0]), telemetry(long, [0])
    assert table["epoch"].tolist() == [0, 1, 2, 3, 4, 5]
    assert set(table["width"]) == {"7"}
    assert len(layers) == 2 * 6
