"""Shards: what is written is what is read, and what is damaged is refused."""

import hashlib
import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from read_damaged import read_shard, texts_of
from weightscape.errors import WeightscapeError
from weightscape.storage import shards
from weightscape.storage.shards import CURVES, Shard, open_shard, read_population, write_shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def records(synthesise, folder):
    return synthesise(folder / "seeds-0004-0006.h5", [4, 5, 6])


@pytest.fixture(scope="module")
def path(records, folder):
    return folder / "seeds-0004-0006.h5"


def refusal(path):
    with pytest.raises(WeightscapeError) as caught:
        read_shard(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_header_survives(path, header):
    with open_shard(path) as shard:
        assert shard.header == header
        assert shard.seeds == [4, 5, 6]
        assert shard.path == path


def test_weights_survive_run_by_run(path, records):
    with open_shard(path) as shard:
        for row, record in enumerate(records):
            for epoch, parameters in record.snapshots.items():
                for layer in ("conv1", "fc"):
                    expected = parameters[f"{layer}.weight"]
                    np.testing.assert_array_equal(shard.weight(epoch, layer, row), expected)
                    bias = shard.read(f"epochs/{epoch}/{layer}/bias", row)
                    np.testing.assert_array_equal(bias, parameters[f"{layer}.bias"])


def test_biases_survive_run_by_run(path, records):
    with open_shard(path) as shard:
        for row, record in enumerate(records):
            for epoch, parameters in record.snapshots.items():
                for layer in ("conv1", "fc"):
                    bias = shard.bias(epoch, layer, row)
                    assert bias.dtype == np.float32
                    np.testing.assert_array_equal(bias, parameters[f"{layer}.bias"])


def test_a_shard_names_its_runs_by_model_dataset_and_width(synthesise, tmp_path):
    synthesise(tmp_path / "s.h5", [0], model="dnn", dataset="mnist", width="20x50")
    with open_shard(tmp_path / "s.h5") as shard:
        assert shard.key == ("dnn", "mnist", "20x50")


def test_numbers_survive_as_float32(path, records):
    with open_shard(path) as shard:
        for name in CURVES:
            curves = np.array([record.curves[name] for record in records], np.float32)
            final = np.array([record.final[name] for record in records], np.float32)
            np.testing.assert_array_equal(shard.read(f"curves/{name}"), curves)
            np.testing.assert_array_equal(shard.read(f"final/{name}"), final)
        dead, gradients = shard.telemetry("dead_units"), shard.telemetry("gradient_norm")
    assert (set(dead), set(gradients)) == ({"conv1"}, {"conv1", "fc"})
    expected = [record.telemetry["gradient_norm/fc"] for record in records]
    np.testing.assert_array_equal(gradients["fc"], np.array(expected, np.float32))


def test_predictions_survive(path, records):
    with open_shard(path) as shard:
        expected = [record.predictions["test"] for record in records]
        np.testing.assert_array_equal(shard.predictions(), expected)
        assert shard.predictions().dtype == np.uint8
        np.testing.assert_array_equal(shard.run(1).predictions["test"], expected[1])


def test_a_shard_may_lack_predictions(path, edited):
    with open_shard(edited(path, lambda file: file.pop("predictions"))) as shard:
        assert shard.predictions() is None
        assert shard.run(1).predictions == {}


def test_predictions_of_another_number_of_runs_are_refused(path, edited):
    def shorten(file):
        predictions = file["predictions/test"][1:]
        del file["predictions/test"]
        file["predictions/test"] = predictions

    text = "predictions/test has 2 runs, expected 3"
    with pytest.raises(WeightscapeError, match=text), open_shard(edited(path, shorten)):
        pass


def test_the_attributes_are_those_of_the_contract(path, header):
    with h5py.File(path) as file:
        attributes = texts_of(file.attrs)
    text = json.dumps(header.recipe, sort_keys=True, separators=(",", ":"))
    assert attributes["recipe"] == text
    assert hashlib.sha256(text.encode()).hexdigest().startswith(attributes["recipe_digest"])
    assert json.loads(attributes["software"]) == header.software
    for key in ("model", "dataset", "width", "device", "final_epoch"):
        assert attributes[key] == getattr(header, key)
    assert "format_version" in attributes


def test_the_arrays_are_those_of_the_contract(path):
    """Shapes, dtypes and chunks of DESIGN.md."""
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item}) if item.parent else None)
        found = {n: (a.shape, a.dtype.str) for n, a in found.items() if isinstance(a, h5py.Dataset)}
    assert found["seed"] == ((3,), "<i8")
    for epoch in (0, 1, 3):
        assert found[f"epochs/{epoch}/conv1/weight"] == ((3, 2, 1, 3, 3), "<f4")
        assert found[f"epochs/{epoch}/conv1/bias"] == ((3, 2), "<f4")
        assert found[f"epochs/{epoch}/fc/weight"] == ((3, 3, 8), "<f4")
    for curve in CURVES:
        assert found[f"curves/{curve}"] == ((3, 4), "<f4")
        assert found[f"final/{curve}"] == ((3,), "<f4")
    assert found["telemetry/dead_units/conv1"] == ((3, 4), "<f4")
    assert found["predictions/test"] == ((3, 12), "|u1")


