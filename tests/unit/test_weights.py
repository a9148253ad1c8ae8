"""The passes over a population's runs, against the records that were written."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.measures.runs import densities as of_groups
from weightscape.measures.runs.weights import COLUMNS, measure
from weightscape.storage.densities import join_densities, open_densities
from weightscape.storage.shards import CURVES, RunRecord, write_shard
from weightscape.storage.tables import add_groups, read_table

pytestmark = pytest.mark.filterwarnings("error")

TABLES = tuple(COLUMNS)
RUNS = [("2", 0, "low"), ("2", 1, "high"), ("5", 3, "low")]


def table_of(keys, model="cnn", dataset="digits"):
    rows = [(model, dataset, width, seed, group) for width, seed, group in keys]
    return pd.DataFrame(rows, columns=["model", "dataset", "width", "seed", "group"])


def outputs_in(folder):
    names = {name: f"{name}.csv" for name in TABLES} | {"densities.h5": "densities.h5"}
    return {name: folder / file for name, file in names.items()}


def measured(shards, runs, folder, rule="silverman"):
    """The tables that the pass writes, by name, with groups, and the path of the densities."""
    outputs, shards = outputs_in(folder), [str(path) for path in shards]
    measure(shards, runs.drop(columns="group"), {name: outputs[name] for name in TABLES})
    of_groups.measure(shards, runs, rule, outputs["densities.h5"])
    tables = {name: add_groups(read_table(outputs[name]), runs) for name in TABLES}
    return tables, outputs["densities.h5"]


def drawn(seed, shapes, epochs=(0, 2), change=None):
    """A run of random weights of these shapes, after `change(its final parameters)`."""
    random = np.random.default_rng(seed)
    snapshots = {
        epoch: {
            name: random.normal(size=size).astype(np.float32)
            for layer, shape in shapes.items()
            for name, size in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1]))
        }
        for epoch in epochs
    }
    if change:
        change(snapshots[epochs[-1]])
    curves = {name: random.uniform(0, 100, epochs[-1] + 1) for name in CURVES}
    norms = {f"gradient_norm/{layer}": random.uniform(size=epochs[-1] + 1) for layer in shapes}
    return RunRecord(seed, snapshots, curves, dict.fromkeys(CURVES, 1.0), norms)


def write(path, header, records, shapes):
    header = header._replace(final_epoch=2, layers=list(shapes))
    write_shard(path, header, len(records), [], records)
    return path


@pytest.fixture(scope="module")
def population(synthesise, tmp_path_factory):
    """Paths of two shards, (width, seed) -> what was written, and what the pass made of them."""
    folder = tmp_path_factory.mktemp("weights")
    paths = [folder / "a.h5", folder / "b.h5"]
    records = {
        **{("2", record.seed): record for record in synthesise(paths[0], [0, 7, 1])},
        **{("5", record.seed): record for record in synthesise(paths[1], [3, 0], width="5")},
    }
    tables, densities = measured(paths, table_of(RUNS), folder / "measures")
    return paths, records, tables, densities


@pytest.mark.parametrize("name", ["statistics", "strength"])
def test_a_row_per_wanted_run_and_layer_in_the_order_of_the_forward_pass(population, name):
    table = population[2][name]
    found = list(table[["width", "seed", "group", "layer"]].itertuples(index=False, name=None))
    assert found == [(*run, layer) for run in RUNS for layer in ("conv1", "fc")]
    assert set(table["model"]) == {"cnn"}
    assert set(table["dataset"]) == {"digits"}


@pytest.mark.parametrize("name", TABLES)
def test_each_table_has_its_columns_and_the_wanted_runs_only(population, name):
    table = population[2][name]
    assert list(table.columns) == heads.tables()[name].names
    assert list(COLUMNS[name]) == [column for column in table.columns if column != "group"]
    if name != "strength_heads":
        found = set(zip(table["width"], table["seed"], table["group"], strict=True))
        assert found == set(RUNS)


def test_statistics_are_of_the_final_weights_beside_the_initial_ones(population):
    _, records, tables, _ = population
    table = tables["statistics"].set_index(["width", "seed", "layer"])
    for width, seed, _ in RUNS:
        snapshots = records[width, seed].snapshots
        for layer in ("conv1", "fc"):
            final, initial = (
                snapshots[epoch][f"{layer}.weight"].astype(float).ravel() for epoch in (3, 0)
            )
            row = table.loc[(width, seed, layer)]
            assert row["mean"] == pytest.approx(final.mean(), rel=1e-7)
            assert row["std"] == pytest.approx(final.std(), rel=1e-7)
            assert row["skew"] == pytest.approx(stats.skew(final), rel=1e-6)
            assert row["initial_std"] == pytest.approx(initial.std(), rel=1e-7)
            assert row["distance"] == pytest.approx(np.linalg.norm(final - initial), rel=1e-7)
            bias = snapshots[3][f"{layer}.bias"].astype(float)
            assert row["bias_mean"] == pytest.approx(bias.mean(), rel=1e-7)


def test_strengths_are_of_the_final_weights(population):
    _, records, tables, _ = population
    table = tables["strength"].set_index(["width", "seed", "layer"])
    for width, seed, _ in RUNS:
        for layer, target in (("conv1", "fc"), ("fc", None)):
            weight = records[width, seed].snapshots[3][f"{layer}.weight"].astype(float)
            node = np.abs(weight.reshape(len(weight), -1)).sum(1)
            row = table.loc[(width, seed, layer)]
            assert row["mean"] == pytest.approx(node.mean(), rel=1e-7)
            assert row["max"] == pytest.approx(node.max(), rel=1e-7)
            gaussian = weight[0].size * weight.std() * stats.halfnorm.mean()
            assert row["relative_mean"] == pytest.approx(node.mean() / gaussian, rel=1e-7)
            assert row["target"] == target if target else pd.isna(row["target"])


def test_curves_and_telemetry_are_as_written(population):
    _, records, tables, _ = population
    curves = tables["convergence"].set_index(["width", "seed"]).sort_index()
    telemetry = tables["telemetry"].set_index(["width", "seed", "layer"]).sort_index()
    assert len(curves) == len(RUNS) * 4
    assert len(telemetry) == len(RUNS) * 2 * 4
    for width, seed, _ in RUNS:
        record = records[width, seed]
        assert curves.loc[(width, seed), "epoch"].tolist() == [0, 1, 2, 3]
        for name in CURVES:
            found = curves.loc[(width, seed), name]
            np.testing.assert_array_equal(found.astype(np.float32), np.float32(record.curves[name]))
        for name, values in record.telemetry.items():
            kind, layer = name.split("/")
            found = telemetry.loc[(width, seed, layer), kind]
            np.testing.assert_array_equal(found.astype(np.float32), np.float32(values))
    assert tables["telemetry"].query("layer == 'fc'")["dead_units"].isna().all()


def test_densities_say_whose_they_are(population):
    with open_densities(population[3]) as file:
        assert (file.attrs["model"], file.attrs["dataset"]) == ("cnn", "digits")
        assert file.attrs["rule"] == "silverman"
        assert list(file.attrs["layers"]) == ["conv1", "fc"]


def test_densities_have_every_wanted_run_and_count_it_for_its_group(population):
    _, records, _, densities = population
    with open_densities(densities) as file:
        for layer, size in (("conv1", 2 * 9), ("fc", 3 * 8)):
            runs = file[f"{layer}/runs"]
            found = zip(runs["width"].asstr()[()], runs["seed"][()], strict=True)
            assert list(found) == [run[:2] for run in RUNS]
            for row, run in enumerate(RUNS):
                weight = records[run[:2]].snapshots[3][f"{layer}.weight"].astype(float)
                assert runs["mean"][row] == pytest.approx(weight.mean(), rel=1e-12)
            groups = set(file[layer]) - {"runs"}
            assert groups == {"low", "high"}
            assert {group: file[layer][group].attrs["n"] for group in groups} == {
                "low": 2,
                "high": 1,
            }
            assert file[layer]["low/counts"][()].sum() == 2 * size


def test_the_rule_of_the_bandwidth_is_the_one_asked_for(population, tmp_path):
    paths, _, tables, densities = population
    again, scott = measured(paths, table_of(RUNS), tmp_path, "scott")
    with open_densities(densities) as file, open_densities(scott) as other:
        assert other.attrs["rule"] == "scott"
        std, size = other["fc/runs/std"][()], 24
        found = other["fc/runs/bandwidth"][()]
        np.testing.assert_allclose(found, 1.06 * std * size**-0.2, rtol=1e-12)
        assert (file["fc/runs/bandwidth"][()] < found).all()
    for name in TABLES:
        pd.testing.assert_frame_equal(again[name], tables[name])


def test_a_shard_without_a_wanted_run_is_passed_over(population, tmp_path):
    tables, densities = measured(population[0], table_of([("5", 0, "mid")]), tmp_path)
    assert set(zip(tables["statistics"]["width"], tables["statistics"]["seed"], strict=True)) == {
        ("5", 0)
    }
    assert len(tables["convergence"]) == 4
    with open_densities(densities) as file:
        assert file["fc/runs/mean"].shape == (1,)
        assert set(file["fc"]) == {"runs", "mid"}


def test_the_order_of_the_table_of_runs_does_not_matter(population, tmp_path):
    paths, _, expected, _ = population
    tables, _ = measured(paths, table_of(RUNS[::-1]), tmp_path)
    for name in TABLES:
        pd.testing.assert_frame_equal(tables[name], expected[name])


def test_runs_that_share_a_shard_or_not_are_measured_alike(header, tmp_path):
    shapes = {"conv1": (4, 1, 3, 3), "fc": (3, 16)}
    records = [drawn(seed, shapes) for seed in range(3)]
    together = [write(tmp_path / "all.h5", header, records, shapes)]
    apart = [write(tmp_path / f"{r.seed}.h5", header, [r], shapes) for r in records]
    runs = table_of([("2", seed, "low") for seed in range(3)])
    tables, densities = measured(together, runs, tmp_path / "together")
    others, other_densities = measured(apart, runs, tmp_path / "apart")
    for name in TABLES:
        keys = [key for key in ("seed", "layer", "epoch") if key in tables[name]]
        found, expected = (
            table[name].sort_values(keys, ignore_index=True) for table in (others, tables)
        )
        pd.testing.assert_frame_equal(found, expected)
    with open_densities(densities) as file, open_densities(other_densities) as other:
        np.testing.assert_array_equal(other["fc/low/density"], file["fc/low/density"])


def test_units_are_linked_at_every_width(header, tmp_path):
    sizes = {"4": (4, 4), "3x5": (3, 5)}
    paths, records = [], {}
    for width, (first, second) in sizes.items():
        shapes = {"fc1": (first, 7), "fc2": (second, first), "fc3": (3, second)}
        records[width] = drawn(0, shapes)
        ours = header._replace(model="dnn", width=width)
        paths.append(write(tmp_path / f"{width}.h5", ours, [records[width]], shapes))
    runs = table_of([(width, 0, "low") for width in sizes], model="dnn")
    table = measured(paths, runs, tmp_path)[0]["strength"].set_index(["width", "layer"])
    for width, record in records.items():
        for source, target in (("fc1", "fc2"), ("fc2", "fc3")):
            into, out = (
                np.abs(record.snapshots[2][f"{layer}.weight"].astype(float)).sum(axis)
                for layer, axis in ((source, 1), (target, 0))
            )
            row = table.loc[(width, source)]
            assert row["target"] == target
            assert row["n_nodes"] == len(into)
            assert row["in_out_pearson"] == pytest.approx(stats.pearsonr(into, out)[0], rel=1e-7)


def test_heads_of_a_vit_have_a_table_of_their_own(header, tmp_path):
    square = ("query", "key", "value", "attention_out")
    shapes = dict.fromkeys(square, (6, 6)) | {"mlp1": (4, 6), "mlp2": (6, 4)}
    options = {"tokens": "patches", "d_model": 6, "feedforward": 4, "dropout": 0.1, "depth": 1}
    ours = header._replace(model="vit", width="3", recipe=header.recipe | {"options": options})
    record = drawn(8, shapes)
    path = write(tmp_path / "vit.h5", ours, [record], shapes)
    tables, _ = measured([path], table_of([("3", 8, "mid")], model="vit"), tmp_path)
    of_heads = tables["strength_heads"].set_index("layer")
    assert of_heads.index.tolist() == ["query", "key", "value"]
    assert set(of_heads["group"]) == {"mid"}
    for name in of_heads.index:
        weight = np.abs(record.snapshots[2][f"{name}.weight"].astype(float))
        own = [weight[2 * head : 2 * head + 2].sum() for head in range(3)]
        assert of_heads.loc[name, "n_nodes"] == 3
        assert of_heads.loc[name, "max"] == pytest.approx(max(own), rel=1e-7)
    assert tables["strength"]["layer"].tolist() == list(shapes)


def test_a_family_that_is_not_known_here_has_no_links(synthesise, tmp_path):
    synthesise(tmp_path / "a.h5", [0], model="perceptron")
    runs = table_of([("2", 0, "low")], model="perceptron")
    tables, _ = measured([tmp_path / "a.h5"], runs, tmp_path)
    assert tables["strength"]["target"].isna().all()
    assert tables["strength"]["mean"].notna().all()
    assert len(tables["strength_heads"]) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_run_that_is_not_finite_stays_in_tables_but_counts_for_no_density(header, tmp_path, bad):
    def spoil(parameters):
        parameters["fc.weight"][0, :2] = bad, -bad

    shapes = {"conv1": (4, 1, 3, 3), "fc": (3, 16)}
    records = [drawn(0, shapes), drawn(1, shapes, change=spoil), drawn(2, shapes, change=spoil)]
    path = write(tmp_path / "a.h5", header, records, shapes)
    runs = table_of([("2", 0, "low"), ("2", 1, "low"), ("2", 2, "non")])
    tables, densities = measured([path], runs, tmp_path)
    for name in ("statistics", "strength"):
        table = tables[name].set_index(["seed", "layer"])
        assert len(table) == 6
        assert table.loc[[(1, "fc"), (2, "fc")], "std"].isna().all()
        assert table.drop([(1, "fc"), (2, "fc")])["std"].notna().all()
    with open_densities(densities) as file:
        assert np.isfinite(file["fc/runs/std"][()]).tolist() == [True, False, False]
        assert np.isfinite(file["conv1/runs/std"][()]).all()
        assert set(file["fc"]) == {"runs", "low"}
        assert set(file["conv1"]) == {"runs", "low", "non"}
        assert (file["fc/low"].attrs["n"], file["conv1/low"].attrs["n"]) == (1, 2)


def test_a_population_without_a_single_density_has_its_tables_all_the_same(header, tmp_path):
    def spoil(parameters):
        for values in parameters.values():
            values[...] = np.nan

    shapes = {"conv1": (4, 1, 3, 3), "fc": (3, 16)}
    path = write(tmp_path / "a.h5", header, [drawn(0, shapes, change=spoil)], shapes)
    tables, densities = measured([path], table_of([("2", 0, "non")]), tmp_path)
    assert len(tables["statistics"]) == 2
    join_densities([densities], tmp_path / "joined.h5")
    with open_densities(tmp_path / "joined.h5") as joined:
        assert [len(joined["cnn/digits"][layer]) for layer in ("conv1", "fc")] == [0, 0]


def refusal(shards, folder):
    """What the pass says of these shards; it must leave nothing behind."""
    with pytest.raises(WeightscapeError) as caught:
        measured(shards, table_of(RUNS), folder / "measures")
    assert list((folder / "measures").iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.95])
def test_a_damaged_shard_is_named_and_leaves_no_output(population, tmp_path, place):
    sound, other = population[0]
    content = bytearray(other.read_bytes())
    content[int(place * len(content))] ^= 16
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    assert str(damaged) in refusal([sound, damaged], tmp_path)


def test_a_shard_cut_short_or_missing_is_named_and_leaves_no_output(population, tmp_path):
    sound, other = population[0]
    short = tmp_path / "short.h5"
    short.write_bytes(other.read_bytes()[:-200])
    assert str(short) in refusal([sound, short], tmp_path)
    assert str(tmp_path / "none.h5") in refusal([sound, tmp_path / "none.h5"], tmp_path)


def test_a_shard_of_another_recipe_is_named_and_leaves_no_output(synthesise, population, tmp_path):
    other = tmp_path / "other.h5"
    synthesise(other, [3], width="5", recipe={"version": 2})
    assert str(other) in refusal([population[0][0], other], tmp_path)


def test_a_run_that_is_in_no_shard_is_missed_and_leaves_no_output(population, tmp_path):
    runs = table_of([*RUNS, ("5", 99, "low")])
    with pytest.raises(WeightscapeError, match="1 of the 4 runs"):
        measured(population[0], runs, tmp_path)
    assert not list(tmp_path.iterdir())


def test_outputs_of_an_earlier_pass_survive_one_that_fails(population, tmp_path):
    paths = population[0]
    measured(paths, table_of(RUNS), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(WeightscapeError):
        measured([paths[0], tmp_path / "none.h5"], table_of(RUNS), tmp_path)
    assert before == {path: path.read_bytes() for path in before}


@pytest.fixture(scope="module")
def joined(population, synthesise, tmp_path_factory):
    """The densities of two populations, and those of both in one file."""
    folder = tmp_path_factory.mktemp("joined")
    synthesise(folder / "other.h5", [5], dataset="mnist")
    runs = table_of([("2", 5, "ungrouped")], dataset="mnist")
    parts = [population[3], measured([folder / "other.h5"], runs, folder)[1]]
    join_densities(parts, folder / "joined.h5")
    return parts, folder / "joined.h5"


def test_joined_densities_hold_each_population_s_groups_as_they_were(joined):
    parts, path = joined
    with open_densities(path) as whole:
        assert list(whole["cnn"]) == ["digits", "mnist"]
        for part in parts:
            with open_densities(part) as file:
                here = whole[f"{file.attrs['model']}/{file.attrs['dataset']}"]
                assert here.attrs["rule"] == file.attrs["rule"]
                assert list(here.attrs["layers"]) == list(file.attrs["layers"])
                for layer in file.attrs["layers"]:
                    groups = set(file[layer]) - {"runs"}
                    assert set(here[layer]) == groups
                    for group in groups:
                        check_same(here[layer][group], file[layer][group])


def check_same(found, expected):
    assert dict(found.attrs) == dict(expected.attrs)
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name][()], expected[name][()])


def test_joined_densities_are_the_same_bytes_whatever_the_hash_seed(joined, tmp_path):
    parts, path = joined
    code = (
        "import sys; from pathlib import Path; "
        "from weightscape.storage.densities import join_densities; "
        "*parts, target = map(Path, sys.argv[1:]); join_densities(parts, target)"
    )
    for seed in ("1", "2"):
        again = tmp_path / f"{seed}.h5"
        command = [sys.executable, "-c", code, *map(str, parts), str(again)]
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
        assert again.read_bytes() == path.read_bytes()


def test_damaged_densities_are_refused_by_name_and_not_joined(joined, tmp_path):
    (part, _), _ = joined
    damaged = tmp_path / "damaged.h5"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(WeightscapeError, match=r"the densities .*damaged\.h5 is refused"):
        join_densities([part, damaged], tmp_path / "joined.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.h5"]


def test_densities_of_another_format_are_refused(joined, edited):
    other = edited(joined[1], lambda file: file.attrs.update(format_version=99))
    with pytest.raises(WeightscapeError, match="99"), open_densities(other):
        pass


def test_a_density_is_read_back_with_h5py_alone(joined):
    # another program needs nothing of ours: density over its grid has mass 1
    with h5py.File(joined[1]) as file:
        group = file["cnn/digits/fc/low"]
        assert {"grid", "density", "edges", "counts"} <= set(group)
        mass = np.trapezoid(group["standard_density"][()], group["standard_grid"][()])
    assert mass == pytest.approx(1, abs=0.005)
