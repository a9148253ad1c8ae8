"""Importing: checkpoints become a shard; bad ones are told and the others go on."""

import errno
import hashlib
import json
import math

import h5py
import numpy as np
import pandas as pd
import pytest

from checkpoint_files import WRITERS, write_hdf5, write_safetensors, write_torch
from weightscape import heads
from weightscape.claims import statements
from weightscape.claims.analyses import (
    accuracy_from_weights,
    null_effects,
    similarity_families,
    transfer,
    variation,
)
from weightscape.claims.analyses import causes as failure_causes
from weightscape.claims.answers import answer
from weightscape.claims.effects import Draws
from weightscape.claims.features import final_weights, initial_weights
from weightscape.claims.judge import judge, judge_ways
from weightscape.engine.training import TrainingJob, train_shard
from weightscape.errors import WeightscapeError
from weightscape.figures import draw as draw_figure
from weightscape.foreign.listing import ListedRun
from weightscape.measures.runs import (
    barrier,
    densities,
    function,
    matching,
    nulls,
    projection,
    purity,
    reliability,
    similarity,
    weights,
)
from weightscape.models import Link, layer_names
from weightscape.preparing.importing import Source, import_runs
from weightscape.runs.collecting import collect, group
from weightscape.runs.groups import Baseline
from weightscape.storage.shards import CURVES, open_shard, read_population
from weightscape.storage.tables import add_groups, read_table, write_table
from weightscape.study.config import check
from weightscape.study.population import Population
from weightscape.study.recipes import canonical_json

LAYERS = {
    "first": {"weight": "a.weight", "bias": "a.bias", "reads": None},
    "last": {"weight": "b.weight", "bias": None, "reads": "first"},
}
RECIPE = {
    "version": 2,
    "imported": True,
    "options": {},
    "epochs": 3,
    "layers": LAYERS,
    "layer_order": list(LAYERS),
}


def tensors(width, seed=0, **changes):
    random = np.random.default_rng([width, seed])
    shapes = {"a.weight": (width, 6), "a.bias": (width,), "b.weight": (3, width)} | changes
    return {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def row(file, seed, width="4", initial="", **final):
    known = dict.fromkeys(CURVES, math.nan) | {"train_accuracy": 50.0, "test_accuracy": 40.0}
    return ListedRun(file, width, seed, known | final, initial)


def family(name, width, folder, layers=None, epochs=3):
    layers = layers or {
        layer: {"weight": f"{layer}.weight", "bias": f"{layer}.bias", "reads": None}
        for layer in layer_names(name, width, {})
    }
    recipe = RECIPE | {"layers": layers, "layer_order": list(layers), "epochs": epochs}
    return Source(folder, name, "own", width, 3, recipe)


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path, "mine", "pets", "4", 3, RECIPE)


@pytest.fixture
def load(tmp_path):
    """Import rows; the shard's path and the table of files."""

    def run(source, rows):
        shard, table = tmp_path / "out" / f"{source.width}.h5", tmp_path / "out" / "imports.csv"
        import_runs(source, rows, shard, table)
        return shard, read_table(table)

    return run


def reasons(table):
    return table.set_index("file")["reason"].dropna().to_dict()


def test_the_shard_has_the_weights_of_all_formats(source, load):
    rows = []
    for number, (suffix, write) in enumerate(WRITERS.items()):
        write(source.folder / f"{number}{suffix}", tensors(4, number))
        rows.append(row(f"{number}{suffix}", 10 - number))
    path, table = load(source, rows)
    with open_shard(path) as shard:
        assert shard.seeds == [8, 9, 10]
        for place, number in enumerate((2, 1, 0)):
            expected = tensors(4, number)
            for layer, name in (("first", "a"), ("last", "b")):
                found = shard.weight(3, layer, place)
                np.testing.assert_array_equal(found, expected[f"{name}.weight"])
            np.testing.assert_array_equal(shard.bias(3, "first", place), expected["a.bias"])
            assert np.isnan(shard.bias(3, "last", place)).all()  # it has none
    assert table["status"].tolist() == ["good"] * 3
    assert table["file"].tolist() == ["2.safetensors", "1.h5", "0.pt"]


