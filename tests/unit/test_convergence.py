"""Curves by epoch, against the records that were written."""

import numpy as np
import pandas as pd
import pytest

from weightscape.convergence import measure
from weightscape.study import CURVES


@pytest.fixture
def population(synthesise, tmp_path):
    records = {
        "2": synthesise(tmp_path / "a.h5", [0, 1]),
        "5": synthesise(tmp_path / "b.h5", [3], width="5"),
    }
    return [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")], records


@pytest.fixture
def runs():
    rows = [("2", 0, "low"), ("2", 1, "high"), ("5", 3, "non")]
    table = pd.DataFrame(rows, columns=["width", "seed", "group"])
    return table.assign(model="cnn", dataset="digits")


def test_a_row_per_run_and_epoch(population, runs):
    table = measure(population[0], runs)
    assert len(table) == 3 * 4
    assert not table.duplicated(["width", "seed", "epoch"]).any()
    assert set(table["epoch"]) == {0, 1, 2, 3}


def test_each_run_has_its_own_curves(population, runs):
    paths, records = population
    table = measure(paths, runs).set_index(["width", "seed", "epoch"]).sort_index()
    for width, of_width in records.items():
        for record in of_width:
            for name in CURVES:
                found = table.loc[(width, record.seed), name].to_numpy()
                np.testing.assert_allclose(found, record.curves[name], rtol=1e-6)


def test_each_run_has_its_group(population, runs):
    table = measure(population[0], runs)
    found = table.groupby(["width", "seed"])["group"].agg(set).to_dict()
    assert found == {("2", 0): {"low"}, ("2", 1): {"high"}, ("5", 3): {"non"}}


def test_runs_that_the_study_does_not_ask_for_are_left_out(population, runs):
    table = measure(population[0], runs[runs["seed"] == 1])
    assert set(zip(table["width"], table["seed"], strict=True)) == {("2", 1)}


def test_shards_of_unlike_lengths_keep_their_own_epochs(synthesise, runs, tmp_path):
    synthesise(tmp_path / "a.h5", [0])
    synthesise(tmp_path / "b.h5", [1], final_epoch=5)
    table = measure([str(tmp_path / "a.h5"), str(tmp_path / "b.h5")], runs)
    assert table.groupby("seed")["epoch"].max().to_dict() == {0: 3, 1: 5}
