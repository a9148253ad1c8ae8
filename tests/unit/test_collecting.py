"""The table of runs: final numbers, dead units and groups."""

import math

import h5py
import numpy as np
import pytest

from weightscape.errors import WeightscapeError
from weightscape.runs.collecting import collect, group, read_baseline
from weightscape.runs.groups import Baseline
from weightscape.storage.shards import CURVES, write_shard
from weightscape.study.config import check
from weightscape.study.population import Population

GROUPS = {
    "accuracy": "test",
    "edges": "paper",
    "quantiles": {"low": [0, 0.25], "mid": [0.375, 0.625], "high": [0.75, 1]},
}


def grouped(runs, prepared, config, own):
    return group(runs, read_baseline(prepared, config["accuracy"]), config, own)


@pytest.fixture
def population():
    return Population("cnn", "digits", ("2", "5"), 2)


@pytest.fixture
def paths(tmp_path):
    return [tmp_path / "a.h5", tmp_path / "b.h5"]


def test_a_row_per_run_with_its_final_numbers(synthesise, population, paths):
    records = [*synthesise(paths[0], [0, 1]), *synthesise(paths[1], [0, 1], width="5")]
    runs = collect(population, paths)
    assert runs["width"].tolist() == ["2", "2", "5", "5"]
    assert runs["seed"].tolist() == [0, 1, 0, 1]
    assert runs["shard"].tolist() == [str(paths[0])] * 2 + [str(paths[1])] * 2
    for name in CURVES:
        np.testing.assert_allclose(runs[name], [record.final[name] for record in records], 1e-6)


def test_streams_are_the_last_columns(synthesise, header, population, paths):
    synthesise(paths[0], [2, 5], recipe=header.recipe | {"shuffle_seeds": 3})
    runs = collect(population._replace(n_seeds=6), paths[:1], has_all=False)
    assert list(runs.columns[-2:]) == ["init_seed", "shuffle_seed"]
    assert runs[["init_seed", "shuffle_seed"]].to_numpy().tolist() == [[0, 2], [1, 2]]


def test_runs_that_the_study_does_not_ask_for_are_left_out(synthesise, population, paths):
    synthesise(paths[0], [0, 1, 2, 3])
    synthesise(paths[1], [0, 1], width="9")
    runs = collect(population._replace(widths=("2",)), paths)
    assert list(zip(runs["width"], runs["seed"], strict=True)) == [("2", 0), ("2", 1)]
    assert runs.index.tolist() == [0, 1]


def test_a_run_that_is_in_two_shards_is_refused(synthesise, population, paths):
    synthesise(paths[0], [0, 1])
    synthesise(paths[1], [1])
    with pytest.raises(WeightscapeError, match=r"the seed 1 of width 2 is in .* and in .*; delete"):
        collect(population, paths)


def test_a_run_that_is_in_no_shard_is_an_error(synthesise, population, paths):
    synthesise(paths[0], [0, 1])
    synthesise(paths[1], [0], width="5")
    with pytest.raises(WeightscapeError, match=r"1 of the 4 runs .* seed 1 of width 5; run again"):
        collect(population, paths)
    assert len(collect(population, paths, has_all=False)) == 3


def test_a_run_that_predicts_one_class_for_every_image_did_not_converge(
    synthesise, header, population, paths, prepared
):
    """However far its loss is from that of chance, and its accuracy from the largest class's."""
    first, second = synthesise(paths[0], [0, 1])
    n = len(first.predictions["test"])
    one_class = np.full(n, 3, np.uint8)
    write_shard(
        paths[0],
        header,
        2,
        ["position", "norm1.weight"],
        [first._replace(predictions={"test": one_class}), second],
    )
    runs = collect(population._replace(widths=("2",)), paths[:1])
    assert runs["n_classes_predicted"].tolist() == [1, len(set(second.predictions["test"]))]
    runs = runs.assign(test_loss=1.0, test_accuracy=[40.0, 60.0])
    groups = grouped(runs, prepared, GROUPS, None)[0]["group"]
    assert (groups == "non").tolist() == [True, False]


def test_shards_of_another_recipe_are_refused(synthesise, population, paths):
    synthesise(paths[0], [0])
    synthesise(paths[1], [1], recipe={"version": 2})
    with pytest.raises(WeightscapeError, match="recipe_digest"):
        collect(population, paths)


def of_units(record, dead):
    """The record with layers of 3, 1 and 6 units whose shares of dead units end in `dead`."""
    sizes = {"fc1": 3, "fc2": 1, "mlp": 6}
    weights = {f"{layer}.weight": np.zeros((n, 2), np.float32) for layer, n in sizes.items()}
    biases = {f"{layer}.bias": np.zeros(n, np.float32) for layer, n in sizes.items()}
    curves = {f"dead_units/{layer}": np.array([1, 1, 0, share]) for layer, share in dead.items()}
    return record._replace(snapshots=dict.fromkeys((0, 3), weights | biases), telemetry=curves)