def test_layers_stand_in_the_order_of_the_forward_pass_though_the_recipe_is_sorted(tmp_path):
    """As JSON in one spelling, which a rule hands to its job, the recipe has them by name."""
    names = ["first", "second", "last"]
    entries = [{"weight": f"{n}.w", "bias": None, "reads": None} for n in names]
    for entry, before in zip(entries[1:], names, strict=False):
        entry["reads"] = before
    told = {"layers": dict(zip(names, entries, strict=True)), "layer_order": names}
    recipe = json.loads(canonical_json(RECIPE | told))
    assert list(recipe["layers"]) == sorted(names)
    shapes = {"first.w": (4, 6), "second.w": (5, 4), "last.w": (3, 5)}
    weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    write_torch(tmp_path / "a.pt", weights)
    source = Source(tmp_path, "mine", "pets", "4", 3, recipe)
    import_runs(source, [row("a.pt", 0)], tmp_path / "shard.h5", tmp_path / "table.csv")
    with open_shard(tmp_path / "shard.h5") as shard:
        assert shard.header.layers == names
        assert shard.links == [Link(("first",), "second"), Link(("second",), "last")]


def test_what_is_known_of_a_run_is_in_the_shard_and_the_rest_is_nan(source, load):
    write_torch(source.folder / "a.pt", tensors(4, 0))
    write_torch(source.folder / "b.pt", tensors(4, 1))
    write_torch(source.folder / "start.pt", tensors(4, 2))
    known = {"train_loss": 0.5, "test_loss": math.inf}
    path, _ = load(source, [row("a.pt", 0), row("b.pt", 1, initial="start.pt", **known)])
    with open_shard(path) as shard:
        for name in CURVES:
            curves = shard.read(f"curves/{name}")
            assert np.isnan(curves[:, :-1]).all()
            np.testing.assert_array_equal(curves[:, -1], shard.read(f"final/{name}"))
        assert shard.read("final/train_accuracy").tolist() == [50, 50]
        assert shard.read("final/test_loss").tolist() == [
            pytest.approx(math.nan, nan_ok=True),
            math.inf,
        ]
        assert np.isnan(shard.weight(0, "first", 0)).all()
        np.testing.assert_array_equal(shard.weight(0, "last", 1), tensors(4, 2)["b.weight"])
        assert shard.telemetry("dead_units") == shard.telemetry("gradient_norm") == {}


def test_the_header_tells_where_the_runs_come_from(source, load):
    path = write_torch(source.folder / "a.pt", tensors(4))
    shard_path, table = load(source, [row("a.pt", 5)])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert table["sha256"].tolist() == [sha256]
    with open_shard(shard_path) as shard:
        assert shard.header.device == "imported"
        assert shard.header.software["imported"] == [["a.pt", sha256]]
        assert shard.header.recipe == RECIPE
        assert shard.header.layers == ["first", "last"]
        assert shard.links == [Link(("first",), "last")]
        assert (shard.key, shard.header.final_epoch) == (("mine", "pets", "4"), 3)


def test_initial_weights_that_no_run_has_take_no_space(source, load):
    big = {"a.weight": (64, 4000), "a.bias": (64,), "b.weight": (3, 64)}
    source = source._replace(width="64")
    write_torch(source.folder / "a.pt", tensors(64, **big))
    path, _ = load(source, [row("a.pt", 0)])
    weights_alone = 4 * 64 * 4000
    assert path.stat().st_size < weights_alone + 30_000
    with open_shard(path) as shard:
        assert np.isnan(shard.weight(0, "first", 0)).all()


