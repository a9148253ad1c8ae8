"""Datasets: from original files to one HDF5 file, and back."""

import collections
import gzip
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from originals import ORIGINALS, needs_originals
from read_damaged import texts_of
from weightscape.errors import WeightscapeError
from weightscape.preparing.datasets import describe, prepare
from weightscape.storage.images import load
from weightscape.study.catalogue import BUILTIN, Dataset

ROLES = {"images": "images", "labels": "labels", "split": "split"}


def made(name, target, own=None, folder=None):
    prepare(name, target, own, folder, target.parent / "downloads")
    return load(target)


def saved(path, arrays):
    """An own dataset's file, and its description."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array.astype("S") if array.dtype.kind == "U" else array
    return {"file": str(path), **ROLES}


def refusal(action, *names):
    with pytest.raises(WeightscapeError) as caught:
        action()
    assert any(name in str(caught.value) for name in names), str(caught.value)
    return str(caught.value)


# digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return made("digits", tmp_path_factory.mktemp("digits") / "digits.h5")


def test_digits_are_scikit_learn_s_scaled_to_a_byte(digits):
    # 0, ..., 16 go to 0, ..., 255: the nearest whole number, whatever the rule for halves
    stored = np.concatenate([digits.train[0], digits.test[0]])[:, 0]
    assert stored.dtype == np.uint8
    sixteenths = np.rint(stored * (16 / 255))
    assert np.abs(stored - sixteenths * (255 / 16)).max() <= 0.5
    labels = np.concatenate([digits.train[1], digits.test[1]])
    original = load_digits()

    def rows(images, labels):
        table = np.column_stack([images.reshape(len(images), -1), labels]).astype(int)
        return collections.Counter(map(tuple, table.tolist()))

    # each image once, with its label: so the splits are disjoint and complete
    assert rows(sixteenths, labels) == rows(original.images, original.target)


def test_digits_are_split_by_class(digits):
    assert (len(digits.train[1]), len(digits.test[1])) == (1500, 297)
    per_class = np.bincount(load_digits().target)
    assert np.abs(np.bincount(digits.test[1]) - per_class * 297 / 1797).max() <= 1


def test_digits_are_what_the_catalogue_says(digits):
    sizes = Dataset(digits.shape, digits.classes, len(digits.train[1]), len(digits.test[1]))
    assert sizes == BUILTIN["digits"]


def test_a_dataset_is_the_same_each_time(digits, tmp_path):
    again = made("digits", tmp_path / "digits.h5")
    assert again.digest == digits.digest
    np.testing.assert_array_equal(again.train[0], digits.train[0])


# datasets of one's own


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("layout", ["N H W", "N C H W", "N H W C"])
@pytest.mark.parametrize("split", ["words", "numbers", "booleans"])
def test_own_images_in_each_layout(tmp_path, ending, layout, split):
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (12, 1 if layout == "N H W" else 3, 4, 5), dtype=np.uint8)
    is_test = np.arange(12) % 3 == 0
    labels = np.arange(12) % 4
    given = {
        "images": {"N H W": first[:, 0], "N C H W": first, "N H W C": np.moveaxis(first, 1, -1)},
        "split": {
            "words": np.where(is_test, "test", "train"),
            "numbers": is_test.astype(np.int16),
            "booleans": is_test,
        },
    }
    arrays = {"images": given["images"][layout], "labels": labels, "split": given["split"][split]}
    own = saved(tmp_path / f"own.{ending}", arrays)
    own["channels"] = "last" if layout == "N H W C" else "first"
    found = made("own", tmp_path / "out.h5", own)
    np.testing.assert_array_equal(found.train[0], first[~is_test])
    np.testing.assert_array_equal(found.test[0], first[is_test])
    np.testing.assert_array_equal(found.train[1], labels[~is_test])
    np.testing.assert_array_equal(found.test[1], labels[is_test])
    assert (found.name, found.classes, found.shape) == ("own", 4, first.shape[1:])
    assert describe("stars", own) == Dataset(first.shape[1:], 4, 8, 4)


def test_arrays_may_have_other_names(tmp_path, arrays):
    names = {"images": "pictures", "labels": "y", "split": "part"}
    own = saved(tmp_path / "own.npz", {names[role]: array for role, array in arrays.items()})
    found = made("own", tmp_path / "out.h5", own | names)
    np.testing.assert_array_equal(found.train[1], arrays["labels"][arrays["split"] == "train"])


def test_words_of_variable_length_in_hdf5(tmp_path, arrays):
    own = saved(tmp_path / "own.h5", {k: a for k, a in arrays.items() if k != "split"})
    with h5py.File(own["file"], "a") as file:
        file["split"] = arrays["split"].tolist()
    assert len(made("own", tmp_path / "out.h5", own).test[1]) == 10


@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "i8"])
def test_labels_of_any_width_become_int64(tmp_path, arrays, kind):
    own = saved(tmp_path / "own.npz", arrays | {"labels": arrays["labels"].astype(kind)})
    assert made("own", tmp_path / "out.h5", own).train[1].dtype == np.int64


def column(array):
    return array[:, None]


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize(
    "changes",
    [
        {"labels": column},  # as Keras has them
        {"split": column},
        {"labels": column, "split": lambda split: column(np.where(split == "test", 1, 0))},
        {"split": np.char.upper},
        {"split": np.char.capitalize},
    ],
)
def test_what_is_plain_in_another_form_is_understood(tmp_path, arrays, ending, changes):
    plain = made("stars", tmp_path / "plain.h5", saved(tmp_path / "plain.npz", arrays))
    others = arrays | {name: change(arrays[name]) for name, change in changes.items()}
    own = saved(tmp_path / f"mine.{ending}", others)
    assert made("stars", tmp_path / "out.h5", own).digest == plain.digest


def images_of(shape):
    return np.arange(np.prod(shape), dtype=np.int64).astype(np.uint8).reshape(shape)


@pytest.mark.parametrize(
    ("shape", "channels", "found"),
    [
        ((40, 5, 6), None, (1, 5, 6)),
        ((40, 3, 5, 6), None, (3, 5, 6)),
        ((40, 5, 6, 3), "last", (3, 5, 6)),
        ((40, 5, 6, 3), "first", (5, 6, 3)),
        ((40, 3, 3, 3), "last", (3, 3, 3)),
        ((40, 16, 5, 6), "first", (16, 5, 6)),
    ],
)
def test_channels_are_where_the_shape_or_the_config_tells(tmp_path, arrays, shape, channels, found):
    own = saved(tmp_path / "mine.npz", arrays | {"images": images_of(shape)})
    told = {"channels": channels} if channels else {}
    assert describe("stars", own | told).shape == found


@pytest.mark.parametrize("shape", [(40, 5, 6, 3), (40, 32, 32, 1), (40, 3, 3, 3), (40, 16, 5, 6)])
def test_where_the_channels_are_is_asked_and_not_guessed(tmp_path, arrays, shape):
    own = saved(tmp_path / "mine.npz", arrays | {"images": images_of(shape)})
    for action in (
        lambda: describe("stars", own),
        lambda: made("stars", tmp_path / "out.h5", own),
    ):
        text = refusal(action, own["file"])
        assert f"whose channels may be {shape[1]} or {shape[3]}" in text
        assert text.endswith("write datasets.stars.channels: first or last in the config")


SENTENCES = {
    "label of 2^64 - 1": (
        lambda a: {"labels": np.where(a["labels"] == 1, 2**64 - 1, 0).astype(np.uint64)},
        "labels go up to 18446744073709551615; number the classes 0, 1, ...",
    ),
    "one-hot labels": (
        lambda a: {"labels": np.eye(3, dtype=int)[a["labels"]]},
        "labels have the shape (40, 3); of one-hot labels take argmax(axis=1)",
    ),
    "flat images of one channel": (
        lambda a: {"images": images_of((40, 784))},
        "store them as N x H x W or N x C x H x W, as in images.reshape(-1, 28, 28)",
    ),
    "flat images of three channels": (
        lambda a: {"images": images_of((40, 3072))},
        "as in images.reshape(-1, 3, 32, 32)",
    ),
    "images from 0 to 1": (
        lambda a: {"images": (a["images"] > 100).astype(np.uint8)},
        "images are 0 and 1 alone; store them as 0 to 255, as in (255 * images).astype('uint8')",
    ),
    "empty images": (
        lambda a: {"images": np.zeros_like(a["images"])},
        "images are all 0; store them as 0 to 255",
    ),
    "a third split": (
        lambda a: {"split": np.where(a["labels"] == 0, "Val", a["split"])},
        "split has 'val' beside train and test; a study has these two alone: leave such images",
    ),
}


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("bad", SENTENCES)
def test_what_is_odd_is_refused_with_the_line_that_helps(tmp_path, arrays, bad, ending):
    change, sentence = SENTENCES[bad]
    own = saved(tmp_path / f"mine.{ending}", arrays | change(arrays))
    assert sentence in refusal(lambda: describe("stars", own), own["file"])


def virtual(folder, arrays, name):
    """The array lies in another file, which is missing: HDF5 reads zeros."""
    layout = h5py.VirtualLayout(arrays[name].shape, arrays[name].dtype)
    layout[:] = h5py.VirtualSource(folder / "away.h5", name, arrays[name].shape)
    return lambda file: file.create_virtual_dataset(name, layout)


def external(folder, arrays, name):
    """The array is what any file of the machine has."""
    (folder / "secret").write_bytes(arrays[name].tobytes())
    size = arrays[name].nbytes
    where = [(str(folder / "secret"), 0, size)]
    kind = arrays[name].dtype
    return lambda file: file.create_dataset(name, arrays[name].shape, kind, external=where)


def linked(folder, arrays, name):
    saved(folder / "other.h5", arrays)

    def link(file):
        file[name] = h5py.ExternalLink(folder / "other.h5", name)

    return link


@pytest.mark.parametrize("kind", [virtual, external, linked])
@pytest.mark.parametrize("name", ["images", "labels"])
def test_an_array_that_lies_elsewhere_is_refused(tmp_path, arrays, name, kind):
    own = saved(tmp_path / "mine.h5", {k: array for k, array in arrays.items() if k != name})
    with h5py.File(own["file"], "a") as file:
        kind(tmp_path, arrays, name)(file)
    assert "write it as one file" in refusal(lambda: describe("stars", own), own["file"])


def test_an_array_that_was_never_written_is_refused(tmp_path, arrays):
    own = saved(tmp_path / "mine.h5", {k: array for k, array in arrays.items() if k != "images"})
    with h5py.File(own["file"], "a") as file:
        file.create_dataset("images", (10**7, 4, 4), np.uint8, chunks=(100, 4, 4))
    assert "larger than the file" in refusal(lambda: describe("stars", own), own["file"])


@pytest.mark.parametrize("shape", ["(10000000, 400, 400)", "(40, 4, 5)", "(-1, 4, 4)"])
def test_a_header_that_asks_for_another_size_is_refused(tmp_path, arrays, shape):
    own = saved(tmp_path / "mine.npz", arrays)
    with zipfile.ZipFile(own["file"]) as file:
        members = {name: file.read(name) for name in file.namelist()}
    header = members["images.npy"][:128].replace(b"(40, 4, 4)", shape.encode())
    header = header[:127].rstrip()[:127].ljust(127)[:127] + b"\n"
    members["images.npy"] = header + members["images.npy"][128:]
    with zipfile.ZipFile(own["file"], "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    refusal(lambda: describe("stars", own), own["file"])


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, arrays):
    """Deflate makes 1,032 bytes of one at most; a directory that tells of more is no deflate's."""
    own = saved(tmp_path / "mine.npz", arrays)
    content = bytearray(Path(own["file"]).read_bytes())
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"images.npy"))
    content[place + 24 : place + 28] = (2**31).to_bytes(4, "little")
    Path(own["file"]).write_bytes(content)
    assert "larger than the file" in refusal(lambda: describe("stars", own), own["file"])


