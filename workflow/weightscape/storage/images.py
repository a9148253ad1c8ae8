"""From a dataset's original files to one HDF5 file of uint8 images and labels, and back.

The file: attrs name, classes, provenance (JSON), digest (SHA-256 of the arrays), format_version;
per split `train` and `test`: images (N, channels, height, width) uint8 and labels (N,) int64.
"""

import gzip
import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.storage.hdf5 import DAMAGE, read_file, write_file
from weightscape.study.catalogue import BUILTIN, Dataset
from weightscape.study.sections import OwnDataset

FORMAT_VERSION = 1
DIGITS_TEST = 297  # of 1,797 images; leaves 1,500 to train on

Splits = dict[str, tuple[np.ndarray, np.ndarray]]


class Images(NamedTuple):
    """A prepared dataset in memory; images (N, channels, height, width) uint8, labels (N,)."""

    name: str
    classes: int
    digest: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.train[0].shape[1:]
        return channels, height, width


def prepare(
    name: str, target: Path, own: OwnDataset | None, folder: Path | None, downloads: Path
) -> None:
    """Write the dataset `name` to `target`.

    `own` is the config's description of a dataset of the user's; `folder` holds the original
    files of a built-in one, which are otherwise downloaded to `downloads`.
    Raises WeightscapeError if files are missing, broken or of another content than expected.
    """
    if own is not None:
        splits, provenance = _read_own(own), {"file": own["file"]}
    elif name == "digits":
        splits, provenance = _read_digits()
    else:
        splits, provenance = _read_torchvision(name, folder, downloads)
    _check_splits(name, splits)
    _write(name, target, splits, provenance)


def load(path: Path) -> Images:
    """A prepared dataset. Raises WeightscapeError if it is damaged; remaking it mends that."""
    with open_dataset(path) as file:
        train, test = (
            (file[f"{split}/images"][()], file[f"{split}/labels"][()])
            for split in ("train", "test")
        )
        facts = dict(file.attrs)
        return Images(facts["name"], int(facts["classes"]), facts["digest"], train, test)


@contextmanager
def open_dataset(path: Path) -> Iterator[h5py.File]:
    """A prepared dataset for reading; whatever is wrong with it is a WeightscapeError."""
    remedy = "delete it and run again to make it again"
    with read_file(path, "the dataset", FORMAT_VERSION, remedy) as file:
        try:
            yield file
        except DAMAGE as error:
            raise WeightscapeError(f"the dataset {path} is refused: {error}; {remedy}") from error


def describe(own: OwnDataset) -> Dataset:
    """Sizes of a dataset of the user's, from its file, before it is prepared."""
    splits = _read_own(own)
    _check_splits(own["file"], splits)
    images, labels = splits["train"]
    channels, height, width = images.shape[1:]
    sizes = len(labels), len(splits["test"][1])
    return Dataset((channels, height, width), _n_classes(splits), *sizes)