def test_streams_are_those_of_the_seed_unless_seeds_are_crossed(synthesise, header, tmp_path):
    recipes = [header.recipe, header.recipe | {"shuffle_seeds": 4}]
    expected = [{"init": [3, 9], "shuffle": [3, 9]}, {"init": [0, 2], "shuffle": [3, 1]}]
    for recipe, streams in zip(recipes, expected, strict=True):
        synthesise(tmp_path / "s.h5", [3, 9], recipe=recipe)
        with h5py.File(tmp_path / "s.h5") as file:
            assert {name: file["streams"][name][()].tolist() for name in file["streams"]} == streams
            assert file["streams/init"].dtype == file["streams/shuffle"].dtype == np.int64
        with open_shard(tmp_path / "s.h5") as shard:
            assert shard.stream_seeds == streams


def test_a_shard_without_streams_has_those_of_its_seeds(path, edited):
    plain = edited(path, lambda file: file.__delitem__("streams"))
    with open_shard(plain) as shard:
        assert shard.stream_seeds == {"init": [4, 5, 6], "shuffle": [4, 5, 6]}


def test_streams_of_another_number_of_runs_are_refused(path, edited):
    def shorten(file):
        del file["streams/shuffle"]
        file["streams/shuffle"] = [1, 2]

    assert "streams/shuffle has 2 runs, expected 3" in refusal(edited(path, shorten))


def test_a_weight_is_stored_in_a_chunk_per_run(path):
    with h5py.File(path) as file:
        assert file["epochs/0/conv1/weight"].chunks == (1, 2, 1, 3, 3)
        assert file["epochs/3/fc/weight"].chunks == (1, 3, 8)


def test_below_epochs_stand_layers_alone(path):
    # positions and norms are no layer's weights: a measure that walks the layers must not meet them
    with h5py.File(path) as file:
        assert set(file["epochs"]) == {"0", "1", "3"}
        for epoch in file["epochs"].values():
            assert set(epoch) == {"conv1", "fc"}
            assert all(set(layer) == {"weight", "bias"} for layer in epoch.values())


def test_the_same_runs_are_the_same_bytes(path, synthesise, tmp_path):
    synthesise(tmp_path / "again.h5", [4, 5, 6])
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_shard_leaves_nothing(records, header, tmp_path, error):
    def broken():
        yield records[0]
        raise error

    with pytest.raises(error):
        write_shard(tmp_path / "s.h5", header, 3, [], broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("announced", [2, 4])
def test_a_shard_of_another_number_of_runs_is_not_written(records, header, tmp_path, announced):
    with pytest.raises(Exception, match=r".+"):
        write_shard(tmp_path / "s.h5", header, announced, [], records)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_shard_leaves_the_one_before(path, header, tmp_path):
    target = tmp_path / "s.h5"
    shutil.copy(path, target)
    with pytest.raises(ValueError, match="announced"):
        write_shard(target, header, 3, [], [])
    assert target.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", [0, 2, "1.0", None])
def test_another_format_version_is_refused(path, edited, version):
    def edit(file):
        del file.attrs["format_version"]
        if version is not None:
            file.attrs["format_version"] = version

    assert "format_version" in refusal(edited(path, edit))


def test_a_recipe_that_is_not_that_of_its_digest_is_refused(path, edited):
    def edit(file):
        recipe = texts_of(file.attrs)["recipe"]
        file.attrs["recipe"] = recipe.replace('"epochs":3', '"epochs":4')

    assert "recipe_digest" in refusal(edited(path, edit))


@pytest.mark.parametrize(
    "name",
    [
        "seed",
        "curves",
        "curves/test_loss",
        "final/test_loss",
        "epochs/0",
        "epochs/3/fc",
        "epochs/3/fc/bias",
        "epochs/0/conv1/weight",
    ],
)
def test_a_shard_that_lacks_something_is_refused(path, edited, name):
    refusal(edited(path, lambda file: file.__delitem__(name)))


@pytest.mark.parametrize("key", ["model", "width", "recipe", "layers", "final_epoch", "device"])
def test_a_shard_that_lacks_an_attribute_is_refused(path, edited, key):
    refusal(edited(path, lambda file: file.attrs.__delitem__(key)))


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 2, 2]])
def test_arrays_of_unlike_numbers_of_runs_are_refused(path, edited, rows):
    def edit(file):
        values = file["epochs/3/fc/weight"][()][rows]
        del file["epochs/3/fc/weight"]
        file["epochs/3/fc/weight"] = values

    refusal(edited(path, edit))