def test_many_files_are_told_in_the_header(source, load):
    """More text than HDF5 takes in an attribute of the old kind, 64 kB."""
    deep = "/".join(5 * ["d" * 200])
    (source.folder / deep).mkdir(parents=True)
    write_safetensors(source.folder / deep / "a.safetensors", tensors(4))
    path, _ = load(source, [row(f"{deep}/a.safetensors", seed) for seed in range(70)])
    with h5py.File(path) as file:
        assert len(file.attrs["software"]) > 70_000
        assert len(json.loads(file.attrs["software"])["imported"]) == 70


def test_bad_files_are_left_out_each_with_its_reason(source, load, caplog):
    folder = source.folder
    write_torch(folder / "good.pt", tensors(4, 0))
    write_torch(folder / "too.pt", tensors(4, 1))
    write_torch(folder / "wide.pt", tensors(5, 2))
    write_torch(folder / "less.pt", {"a.weight": np.ones((4, 6), np.float32)})
    write_torch(folder / "whole.pt", tensors(4) | {"a.weight": np.ones((4, 6), np.int64)})
    write_torch(folder / "bias.pt", tensors(4, **{"a.bias": (5,)}))
    write_torch(folder / "flat.pt", tensors(4, **{"a.weight": (24,)}))
    write_torch(folder / "nodes.pt", tensors(4, **{"b.weight": (3, 7)}))
    (folder / "cut.pt").write_bytes((folder / "good.pt").read_bytes()[:-300])
    write_torch(folder / "start.pt", tensors(4, **{"b.weight": (3, 8)}))
    names = ["wide", "less", "whole", "bias", "flat", "nodes", "cut", "away", "good", "too"]
    rows = [row(f"{name}.pt", seed) for seed, name in enumerate(names)]
    write_torch(folder / "begun.pt", tensors(4, 3))
    rows.append(row("begun.pt", 20, initial="start.pt"))
    with caplog.at_level("WARNING", "weightscape"):
        path, table = load(source, rows)
    with open_shard(path) as shard:
        assert shard.seeds == [8, 9]
    found = reasons(table)
    assert table["status"].value_counts().to_dict() == {"bad": 9, "good": 2}
    words = {
        "wide": "a.weight has the shape (5, 6), but (4, 6) in most files of its width",
        "less": "no tensor 'a.bias'",
        "whole": "'a.weight' is torch.int64",
        "bias": "the layer first has the shape (4, 6), but its bias has (5,)",
        "flat": "the layer first has the shape (24,); it must be (out, in) or (out, in, kh, kw)",
        "nodes": "the layer last has 7 inputs, but it reads the 4 nodes of first",
        "cut": "it is damaged",
        "away": "there is no such file",
    }
    words = {
        f"{name}.pt": text.replace("a.weight has", "first.weight has")
        for name, text in words.items()
    }
    assert set(found) == {*words, "begun.pt"}
    for file, text in words.items():
        assert text in found[file]
        assert f"the checkpoint {folder / file} is refused" in found[file]
    assert f"the checkpoint {folder / 'start.pt'} is refused" in found["begun.pt"]
    assert "(3, 4) in the checkpoint of its final weights; correct initial" in found["begun.pt"]
    assert len(caplog.messages) == 9  # one line each


def test_weights_that_are_not_finite_are_no_fault(source, load):
    lost = {name: np.full_like(values, np.nan) for name, values in tensors(4).items()}
    write_torch(source.folder / "lost.pt", lost)
    path, table = load(source, [row("lost.pt", 0, test_loss=math.inf)])
    assert table["status"].tolist() == ["good"]
    with open_shard(path) as shard:
        assert np.isnan(shard.weight(3, "first", 0)).all()


def test_a_width_of_bad_files_alone_does_not_stop_the_others(source, load, tmp_path):
    empty, table = load(source, [row("away.pt", 0), row("gone.pt", 1)])
    assert table["status"].tolist() == ["bad", "bad"]
    with open_shard(empty) as shard:
        assert shard.seeds == []
    write_torch(source.folder / "a.pt", tensors(5))
    other, _ = load(source._replace(width="5"), [row("a.pt", 0, width="5")])
    assert [shard.seeds for shard in read_population([empty, other])] == [[0]]
    population = Population("mine", "pets", ("4", "5"), 2, imported_seeds={"4": [0, 1], "5": [0]})
    runs = collect(population, [empty, other], has_all=False)
    assert runs[["width", "seed"]].to_numpy().tolist() == [["5", 0]]
    assert runs["seed"].dtype == np.int64
    assert collect(population, [empty]) is None


