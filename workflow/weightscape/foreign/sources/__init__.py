"""Sources of networks that were trained elsewhere: each file beside this one reads one kind of zoo.

A file `ray_tune.py` is the source `ray-tune` of the config, and has what a Reader has. What lists
the runs is light, since each cluster job asks it; a place is where a checkpoint lies below the
folder, in the reader's own words.
"""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from weightscape.foreign.listing import (
    ImportedLayer,
    Layout,
    ListedRun,
    Listing,
    SourceItem,
    Unit,
    unit_faults,
)

if TYPE_CHECKING:
    import numpy as np

WIDTH = "same"
"""The width of the runs of a source that tells none."""
ENDS = (("weight", "bias"), ("kernel:0", "bias:0"), ("kernel", "bias"))
"""What the names of a layer's tensors end with."""


class Reader(Protocol):
    UNIT: Unit
    """of its accuracies, where the config does not say"""
    LAYOUT: Layout
    """of its weights, likewise"""

    def list_runs(self, folder: str, table: str, unit: Unit) -> Listing:
        """The runs that are there, and what is wrong with the source as a whole."""

    def read(self, folder: Path, place: str, names: Collection[str]) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint; Refused if it can't be used."""

    def digest(self, folder: Path, place: str) -> str:
        """The SHA-256 of its bytes."""

    def size(self, folder: Path, place: str) -> int:
        """Its bytes; 0 if it is not there."""

    def files(self, place: str) -> list[str]:
        """The files that tell of it, below the folder; some may not be there."""


def names() -> list[str]:
    return [module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)]


def reader(name: str) -> Reader:
    return cast(Reader, import_module(f"{__name__}.{name.replace('-', '_')}"))


def listing(item: SourceItem) -> Listing:
    """The runs of an import of the checked config."""
    source = reader(item["source"])
    return source.list_runs(item["folder"], item.get("table", ""), item["accuracies"])


def complete(item: SourceItem) -> None:
    """Fill in what the config leaves to the source, or to what its files tell."""
    source = reader(item["source"])
    item.setdefault("accuracies", source.UNIT)
    item.setdefault("layout", source.LAYOUT)
    found = listing(item)
    item.setdefault("epochs", found.epochs[-1] if found.epochs else 1)
    item["layers"] = item["layers"] or found.layers


def layers_in(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, ImportedLayer]:
    """The layers of a network by the names and shapes of its tensors, in their order.

    A layer that another reads is not told: it can't be seen.
    """
    found: dict[str, ImportedLayer] = {}
    for name, shape in shapes.items():
        for weight, bias in ENDS:
            if name.endswith(weight) and len(shape) in (2, 4):
                above = name.removesuffix(weight)
                layer = re.sub(r"\W+", "_", above, flags=re.ASCII).strip("_")
                layer = layer if layer[:1].isalpha() else f"layer_{layer}"
                beside = above + bias if above + bias in shapes else None
                found[layer] = {"weight": name, "bias": beside, "reads": None}
                break
    return found


def gather(
    runs: list[ListedRun], layers: dict[str, ImportedLayer], unit: Unit, faults: list[str]
) -> Listing:
    """The listing of runs with snapshots: all have those of most, and the others are left out."""
    counts = Counter(tuple(run.snapshots) for run in runs if not run.fault)
    if not counts:
        return Listing(runs, [*faults, "no run in it is whole"])
    most = counts.most_common(1)[0][0]
    alike = [
        run
        if run.fault or tuple(run.snapshots) == most
        else run._replace(
            fault=f"it has weights of the epochs {_text(run.snapshots)}, but most runs have those "
            f"of {_text(most)}"
        )
        for run in runs
    ]
    return Listing(alike, [*faults, *unit_faults(alike, unit)], layers, list(most))


def _text(epochs: Collection[int]) -> str:
    return ", ".join(map(str, epochs)) or "none"
