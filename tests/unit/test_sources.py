"""Sources: zoos as they lie on disk become shards with their weights, snapshots and curves."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from weightscape import study
from weightscape.errors import WeightscapeError
from weightscape.foreign import sources
from weightscape.preparing.importing import Source, import_runs
from weightscape.storage.shards import open_shard
from weightscape.storage.tables import read_table
from weightscape.study.config import check, load_schema
from zoos import EPOCHS, STEPS, VARIABLES, write_matrix, write_ray_tune


def config(source, folder, **more):
    """The five lines that a zoo needs."""
    item = {
        "model": "mine",
        "dataset": "pets",
        "source": source,
        "folder": str(folder),
        "classes": 3,
    }
    return {"study": "s", "import": [item | more]}


@pytest.fixture
def load(tmp_path):
    """Check a config and import its runs; the shard's path, and the table of files."""

    def run(given):
        checked = check(given)
        (population,), (item,) = study.populations(checked), checked["import"]
        recipe = json.loads(study.canonical_json(study.recipe(checked, population)))
        source = Source(Path(item["folder"]), "mine", "pets", "same", item["classes"], recipe)
        shard, table = tmp_path / "out" / "shard.h5", tmp_path / "out" / "imports.csv"
        import_runs(source, sources.listing(item).rows, shard, table)
        return shard, read_table(table)

    return run


def fault(given):
    with pytest.raises(WeightscapeError) as caught:
        check(given)
    return str(caught.value)


def test_the_schema_knows_every_source():
    item = load_schema()["properties"]["import"]["items"]["properties"]
    assert item["source"]["enum"] == sources.names()


def test_trials_of_ray_tune_are_imported_whole(tmp_path, load):
    states = write_ray_tune(tmp_path / "zoo")
    path, table = load(config("ray-tune", tmp_path / "zoo"))
    assert table["status"].tolist() == ["good"] * 3
    with open_shard(path) as shard:
        assert shard.seeds == [0, 1, 2]
        assert shard.header.layers == ["module_list_0", "module_list_2"]
        assert shard.header.final_epoch == 2
        for run, of_run in enumerate(states):
            for epoch, state in zip(EPOCHS, of_run, strict=True):
                for number in (0, 2):
                    layer, name = f"module_list_{number}", f"module_list.{number}"
                    weight, bias = shard.weight(epoch, layer, run), shard.bias(epoch, layer, run)
                    np.testing.assert_array_equal(weight, state[f"{name}.weight"])
                    np.testing.assert_array_equal(bias, state[f"{name}.bias"])
            expected = [25 + 20 * epoch + run for epoch in EPOCHS]
            assert shard.read("curves/test_accuracy")[run] == pytest.approx(expected)
            assert shard.read("curves/train_loss")[run] == pytest.approx([2, 1.5, 1])
        assert shard.read("final/train_accuracy") == pytest.approx([70, 71, 72])


def test_a_matrix_of_all_runs_is_imported_whole(tmp_path, load):
    weights = write_matrix(tmp_path / "zoo")
    path, table = load(config("matrix", tmp_path / "zoo"))
    assert table["status"].tolist() == ["good"] * 3
    assert len(set(table["sha256"])) == 3
    with open_shard(path) as shard:
        assert shard.header.layers == ["sequential_conv2d", "sequential_dense"]
        assert shard.header.final_epoch == 5
        for run in range(3):
            for place, step in enumerate(STEPS):
                parts = dict(
                    zip(
                        VARIABLES,
                        np.split(weights[run, place], np.cumsum([4, 36, 3])),
                        strict=True,
                    )
                )
                kernel = parts["sequential/conv2d/kernel:0"].reshape(3, 3, 1, 4)
                found = shard.weight(step, "sequential_conv2d", run)
                np.testing.assert_array_equal(found, np.einsum("hwio->oihw", kernel))
                dense = parts["sequential/dense/kernel:0"].reshape(4, 3)
                np.testing.assert_array_equal(shard.weight(step, "sequential_dense", run), dense.T)
                bias = shard.bias(step, "sequential_dense", run)
                np.testing.assert_array_equal(bias, parts["sequential/dense/bias:0"])
        curve = shard.read("curves/test_accuracy")[1]
        assert curve[STEPS] == pytest.approx([21, 41, 61])
        assert np.isnan(curve[2:5]).all()
        assert shard.read("final/test_accuracy") == pytest.approx([60, 61, 62])