BAD = {
    "float images": lambda a: {"images": a["images"] / 255},
    "wide images": lambda a: {"images": a["images"].astype(np.int64)},
    "flat images": lambda a: {"images": a["images"].reshape(40, -1)},
    "five axes": lambda a: {"images": a["images"][:, None, None]},
    "empty images": lambda a: {"images": a["images"][:, :0]},
    "fewer images": lambda a: {"images": a["images"][:-1]},
    "fewer labels": lambda a: {"labels": a["labels"][:-1]},
    "fewer entries in split": lambda a: {"split": a["split"][:-1]},
    "no images at all": lambda a: {name: array[:0] for name, array in a.items()},
    "float labels": lambda a: {"labels": a["labels"] / 1.0},
    "words as labels": lambda a: {"labels": a["labels"].astype(str)},
    "negative labels": lambda a: {"labels": a["labels"] - 1},
    "labels from 1": lambda a: {"labels": a["labels"] + 1},
    "labels with a gap": lambda a: {"labels": a["labels"] * 2},
    "one class": lambda a: {"labels": a["labels"] * 0},
    "a class in test alone": lambda a: {"labels": np.where(a["split"] == "test", 3, a["labels"])},
    "one-hot labels": lambda a: {"labels": np.eye(3, dtype=int)[a["labels"]]},
    "labels without an axis": lambda a: {"labels": np.array(1)},
    "a third word in split": lambda a: {"split": np.where(a["labels"] == 0, "valid", a["split"])},
    "a third number in split": lambda a: {"split": np.arange(40) % 3},
    "no test images": lambda a: {"split": np.full(40, "train")},
    "no training images": lambda a: {"split": np.full(40, "test")},
}


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_in_a_sentence(tmp_path, arrays, bad, ending):
    own = saved(tmp_path / f"mine.{ending}", arrays | BAD[bad](arrays))
    target = tmp_path / "out.h5"
    refusal(lambda: made("stars", target, own), own["file"], "stars")
    assert not target.exists()
    refusal(lambda: describe("stars", own), own["file"])


