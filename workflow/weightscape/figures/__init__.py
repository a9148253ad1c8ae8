"""Figures, a file each: they read tables and the table of runs, never weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from weightscape import heads
from weightscape.drawing.style import Shown, empty
from weightscape.storage.tables import add_groups, read_table


def draw(name: str, runs: Sequence[pd.DataFrame], files: Sequence[str], split: str) -> Figure:
    """The figure `name`, as in `figures/<name>-<model>-<dataset>.svg`.

    From the tables of runs of some populations, and for each of them the files that the figure
    reads, in the order of its head; of a whole study, from its files. A claim's figure is named
    `claim_C1`.
    """
    file = next(file for file in heads.figures() if name in heads.drawn_by(file))
    head, figure = heads.figures()[file], import_module(f"{__name__}.{file}")
    n = len(head.reads)
    of_study = pd.concat([pd.DataFrame(), *runs])
    of_each = [of_study] if head.each == "study" else runs
    firsts = range(0, len(files), n)
    parts = [
        _load(head.reads, files[first : first + n], own)
        for first, own in zip(firsts, of_each, strict=True)
    ]
    shown: Any
    if head.each == "study":
        shown = Shown(of_study, *parts)
    else:
        populations = [Shown(*both) for both in zip(runs, parts, strict=True) if len(both[0])]
        if not populations:
            return empty([], "no runs: every checkpoint of the import is bad")
        shown = populations if head.grid else populations[0]
    claim = [heads.drawn_by(file)[name]["claim"]] if head.each == "claim" else []
    drawn: Figure = figure.draw(shown, split, *claim)
    return drawn


def _load(names: Sequence[str], files: Sequence[str], runs: pd.DataFrame) -> Any:
    """The one table that a figure reads, or its tables by name; a path where it is no table.

    Tables of `runs`, which have their groups, get them.
    """
    loaded: dict[str, Any] = {}
    for name, file in zip(names, files, strict=True):
        loaded[name] = Path(file) if "." in name else read_table(file)
        if "." not in name and heads.tables()[name].is_grouped_later:
            loaded[name] = add_groups(loaded[name], runs[[*heads.RUN_KEYS, "group"]])
    return loaded if len(loaded) > 1 else loaded[names[0]]
