"""All weights of a study in one file, for learning on weights."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole
from weightscape.foreign.formats.safetensors import Tensor, write_tensors
from weightscape.heads import RUN_KEYS
from weightscape.opened.run import find_epoch
from weightscape.storage.shards import open_shard

NUMBERS = {
    "seed": np.int64,
    "is_test": np.uint8,
    "train_accuracy": np.float32,
    "test_accuracy": np.float32,
}
"""Columns of the table of runs that go along, as arrays (runs,)."""


def export(path: Path, runs: pd.DataFrame, epoch: int | str) -> None:
    """Writes the parameters of `runs` after an epoch, in the layout of `Study.export`.

    `runs` has the columns of NUMBERS, with paths of shards. In memory is one run. Raises
    WeightscapeError for an ending other than .safetensors and .npz, and for an epoch that was not
    kept.
    """
    writers = {".safetensors": write_tensors, ".npz": write_npz}
    if path.suffix not in writers:
        raise WeightscapeError(f"{path} can't be written; end its name in {' or '.join(writers)}")
    tensors = [
        tensor
        for key, own in runs.groupby(list(RUN_KEYS[:3]), sort=False)
        for tensor in _tensors("/".join(map(str, key)), own.sort_values("seed"), epoch)
    ]
    with replace_whole(path) as aside:
        writers[path.suffix](aside, tensors)


def _tensors(prefix: str, runs: pd.DataFrame, epoch: int | str) -> Iterator[Tensor]:
    """Those of one width, whose runs are in the order of their seeds."""
    for name, kind in NUMBERS.items():
        values = runs[name].to_numpy(kind)
        yield Tensor(f"{prefix}/{name}", values.shape, values.dtype, partial(iter, [values]))
    with open_shard(runs["shard"].iloc[0]) as shard:
        at = find_epoch(epoch, shard.epochs, str(shard.path))
        parameters = shard.run(0).snapshots[at]
    for name, one in parameters.items():
        read = partial(_read, runs, name, epoch)
        yield Tensor(f"{prefix}/{name}", (len(runs), *one.shape), one.dtype, read)


def _read(runs: pd.DataFrame, name: str, epoch: int | str) -> Iterator[np.ndarray]:
    """A parameter of each run."""
    for path, own in runs.groupby("shard", sort=False):
        with open_shard(str(path)) as shard:
            at = find_epoch(epoch, shard.epochs, str(path))
            for seed in own["seed"]:
                yield shard.parameter(at, name, shard.seeds.index(seed))


def write_npz(path: Path, tensors: Iterable[Tensor]) -> None:
    """As numpy.savez, but of arrays that are read part by part."""
    with zipfile.ZipFile(path, "w") as archive:
        for tensor in tensors:
            facts = {"descr": tensor.dtype.str, "fortran_order": False, "shape": tensor.shape}
            with archive.open(f"{tensor.name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_2_0(file, facts)
                for part in tensor.read():
                    file.write(np.ascontiguousarray(part, tensor.dtype).tobytes())
