"""Groups: Table 2's edges, and who did not converge."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.runs.groups import (
    GROUPS,
    PAPER_EDGES,
    PAPER_MEDIANS,
    Baseline,
    assign,
    choose_edges,
    choose_other_edges,
    find_smallest,
    groups_in,
    is_non,
    summarise,
)

TEN = Baseline(10, 11.35)
QUANTILES = {"low": [0, 0.25], "mid": [0.375, 0.625], "high": [0.75, 1]}
BY_PAPER = {"edges": "paper", "quantiles": QUANTILES}
BY_QUANTILES = {"edges": "quantiles", "quantiles": QUANTILES}


def grouped(accuracies, edges, non=None):
    accuracy = np.array(accuracies, float)
    return assign(accuracy, np.zeros(len(accuracy), bool) if non is None else non, edges).tolist()


# Table 2 of the paper, as printed, but for the ViT's mid on CIFAR-10: 0-40 contains low
TABLE_2 = {
    ("dnn", "mnist"): ((30, 55), (80, 82), (95, 100)),
    ("dnn", "fmnist"): ((30, 75), (83.5, 84), (95, 100)),
    ("dnn", "cifar10"): ((20, 32), (45, 55), (75, 100)),
    ("cnn", "mnist"): ((0, 95), (96, 98), (99.5, 100)),
    ("cnn", "fmnist"): ((0, 90), (96, 98), (99.5, 100)),
    ("cnn", "cifar10"): ((0, 55), (55, 75), (80, 100)),
    ("vit", "mnist"): ((0, 30), (70, 85), (85, 100)),
    ("vit", "fmnist"): ((0, 40), (65, 72), (74, 100)),
    ("vit", "cifar10"): ((0, 20), (20, 40), (40, 100)),
}


def test_the_edges_are_table_2():
    named = {
        pair: dict(zip(("low", "mid", "high"), edges, strict=True))
        for pair, edges in TABLE_2.items()
    }
    assert named == PAPER_EDGES


@pytest.mark.parametrize("pair", TABLE_2, ids="-".join)
def test_edges_are_half_open_and_the_top_one_is_inclusive(pair):
    edges = PAPER_EDGES[pair]
    for name, (low, high) in edges.items():
        assert grouped([low, np.nextafter(high, 0)], edges) == [name, name]
    assert grouped([100], edges) == ["high"]


@pytest.mark.parametrize(
    ("accuracy", "group"),
    [
        (29.99, "ungrouped"),
        (30, "low"),
        (54.99, "low"),
        (55, "ungrouped"),
        (79.9, "ungrouped"),
        (80, "mid"),
        (82, "ungrouped"),
        (94.9, "ungrouped"),
        (95, "high"),
        (100, "high"),
    ],
)
def test_a_run_in_a_gap_belongs_to_no_group(accuracy, group):
    assert grouped([accuracy], PAPER_EDGES["dnn", "mnist"]) == [group]


@pytest.mark.parametrize(("accuracy", "group"), [(55, "mid"), (75, "ungrouped"), (54.9, "low")])
def test_at_a_shared_edge_the_higher_group_wins(accuracy, group):
    assert grouped([accuracy], PAPER_EDGES["cnn", "cifar10"]) == [group]


def test_non_goes_before_every_group():
    edges = PAPER_EDGES["cnn", "mnist"]
    assert grouped([11.35, 50, 99.9], edges, np.array([True, False, True])) == ["non", "low", "non"]


@pytest.mark.parametrize(
    ("loss", "accuracy", "non"),
    [
        (math.log(10), 11.35, True),
        (math.log(10) * 1.0099, 11.8, True),
        (math.log(10) * 0.9901, 10.9, True),
        (math.log(10) * 1.011, 11.35, False),
        (math.log(10) * 0.989, 11.35, False),
        (math.log(10), 11.9, False),
        (math.log(10), 10.8, False),
        (0.1, 98.0, False),
        (math.nan, 98.0, True),
        (math.nan, 11.35, True),
        (math.inf, 50.0, True),
    ],
)
def test_who_did_not_converge(loss, accuracy, non):
    assert is_non(np.array([loss]), np.array([accuracy]), np.array([2.0]), TEN).tolist() == [non]


def test_chance_follows_from_the_number_of_classes():
    loss, accuracy = np.array([math.log(2), math.log(10)]), np.array([50.0, 50.0])
    assert is_non(loss, accuracy, np.full(2, np.nan), Baseline(2, 50)).tolist() == [True, False]
    assert is_non(loss, accuracy, np.full(2, np.nan), Baseline(10, 50)).tolist() == [False, True]


def test_own_edges_come_first():
    own = {"low": [1, 2], "mid": [3, 4], "high": [5, 6]}
    edges, source = choose_edges("dnn", "mnist", BY_PAPER, own, np.array([50.0]))
    assert (edges, source) == ({"low": (1, 2), "mid": (3, 4), "high": (5, 6)}, "config")
    assert grouped([6, 6.1, 2, 1], edges) == ["high", "ungrouped", "ungrouped", "low"]


def test_the_paper_s_edges_are_taken_where_it_has_them():
    edges, source = choose_edges("dnn", "mnist", BY_PAPER, None, np.array([50.0]))
    assert (edges, source) == (PAPER_EDGES["dnn", "mnist"], "paper")
    assert choose_edges("dnn", "digits", BY_PAPER, None, np.array([50.0]))[1] == "quantiles"
    assert choose_edges("dnn", "mnist", BY_QUANTILES, None, np.array([50.0]))[1] == "quantiles"


def test_other_edges_are_those_that_an_analyst_could_have_chosen():
    converged = np.arange(101.0)
    other = partial(choose_other_edges, converged=converged)
    quantiles = {"low": (0, 25), "mid": (37.5, 62.5), "high": (75, 100)}
    assert other("dnn", "mnist", BY_PAPER, "paper") == quantiles
    assert other("dnn", "mnist", BY_PAPER, "config") == quantiles
    assert other("dnn", "mnist", BY_QUANTILES, "quantiles") == PAPER_EDGES["dnn", "mnist"]
    assert other("dnn", "digits", BY_PAPER, "quantiles") is None


def test_the_smallest_width_is_by_size_and_not_by_name():
    runs = pd.DataFrame({"width": ["10", "9", "100x2"], "group": "low", "other_group": "high"})
    assert find_smallest(runs) == "9"
    assert groups_in(runs, "as set", "all").tolist() == ["low"] * 3
    assert groups_in(runs, "other", "without the smallest").tolist() == [
        "high",
        "ungrouped",
        "high",
    ]


def test_quantile_groups_of_101_runs_by_hand():
    # the accuracies 0, 1, ..., 100 are their own quantiles
    accuracies = np.random.default_rng(0).permutation(101).astype(float)
    edges, _ = choose_edges("dnn", "digits", BY_QUANTILES, None, accuracies)
    assert edges == {"low": (0, 25), "mid": (37.5, 62.5), "high": (75, 100)}
    groups = np.array(grouped(accuracies, edges))
    assert sorted(accuracies[groups == "low"]) == list(range(25))
    assert sorted(accuracies[groups == "mid"]) == list(range(38, 63))
    assert sorted(accuracies[groups == "high"]) == list(range(75, 101))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40))
def test_quantile_groups_are_in_order_of_accuracy(values):
    accuracies = np.array(values)
    edges, _ = choose_edges("dnn", "digits", BY_QUANTILES, None, accuracies)
    groups = np.array(grouped(accuracies, edges))
    assert groups[accuracies.argmax()] == "high"
    for lower, higher in (("low", "mid"), ("mid", "high")):
        below, above = accuracies[groups == lower], accuracies[groups == higher]
        assert not len(below) or not len(above) or below.max() < above.min()


def test_runs_that_tie_are_in_one_group():
    accuracies = np.array([90.0] * 7)
    edges, _ = choose_edges("dnn", "digits", BY_QUANTILES, None, accuracies)
    assert len(set(grouped(accuracies, edges))) == 1


def test_a_population_of_non_alone():
    edges, source = choose_edges("dnn", "digits", BY_QUANTILES, None, np.array([]))
    assert source == "quantiles"
    assert all(math.isnan(edge) for pair in edges.values() for edge in pair)
    assert grouped([10, 11], edges, np.array([True, True])) == ["non", "non"]


def table_of(runs, edges):
    return summarise(runs, edges, "test", "paper", TEN).set_index("group")


@pytest.fixture
def runs():
    return pd.DataFrame(
        {
            "model": "dnn",
            "dataset": "mnist",
            "test_accuracy": [11.0, 11.4, 40.0, 50.0, 53.0, 60.0, 96.0, 97.0, 98.0, 99.0],
            "train_accuracy": 0.0,
            "group": ["non"] * 2 + ["low"] * 3 + ["ungrouped"] + ["high"] * 4,
        }
    )


def test_table_2_of_a_population(runs):
    table = table_of(runs, PAPER_EDGES["dnn", "mnist"])
    assert tuple(table.index) == GROUPS
    assert table["n"].to_dict() == {"non": 2, "low": 3, "mid": 0, "high": 4, "ungrouped": 1}
    columns = ["min", "median", "max", "edge_low", "edge_high"]
    expected = {
        "non": [11, 11.2, 11.4, 10.85, 11.85],
        "low": [40, 50, 53, 30, 55],
        "mid": [math.nan] * 3 + [80, 82],
        "high": [96, 97.5, 99, 95, 100],
        "ungrouped": [60, 60, 60, math.nan, math.nan],
    }
    for group, values in expected.items():
        np.testing.assert_allclose(table.loc[group, columns].to_numpy(float), values)
    assert set(table["model"]) == {"dnn"}
    assert set(table["dataset"]) == {"mnist"}


def test_table_2_says_what_it_is_made_from(runs):
    table = table_of(runs, PAPER_EDGES["dnn", "mnist"])
    assert set(table["split"]) == {"test"}
    assert set(table["edges"]) == {"paper"}


# the medians of Table 2 of the paper as printed: MNIST, Fashion-MNIST, CIFAR-10
MEDIANS = {
    ("dnn", "non"): (11.35, 10.00, 11.35),
    ("dnn", "low"): (39.33, 72.90, 30.94),
    ("dnn", "mid"): (80.91, 83.67, 52.29),
    ("dnn", "high"): (98.55, 95.88, 77.80),
    ("cnn", "low"): (93.77, 85.93, 40.39),
    ("cnn", "mid"): (97.68, 97.71, 63.36),
    ("cnn", "high"): (99.87, 99.95, 88.91),
    ("vit", "low"): (22.11, 30.40, 17.50),
    ("vit", "mid"): (74.58, 69.59, 38.18),
    ("vit", "high"): (90.71, 74.59, 44.56),
}


def test_the_medians_are_table_2():
    found = {
        (model, dataset, group): median
        for (model, dataset), of_pair in PAPER_MEDIANS.items()
        for group, median in of_pair.items()
    }
    assert found == {
        (model, dataset, group): median
        for (model, group), medians in MEDIANS.items()
        for dataset, median in zip(("mnist", "fmnist", "cifar10"), medians, strict=True)
    }


@pytest.mark.parametrize("pair", PAPER_MEDIANS, ids="-".join)
def test_a_median_of_the_paper_is_within_its_own_edges(pair):
    for name, (low, high) in PAPER_EDGES[pair].items():
        assert low <= PAPER_MEDIANS[pair][name] <= high


def test_the_paper_s_medians_stand_beside_ours(runs):
    table = table_of(runs, PAPER_EDGES["dnn", "mnist"])
    expected = {"non": 11.35, "low": 39.33, "mid": 80.91, "high": 98.55, "ungrouped": math.nan}
    assert table["paper_median"].to_dict() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("model", "dataset"), [("dnn", "digits"), ("own", "mnist")])
def test_where_the_paper_has_no_population_it_has_no_median(runs, model, dataset):
    table = table_of(runs.assign(model=model, dataset=dataset), PAPER_EDGES["dnn", "mnist"])
    assert table["paper_median"].isna().all()


def test_a_group_that_the_paper_does_not_have_has_no_median(runs):
    table = table_of(runs.assign(model="cnn"), PAPER_EDGES["cnn", "mnist"])
    expected = {"non": math.nan, "low": 93.77, "mid": 97.68, "high": 99.87, "ungrouped": math.nan}
    assert table["paper_median"].to_dict() == pytest.approx(expected, nan_ok=True)
