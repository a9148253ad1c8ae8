"""Node strength: S_j = sum_i |w_ij| over the weights that come into node j (paper, section 3).

A node is a unit of a DNN, a kernel of a convolution, a row of a ViT's projections. The mean of S
over a layer's nodes is fan_in x mean|w| exactly: only the spread of S over nodes tells more than
the weights' distribution does.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy

from weightscape.models import Link

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FOLDED_MEAN = math.sqrt(2 / math.pi)
"""E|w| / sigma for Gaussian weights of mean 0"""

COLUMNS = (
    "n_nodes",
    "fan_in",
    "mean",
    "std",
    "gini",
    "min",
    *(f"q{round(100 * share):02d}" for share in QUANTILES),
    "max",
    "mean_per_input",
    "relative_mean",
    "relative_std",
    "signed_mean",
    "signed_std",
    "signed_min",
    "signed_max",
    "n_inputs",
    "out_mean",
    "out_std",
    "out_gini",
    "out_max",
    "target",
    "in_out_pearson",
    "in_out_spearman",
)


class Strengths(NamedTuple):
    """Strengths of a layer's nodes, and of the inputs that it reads; float64."""

    incoming: np.ndarray
    """sum |w| into each node, (out,)"""
    signed: np.ndarray
    """sum w into each node, (out,)"""
    outgoing: np.ndarray
    """sum |w| out of each input (a channel, of a convolution), (in,)"""
    fan_in: int
    """weights of a node"""


@np.errstate(invalid="ignore")  # infinite weights of both signs have no sum
def strengths(weight: np.ndarray) -> Strengths:
    """Strengths of weights (out, in) or (out, in, kh, kw)."""
    flat = weight.reshape(len(weight), -1)
    absolute = np.abs(flat)
    inputs = absolute.sum(0, dtype=np.float64).reshape(weight.shape[1], -1)
    return Strengths(
        absolute.sum(1, dtype=np.float64),
        flat.sum(1, dtype=np.float64),
        inputs.sum(1),
        flat.shape[1],
    )


def describe_layers(
    layers: dict[str, Strengths], stds: dict[str, float], links: list[Link]
) -> dict[str, dict]:
    """COLUMNS of each layer of one run; the layers' weights have the standard deviations `stds`."""
    to = {name: link for link in links if link.parts is None for name in link.sources}
    return {
        name: _describe(found, stds[name]) | _in_out(found, to.get(name), layers)
        for name, found in layers.items()
    }


def describe_heads(
    layers: dict[str, Strengths], stds: dict[str, float], links: list[Link]
) -> dict[str, dict]:
    """COLUMNS of each layer whose rows fall into heads, a head taken as one node."""
    described = {}
    for link in links:
        if link.parts is None:
            continue
        for name in link.sources:
            found = _pool(layers[name], link.parts)
            described[name] = _describe(found, stds[name]) | _in_out(found, link, layers)
    return described


def _pool(found: Strengths, parts: int) -> Strengths:
    incoming, signed = (s.reshape(parts, -1).sum(1) for s in (found.incoming, found.signed))
    fan_in = found.fan_in * len(found.incoming) // parts
    return Strengths(incoming, signed, found.outgoing, fan_in)


def _describe(found: Strengths, std: float) -> dict[str, float]:
    """The distribution of S over the nodes of one layer, whose weights have sigma `std`.

    Width-free forms: mean_per_input = mean S / fan_in; relative_mean = mean S over its expectation
    fan_in sigma sqrt(2/pi) in a Gaussian layer of mean 0 and the same sigma; relative_std = std of
    S over that layer's, sigma sqrt(fan_in (1 - 2/pi)). signed_ are of sum_i w_ij; out_ are of the
    strengths sum_j |w_ij| of the n_inputs that the layer reads. Undefined ratios are NaN.
    """
    node, signed, out, fan_in = found
    sigma = std if std > 0 else math.nan
    with np.errstate(all="ignore"):
        values = (
            len(node),
            fan_in,
            node.mean(),
            node.std(),
            gini(node),
            node.min(),
            *np.quantile(node, QUANTILES),
            node.max(),
            node.mean() / fan_in,
            node.mean() / (fan_in * sigma * FOLDED_MEAN),
            node.std() / (sigma * math.sqrt(fan_in * (1 - FOLDED_MEAN**2))),
            signed.mean(),
            signed.std(),
            signed.min(),
            signed.max(),
            len(out),
            out.mean(),
            out.std(),
            gini(out),
            out.max(),
        )
    return dict(zip(COLUMNS, values, strict=False))


def _in_out(found: Strengths, link: Link | None, layers: dict[str, Strengths]) -> dict[str, object]:
    """Over the nodes of one run: S against the strength with which the link's target reads them.

    Correlations need three nodes at least, and are NaN where one side is constant.
    """
    pearson = spearman = math.nan
    if link is not None:
        incoming = found.incoming
        outgoing = layers[link.target].outgoing.reshape(len(incoming), -1).sum(1)
        if len(incoming) >= 3 and _varies(incoming) and _varies(outgoing):
            pearson = float(np.corrcoef(incoming, outgoing)[0, 1])
            spearman = float(scipy.stats.spearmanr(incoming, outgoing).statistic)
    target = link.target if link else None
    return dict(zip(COLUMNS[-3:], (target, pearson, spearman), strict=True))


def _varies(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and np.ptp(values) > 0)


def gini(strength: np.ndarray) -> float:
    """Gini coefficient of non-negative values: 0 if all are equal, (n - 1) / n if one has all.

    sum_ij |s_i - s_j| / (2 n^2 mean s), by the sorted form; NaN if the sum is 0.
    """
    n, total = len(strength), strength.sum()
    if not total > 0:
        return math.nan
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(ranks @ np.sort(strength) / (n * total))