def test_a_shard_without_seal_is_read(path, edited):
    # made by other hands, in the layout of docs/shard.md
    assert read_shard(str(edited(path, lambda file: None))) == read_shard(str(path))


def test_a_sealed_shard_that_was_changed_is_refused(path, tmp_path):
    copy = tmp_path / "changed.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        file["final/test_accuracy"][0] = 100
    refusal(copy)


def test_what_is_known_of_a_shard_is_its_own(synthesise, tmp_path, monkeypatch):
    """Opened again it is not read again; another file in its place is, even while it is open."""
    path = tmp_path / "one.h5"
    synthesise(path, [4, 5])
    with open_shard(path) as shard:
        shard.header.recipe["epochs"] = 99
        shard.seeds.append(6)
        shard.stream_seeds["init"].append(6)
    synthesise(tmp_path / "other.h5", [7, 8], width="3")
    with h5py.File(path) as file:
        (tmp_path / "other.h5").replace(path)
        assert Shard(path, file).header.width == "2"
    for kept in (10**6, 0):
        monkeypatch.setattr(shards, "KEPT", kept)
        for _ in range(2):
            with open_shard(path) as shard:
                assert (shard.header.width, shard.seeds) == ("3", [7, 8])
    synthesise(path, [4, 5])
    for _ in range(2):
        with open_shard(path) as shard:
            assert shard.header.recipe["epochs"] == 3
            assert shard.seeds == shard.stream_seeds["init"] == [4, 5]


def test_a_file_that_is_not_there_is_named(tmp_path):
    refusal(tmp_path / "away.h5")


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "other.h5").write_bytes(content)
    refusal(tmp_path / "other.h5")


def test_another_hdf5_file_is_refused(tmp_path, dataset):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    refusal(tmp_path / "other.h5")
    refusal(dataset)


def test_what_is_not_in_a_shard_is_an_error_that_names_both(path):
    with open_shard(path) as shard:
        with pytest.raises(WeightscapeError, match=str(path)):
            shard.weight(2, "fc", 0)
        with pytest.raises(WeightscapeError, match=str(path)):
            shard.bias(0, "fc2", 0)
        with pytest.raises(WeightscapeError, match=str(path)):
            shard.read("curves/loss")


@pytest.mark.parametrize("name", ["telemetry", "telemetry/dead_units"])
def test_missing_telemetry_is_empty_or_refused(path, edited, name):
    copy = edited(path, lambda file: file.__delitem__(name))
    try:
        with open_shard(copy) as shard:
            found = shard.telemetry("dead_units")
    except WeightscapeError:
        return
    assert found == {}


# shrinking would repeat what may end in a crash or not at all
no_shrinking = settings(phases=[Phase.explicit, Phase.generate])


@no_shrinking
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_harmless(path, damaged_files, share, flip):
    place = int(share * path.stat().st_size)
    assert damaged_files.fault_of_flip("shard", path, place, flip) is None


def test_no_region_of_the_file_is_without_protection(path, damaged_files):
    for place in range(0, path.stat().st_size, 97):
        assert damaged_files.fault_of_flip("shard", path, place, 0x80) is None, place


@pytest.mark.parametrize("key", ["model", "dataset", "width", "dataset_digest", "device", "layers"])
def test_a_flipped_byte_of_an_attribute_is_refused_or_harmless(path, damaged_files, key):
    with h5py.File(path) as file:
        text = texts_of(file.attrs)[key].encode()
    content = path.read_bytes()
    for place in (n for n in range(len(content)) if content.startswith(text, n)):
        middle = place + len(text) // 2
        assert damaged_files.fault_of_flip("shard", path, middle, 1) is None


