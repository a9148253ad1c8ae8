"""A study: which shards hold its runs, and what determines them."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.study.config import check
from weightscape.study.paths import (
    cover,
    existing_shards,
    import_tables,
    parse_seeds,
    seeds_text,
    shard_ranges,
    shards,
    weights_folder,
)
from weightscape.study.population import (
    Population,
    find_population,
    import_rows,
    layers,
    populations,
)
from weightscape.study.recipes import canonical_json, recipe, snapshot_epochs, stream_seeds
from weightscape.study.widths import width_order

ranges = st.builds(lambda first, n: range(first, first + n), st.integers(0, 60), st.integers(1, 25))


def test_populations_in_the_order_of_the_config(small):
    edges = {"low": [0, 1], "mid": [2, 3], "high": [4, 5]}
    small["populations"].append(
        {"model": "cnn", "dataset": "mnist", "widths": [1], "seeds": 9, "edges": edges}
    )
    first, second = populations(check(small))
    assert first == Population("dnn", "digits", ("4", "3x5"), 3, None)
    assert second == Population("cnn", "mnist", ("1",), 9, edges, {"head": "flatten"})
    assert (first.n_runs, second.n_runs) == (6, 9)
    assert find_population(check(small), "cnn", "mnist") == second


def crossed(config, init, shuffle):
    """The first population and its recipe, from init x shuffle seeds."""
    config["populations"][0]["seeds"] = {"init": init, "shuffle": shuffle}
    full = check(config)
    return populations(full)[0], recipe(full, populations(full)[0])


def test_crossed_seeds_give_each_width_init_times_shuffle_runs(small):
    population, _ = crossed(small, 4, 3)
    assert (population.n_seeds, population.n_shuffle_seeds, population.n_runs) == (12, 3, 24)
    assert [len(shard_ranges(check(small), population, width)) for width in ("4", "3x5")] == [
        12,
        12,
    ]
    assert len(shards(check(small | {"runs_per_job": 5}), population)) == 6


def test_a_population_may_have_jobs_of_its_own_size(small):
    vit = {"model": "vit", "dataset": "digits", "widths": [2], "seeds": 3, "runs_per_job": 3}
    config = check(small | {"populations": [*small["populations"], vit]})
    first, second = populations(config)
    assert shard_ranges(config, first, "4") == [range(0, 1), range(1, 2), range(2, 3)]
    assert shard_ranges(config, second, "2") == [range(0, 3)]


@given(st.integers(1, 40), st.integers(1, 40))
def test_crossed_seeds_pair_each_initialisation_with_each_order_once(init, shuffle):
    pairs = [stream_seeds(seed, shuffle) for seed in range(init * shuffle)]
    assert pairs == list(itertools.product(range(init), range(shuffle)))


def test_more_init_seeds_change_no_run_and_more_shuffle_seeds_change_the_recipe(small):
    (_, first), (_, more) = crossed(small, 4, 3), crossed(small, 9, 3)
    assert first == more
    assert [stream_seeds(seed, 3) for seed in range(12)] == [
        stream_seeds(seed, 3) for seed in range(27)
    ][:12]
    assert crossed(small, 4, 5)[1] != first


def test_only_the_recipe_of_crossed_seeds_names_them(small):
    plain = recipe(check(small), populations(check(small))[0])
    assert "shuffle_seeds" not in plain
    assert crossed(small, 4, 3)[1] == plain | {"shuffle_seeds": 3}


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        (range(7, 8), "0007"),
        (range(50), "0000-0049"),
        (range(9_999, 10_001), "9999-10000"),
        (range(12_345, 12_346), "12345"),
    ],
)
def test_seeds_as_in_the_names_of_shards(seeds, text):
    assert seeds_text(seeds) == text
    assert parse_seeds(text) == seeds


@given(st.integers(0, 10**6), st.integers(1, 10**5))
def test_parse_seeds_undoes_seeds_text(first, n):
    seeds = range(first, first + n)
    assert parse_seeds(seeds_text(seeds)) == seeds


@given(st.integers(1, 80), st.integers(1, 30), st.lists(ranges, max_size=8))
def test_shards_hold_each_wanted_seed_once(wanted, runs_per_job, existing):
    covered = [seed for seeds in cover(wanted, runs_per_job, existing) for seed in seeds]
    assert len(covered) == len(set(covered))
    assert set(range(wanted)) <= set(covered)


@given(st.integers(1, 80), st.integers(1, 30), st.lists(ranges, max_size=8))
def test_a_new_shard_holds_only_wanted_seeds_and_at_most_runs_per_job(wanted, per_job, existing):
    new = [seeds for seeds in cover(wanted, per_job, existing) if seeds not in existing]
    assert all(0 < len(seeds) <= per_job for seeds in new)
    assert all(seeds.stop <= wanted for seeds in new)


@given(st.integers(1, 80), st.integers(1, 30), st.lists(ranges, max_size=8))
def test_a_shard_is_trained_only_where_no_kept_one_has_its_seeds(wanted, per_job, existing):
    shards = cover(wanted, per_job, existing)
    kept = {seed for seeds in shards if seeds in existing for seed in seeds}
    for seeds in shards:
        assert seeds in existing or not kept & set(seeds)


@given(st.integers(1, 80), st.integers(1, 30), st.lists(ranges, max_size=8))
def test_asked_again_with_its_shards_there_cover_gives_the_same(wanted, runs_per_job, existing):
    first = cover(wanted, runs_per_job, existing)
    assert cover(wanted, runs_per_job, [*existing, *first]) == first


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 60), st.integers(1, 30))
def test_more_seeds_keep_every_shard_whatever_the_runs_per_job(wanted, per_job, more, other):
    first = cover(wanted, per_job, [])
    assert set(first) <= set(cover(wanted + more, other, first))


def test_cover_by_hand():
    assert cover(3, 1, []) == [range(0, 1), range(1, 2), range(2, 3)]
    assert cover(25, 10, []) == [range(10), range(10, 20), range(20, 25)]
    assert cover(25, 10, [range(5, 12)]) == [range(5), range(5, 12), range(12, 20), range(20, 25)]
    # fewer seeds than a shard has: the shard is still the one to read
    assert cover(5, 1, [range(50)]) == [range(50)]


def test_overlapping_shards_do_not_give_a_seed_twice():
    assert cover(10, 10, [range(0, 1), range(0, 10), range(5, 20)]) == [range(10)]


def test_existing_shards_are_those_with_a_shard_s_name(tmp_path):
    for name in (
        "seeds-0007.h5",
        "seeds-0010-0019.h5",
        ".seeds-0001.h5.host-12.part",
        "seeds-0002.h5.bak",
        "seeds-3.h5",
        "seeds-0004.txt",
    ):
        (tmp_path / name).touch()
    assert sorted(existing_shards(tmp_path), key=min) == [range(7, 8), range(10, 20)]
    assert existing_shards(tmp_path / "away") == []


def test_paths_of_shards(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = check(small | {"runs_per_job": 2})
    (population,) = populations(config)
    folder = "results/small/weights/dnn/digits"
    assert shards(config, population) == [
        f"{folder}/width-4/seeds-0000-0001.h5",
        f"{folder}/width-4/seeds-0002.h5",
        f"{folder}/width-3x5/seeds-0000-0001.h5",
        f"{folder}/width-3x5/seeds-0002.h5",
    ]


def test_shards_that_are_there_are_asked_for_again(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = weights_folder("small", "dnn", "digits", "4")
    folder.mkdir(parents=True)
    (folder / "seeds-0001-0002.h5").touch()
    small["populations"][0]["seeds"] = 5
    config = check(small)
    (population,) = populations(config)
    assert shard_ranges(config, population, "4") == [
        range(0, 1),
        range(1, 3),
        range(3, 4),
        range(4, 5),
    ]
    assert shard_ranges(config, population, "3x5") == [range(n, n + 1) for n in range(5)]
    made = [Path(path) for path in shards(config, population)]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [Path(path) for path in shards(config, population)] == made


def test_an_outer_workflow_s_prefix_moves_what_is_looked_for_and_no_path_of_a_rule(
    small, tmp_path, monkeypatch
):
    """Snakemake puts the prefix before the paths of rules itself."""
    monkeypatch.chdir(tmp_path)
    folder = weights_folder("small", "dnn", "digits", "4")
    (Path("networks") / folder).mkdir(parents=True)
    (Path("networks") / folder / "seeds-0000-0002.h5").touch()
    config = check(small)
    (population,) = populations(config)
    assert len(shard_ranges(config, population, "4")) == 3
    config["prefix"] = "networks/"
    assert shard_ranges(config, population, "4") == [range(0, 3)]
    assert shards(config, population)[0] == f"{folder}/seeds-0000-0002.h5"


@pytest.mark.parametrize(
    ("named", "epochs", "kept"),
    [
        ([0, "last"], 20, [0, 20]),
        ([], 5, [0, 5]),
        ([3, "last", 1], 5, [0, 1, 3, 5]),
        ([5, "last"], 5, [0, 5]),
    ],
)
def test_the_first_and_the_last_weights_are_always_kept(small, named, epochs, kept):
    config = check(small | {"training": {"snapshots": named, "epochs": epochs}})
    assert snapshot_epochs(config) == kept


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("training", {"epochs": 3}),
        ("training", {"batch_size": 99}),
        ("training", {"learning_rate": 0.002}),
        ("training", {"initialisation": {"std": 0.01}}),
        ("training", {"initialisation": {"biases": "zero"}}),
        ("models", {"vit": {"dropout": 0.2}}),
    ],
)
def test_what_determines_the_weights_is_in_the_recipe(small, section, changes):
    small["populations"][0] |= {"model": "vit", "widths": [4]}
    assert recipe_of(small | {section: changes}) != recipe_of(small)


def recipe_of(config):
    full = check(config)
    return recipe(full, populations(full)[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "other"},
        {"runs_per_job": 9},
        {"device": "cpu"},
        {"training": {"snapshots": [1]}},
        {"models": {"vit": {"dropout": 0.2}}},
        {"groups": {"accuracy": "test"}},
        {"figures": {"dpi": 100}},
    ],
)
def test_what_does_not_touch_the_weights_is_not_in_the_recipe(small, changes):
    assert recipe_of(small | changes) == recipe_of(small)


def test_json_has_one_spelling():
    assert canonical_json({"b": [1, 0.5, None], "a": "x"}) == '{"a":"x","b":[1,0.5,null]}'
    assert canonical_json({"a": "x", "b": [1, 0.5, None]}) == '{"a":"x","b":[1,0.5,null]}'


TABLE = "file,width,seed,train_accuracy,test_accuracy\n"
ROWS = ["a,16,2,90,80", "b,4x2,7,90,80", "c,16,0,90,80", "d,16,5,90,80"]


def test_an_import_has_the_widths_and_runs_of_its_table(zoo, small):
    config = check(small | zoo(TABLE, ROWS))
    trained, imported = populations(config)
    assert not trained.is_imported
    assert (imported.model, imported.dataset, imported.widths) == ("mine", "pets", ("4x2", "16"))
    assert imported.imported_seeds == {"4x2": [7], "16": [0, 2, 5]}
    assert imported.n_runs == 4
    assert imported.n_seeds == 8  # above all of them
    assert find_population(config, "mine", "pets") == imported
    assert find_population(config, "dnn", "digits") == trained
    rows = import_rows(config, "mine", "pets", "16")
    assert [row.file for row in rows] == ["a", "c", "d"]


def test_an_import_has_one_shard_a_width_whatever_is_there(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = check(zoo(TABLE, ROWS) | {"runs_per_job": 1})
    (imported,) = populations(config)
    top = "results/zoo/weights/mine/pets"
    paths = [f"{top}/width-4x2/seeds-0007.h5", f"{top}/width-16/seeds-0000-0005.h5"]
    assert shards(config, imported) == paths
    folder = weights_folder("zoo", "mine", "pets", "16")
    folder.mkdir(parents=True)
    (folder / "seeds-0000.h5").touch()  # of a table with fewer rows
    assert shards(config, imported) == paths
    (folder / "seeds-0000-0005.h5").touch()
    assert import_tables(config, imported) == [
        "results/zoo/measures/mine/pets/imports/width-4x2/seeds-0007.csv",
        "results/zoo/measures/mine/pets/imports/width-16/seeds-0000-0005.csv",
    ]


def test_the_recipe_of_an_import_is_what_is_known(zoo):
    config = check(zoo(TABLE, ROWS))
    (imported,) = populations(config)
    found = recipe(config, imported)
    assert (found["imported"], found["epochs"], found["options"]) == (True, 1, {})
    assert found["layers"]["two"] == {"weight": "2.weight", "bias": None, "reads": "one"}
    assert not {"learning_rate", "batch_size", "optimiser", "initialisation"} & set(found)
    assert layers(config, imported) == found["layer_order"] == ["one", "two"]


def test_the_recipe_of_an_import_keeps_the_order_of_its_layers(zoo):
    config = zoo(TABLE, ROWS)
    names = ["zeroth", "middle", "after"]
    config["import"][0]["layers"] = {name: {"weight": f"{name}.weight"} for name in names}
    config = check(config)
    (imported,) = populations(config)
    found = json.loads(canonical_json(recipe(config, imported)))
    assert found["layer_order"] == layers(config, imported) == names


def test_the_tensors_of_a_family_are_named_after_its_layers(zoo):
    config = zoo(TABLE, ROWS)
    del config["import"][0]["layers"]
    config["import"][0]["model"] = "dnn"
    (imported,) = populations(check(config))
    found = recipe(check(config), imported)["layers"]
    assert list(found) == layers(check(config), imported) == ["fc1", "fc2", "fc3"]
    assert found["fc2"] == {"weight": "fc2.weight", "bias": "fc2.bias", "reads": None}


def test_widths_are_sorted_as_numbers_and_names_after_them():
    widths = ["small", "20", "4x50", "big", "100", "4", "x5"]
    assert sorted(widths, key=width_order) == ["4", "4x50", "20", "100", "big", "small", "x5"]