def _read_digits() -> tuple[Splits, dict[str, Any]]:
    """scikit-learn's digits (UCI optdigits, 8 x 8), their 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=DIGITS_TEST, stratify=digits.target, random_state=0
    )
    provenance = {
        "source": "sklearn.datasets.load_digits (UCI optdigits, test part)",
        "split": "stratified, random_state 0",
        "scaling": "255/16",
    }
    return {"train": (train_x, train_y), "test": (test_x, test_y)}, provenance


def _read_torchvision(
    name: str, folder: Path | None, downloads: Path
) -> tuple[Splits, dict[str, Any]]:
    from torchvision import datasets as sources

    source = {"mnist": sources.MNIST, "fmnist": sources.FashionMNIST, "cifar10": sources.CIFAR10}
    kind = source[name]
    root = folder if folder is not None else downloads
    if folder is None:
        _download(name, kind, downloads)
    checksums = _verify(name, root, _checksums(name, kind))
    with tempfile.TemporaryDirectory() as scratch:
        # the user's folder is only read: torchvision unpacks a copy
        readable = root if name == "cifar10" else _unpack(name, root, Path(scratch))
        splits = {}
        for split in ("train", "test"):
            data = kind(str(readable), train=split == "train", download=False)
            images, labels = np.asarray(data.data), np.asarray(data.targets, dtype=np.int64)
            images = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
            splits[split] = (np.ascontiguousarray(images), labels)
    return splits, {"source": f"torchvision.datasets.{kind.__name__}", "md5": checksums}


def _checksums(name: str, kind: Any) -> dict[str, str]:
    """Original file -> MD5 as torchvision publishes them."""
    if name == "cifar10":
        published = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    else:
        published = kind.resources
    by_name = dict(tuple(entry) for entry in published)
    return {file: by_name[Path(file).name] for file in BUILTIN[name].files}


def _verify(name: str, root: Path, checksums: dict[str, str]) -> dict[str, str]:
    for file, expected in checksums.items():
        path = root / file
        if not path.is_file():
            raise WeightscapeError(f"{name}: there is no file {path}; put the original file there")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "md5").hexdigest()
        if found != expected:
            raise WeightscapeError(
                f"{name}: {path} is not the original file (MD5 {found}, expected {expected}); "
                "replace it with the original"
            )
    return checksums


def _unpack(name: str, root: Path, scratch: Path) -> Path:
    for file in BUILTIN[name].files:
        target = scratch / file.removesuffix(".gz")
        target.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(root / file) as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return scratch


def _download(name: str, kind: Any, downloads: Path) -> None:
    try:
        kind(str(downloads), download=True)
    except (OSError, RuntimeError) as error:
        files = ", ".join(BUILTIN[name].files)
        raise WeightscapeError(
            f"{name} could not be downloaded ({error}). Run again when the network is there, or "
            f"put the original files ({files}) into a folder and add "
            "--config data_folder=FOLDER to your command"
        ) from error


def _read_own(own: OwnDataset) -> Splits:
    """The user's arrays, checked and cut into splits."""
    path = own["file"]
    arrays = {role: _read_array(path, own[role]) for role in ("images", "labels", "split")}
    images, labels, split = arrays["images"], arrays["labels"], arrays["split"]
    if images.dtype != np.uint8:
        raise WeightscapeError(f"{path}: images are {images.dtype}; store them as uint8, 0 to 255")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise WeightscapeError(
            f"{path}: images have shape {images.shape}; store them as N x H x W or N x C x H x W"
        )
    for role, array in (("labels", labels), ("split", split)):
        if array.shape != images.shape[:1]:
            raise WeightscapeError(
                f"{path}: {role} has shape {array.shape}; it needs one entry for each of the "
                f"{len(images)} images"
            )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise WeightscapeError(f"{path}: labels must be whole numbers 0, 1, ...")
    if images.ndim == 3:
        images = images[:, None]
    elif own["channels"] == "last":
        images = images.transpose(0, 3, 1, 2)
    is_test = _is_test(path, split)
    return {
        "train": (images[~is_test], labels[~is_test].astype(np.int64)),
        "test": (images[is_test], labels[is_test].astype(np.int64)),
    }


def _read_array(path: str, name: str) -> np.ndarray:
    try:
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as file:
                return np.asarray(file[name])
        with h5py.File(path) as file:
            return np.asarray(file[name][()])
    except KeyError as error:
        raise WeightscapeError(
            f"{path} has no array '{name}'; name the right one under datasets in the config"
        ) from error
    except (*DAMAGE, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightscapeError(
            f"{path} is not a readable .npz or HDF5 file ({error}); write it again"
        ) from error


def _is_test(path: str, split: np.ndarray) -> np.ndarray:
    """Mask of the test images, from 0/1, booleans, or the words train and test."""
    if split.dtype.kind in "biu" and np.isin(split, (0, 1)).all():
        return split.astype(bool)
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in split.tolist()]
    if not set(words) <= {"train", "test"}:
        raise WeightscapeError(f"{path}: split must hold only train and test, or 0 and 1")
    return np.asarray([word == "test" for word in words], dtype=bool)


def _check_splits(name: str, splits: Splits) -> None:
    for split, (images, _) in splits.items():
        if not len(images):
            raise WeightscapeError(f"{name}: the {split} split has no images; add some")
    seen, n_classes = np.unique(splits["train"][1]), _n_classes(splits)
    if len(seen) < n_classes:
        # the first few suffice, however far apart the labels are
        first = np.setdiff1d(np.arange(min(n_classes, len(seen) + 5)), seen)
        listing = ", ".join(map(str, first[:5]))
        raise WeightscapeError(
            f"{name}: no training image has the label {listing} "
            f"({n_classes - len(seen)} labels are missing); number the classes 0, 1, ..."
        )
    if n_classes < 2:
        raise WeightscapeError(
            f"{name}: all images have the same label; at least two classes are needed"
        )


def _n_classes(splits: Splits) -> int:
    return int(max(labels.max() for _, labels in splits.values())) + 1


def _digest(splits: Splits) -> str:
    digest = hashlib.sha256()
    for split in ("train", "test"):
        for array in splits[split]:
            digest.update(f"{split} {array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _write(name: str, target: Path, splits: Splits, provenance: dict[str, Any]) -> None:
    attributes = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": _n_classes(splits),
        "provenance": json.dumps(provenance, sort_keys=True),
        "digest": _digest(splits),
    }
    with write_file(target, attributes) as file:
        for split, (images, labels) in splits.items():
            file.create_dataset(f"{split}/images", data=images, compression="lzf")
            file.create_dataset(f"{split}/labels", data=labels)