def test_labels_far_apart_are_refused_in_a_short_sentence(tmp_path, arrays):
    # such as numbers of a larger collection; a list of all that lie between would fill the memory
    labels = np.where(arrays["labels"] == 2, 10**6, arrays["labels"])
    own = saved(tmp_path / "mine.npz", arrays | {"labels": labels})
    assert len(refusal(lambda: describe("stars", own), own["file"])) < 1000 + len(own["file"])


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("role", ["images", "labels", "split"])
def test_a_missing_array_is_named(tmp_path, arrays, role, ending):
    own = saved(tmp_path / f"mine.{ending}", {k: a for k, a in arrays.items() if k != role})
    assert f"'{role}'" in refusal(lambda: describe("stars", own), own["file"])


def test_pickled_objects_are_not_opened(tmp_path, arrays):
    words = np.array(arrays["split"].tolist(), dtype=object)
    own = saved(tmp_path / "mine.npz", arrays | {"split": words})
    refusal(lambda: describe("stars", own), own["file"])


def test_a_group_is_no_array(tmp_path, arrays):
    own = saved(tmp_path / "mine.h5", {f"all/{name}": array for name, array in arrays.items()})
    refusal(lambda: describe("stars", own | {"images": "all"}), own["file"])


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_of_one_s_own_is_refused(tmp_path, arrays, ending, share):
    own = saved(tmp_path / f"mine.{ending}", arrays)
    content = Path(own["file"]).read_bytes()
    Path(own["file"]).write_bytes(content[: int(share * len(content))])
    refusal(lambda: describe("stars", own), own["file"])


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_a_file_that_is_no_file_of_arrays_is_refused(tmp_path, ending):
    path = tmp_path / f"mine.{ending}"
    path.write_text("image,label\n")
    refusal(lambda: describe("stars", {"file": str(path), **ROLES}), str(path))


