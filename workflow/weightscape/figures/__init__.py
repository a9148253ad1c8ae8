"""Figures: each reads a measure's file and the table of runs, never weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.figures import (
    claims,
    convergence,
    density,
    failures,
    function,
    nulls,
    prediction,
    projection,
    spectra,
    statistics,
    strength,
    telemetry,
    transfer,
    variation,
)
from weightscape.storage.tables import read_table

Draw = Callable[[list[pd.DataFrame], list[str], str], Figure]
"""From the tables of runs of some populations, the file of a measure of each, and the split."""


def _populations(runs: list[pd.DataFrame], files: list[str]) -> list[style.Population]:
    return [
        style.Population(table, read_table(file)) for table, file in zip(runs, files, strict=True)
    ]


def _densities(runs: list[pd.DataFrame], files: list[str]) -> list[style.Population]:
    return [style.Population(table, Path(file)) for table, file in zip(runs, files, strict=True)]


def _draw_claim(claim: str) -> Draw:
    return lambda runs, files, split: claims.draw(claim, runs[0], files)


FIGURES: dict[str, Draw] = {
    "convergence": lambda runs, files, split: convergence.draw(_populations(runs, files), split),
    "telemetry": lambda runs, files, split: telemetry.draw(_populations(runs, files)[0]),
    "statistics": lambda runs, files, split: statistics.draw(_populations(runs, files), split),
    "density": lambda runs, files, split: density.draw(_densities(runs, files)),
    "strength": lambda runs, files, split: strength.draw(_populations(runs, files), split),
    "spectra": lambda runs, files, split: spectra.draw(_populations(runs, files)[0], split),
    "projection": lambda runs, files, split: projection.draw(_populations(runs, files), split),
    "projection_widths": lambda runs, files, split: projection.draw_widths(
        _populations(runs, files)[0], split
    ),
    "function": lambda runs, files, split: function.draw(runs[0], files),
    "failures": lambda runs, files, split: failures.draw(runs[0], files, split),
    "variation": lambda runs, files, split: variation.draw(_populations(runs, files)[0]),
    "nulls": lambda runs, files, split: nulls.draw(_populations(runs, files)[0]),
    "prediction": lambda runs, files, split: prediction.draw(
        _populations(runs, files[:1])[0], read_table(files[1]), split
    ),
    "transfer": lambda runs, files, split: transfer.draw(read_table(files[0])),
    **{f"claim_{claim}": _draw_claim(claim) for claim in ("C1", "C2", "C3", "C4", "C5", "C6")},
}
"""The names in `figures/<name>-<model>-<dataset>.svg`, and what draws them."""
