"""Node strength: S_j = sum_i |w_ij| over the weights that come into node j (paper, section 3).

A node is a unit of a DNN, a kernel of a convolution, a row of a ViT's projections. The mean of S
over a layer's nodes is fan_in x mean|w| exactly: only the spread of S over nodes tells more than
the weights' distribution does.
"""

import math
from typing import NamedTuple

import numpy as np

from weightscape.heads import LayerHead
from weightscape.measures.layer import LayerWeights
from weightscape.measures.ranks import average_ranks
from weightscape.models import Link

HEAD = LayerHead(
    row=(
        "run and layer: node strength over the nodes (mean, Gini, quantiles), forms that do "
        "not depend on width, signed and outgoing strength, incoming against outgoing strength"
    ),
    columns={
        "n_nodes": (
            "nodes of the layer: units, output channels of a convolution, rows of a ViT's "
            "projection; heads in strength_heads.csv"
        ),
        "fan_in": "weights that come into one node",
        "mean": (
            "mean over the nodes of the strength S_j = sum_i |w_ij| of the weights into node "
            "j; equals fan_in x mean |w|"
        ),
        "std": "population standard deviation of S over the nodes",
        "gini": (
            "Gini coefficient of S over the nodes, sum_ij |S_i - S_j| / (2 n^2 mean S); 0 "
            "where all are equal"
        ),
        "min": "smallest S of the nodes",
        "q05": "5 % quantile of S over the nodes, by linear interpolation",
        "q25": "25 % quantile of S over the nodes",
        "q50": "median of S over the nodes",
        "q75": "75 % quantile of S over the nodes",
        "q95": "95 % quantile of S over the nodes",
        "max": "largest S of the nodes",
        "mean_per_input": "mean S / fan_in, the mean of |w|",
        "relative_mean": (
            "mean S / (fan_in sigma sqrt(2/pi)), near 1 for Gaussian weights of mean 0; sigma "
            "is the std of the weights"
        ),
        "relative_std": (
            "std of S / (sigma sqrt(fan_in (1 - 2/pi))), near 1 for Gaussian weights of mean "
            "0; sigma is the std of the weights"
        ),
        "signed_mean": (
            "mean over the nodes of the signed sum of the weights into a node, sum_i w_ij"
        ),
        "signed_std": "population standard deviation over the nodes of sum_i w_ij",
        "signed_min": "smallest sum_i w_ij of the nodes",
        "signed_max": "largest sum_i w_ij of the nodes",
        "n_inputs": (
            "inputs that the layer reads: pixels or earlier activations; input channels of a "
            "convolution"
        ),
        "out_mean": (
            "mean over the n_inputs inputs of the strength with which this layer reads input "
            "i, sum_j |w_ij|"
        ),
        "out_std": "population standard deviation over the inputs of sum_j |w_ij|",
        "out_gini": "Gini coefficient over the inputs of sum_j |w_ij|",
        "out_max": "largest sum_j |w_ij| of the inputs",
        "target": (
            "the later layer that reads this layer's nodes; empty where none does, as of the "
            "last layer"
        ),
        "in_out_pearson": (
            "Pearson's correlation over the nodes of S with the strength with which target "
            "reads them; empty below 3 nodes"
        ),
        "in_out_spearman": (
            "Spearman's rank correlation over the nodes of S with the strength with which "
            "target reads them; empty below 3 nodes"
        ),
    },
    sizes=("n_nodes", "fan_in", "n_inputs"),
    texts=("target",),
    prefix="strength_",
    effects={"8-10": ("mean", "gini", "relative_std", "in_out_spearman")},
    variation=("mean", "gini", "relative_std"),
    figure=8,
)

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FOLDED_MEAN = math.sqrt(2 / math.pi)
"""E|w| / sigma for Gaussian weights of mean 0"""

COLUMNS = tuple(HEAD.columns)
OF_LINK = ("target", "in_out_pearson", "in_out_spearman")


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
def strengths(layer: LayerWeights) -> Strengths:
    """Strengths of a layer's nodes and inputs."""
    weight = layer.weight
    flat = weight.reshape(len(weight), -1)
    absolute = np.abs(flat)
    inputs = absolute.sum(0, dtype=np.float64).reshape(weight.shape[1], -1)
    return Strengths(
        absolute.sum(1, dtype=np.float64),
        flat.sum(1, dtype=np.float64),
        inputs.sum(1),
        flat.shape[1],
    )


def describe(layer: LayerWeights) -> dict[str, object]:
    """COLUMNS of a layer; the last three are of the layer that reads its nodes one by one."""
    readers = [(link, reader) for link, reader in layer.readers if link.parts is None]
    found = layer.once(strengths)
    return describe_nodes(found, layer.std) | in_out(found, *(readers[-1] if readers else ()))


def describe_nodes(found: Strengths, std: float) -> dict[str, float]:
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


def in_out(
    found: Strengths, link: Link | None = None, reader: LayerWeights | None = None
) -> dict[str, object]:
    """Over the nodes of one run: S against the strength with which `reader` reads them.

    Correlations need three nodes at least, and are NaN where one side is constant.
    """
    pearson = spearman = math.nan
    if link is not None and reader is not None:
        incoming = found.incoming
        outgoing = reader.once(strengths).outgoing.reshape(len(incoming), -1).sum(1)
        if len(incoming) >= 3 and _varies(incoming) and _varies(outgoing):
            pearson = float(np.corrcoef(incoming, outgoing)[0, 1])
            spearman = float(np.corrcoef(average_ranks(incoming), average_ranks(outgoing))[0, 1])
    target = link.target if link else None
    return dict(zip(OF_LINK, (target, pearson, spearman), strict=True))


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