def test_without_a_majority_the_first_shapes_are_taken(source, load):
    write_torch(source.folder / "a.pt", tensors(5))
    write_torch(source.folder / "b.pt", tensors(4))
    _, table = load(source, [row("a.pt", 0), row("b.pt", 1)])
    assert table["status"].tolist() == ["good", "bad"]


def dnn(width, inputs=16, classes=3, hidden=None):
    hidden = hidden or width
    shapes = {"fc1": (width, inputs), "fc2": (hidden, width), "fc3": (classes, hidden)}
    return {
        f"{layer}.{kind}": np.ones(shape if kind == "weight" else shape[:1], np.float32)
        for layer, shape in shapes.items()
        for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("width", "found", "words"),
    [
        ("4", dnn(4), None),
        ("4", dnn(4, inputs=99), None),  # images of any size
        ("4x5", dnn(4, hidden=5), None),
        ("4", dnn(5), "fc1 has the shape (5, 16), but dnn of width 4 needs (4, any)"),
        ("4", dnn(4, hidden=5), "fc2 has the shape (5, 4), but dnn of width 4 needs (4, 4)"),
        ("4", dnn(4, classes=10), "fc3 has the shape (10, 4), but dnn of width 4 needs (3, 4)"),
    ],
)
def test_networks_of_a_family_have_its_shapes(tmp_path, load, width, found, words):
    write_hdf5(tmp_path / "net.h5", found)
    path, table = load(family("dnn", width, tmp_path), [row("net.h5", 0, width)])
    if words is None:
        assert table["status"].tolist() == ["good"]
        with open_shard(path) as shard:
            assert [link.target for link in shard.links] == ["fc2", "fc3"]
    else:
        assert words in reasons(table)["net.h5"]


@pytest.mark.parametrize(
    ("inputs", "is_good"), [(8 * 36, True), (8 * 36 + 1, False), (8, True), (7, False)]
)
def test_a_cnn_s_features_are_as_many_for_each_channel(tmp_path, load, inputs, is_good):
    shapes = {
        "conv1.weight": (8, 1, 3, 3),
        "conv1.bias": (8,),
        "fc.weight": (3, inputs),
        "fc.bias": (3,),
    }
    write_torch(tmp_path / "a.pt", {name: np.ones(s, np.float32) for name, s in shapes.items()})
    layers = {
        layer: {"weight": f"{layer}.weight", "bias": f"{layer}.bias", "reads": None}
        for layer in ("conv1", "fc")
    }
    source = family("cnn", "8", tmp_path, layers)
    source = source._replace(recipe=source.recipe | {"options": {"head": "flatten"}})
    _, table = load(source, [row("a.pt", 0, "8")])
    assert (table["status"].tolist() == ["good"]) == is_good


def turned(parameters):
    """The same network as Keras keeps it: (in, out) and (kh, kw, in, out)."""
    axes = {1: [0], 2: [1, 0], 4: [2, 3, 1, 0]}
    return {name: values.transpose(axes[values.ndim]) for name, values in parameters.items()}


def in_other_layout(source):
    return source._replace(recipe=source.recipe | {"layout": "in_out"})


@pytest.mark.parametrize("first", [(4, 6), (4, 4), (4, 2, 3, 5), (4, 4, 4, 4)])
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_either_layout_gives_the_same_shard(source, load, first, suffix):
    weights = tensors(4, **{"a.weight": first})
    WRITERS[suffix](source.folder / f"torch{suffix}", weights)
    WRITERS[suffix](source.folder / f"keras{suffix}", turned(weights))
    found = []
    for name, of in (("torch", source), ("keras", in_other_layout(source))):
        path, table = load(of, [row(f"{name}{suffix}", 0, initial=f"{name}{suffix}")])
        assert table["status"].tolist() == ["good"]
        with open_shard(path) as shard:
            found.append([shard.weight(n, layer, 0) for n in (0, 3) for layer in LAYERS])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[0][0], weights["a.weight"])


