"""Statistics: what describes the weights of one layer of one run (paper, section 3)."""

import math

import numpy as np

from weightscape.measures.layer import LayerWeights

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NEAR_ZERO = 0.1  # of a standard deviation; a Gaussian layer has 7.97 % of its weights there

OF_WEIGHTS = (
    "fan_in",
    "n_weights",
    "mean",
    "std",
    "skew",
    "excess_kurtosis",
    "near_zero_share",
    "l2_norm",
    "min",
    *(f"q{round(100 * share):02d}" for share in QUANTILES),
    "max",
)
COLUMNS = (
    *OF_WEIGHTS,
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
)


def describe(layer: LayerWeights, initial: np.ndarray, bias: np.ndarray) -> dict[str, float]:
    """COLUMNS of one layer: its final weights, beside its initial weights, and its biases.

    initial_near_zero_share is the share of |w| <= 0.1 initial_std. distance is ||W - W0||,
    relative_distance is it over ||W0||, cosine is W.W0 / (||W|| ||W0||), std_ratio is std over
    initial_std. Undefined ratios, as of a layer of equal weights, are NaN.
    """
    start = LayerWeights(initial)
    alone = describe_weights(layer)
    with np.errstate(all="ignore"):
        norm, initial_norm = alone["l2_norm"], _norm(start.values)
        distance = _norm(layer.values - start.values)
        biases = bias.astype(np.float64)
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
            _norm(layer.values),
            layer.weight.min(),
            *layer.quantiles(np.array(QUANTILES)),
            layer.weight.max(),
        )
    return dict(zip(OF_WEIGHTS, found, strict=True))


def _norm(values: np.ndarray) -> float:
    return math.sqrt(values @ values)


def _ratio(value: float, by: float) -> float:
    return value / by if by else math.nan
