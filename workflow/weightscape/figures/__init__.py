"""Figures, a file each: they read tables and the table of runs, never weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from weightscape import heads
from weightscape.drawing.style import Shown
from weightscape.storage.tables import read_table


def draw(name: str, runs: Sequence[pd.DataFrame], files: Sequence[str], split: str) -> Figure:
    """The figure `name`, as in `figures/<name>-<model>-<dataset>.svg`.

    From the tables of runs of some populations, and for each of them the files that the figure
    reads, in the order of its head; of a whole study, from its files. A claim's figure is named
    `claim_C1`.
    """
    file = next(file for file in heads.figures() if name in heads.drawn_by(file))
    head, figure = heads.figures()[file], import_module(f"{__name__}.{file}")
    n = len(head.reads)
    parts = [_load(head.reads, files[first : first + n]) for first in range(0, len(files), n)]
    shown: Any
    if head.each == "study":
        shown = Shown(pd.concat([pd.DataFrame(), *runs]), *parts)
    else:
        populations = list(map(Shown, runs, parts))
        shown = populations if head.grid else populations[0]
    claim = [heads.drawn_by(file)[name]["claim"]] if head.each == "claim" else []
    drawn: Figure = figure.draw(shown, split, *claim)
    return drawn


def _load(names: Sequence[str], files: Sequence[str]) -> Any:
    """The one table that a figure reads, or its tables by name; a path where it is no table."""
    loaded = {
        name: Path(file) if "." in name else read_table(file)
        for name, file in zip(names, files, strict=True)
    }
    return loaded if len(loaded) > 1 else loaded[names[0]]