def without_biases(source):
    layers = {name: entry | {"bias": None} for name, entry in LAYERS.items()}
    return source._replace(recipe=source.recipe | {"layers": layers})


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "the layer first has the shape (6, 4), but its bias has (4,)"),
        ({"a.weight": (4, 2, 5, 5)}, "the layer first has the shape (5, 5, 2, 4), but its bias"),
        ({"a.weight": (4, 4)}, "the layer last has the shape (4, 3), but the import has 3 classes"),
    ],
)
def test_the_other_layout_is_named_where_it_fits(source, load, shapes, words):
    write_torch(source.folder / "a.pt", turned(tensors(4, **shapes)))
    _, table = load(source, [row("a.pt", 0)])
    hint = "; set layout: in_out in the import, with which it fits"
    assert f"is refused: {words}" in reasons(table)["a.pt"]
    assert reasons(table)["a.pt"].endswith(hint)
    _, table = load(in_other_layout(source), [row("a.pt", 0)])
    assert table["status"].tolist() == ["good"]


def test_the_other_layout_is_named_where_there_are_no_biases(source, load):
    """It can be seen by the classes alone, or by the nodes that a layer reads."""
    source = without_biases(source)
    write_torch(source.folder / "torch.pt", tensors(4))
    write_torch(source.folder / "keras.pt", turned(tensors(4)))
    write_torch(source.folder / "nodes.pt", turned(tensors(3)))
    rows = [row(f"{name}.pt", seed) for seed, name in enumerate(("torch", "keras", "nodes"))]
    _, table = load(source, rows)
    found = reasons(table)
    assert "(4, 3), but the import has 3 classes; set layout: in_out" in found["keras.pt"]
    assert "3 inputs, but it reads the 6 nodes of first; set layout: in_out" in found["nodes.pt"]
    _, table = load(in_other_layout(source), rows)
    assert reasons(table)["torch.pt"].endswith(
        "set layout: out_in in the import, with which it fits"
    )
    assert "nodes.pt" not in reasons(table) or "most files" in reasons(table)["nodes.pt"]


def test_the_other_layout_is_named_for_a_family(tmp_path, load):
    write_hdf5(tmp_path / "net.h5", turned(dnn(4)))
    _, table = load(family("dnn", "4", tmp_path), [row("net.h5", 0)])
    assert reasons(table)["net.h5"].endswith(
        "the layer fc1 has the shape (16, 4), but dnn of width 4 needs (4, any); "
        "set layout: in_out in the import, with which it fits"
    )
    _, table = load(in_other_layout(family("dnn", "4", tmp_path)), [row("net.h5", 0)])
    assert table["status"].tolist() == ["good"]


def test_files_of_two_layouts_are_told(source, load):
    source = without_biases(source)
    square = {"a.weight": (4, 6), "b.weight": (3, 4)}
    weights = tensors(4, **square)
    write_torch(source.folder / "a.pt", weights)
    write_torch(source.folder / "start.pt", weights | {"a.weight": weights["a.weight"].T.copy()})
    _, table = load(source, [row("a.pt", 0, initial="start.pt")])
    assert (
        "first.weight has the shape (6, 4), but (4, 6) in the checkpoint of its final"
        in (reasons(table)["a.pt"])
    )
    assert reasons(table)["a.pt"].endswith("; save all files of the import in one layout")