def test_a_lone_array_is_no_npz(tmp_path, arrays):
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, arrays["images"])
    refusal(lambda: describe("stars", {"file": str(path), **ROLES}), str(path))


def test_a_flipped_byte_in_a_file_of_one_s_own_is_refused(tmp_path, arrays):
    own = saved(tmp_path / "mine.npz", arrays)
    content = bytearray(Path(own["file"]).read_bytes())
    content[content.index(arrays["images"].tobytes()) + 5] ^= 1
    Path(own["file"]).write_bytes(content)
    refusal(lambda: describe("stars", own), own["file"])


# the prepared file


def test_the_prepared_file_is_what_it_says(dataset, arrays):
    is_test = arrays["split"] == "test"
    with h5py.File(dataset) as file:
        assert file["train/images"].shape == (30, 1, 4, 4)
        assert file["train/images"].dtype == np.uint8
        assert file["test/labels"].dtype == np.int64
        np.testing.assert_array_equal(file["test/images"][:, 0], arrays["images"][is_test])
        attributes = texts_of(file.attrs)
    assert (attributes["name"], attributes["classes"]) == ("own", 3)
    assert {"digest", "format_version", "provenance"} <= set(attributes)


def test_other_images_have_another_digest(tmp_path, arrays, dataset):
    images = arrays["images"].copy()
    images[7, 0, 0] ^= 1
    own = saved(tmp_path / "own.npz", arrays | {"images": images})
    assert made("own", tmp_path / "out.h5", own).digest != load(dataset).digest


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    refusal(lambda: load(tmp_path / "away.h5"), str(tmp_path / "away.h5"))