def test_layers_of_the_config_go_before_those_that_are_found(tmp_path, load):
    write_ray_tune(tmp_path / "zoo")
    layers = {
        "first": {"weight": "module_list.0.weight", "bias": "module_list.0.bias"},
        "last": {"weight": "module_list.2.weight", "reads": "first"},
    }
    path, table = load(config("ray-tune", tmp_path / "zoo", layers=layers))
    assert table["status"].tolist() == ["good"] * 3
    with open_shard(path) as shard:
        assert shard.header.layers == ["first", "last"]
        assert [link.target for link in shard.links] == ["last"]


def overlap(folder):
    """One variable more, on columns that are told already."""
    with (folder / "layout.csv").open("a") as file:
        file.write('other,1,3,"(2,)"\n')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda trial: (trial / "checkpoint_000002" / "checkpoints").unlink(), "has 0 files"),
        (lambda trial: (trial / "checkpoint_000002" / "more.pt").touch(), "has 2 files"),
        (lambda trial: (trial / "checkpoint_000003").mkdir(), "has 0 files of weights"),
        (
            lambda trial: (trial / "checkpoint_000001").rename(trial / "kept"),
            "it has weights of the epochs 0, 2, but most runs have those of 0, 1, 2",
        ),
        (
            lambda trial: (trial / "checkpoint_000001").rename(trial / "checkpoint_000007"),
            "no training_iteration 7, but a checkpoint",
        ),
        (lambda trial: (trial / "result.json").write_text("{"), "line 1 of result.json is damaged"),
        (lambda trial: (trial / "result.json").write_text("[]"), "line 1 of result.json"),
        (
            lambda trial: (trial / "result.json").write_text('{"training_iteration": "x"}'),
            "line 1 of result.json",
        ),
        (
            lambda trial: (trial / "result.json").write_text(
                (trial / "result.json").read_text().replace('"test_acc": 0.', '"test_acc": 7.')
            ),
            "write a fraction, from 0 to 1",
        ),
        (lambda trial: (trial / "result.json").write_bytes(b"\xff"), "result.json"),
        (
            lambda trial: (trial / "checkpoint_000000" / "checkpoints").write_bytes(b"nothing"),
            "it is damaged",
        ),
    ],
)
def test_a_trial_that_is_not_whole_is_left_out_with_its_reason(tmp_path, load, damage, words):
    write_ray_tune(tmp_path / "zoo", 4)
    damage(tmp_path / "zoo" / "NN_tune_00001_seed=1")
    path, table = load(config("ray-tune", tmp_path / "zoo"))
    assert table["status"].tolist() == ["good", "bad", "good", "good"]
    assert words in table["reason"][1]
    assert "NN_tune_00001_seed=1" in table["reason"][1]
    with open_shard(path) as shard:
        assert shard.seeds == [0, 2, 3]


def test_a_loss_of_a_run_that_diverged_is_inf(tmp_path, load):
    write_ray_tune(tmp_path / "zoo")
    path = tmp_path / "zoo" / "NN_tune_00001_seed=1" / "result.json"
    path.write_text(path.read_text().replace('"train_loss": 1.0', '"train_loss": NaN'))
    shard_path, _ = load(config("ray-tune", tmp_path / "zoo"))
    with open_shard(shard_path) as shard:
        assert shard.read("final/train_loss").tolist() == [1, math.inf, 1]


