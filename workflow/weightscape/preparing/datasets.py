"""Datasets from elsewhere: original files of built-in ones, and arrays of the user's own.

Whatever is wrong with a file, or only odd, is a WeightscapeError before anything trains on it.
"""

import gzip
import hashlib
import math
import shutil
import tempfile
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from weightscape.errors import WeightscapeError
from weightscape.files import explain, open_unlocked
from weightscape.foreign.arrays import read_array
from weightscape.foreign.formats.base import DEFLATE
from weightscape.storage.hdf5 import DAMAGE
from weightscape.storage.images import Splits, count_classes, write_dataset
from weightscape.study.catalogue import BUILTIN, Dataset
from weightscape.study.sections import OwnDataset

DIGITS_TEST = 297  # of 1,797 images; leaves 1,500 to train on
MOST_CHANNELS = 4  # that images are taken to have unless the config says which axis has them


def prepare(
    name: str, target: Path, own: OwnDataset | None, folder: Path | None, downloads: Path
) -> None:
    """Write the dataset `name` to `target`.

    `own` is the config's description of a dataset of the user's; `folder` holds the original
    files of a built-in one, which are otherwise downloaded to `downloads`.
    Raises WeightscapeError if files are missing, broken or of another content than expected.
    """
    if own is not None:
        splits, provenance = read_arrays(name, own), {"file": own["file"]}
    elif name == "digits":
        splits, provenance = _read_digits()
    else:
        splits, provenance = _read_torchvision(name, folder, downloads)
    _check_splits(name, splits)
    write_dataset(name, target, splits, provenance)


def describe(name: str, own: OwnDataset) -> Dataset:
    """Sizes of a dataset of the user's, from its file, before it is prepared."""
    splits = read_arrays(name, own)
    _check_splits(own["file"], splits)
    images, labels = splits["train"]
    channels, height, width = images.shape[1:]
    sizes = len(labels), len(splits["test"][1])
    return Dataset((channels, height, width), count_classes(splits), *sizes)


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


def read_arrays(name: str, own: OwnDataset) -> Splits:
    """The user's arrays, checked and cut into splits; WeightscapeError if they can't be used."""
    path = own["file"]
    images, labels, split = (_read_array(path, own[key]) for key in ("images", "labels", "split"))
    images = _as_images(name, own, images)
    labels, split = (
        column[:, 0] if column.shape[1:] == (1,) else column for column in (labels, split)
    )
    if labels.ndim == 2 and len(labels) == len(images):
        raise _refuse(
            path, f"labels have the shape {labels.shape}", "of one-hot labels take argmax(axis=1)"
        )
    for role, array in (("labels", labels), ("split", split)):
        if array.shape != images.shape[:1]:
            raise _refuse(
                path,
                f"{role} has the shape {array.shape}",
                f"it needs one entry for each of the {len(images)} images",
            )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise _refuse(path, f"labels are {_told(labels)}", "write whole numbers 0, 1, ...")
    if int(labels.max()) > np.iinfo(np.int64).max:
        raise _refuse(path, f"labels go up to {labels.max()}", "number the classes 0, 1, ...")
    labels, is_test = labels.astype(np.int64), _is_test(path, split)
    return {
        "train": (images[~is_test], labels[~is_test]),
        "test": (images[is_test], labels[is_test]),
    }


def _as_row(column: np.ndarray) -> np.ndarray:
    """Keras has labels of the shape (N, 1)."""
    return column[:, 0] if column.shape[1:] == (1,) else column


def _refuse(path: str, what: str, remedy: str) -> WeightscapeError:
    return WeightscapeError(f"{path} is refused: {what}; {remedy}")


def _told(labels: np.ndarray) -> str:
    return f"of the type {labels.dtype}" if labels.dtype.kind not in "iu" else "below 0"