@pytest.mark.parametrize("key", ["name", "classes", "digest", "format_version"])
def test_a_dataset_that_lacks_an_attribute_is_refused(dataset, edited, key):
    copy = edited(dataset, lambda file: file.attrs.__delitem__(key))
    refusal(lambda: load(copy), str(copy))


@pytest.mark.parametrize("name", ["train", "test", "train/images", "test/labels"])
def test_a_dataset_that_lacks_an_array_is_refused(dataset, edited, name):
    copy = edited(dataset, lambda file: file.__delitem__(name))
    refusal(lambda: load(copy), str(copy))


@pytest.mark.parametrize("name", ["train/images", "test/images", "train/labels", "test/labels"])
def test_images_and_labels_that_were_changed_are_refused(dataset, tmp_path, name):
    copy = tmp_path / "d.h5"
    copy.write_bytes(dataset.read_bytes())
    with h5py.File(copy, "a") as file:
        file[name][0] = 1 - file[name][0].clip(0, 1)
    refusal(lambda: load(copy), str(copy))


def test_another_format_version_is_refused(dataset, edited):
    copy = edited(dataset, lambda file: file.attrs.update(format_version=99))
    assert "version" in refusal(lambda: load(copy), str(copy))


def test_another_hdf5_file_is_refused(tmp_path, synthesise):
    synthesise(tmp_path / "shard.h5", [0])
    refusal(lambda: load(tmp_path / "shard.h5"), str(tmp_path / "shard.h5"))


def test_a_flipped_byte_is_refused_or_harmless(dataset, damaged_files):
    content = dataset.read_bytes()
    used = [place for place, byte in enumerate(content) if byte]
    for place in used[::7]:
        fault = damaged_files.fault_of_flip("dataset", dataset, place, 1 << place % 8)
        assert fault is None, place


@pytest.mark.parametrize("word", ["name", "classes", "own", "digest", "its digest"])
def test_a_flipped_byte_of_an_attribute_is_refused_or_harmless(dataset, damaged_files, word):
    content = dataset.read_bytes()
    start = content.find((load(dataset).digest if word == "its digest" else word).encode())
    # an attribute's value stands behind its name
    places = range(start, min(start + 64, len(content)), 3) if start >= 0 else []
    for place in places:
        assert damaged_files.fault_of_flip("dataset", dataset, place, 1) is None, place


@pytest.mark.parametrize("flip", [1, 0x80, 0xFF])
def test_a_heap_of_texts_is_no_trap(dataset, damaged_files, flip):
    # see the test of this name for shards
    start = dataset.read_bytes().find(b"GCOL")
    for place in range(start, start + 400, 8) if start >= 0 else []:
        assert damaged_files.fault_of_flip("dataset", dataset, place, flip) is None, place


@settings(phases=[Phase.explicit, Phase.generate])
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_dataset_is_refused(dataset, damaged_files, share):
    content = dataset.read_bytes()
    assert damaged_files.read("dataset", content[: int(share * len(content))]) == "refused"