@pytest.mark.parametrize(
    ("classes", "outputs", "is_good"), [(3, 3, True), (3, 4, False), (2, 1, True), (3, 2, False)]
)
def test_the_last_layer_has_an_output_for_each_class(source, load, classes, outputs, is_good):
    write_torch(source.folder / "a.pt", tensors(4, **{"b.weight": (outputs, 4)}))
    _, table = load(source._replace(classes=classes), [row("a.pt", 0)])
    if is_good:
        assert table["status"].tolist() == ["good"]
    else:
        assert reasons(table)["a.pt"].endswith(
            f"the layer last has the shape ({outputs}, 4), but the import has {classes} classes; "
            "let the last layer be the one with an output for each class, or correct classes"
        )


def test_kernels_of_one_dimension_are_not_blamed_on_the_table(source, load):
    write_torch(source.folder / "a.pt", tensors(4, **{"a.weight": (4, 2, 3)}))
    _, table = load(source, [row("a.pt", 0)])
    assert (
        "the shape (4, 2, 3); it must be (out, in) or (out, in, kh, kw); leave first out"
        in (reasons(table)["a.pt"])
    )


def test_where_the_machine_fails_no_run_is_left_out(source, load, monkeypatch):
    write_torch(source.folder / "a.pt", tensors(4))

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("weightscape.foreign.checkpoints._read", fail)
    with pytest.raises(WeightscapeError, match="run again when the disk"):
        load(source, [row("a.pt", 0)])


def test_a_file_that_changes_while_it_is_imported_ends_the_job(source, monkeypatch, tmp_path):
    path = write_torch(source.folder / "a.pt", tensors(4))
    monkeypatch.setattr(
        "weightscape.preparing.importing.write_table", lambda *_: write_torch(path, tensors(5))
    )
    with pytest.raises(WeightscapeError, match="when it was checked; run again"):
        import_runs(source, [row("a.pt", 0)], tmp_path / "shard.h5", tmp_path / "t.csv")
    assert not (tmp_path / "shard.h5").exists()


def outputs(folder):
    return {name: folder / f"{name}.csv" for name in weights.COLUMNS}


def measured(folder, shards, population):
    folder.mkdir()
    runs = collect(population, shards, has_all=False).assign(group="high")
    weights.measure(shards, runs, outputs(folder))
    densities.measure(shards, runs, "silverman", folder / "densities.h5")
    return runs, {name: read_table(folder / f"{name}.csv") for name in ("statistics", "strength")}


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_trained_exported_and_imported_a_population_measures_the_same(
    dataset, tmp_path, suffix, load
):
    """The whole way round: every statistic of the imported networks is that of the trained."""
    recipe = {
        "version": 2,
        "options": {},
        "epochs": 2,
        "batch_size": 7,
        "optimiser": "adam",
        "learning_rate": 0.01,
        "initialisation": {"weights": "normal", "std": 0.3, "biases": "uniform"},
    }
    trained, imported = [], []
    for width in ("3", "4x2"):
        path = tmp_path / "trained" / f"{width}.h5"
        train_shard(
            TrainingJob(
                dataset=dataset,
                target=path,
                model="dnn",
                width=width,
                seeds=[0, 1, 2],
                recipe=recipe,
                snapshot_epochs=[0, 2],
                device="cpu",
                threads=1,
            )
        )
        trained.append(path)
        rows = []
        with open_shard(path) as shard:
            for place, seed in enumerate(shard.seeds):
                record = shard.run(place)
                for epoch in (0, 2):
                    WRITERS[suffix](
                        tmp_path / f"{width}-{seed}-{epoch}{suffix}", record.snapshots[epoch]
                    )
                final = {name: float(value) for name, value in record.final.items()}
                files = [f"{width}-{seed}-{epoch}{suffix}" for epoch in (2, 0)]
                rows.append(ListedRun(files[0], width, seed, final, files[1]))
        imported.append(load(family("dnn", width, tmp_path, epochs=2), rows)[0])
    population = Population("dnn", "own", ("3", "4x2"), 3)
    runs, tables = measured(tmp_path / "first", trained, population)
    others, other_tables = measured(tmp_path / "second", imported, population)
    assert len(runs) == 6
    unlike = ["shard", "dead_unit_share", "n_classes_predicted"]
    pd.testing.assert_frame_equal(runs.drop(columns=unlike), others.drop(columns=unlike))
    for name, table in tables.items():
        assert len(table) == 18
        pd.testing.assert_frame_equal(table, other_tables[name], check_exact=True)
        assert table.select_dtypes("number").notna().any().any()


