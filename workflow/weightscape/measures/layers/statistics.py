"""Statistics: what describes the weights of one layer of one run (paper, section 3)."""

import math

import numpy as np

from weightscape.heads import LayerHead
from weightscape.measures.layer import LayerWeights

HEAD = LayerHead(
    row=(
        "run and layer: mean, population standard deviation, skew, kurtosis, share near zero, "
        "norm, quantiles, and all of it relative to the initial weights"
    ),
    columns={
        "fan_in": "weights that come into one node",
        "n_weights": "number N of the layer's weights, biases left out",
        "mean": "mean of the final weights, 1/N sum w",
        "std": "population standard deviation of the final weights, sqrt(1/N sum (w - mean)^2)",
        "skew": (
            "skewness, m3 / m2^1.5 with central moments m_k = 1/N sum (w - mean)^k; empty "
            "where all weights are equal"
        ),
        "excess_kurtosis": (
            "m4 / m2^2 - 3 of the central moments m_k, 0 for a Gaussian; empty where all "
            "weights are equal"
        ),
        "near_zero_share": (
            "share of the weights with |w| <= 0.1 std, from 0 to 1; 0.0797 for a Gaussian of mean 0"
        ),
        "density_at_zero": (
            "height at 0 of the Gaussian kernel density estimate of the weights with Silverman's "
            "bandwidth, per unit of weight; empty where all weights are equal"
        ),
        "l2_norm": "Euclidean norm of all the layer's weights, sqrt(sum w^2)",
        "min": "smallest weight",
        "q05": "5 % quantile of the weights, by linear interpolation",
        "q25": "25 % quantile of the weights",
        "q50": "median of the weights",
        "q75": "75 % quantile of the weights",
        "q95": "95 % quantile of the weights",
        "max": "largest weight",
        "initial_mean": (
            "mean of the initial weights; empty, as all that compares with them, where these "
            "are not known (imports)"
        ),
        "initial_std": "population standard deviation of the initial weights",
        "std_ratio": "std / initial_std",
        "initial_l2_norm": "Euclidean norm of the initial weights",
        "l2_norm_ratio": "l2_norm / initial_l2_norm",
        "initial_near_zero_share": (
            "share of the final weights with |w| <= 0.1 initial_std, from 0 to 1: near zero by "
            "the ruler of the start"
        ),
        "distance": (
            "Euclidean distance of the final from the initial weights, sqrt(sum (w - w0)^2)"
        ),
        "relative_distance": "distance / initial_l2_norm",
        "cosine": (
            "cosine of the final and the initial weights as vectors, sum w w0 / (l2_norm x "
            "initial_l2_norm)"
        ),
        "bias_mean": "mean of the layer's final biases; empty for a layer without biases",
        "bias_std": "population standard deviation of the layer's final biases",
    },
    sizes=("fan_in", "n_weights"),
    beside=(
        "initial_mean",
        "initial_std",
        "std_ratio",
        "initial_l2_norm",
        "l2_norm_ratio",
        "initial_near_zero_share",
        "distance",
        "relative_distance",
        "cosine",
        "bias_mean",
        "bias_std",
    ),
    effects={"2-4": ("mean", "std"), "5-7": ("excess_kurtosis", "near_zero_share")},
    variation=(
        "mean",
        "std",
        "skew",
        "excess_kurtosis",
        "near_zero_share",
        "l2_norm",
        "relative_distance",
        "cosine",
    ),
    figure=2,
)

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
KERNEL_REACH = 8  # bandwidths; what a weight beyond adds is below 1e-14 of the kernel's height
NEAR_ZERO = 0.1  # of a standard deviation; a Gaussian layer has 7.97 % of its weights there

COLUMNS = tuple(HEAD.columns)
OF_WEIGHTS = HEAD.of_nulls
"""those of weights alone"""


def describe(layer: LayerWeights) -> dict[str, float]:
    """COLUMNS of a trained layer; of the weights of a null model OF_WEIGHTS.

    initial_near_zero_share is the share of |w| <= 0.1 initial_std. distance is ||W - W0||,
    relative_distance is it over ||W0||, cosine is W.W0 / (||W|| ||W0||), std_ratio is std over
    initial_std. Undefined ratios, as of a layer of equal weights, are NaN.
    """
    alone = describe_weights(layer)
    if layer.initial is None or layer.bias is None:
        return alone
    start = LayerWeights(layer.initial)
    with np.errstate(all="ignore"):
        norm, initial_norm = alone["l2_norm"], _norm(start.values)
        distance = _norm(layer.values - start.values)
        biases = layer.bias.astype(np.float64)
        found = (
            *alone.values(),
            start.mean,
            start.std,
            _ratio(layer.std, start.std),
            initial_norm,
            _ratio(norm, initial_norm),
            layer.share_within(NEAR_ZERO * start.std),
            distance,
            _ratio(distance, initial_norm),
            float(np.clip(_ratio(float(layer.values @ start.values), norm * initial_norm), -1, 1)),
            biases.mean(),
            biases.std(),
        )
    return dict(zip(COLUMNS, found, strict=True))


def describe_weights(layer: LayerWeights) -> dict[str, float]:
    """OF_WEIGHTS of a layer's weights alone.

    mean and std are mu_w and sigma_w; skew is m3 / m2^1.5 and excess_kurtosis m4 / m2^2 - 3 with
    central moments m_k = 1/N sum (w - mean)^k; near_zero_share is the share of |w| <= 0.1 std.
    """
    with np.errstate(all="ignore"):
        squares = layer.deviations**2
        third, fourth = squares @ layer.deviations / layer.size, squares @ squares / layer.size
        spread = layer.variance if layer.variance > 0 else math.nan
        found = (
            layer.fan_in,
            layer.size,
            layer.mean,
            layer.std,
            third / spread**1.5,
            fourth / spread**2 - 3,
            layer.share_within(NEAR_ZERO * layer.std),
            density_at_zero(layer),
            _norm(layer.values),
            layer.weight.min(),
            *layer.quantiles(np.array(QUANTILES)),
            layer.weight.max(),
        )
    return dict(zip(OF_WEIGHTS, found, strict=True))


def density_at_zero(layer: LayerWeights) -> float:
    """1/(N h) sum K(w / h) with K the standard Gaussian and h the layer's bandwidth."""
    width = layer.bandwidth
    if not (layer.is_finite and width > 0):
        return math.nan
    first, last = np.searchsorted(layer.sorted, (-KERNEL_REACH * width, KERNEL_REACH * width))
    near = layer.sorted[first:last].astype(np.float64) / width
    height = np.exp(-0.5 * near**2).sum() / (layer.size * width * math.sqrt(2 * math.pi))
    return float(height)


def _norm(values: np.ndarray) -> float:
    return math.sqrt(values @ values)


def _ratio(value: float, by: float) -> float:
    return value / by if by else math.nan
