"""C1: the weights of accurate runs have a low standard deviation, and scatter little."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightscape.claims.effects import Array, Numbers, Pair, cliffs_delta, thirds
from weightscape.claims.evidence import Evidence, Statement
from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="High-accuracy runs have a low σ of the weights and cluster tightly in (μ, σ).",
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
    """Distances from the middle of the run's third, upper against lower.

    As in Anderson 2006 (Biometrics 62), the middles stay while thirds are permuted.
    """
    points = np.stack([evidence.column("statistics", layer, name) for name in ("mean", "std")])
    upper, lower = thirds(evidence.accuracy)
    everywhere = np.full(len(evidence.widths), "")
    over_all = _distance_from_middle(points, upper, lower, everywhere)
    in_width = _distance_from_middle(points, evidence.upper, evidence.lower, evidence.widths)
    effect = Pair(
        cliffs_delta(over_all, upper, lower, evidence.widths, evidence.draws).pooled,
        cliffs_delta(
            in_width, evidence.upper, evidence.lower, evidence.widths, evidence.draws
        ).within,
    )
    n_smaller = min(upper.sum(), lower.sum())
    return Statement(layer, "scatter", "cliffs_delta", -1, effect, n_smaller=int(n_smaller))


def _distance_from_middle(points: Numbers, upper: Array, lower: Array, strata: Array) -> Numbers:
    """(n,) distances of points (2, n) from the median of their third in their stratum.

    Each axis is scaled by its median absolute deviation over the runs of the stratum. NaN for runs
    in neither third.
    """
    found = np.full(points.shape[1], np.nan)
    for stratum in dict.fromkeys(strata):
        here = (strata == stratum) & np.isfinite(points).all(0)
        middle = np.median(points[:, here], axis=1, keepdims=True) if here.any() else 0
        scale = np.median(np.abs(points[:, here] - middle), axis=1, keepdims=True)
        for third in (upper & here, lower & here):
            if third.any():
                away = points[:, third] - np.median(points[:, third], axis=1, keepdims=True)
                # an axis on which most runs are the same tells nothing of how they scatter
                scaled = np.divide(away, scale, out=np.zeros_like(away), where=scale > 0)
                found[third] = np.hypot(*scaled)
    return found
