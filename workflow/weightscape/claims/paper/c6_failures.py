"""C6: runs that do not converge are the smallest networks, initialised near zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightscape.claims.effects import Pair, cliffs_delta
from weightscape.claims.evidence import NOTHING, Evidence, Statement
from weightscape.heads import ClaimHead
from weightscape.study.widths import width_number

HEAD = ClaimHead(
    says="Runs that do not converge are the minimal networks, initialised near zero.",
    reads=("statistics",),
    statistics={"width": "width", "initial_std": "σ of the initial weights"},
)


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C6: runs that do not converge are the minimal networks, initialised near zero."""
    non = evidence.groups == "non"
    n_smaller = int(min(non.sum(), (~non).sum()))
    numbers = np.array([width_number(width) for width in evidence.widths])
    effect = cliffs_delta(numbers, non, ~non, evidence.widths, evidence.draws)
    yield Statement(
        "", "width", "cliffs_delta", -1, Pair(effect.pooled, NOTHING), n_smaller=n_smaller
    )
    for layer in evidence.layers:
        x = evidence.column("statistics", layer, "initial_std")
        effect = cliffs_delta(x, non, ~non, evidence.widths, evidence.draws)
        yield Statement(
            layer,
            "initial_std",
            "cliffs_delta",
            -1,
            effect,
            None,
            x,
            evidence.accuracy,
            n_smaller,
        )