@pytest.mark.parametrize("flip", [1, 0x80, 0xFF])
def test_a_heap_of_texts_is_no_trap(path, damaged_files, flip):
    # HDF5 keeps text of variable length in a heap (GCOL) without checksums: items aligned to
    # 8 bytes, with their sizes, where a wrong size can send it round for ever
    start = path.read_bytes().find(b"GCOL")
    for place in range(start, start + 600, 8) if start >= 0 else []:
        assert damaged_files.fault_of_flip("shard", path, place, flip) is None, place


@pytest.mark.parametrize("name", ["epochs/3/fc/weight", "final/test_accuracy", "seed"])
def test_a_flipped_byte_of_a_number_is_refused(path, name, damaged_files):
    with h5py.File(path) as file:
        place = file[name].id.get_chunk_info(0).byte_offset + 1
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 64
    assert damaged_files.read("shard", bytes(damaged)) == "refused"


@no_shrinking
@given(st.floats(0, 1, exclude_max=True))
@example(0.0)
def test_a_truncated_shard_is_refused(path, damaged_files, share):
    content = path.read_bytes()
    assert damaged_files.read("shard", content[: int(share * len(content))]) == "refused"


def test_a_population_is_read_shard_by_shard_in_order(synthesise, tmp_path):
    paths = [tmp_path / "b.h5", tmp_path / "a.h5"]
    synthesise(paths[0], [0, 1])
    synthesise(paths[1], [2], width="7")
    found = [(shard.header.width, shard.seeds) for shard in read_population(paths)]
    assert found == [("2", [0, 1]), ("7", [2])]
    assert list(read_population([])) == []


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("recipe_digest", {"recipe": {"version": 1, "epochs": 3, "options": {"head": "gap"}}}),
        ("model", {"model": "dnn"}),
        ("dataset", {"dataset": "mnist"}),
        ("dataset_digest", {"dataset_digest": "fedcba9876543210"}),
    ],
)
def test_neighbours_that_differ_are_refused_by_name(synthesise, tmp_path, key, changes):
    synthesise(tmp_path / "first.h5", [0])
    synthesise(tmp_path / "second.h5", [1], **changes)
    with pytest.raises(WeightscapeError) as caught:
        list(read_population([tmp_path / "first.h5", tmp_path / "second.h5"]))
    text = str(caught.value)
    assert key in text
    assert str(tmp_path / "first.h5") in text
    assert str(tmp_path / "second.h5") in text


# ---- whose place it is

PLACE = "weights/cnn/digits/width-2"


def placed(synthesise, folder, place=PLACE, name="seeds-0004-0006.h5", **changes):
    path = folder / place / name
    path.parent.mkdir(parents=True)
    synthesise(path, [4, 5, 6], **changes)
    return path


def test_a_shard_in_its_place_is_read(synthesise, tmp_path):
    with open_shard(placed(synthesise, tmp_path)) as shard:
        assert shard.key == ("cnn", "digits", "2")


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("weights/dnn/digits/width-2", "dnn on digits of width 2"),
        ("weights/cnn/mnist/width-2", "cnn on mnist of width 2"),
        ("weights/cnn/digits/width-20", "cnn on digits of width 20"),
    ],
)
def test_a_shard_of_another_population_or_width_than_its_path_is_refused(
    synthesise, tmp_path, place, what
):
    path = placed(synthesise, tmp_path, place)
    expected = f"it holds cnn on digits of width 2, and its place is of {what}"
    assert expected in refusal(path)


@pytest.mark.parametrize("name", ["seeds-0004.h5", "seeds-0003-0005.h5", "seeds-0004-0007.h5"])
def test_a_shard_of_other_seeds_than_its_name_is_refused(synthesise, tmp_path, name):
    path = placed(synthesise, tmp_path, name=name)
    assert "it holds the seeds [4, 5, 6], and its name says others" in refusal(path)


def test_an_import_may_lack_seeds_of_its_name(synthesise, tmp_path):
    recipe = {"version": 2, "imported": True}
    with open_shard(
        placed(synthesise, tmp_path, name="seeds-0001-0006.h5", recipe=recipe)
    ) as shard:
        assert shard.seeds == [4, 5, 6]
    other = placed(synthesise, tmp_path / "other", name="seeds-0001-0005.h5", recipe=recipe)
    assert "its name says others" in refusal(other)