def test_without_initial_weights_only_what_needs_them_is_nan(source, load, tmp_path):
    write_torch(source.folder / "a.pt", tensors(4, 0))
    write_torch(source.folder / "b.pt", tensors(4, 1))
    path, _ = load(source, [row("a.pt", 0), row("b.pt", 1)])
    population = Population("mine", "pets", ("4",), 2, imported_seeds={"4": [0, 1]})
    _, tables = measured(tmp_path / "measured", [path], population)
    table = tables["statistics"].set_index(["seed", "layer"])
    relative = [
        "initial_mean",
        "initial_std",
        "std_ratio",
        "initial_l2_norm",
        "l2_norm_ratio",
        "initial_near_zero_share",
        "distance",
        "relative_distance",
        "cosine",
    ]
    assert table[relative].isna().all().all()
    numbers = table.drop(columns=[*relative, "bias_mean", "bias_std"]).select_dtypes("number")
    assert numbers.notna().all().all()
    expected = tensors(4, 1)["b.weight"].astype(float)
    assert table.loc[(1, "last"), "mean"] == pytest.approx(expected.mean())
    assert table.loc[(1, "last"), "std"] == pytest.approx(expected.std())
    assert table["bias_mean"].isna().tolist() == [False, True, False, True]
    assert tables["strength"].set_index(["seed", "layer"]).loc[(0, "first"), "target"] == "last"


@pytest.fixture
def least(source, load, tmp_path):
    """17 runs of which weights and test accuracy alone are known: shards, and their table."""
    shards, by_width = [], {"4": list(range(9)), "8": list(range(8))}
    for width, seeds in by_width.items():
        rows = []
        for seed in seeds:
            write_hdf5(source.folder / f"{width}-{seed}.h5", tensors(int(width), seed))
            known = {"train_accuracy": math.nan, "test_accuracy": 40.0 + 5 * seed}
            rows.append(row(f"{width}-{seed}.h5", seed, width, **known))
        shards.append(load(source._replace(width=width), rows)[0])
    population = Population("mine", "pets", ("4", "8"), 9, imported_seeds=by_width)
    config = check(
        {
            "study": "s",
            "populations": [{"model": "dnn", "dataset": "digits", "widths": [4], "seeds": 1}],
        }
    )
    section = config["groups"] | {"accuracy": "test"}
    runs = collect(population, shards, has_all=False)
    groups, _ = group(runs, Baseline(3, 40, imported=True), section, None)
    write_table(runs, tmp_path / "runs.csv")
    of_run = groups.drop(columns="group")
    return shards, add_groups(read_table(tmp_path / "runs.csv"), groups).merge(of_run)


def measure_all(folder, shards, runs):
    """Every table that is made from shards."""
    folder.mkdir()
    weights.measure(shards, runs, outputs(folder))
    densities.measure(shards, runs, "silverman", folder / "densities.h5")
    orders = folder / "matching.h5"
    matching.measure(shards, runs, folder / "matching.csv", orders)
    settings = projection.Settings([2], 1, 3)
    projection.measure(shards, runs, orders, "first", settings, folder / "projection.csv")
    purity.measure(shards, runs, orders, purity.Settings(3, 20), folder / "purity.csv")
    nulls.measure(shards, runs, folder / "nulls.csv")
    of_function = {name: folder / f"{name}.csv" for name in function.HEAD.tables}
    function.measure(shards, runs, None, orders, of_function)
    write_table(reliability.measure(shards, runs, None), folder / "reliability.csv")
    of_images = similarity.measure(
        shards, runs, None, purity.Settings(3, 20), folder / "similarity.h5"
    )
    of_images["barrier"] = barrier.measure(shards, runs, None, orders)
    for name, table in of_images.items():
        write_table(table, folder / f"{name}.csv")