def test_the_share_of_dead_units_is_over_the_units_of_all_layers(
    synthesise, header, population, paths
):
    first, second = synthesise(paths[0], [0, 1])
    runs = [
        of_units(first, {"fc1": 2 / 3, "fc2": 1.0, "mlp": 1 / 6}),
        of_units(second, {"fc1": 0.0, "fc2": 0.0, "mlp": 0.5}),
    ]
    write_shard(paths[0], header._replace(layers=["fc1", "fc2", "mlp"]), 2, [], runs)
    # of 10 units, 2 + 1 + 1 are dead in the first run and 3 in the second
    share = collect(population._replace(widths=("2",)), paths[:1])["dead_unit_share"]
    np.testing.assert_allclose(share, [0.4, 0.3], 1e-6)


def test_a_model_without_relu_units_has_runs_too(synthesise, header, population, paths):
    (record,) = synthesise(paths[0], [0])
    telemetry = {"gradient_norm/fc": record.telemetry["gradient_norm/fc"]}
    write_shard(
        paths[0], header, 1, ["position", "norm1.weight"], [record._replace(telemetry=telemetry)]
    )
    alone = population._replace(widths=("2",), n_seeds=1)
    share = collect(alone, paths[:1])["dead_unit_share"].tolist()
    assert len(share) == 1
    assert math.isnan(share[0]) or share[0] == 0


@pytest.fixture
def prepared(tmp_path):
    """Labels of a dataset: of 40 to test on, 22 are of class 1; of 10 to train on, 5 of class 0."""
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.attrs["format_version"] = 1
        file["test/labels"] = np.repeat([0, 1, 2, 3], [8, 22, 6, 4])
        file["train/labels"] = np.repeat([0, 1, 2, 3], [5, 2, 2, 1])
        file.attrs["classes"] = 4
    return tmp_path / "d.h5"


def test_what_a_constant_predictor_scores(prepared):
    assert read_baseline(prepared, "test")[:2] == (4, pytest.approx(55))
    assert read_baseline(prepared, "train")[:2] == (4, pytest.approx(50))


@pytest.fixture
def final(synthesise, population, paths):
    """Five runs: constant on test, constant on train, NaN, weak and strong."""
    synthesise(paths[0], range(5))
    numbers = {
        "test_accuracy": [55, 40, 55, 60, 99],
        "test_loss": [math.log(4), 1, math.nan, 1, 0.1],
        "train_accuracy": [70, 50, 50, 60, 99],
        "train_loss": [1, math.log(4), math.nan, 1, 0.1],
    }
    return collect(population._replace(n_seeds=5, widths=("2",)), paths[:1]).assign(**numbers)


@pytest.mark.parametrize(
    ("split", "non", "share"),
    [
        ("test", [True, False, True, False, False], 55),
        ("train", [False, True, True, False, False], 50),
    ],
)
def test_runs_are_sorted_by_the_split_of_the_config(final, prepared, split, non, share):
    runs, table = grouped(final, prepared, GROUPS | {"accuracy": split}, None)
    assert (runs["group"] == "non").tolist() == non
    table = table.set_index("group")
    assert table.loc["non", "n"] == sum(non)
    assert table.loc["non", ["edge_low", "edge_high"]].tolist() == [share - 0.5, share + 0.5]
    assert set(table["split"]) == {split}
    assert table["n"].sum() == 5


def test_quantiles_are_of_the_converged_runs(final, prepared):
    # converged on test: 40, 60 and 99, whose quartiles are 50 and 79.5
    _, table = grouped(final, prepared, GROUPS, None)
    table = table.set_index("group")
    assert table.loc["low", ["edge_low", "edge_high"]].tolist() == [40, 50]
    assert table.loc["high", ["edge_low", "edge_high"]].tolist() == pytest.approx([79.5, 99])
    assert set(table["edges"]) == {"quantiles"}


def test_own_edges_are_taken(final, prepared):
    own = {"low": [0, 50], "mid": [50, 70], "high": [70, 100]}
    runs, table = grouped(final, prepared, GROUPS, own)
    assert runs["group"].tolist() == ["non", "low", "non", "mid", "high"]
    assert set(table["edges"]) == {"config"}


def test_the_config_s_own_section_is_enough(final, prepared, small):
    runs, _ = grouped(final, prepared, check(small)["groups"], None)
    assert len(runs) == 5


def test_a_population_of_non_alone_is_grouped(final, prepared):
    runs, table = grouped(final.assign(test_loss=math.nan), prepared, GROUPS, None)
    assert set(runs["group"]) == {"non"}
    assert table.set_index("group")["n"].to_dict() == {
        "non": 5,
        "low": 0,
        "mid": 0,
        "high": 0,
        "ungrouped": 0,
    }


def test_a_loss_that_an_import_does_not_know_makes_no_run_non(final):
    runs = final.assign(test_loss=[math.nan, math.nan, math.inf, math.log(4), 0.1])
    imported = Baseline(4, 55, imported=True)
    groups = group(runs, imported, GROUPS, None)[0]["group"]
    # test accuracies are 55, 40, 55, 60 and 99: the first is what a constant scores
    assert (groups == "non").tolist() == [True, False, True, False, False]
    groups = group(runs, imported._replace(imported=False), GROUPS, None)[0]["group"]
    assert (groups == "non").tolist() == [True, True, True, False, False]