def edit(name, old, new):
    def act(folder):
        (folder / name).write_text((folder / name).read_text().replace(old, new))

    return act


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "weights.npy").unlink(), "No such file or directory"),
        (
            lambda f: (f / "metrics.csv.gz").unlink(),
            "there is no metrics.csv and no metrics.csv.gz",
        ),
        (lambda f: (f / "weights.npy").write_bytes(b"no"), "weights.npy is not a matrix of numpy"),
        (
            lambda f: np.save(f / "weights.npy", np.zeros((8, 55), np.float32)),
            "weights.npy has 8 rows, but its metrics have 9",
        ),
        (
            lambda f: np.save(f / "weights.npy", np.zeros((9, 56), np.float32)),
            "weights.npy has other columns than layout.csv tells",
        ),
        (edit("layout.csv", "(4,)", "(5,)"), "the columns of sequential/conv2d/bias:0 do not fit"),
        (edit("layout.csv", "varname", "name"), "varname is missing"),
        (lambda f: (f / "layout.csv").write_text(""), "layout.csv is empty"),
        (lambda f: (f / "metrics.csv.gz").write_bytes(b"no"), "gzip"),
        (lambda f: (f / "metrics.csv").write_text("a,b\n" + "1,2\n" * 9), "modeldir is missing"),
        (
            lambda f: (f / "metrics.csv").write_text("modeldir,step\n" + "/x/0/c-1,1\n" * 9),
            "the run /x/0 has step 1 twice",
        ),
        (
            lambda f: (f / "metrics.csv").write_text("modeldir,step\n" + "/x/0/c-1,1.5\n" * 9),
            "the step 1.5 is no epoch",
        ),
        (overlap, "the columns that layout.csv tells overlap, or leave holes"),
    ],
)
def test_a_matrix_that_does_not_fit_its_tables_stops_the_study(tmp_path, damage, words):
    write_matrix(tmp_path / "zoo")
    damage(tmp_path / "zoo")
    text = fault(config("matrix", tmp_path / "zoo"))
    assert "import[0].folder: " in text
    assert words in text


@pytest.mark.parametrize("source", ["ray-tune", "matrix"])
def test_what_does_not_fit_a_source_is_told(tmp_path, source):
    write = {"ray-tune": write_ray_tune, "matrix": write_matrix}[source]
    write(tmp_path / "zoo")
    assert "remove the key table" in fault(config(source, tmp_path / "zoo", table="a.csv"))
    assert "import[0].epochs: the files tell" in fault(config(source, tmp_path / "zoo", epochs=9))
    assert "accuracies: fraction" in fault(config(source, tmp_path / "zoo", accuracies="percent"))
    assert "there is no folder" in fault(config(source, tmp_path / "away"))
    (tmp_path / "empty").mkdir()
    assert "import[0].folder: " in fault(config(source, tmp_path / "empty"))


@pytest.mark.parametrize("source", ["ray-tune", "matrix"])
def test_a_wrong_layout_is_named(tmp_path, load, source):
    write = {"ray-tune": write_ray_tune, "matrix": write_matrix}[source]
    write(tmp_path / "zoo")
    wrong = {"ray-tune": "in_out", "matrix": "out_in"}[source]
    right = {"ray-tune": "out_in", "matrix": "in_out"}[source]
    _, table = load(config(source, tmp_path / "zoo", layout=wrong))
    assert all(f"set layout: {right} in the import" in reason for reason in table["reason"])


def test_the_files_of_a_run_are_inputs_of_its_job(tmp_path):
    write_ray_tune(tmp_path / "ray")
    write_matrix(tmp_path / "matrix")
    ray = study.import_files(check(config("ray-tune", tmp_path / "ray")), "mine", "pets", "same")
    assert len(ray) == 3 * 3 + 3
    assert f"{tmp_path}/ray/NN_tune_00000_seed=0/result.json" in ray
    matrix = check(config("matrix", tmp_path / "matrix"))
    names = {Path(file).name for file in study.import_files(matrix, "mine", "pets", "same")}
    assert names == {"weights.npy", "layout.csv", "metrics.csv", "metrics.csv.gz"}