def judge_all(runs, folder):
    """Every table that is made from tables."""

    def read(name):
        table = read_table(folder / f"{name}.csv")
        return add_groups(table, runs) if heads.tables()[name].is_grouped_later else table

    tables = {name: read(name) for name in ("reliability", *heads.read_by_claims())}
    way = statements.Way("test", "exclude")
    found = statements.measure(runs, tables, way, Draws(50), 0.2)
    ways = statements.measure_ways(runs, tables, way, Draws(50), 0.2)
    claims, multiverse = judge_ways(judge(found.effects, 0.05, 0.2), way._asdict(), ways, 0.05, 0.2)
    layers = {name: read(name) for name in heads.told_layer_measures()}
    of_nulls = null_effects.Tables(runs, layers, read("nulls"), read("purity"))
    final, initial = final_weights(layers), initial_weights(read("nulls"))
    scores, predicted = accuracy_from_weights.measure(runs, final, initial, "test", 20)
    one = transfer.make_taught(runs, final, "test")
    failed, causes = failure_causes.explain(
        runs, *map(read, ("convergence", "telemetry", "predicted_classes")), "test"
    )
    return {
        "claims": claims,
        "multiverse": multiverse,
        "answers": answer(claims, 0.2),
        "claim_widths": found.widths,
        "claim_values": found.values,
        "null_effects": null_effects.measure(of_nulls, "test", 0.05, Draws(20)),
        "variation": variation.measure(runs, {n: read(n) for n in variation.CHOSEN})[0],
        "accuracy_from_weights": scores,
        "predicted_accuracy": predicted,
        "transfer": transfer.measure([one, one._replace(dataset="cars")], 20, Draws(20)),
        "similarity_families": similarity_families.measure(
            [
                similarity_families.make_family(of, folder / "similarity.h5", "test", "exclude")
                for of in (runs, runs.assign(model="other"))
            ],
            Draws(20),
        ),
        "failures": failed,
        "causes": causes,
    }


def test_weights_and_one_accuracy_alone_go_through_every_measure_claim_and_figure(least, tmp_path):
    folder, (shards, runs) = tmp_path / "measured", least
    unknown = ["train_accuracy", "train_loss", "test_loss", "dead_unit_share"]
    assert runs[unknown].isna().all().all()
    # those whose accuracy is the share of the largest class, one of each width
    assert runs.loc[runs["group"] == "non", "seed"].tolist() == [0, 0]
    measure_all(folder, shards, runs)
    assert read_table(folder / "statistics.csv")["initial_std"].isna().all()
    tables = judge_all(runs, folder)
    verdicts = tables["claims"].set_index(["claim", "statistic"])["verdict"]
    assert set(verdicts["C6"].index) == {"width"}  # which alone is known
    assert "initial_near_zero_share" not in verdicts["C3"].index
    nested = tables["accuracy_from_weights"].query("validation == 'nested'")
    assert set(nested.loc[nested["features"] == "weights", "n"]) == {17}
    assert set(nested.loc[nested["features"] == "initial", "n"]) == {0}  # which imports lack
    failed = tables["failures"].groupby("group")["cause"].unique().map(set)
    assert failed.to_dict() == {"non": {"unknown"}, "low": {"unknown"}}
    for name, table in tables.items():
        write_table(table, folder / f"{name}.csv")
    for name, head in heads.figures().items():
        files = [str(folder / (f if "." in f else f"{f}.csv")) for f in head.reads]
        figures = [draw_figure(figure, [runs], files, "test") for figure in heads.drawn_by(name)]
        n = 34 if name == "transfer" else 17  # two populations
        for figure in figures:
            titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
            titles += [text.get_text() for axes in figure.axes for text in axes.texts]
            assert f"n = {n}" in "\n".join(titles), name
