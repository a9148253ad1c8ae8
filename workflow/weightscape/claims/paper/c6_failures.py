"""C6: runs that do not converge are the smallest networks, initialised near zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from weightscape.claims.comparisons import Numbers
from weightscape.claims.effects import NOTHING, Pair, cliffs_delta
from weightscape.claims.evidence import Evidence, Statement
from weightscape.heads import ClaimHead
from weightscape.study.widths import width_number

HEAD = ClaimHead(
    says="Runs that do not converge are the minimal networks, initialised near zero.",
    figures="1",
    reads=("statistics", "telemetry"),
    statistics={
        "width": "width",
        "initial_std": "σ of the initial weights",
        "dead_at_start": "dead units before training",
    },
    varies=("widths",),
)


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C6: runs that do not converge are the minimal networks, initialised near zero."""
    non = evidence.groups == "non"
    n_smaller = int(min(non.sum(), (~non).sum()))
    numbers = np.array([width_number(width) for width in evidence.widths])
    everywhere = np.full(len(numbers), "")
    effect = cliffs_delta(numbers, non, ~non, everywhere, evidence.draws)
    of_width = replace(effect.pooled, n_of_width=dict(Counter(evidence.widths)))
    yield Statement(
        *("", "width", "cliffs_delta", -1, Pair(of_width, NOTHING)),
        x=numbers,
        y=non.astype(float),
        n_smaller=n_smaller,
    )
    for layer in evidence.layers:
        start = evidence.column("statistics", layer, "initial_std")
        if np.isfinite(start).any():  # imported runs may have no initial weights
            yield _contrast(evidence, layer, "initial_std", -1, start, n_smaller)
    for layer in evidence.layers:
        dead = evidence.column("telemetry", layer, "dead_units", epoch=0)
        if np.isfinite(dead).any():  # a layer with ReLU units
            yield _contrast(evidence, layer, "dead_at_start", 1, dead, n_smaller)


def _contrast(
    evidence: Evidence, layer: str, statistic: str, predicted: int, x: Numbers, n_smaller: int
) -> Statement:
    """Runs that do not converge against all others."""
    non = evidence.groups == "non"
    effect = cliffs_delta(x, non, ~non, evidence.widths, evidence.draws)
    return Statement(
        *(layer, statistic, "cliffs_delta", predicted, effect),
        x=x,
        y=non.astype(float),
        n_smaller=n_smaller,
    )