# original files


@pytest.mark.parametrize("name", ["mnist", "fmnist", "cifar10"])
def test_a_file_that_is_not_the_original_is_refused(tmp_path, name):
    for file in BUILTIN[name].files:
        path = tmp_path / "data" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"not the original"))
    target = tmp_path / "out.h5"
    text = refusal(lambda: made(name, target, folder=tmp_path / "data"), name)
    assert any(str(tmp_path / "data" / file) in text for file in BUILTIN[name].files)
    assert "original" in text
    assert not target.exists()


@pytest.mark.parametrize("name", ["mnist", "fmnist", "cifar10"])
def test_an_original_file_that_is_not_there_is_named(tmp_path, name):
    text = refusal(lambda: made(name, tmp_path / "out.h5", folder=tmp_path), name)
    assert any(str(tmp_path / file) in text for file in BUILTIN[name].files)


@pytest.fixture
def no_network(monkeypatch):
    """The download addresses lead to a port of this machine where nobody listens."""
    from torchvision import datasets as sources

    monkeypatch.setenv("no_proxy", "*")
    for kind in (sources.MNIST, sources.FashionMNIST):
        monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(sources.CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")


@pytest.mark.parametrize("name", ["mnist", "fmnist", "cifar10"])
def test_a_failed_download_says_what_to_do(tmp_path, no_network, name):
    text = refusal(lambda: made(name, tmp_path / "out.h5"), name)
    assert "download" in text
    assert "data_folder" in text
    assert BUILTIN[name].files[0] in text
    assert not (tmp_path / "out.h5").exists()


# images per digit, as counted by others; the two others are balanced
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_originals
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("mnist", MNIST_TRAIN, MNIST_TEST),
        ("fmnist", [6000] * 10, [1000] * 10),
        ("cifar10", [5000] * 10, [1000] * 10),
    ],
)
def test_images_per_class_of_the_originals(originals, name, train, test):
    found = originals(name)
    assert np.bincount(found.train[1]).tolist() == train
    assert np.bincount(found.test[1]).tolist() == test
    sizes = Dataset(found.shape, found.classes, len(found.train[0]), len(found.test[0]))
    assert sizes == BUILTIN[name]._replace(files=())


def read_idx(path):
    """An idx file by its format's definition: magic, sizes as big-endian int32, bytes."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = struct.unpack(f">{axes}i", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


@needs_originals
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fmnist", "FashionMNIST")])
def test_images_are_those_of_the_idx_files(originals, name, folder):
    raw = Path(ORIGINALS) / folder / "raw"
    found = originals(name)
    for split, ours in (("train", found.train), ("t10k", found.test)):
        labels = read_idx(raw / f"{split}-labels-idx1-ubyte.gz")
        np.testing.assert_array_equal(ours[1], labels)
        images = read_idx(raw / f"{split}-images-idx3-ubyte.gz")
        np.testing.assert_array_equal(ours[0], images[:, None])


@needs_originals
def test_images_are_those_of_the_cifar_batches(originals):
    found = originals("cifar10")
    folder = Path(ORIGINALS) / "cifar-10-batches-py"
    for number, rows in ((1, slice(0, 10_000)), (5, slice(40_000, 50_000))):
        batch = pickle.loads((folder / f"data_batch_{number}").read_bytes(), encoding="bytes")
        np.testing.assert_array_equal(found.train[1][rows], batch[b"labels"])
        # a row is 1,024 bytes of red, then green, then blue
        pixels = batch[b"data"]
        ours = found.train[0][rows]
        np.testing.assert_array_equal(ours[:, 0].reshape(10_000, -1), pixels[:, :1024])
        np.testing.assert_array_equal(ours[:, 2].reshape(10_000, -1), pixels[:, 2048:])
        assert ours[17, 1, 3, 5] == pixels[17, 1024 + 3 * 32 + 5]


@needs_originals
def test_the_folder_of_originals_is_only_read(originals):
    def listing():
        return sorted((str(p), p.stat().st_mtime_ns) for p in Path(ORIGINALS).rglob("*"))

    before = listing()
    originals("mnist")
    assert listing() == before