def _as_images(name: str, own: OwnDataset, images: np.ndarray) -> np.ndarray:
    """(N, channels, height, width) uint8."""
    path, shape = own["file"], images.shape
    if images.dtype != np.uint8:
        raise _refuse(path, f"images are {images.dtype}", "store them as uint8, 0 to 255")
    if images.ndim not in (3, 4) or 0 in shape:
        hint = _hint_of_flat(shape[1]) if images.ndim == 2 else ""
        raise _refuse(
            path,
            f"images have the shape {shape}",
            f"store them as N x H x W or N x C x H x W{hint}",
        )
    if images.ndim == 3:
        images = images[:, None]
    elif _channels(name, own, shape) == "last":
        images = images.transpose(0, 3, 1, 2)
    low, high = int(images.min()), int(images.max())
    if high <= 1:
        what = f"images are all {low}" if low == high else "images are 0 and 1 alone"
        raise _refuse(path, what, "store them as 0 to 255, as in (255 * images).astype('uint8')")
    return images


def _hint_of_flat(size: int) -> str:
    """How to undo the reshaping of square images of one channel or three."""
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if size and channels * side * side == size:
            shape = "" if channels == 1 else "3, "
            return f", as in images.reshape(-1, {shape}{side}, {side})"
    return ""


def _channels(name: str, own: OwnDataset, shape: tuple[int, ...]) -> str:
    """Which axis has the channels: as the config says, or the one that is as short as they are."""
    if "channels" in own:
        return own["channels"]
    is_first, is_last = shape[1] <= MOST_CHANNELS, shape[3] <= MOST_CHANNELS
    if is_first and not is_last:
        return "first"
    raise _refuse(
        own["file"],
        f"images have the shape {shape}, whose channels may be {shape[1]} or {shape[3]}",
        f"write datasets.{name}.channels: first or last in the config",
    )


def _read_array(path: str, name: str) -> np.ndarray:
    """One array of a file that others wrote; what is not in the file is not read."""
    try:
        if path.endswith(".npz"):
            with zipfile.ZipFile(path) as file:
                found = _read_member(path, file, name)
        else:
            with open_unlocked(path) as file:
                found = read_array(file, name, partial(_refuse, path))
    except OSError as error:
        raise WeightscapeError(
            explain(
                error, "the file", path, "it is not a readable .npz or HDF5 file; write it again"
            )
        ) from error
    except (*DAMAGE, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightscapeError(
            f"{path} is not a readable .npz or HDF5 file ({error}); write it again"
        ) from error
    if found is None:
        raise WeightscapeError(
            f"{path} has no array '{name}'; name the right one under datasets in the config"
        )
    return found


def _read_member(path: str, file: zipfile.ZipFile, name: str) -> np.ndarray | None:
    """An array of an .npz file, whose header may ask for no more memory than its numbers take."""
    if f"{name}.npy" not in file.namelist():
        return None
    about = file.getinfo(f"{name}.npy")
    if about.file_size > DEFLATE * about.compress_size:
        raise _refuse(path, f"'{name}' is larger than the file", "save it again")
    with file.open(about) as member:
        version = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = read_header(member)
        size = math.prod(shape) * kind.itemsize
        if not kind.hasobject and size != about.file_size - member.tell():
            raise ValueError(f"'{name}' has not the {size} bytes that its shape {shape} needs")
    with file.open(about) as member:
        return np.asarray(npy.read_array(member, allow_pickle=False))


def _is_test(path: str, split: np.ndarray) -> np.ndarray:
    """Mask of the test images, from 0/1, booleans, or the words train and test."""
    if split.dtype.kind in "biu" and np.isin(split, (0, 1)).all():
        return split.astype(bool)
    words = [_as_text(word).strip().lower() for word in split.tolist()]
    if others := sorted(set(words) - {"train", "test"}):
        raise _refuse(
            path,
            f"split has '{others[0]}' beside train and test",
            "a study has these two alone: leave such images out, or give them to one of the two",
        )
    return np.asarray([word == "test" for word in words], dtype=bool)


def _as_text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


def _check_splits(name: str, splits: Splits) -> None:
    for split, (images, _) in splits.items():
        if not len(images):
            raise WeightscapeError(f"{name}: the {split} split has no images; add some")
    seen, n_classes = np.unique(splits["train"][1]), count_classes(splits)
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
