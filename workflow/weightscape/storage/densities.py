"""Files of densities: those of a population, and those of a study."""

from contextlib import AbstractContextManager
from pathlib import Path

import h5py

from weightscape.storage.hdf5 import read_file, write_file
from weightscape.study.sections import GROUPS

DENSITIES_VERSION = 1


def open_densities(path: Path) -> AbstractContextManager[h5py.File]:
    """The densities of one population, for reading; WeightscapeError if the file is damaged."""
    return read_file(path, "the densities", DENSITIES_VERSION, "delete it and run again")


def copy_groups(source: Path, target: Path) -> None:
    """The densities of a population without those of its single runs, which take most of a file."""
    with open_densities(source) as file, write_file(target, dict(file.attrs)) as copy:
        for layer in file.attrs["layers"]:
            _copy_groups(file[layer], copy.create_group(layer))


def join_densities(parts: list[Path], target: Path) -> None:
    """The groups' densities of several populations, under /<model>/<dataset>/<layer>/<group>."""
    with write_file(target, {"format_version": DENSITIES_VERSION}) as joined:
        for part in parts:
            with open_densities(part) as file:
                population = joined.create_group(f"{file.attrs['model']}/{file.attrs['dataset']}")
                population.attrs.update(file.attrs)
                for layer in file.attrs["layers"]:
                    _copy_groups(file[layer], population.create_group(layer))


def _copy_groups(layer: h5py.Group, target: h5py.Group) -> None:
    for group in filter(layer.__contains__, GROUPS):
        layer.file.copy(layer[group], target)
