"""C1: the weights of accurate runs have a low standard deviation, and scatter little."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightscape.claims.comparisons import thirds
from weightscape.claims.effects import scatter
from weightscape.claims.evidence import Evidence, Statement
from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="High-accuracy runs have a low σ of the weights and cluster tightly in (μ, σ).",
    figures="2-4",
    reads=("statistics",),
    statistics={"std": "σ of the weights", "scatter": "scatter in (μ, σ)"},
)


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C1: high-accuracy runs have a low sigma and cluster tightly in (mu, sigma)."""
    for layer in evidence.layers:
        std = evidence.column("statistics", layer, "std")
        yield evidence.with_accuracy(layer, "std", -1, std)
    for layer in evidence.layers:
        yield _scatter(evidence, layer)


def _scatter(evidence: Evidence, layer: str) -> Statement:
    points = np.stack([evidence.column("statistics", layer, name) for name in ("mean", "std")])
    effect = scatter(points, evidence.accuracy, evidence.widths, evidence.draws)
    upper, lower = thirds(evidence.accuracy)
    n_smaller = int(min(upper.sum(), lower.sum()))
    return Statement(layer, "scatter", "cliffs_delta", -1, effect, n_smaller=n_smaller)
