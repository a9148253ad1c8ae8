"""How good the tests of claims are, by simulation; `make bench-claims` calls it.

python -m benchmarks.claim_tests OUT.csv

Populations are drawn whose truth is known. Told are the level (share of populations without an
effect that have p <= 0.05), how often the 95 % interval holds the truth, and the power. Widths
scatter by 1 to e and, opposite, e to 1 in x and y; means rise with width. Truths of rank
correlations are those of the Gaussian copula, 6/pi asin(r/2), or of a million draws.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.claims.effects import (
    Draws,
    Pair,
    cliffs_delta,
    scatter,
    spearman,
    spearman_difference,
)
from weightscape.measures.ranks import average_ranks

STUDIES = 1000
DRAWS = Draws(199)
DESIGNS = ((6, 5), (3, 8), (4, 9), (8, 25))  # widths x runs of each
Array = Any


class Case(NamedTuple):
    """Populations of one kind; `draw` gives the effect of one, and what is true of it."""

    test: str
    case: str
    design: str
    effect: float
    draw: Callable[[np.random.Generator], tuple[Pair, float, float]]
    """-> the pair, and the true effect within width and pooled (NaN where that is not known)"""


def cases() -> Iterator[Case]:
    for widths, runs in DESIGNS:
        design = f"{widths} x {runs}"
        for kind in ("Gaussian", "ties", "outlier"):
            for r in (0.0, 0.5, 0.9):
                draw = partial(draw_correlation, widths, runs, kind, r)
                yield Case("rank correlation", kind, design, r, draw)
        for r in (0.0, 0.6, 0.9):
            draw = partial(draw_difference, widths, runs, r, r)
            yield Case("difference", f"both {r:g}", design, 0.0, draw)
        draw = partial(draw_difference, widths, runs, 0.9, 0.6)
        yield Case("difference", "0.9 and 0.6", design, 0.3, draw)
        if runs >= 9:
            for spread in (1.0, 0.5, 0.2):
                draw = partial(draw_scatter, widths, runs, spread)
                yield Case("scatter", f"spreads 1 and {spread:g}", design, spread - 1, draw)
    for few, many in ((3, 97), (5, 40), (25, 25)):
        for shift in (0.0, 1.0, 2.5):
            draw = partial(draw_contrast, few, many, shift)
            yield Case("Cliff's delta", f"shift {shift:g}", f"{few} of {few + many}", shift, draw)


def draw_correlation(
    widths: int, runs: int, kind: str, r: float, random: np.random.Generator
) -> tuple[Pair, float, float]:
    x, y = correlated(widths, runs, r, random)
    truth, pooled = 6 / math.pi * math.asin(r / 2), correlation_of_many(widths, r)
    if kind == "ties":
        x, y, truth, pooled = x.round(), y.round(), math.nan, math.nan  # another in each width
    if kind == "outlier":
        x[0] = 1e9
    return spearman(x, y, names(widths, runs), DRAWS), truth, pooled


def correlated(
    widths: int, runs: int, r: float, random: np.random.Generator
) -> tuple[Array, Array]:
    x, noise = random.normal(size=(2, widths * runs))
    y = r * x + math.sqrt(1 - r * r) * noise
    step = np.repeat(np.arange(widths), runs)
    scale = np.exp(step / max(widths - 1, 1))
    return x * scale + step, y * scale[::-1] + step


@functools.cache
def correlation_of_many(widths: int, r: float) -> float:
    """Over all runs, of a million."""
    x, y = correlated(widths, 10**6 // widths, r, np.random.default_rng(0))
    return float(np.corrcoef(average_ranks(x), average_ranks(y))[0, 1])


def draw_difference(
    widths: int, runs: int, one: float, two: float, random: np.random.Generator
) -> tuple[Pair, float, float]:
    y = random.normal(size=widths * runs)
    x, other = (r * y + math.sqrt(1 - r * r) * random.normal(size=len(y)) for r in (one, two))
    truth = 6 / math.pi * (math.asin(one / 2) - math.asin(two / 2))
    pair = spearman_difference(x, other, y, names(widths, runs), DRAWS)
    return pair, truth, truth


def draw_scatter(
    widths: int, runs: int, spread: float, random: np.random.Generator
) -> tuple[Pair, float, float]:
    accuracy, points = random.normal(size=widths * runs), random.normal(size=(2, widths * runs))
    of = names(widths, runs)
    for width in dict.fromkeys(of):
        own = np.flatnonzero(of == width)
        upper = own[accuracy[own] > np.median(accuracy[own])]
        points[:, upper] *= spread
    points += 0.5 * accuracy  # their middles go with accuracy
    truth = 0.0 if spread == 1 else math.nan
    return scatter(points, accuracy, of, DRAWS), truth, truth


def draw_contrast(
    few: int, many: int, shift: float, random: np.random.Generator
) -> tuple[Pair, float, float]:
    upper = np.arange(few + many) < few
    x = random.normal(size=few + many) + shift * upper
    of = np.array(["a", "b"])[np.arange(few + many) % 2]
    truth = math.erf(shift / 2)
    return cliffs_delta(x, upper, ~upper, of, DRAWS), truth, truth


def names(widths: int, runs: int) -> Array:
    return np.repeat([str(number) for number in range(widths)], runs)


def simulate(number: int) -> list[dict[str, Any]]:
    """The rows of a case: within width, and pooled where the truth is known."""
    case = list(cases())[number]
    found = [case.draw(np.random.default_rng([number, study])) for study in range(STUDIES)]
    rows = []
    for name, place in (("within", 1), ("pooled", 2)):
        effects = [getattr(one[0], name) for one in found]
        truths = np.array([one[place] for one in found])
        held = [e.low <= truth <= e.high for e, truth in zip(effects, truths, strict=True)]
        if name == "pooled" and np.isnan(truths).any():
            continue
        sure = np.array([effect.p <= 0.05 for effect in effects])
        rows.append(
            {
                **dict(zip(case._fields[:4], case[:4], strict=True)),
                "kind": name,
                "studies": STUDIES,
                "p_below_0.05": sure.mean(),
                "held": math.nan if np.isnan(truths).any() else np.mean(held),
                "detectable": np.median([effect.detectable for effect in effects]),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with Pool() as pool:
        parts = pool.map(simulate, range(len(list(cases()))), chunksize=1)
    table = pd.DataFrame([row for part in parts for row in part])
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
