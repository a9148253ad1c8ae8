"""Spectra: the singular values of a layer's weights as a matrix (out, in x kh x kw), in float64.

A layer of this project has tens to hundreds of singular values. A power law is fitted to them only
where there are enough: FEWEST eigenvalues, TAIL of them in the tail.
"""

import math
from typing import NamedTuple

import numpy as np

from weightscape.heads import LayerHead
from weightscape.measures.layer import LayerWeights

HEAD = LayerHead(
    row=(
        "run and layer: spectral norm, stable and effective rank, log-determinant, and a power "
        "law where there are enough eigenvalues"
    ),
    columns={
        "n_singular_values": (
            "singular values sigma of the weights as a matrix (out, in x kernel places): the "
            "smaller of its two sides"
        ),
        "rank": (
            "singular values above rounding, sigma > sigma_max x larger side x 2.2e-16; this "
            "and all that follows is empty if a weight is not finite"
        ),
        "spectral_norm": "largest singular value",
        "frobenius_norm": "sqrt(sum sigma^2), the Euclidean norm of all weights",
        "stable_rank": "sum sigma^2 / max sigma^2",
        "effective_rank": "exp(-sum p log p) with p = sigma / sum sigma (Roy and Vetterli 2007)",
        "log_determinant": (
            "2 sum log sigma, natural log of the determinant of the smaller Gram matrix; empty "
            "where rank < n_singular_values"
        ),
        "condition_number": "max sigma / min sigma; empty where rank < n_singular_values",
        "alpha": (
            "exponent of a power law x^-alpha of the largest eigenvalues x = sigma^2; empty "
            "with fewer than 50 above rounding"
        ),
        "alpha_se": (
            "standard error of alpha, (alpha - 1) / sqrt(alpha_tail_n), with alpha_xmin taken "
            "as known"
        ),
        "alpha_xmin": (
            "eigenvalue sigma^2 from which on the power law is fitted, that of the least alpha_ks"
        ),
        "alpha_tail_n": (
            "eigenvalues from alpha_xmin on, at least 20; 0 where no power law is fitted"
        ),
        "alpha_ks": (
            "Kolmogorov-Smirnov distance of these eigenvalues from the power law, from 0 to 1"
        ),
    },
    sizes=("n_singular_values", "rank", "alpha_tail_n"),
    effects={"spectra": ("stable_rank", "effective_rank", "spectral_norm", "log_determinant")},
)

FEWEST = 50  # eigenvalues above rounding that a power law is fitted to
TAIL = 20  # of them that its tail holds at least
EQUAL = 1e-9  # mean log(x / xmin) of a tail that has no spread
BLOCK = 64  # values of xmin that are tried together, to bound memory
WELL_CONDITIONED = (
    1e-6  # lambda_min / lambda_max from which a Gram matrix holds nine digits of both
)

COLUMNS = tuple(HEAD.columns)


class PowerLaw(NamedTuple):
    """p(x) ~ x^-alpha for x >= xmin, fitted to the `tail_n` largest values."""

    alpha: float = math.nan
    se: float = math.nan
    """standard error of alpha, xmin taken as known"""
    xmin: float = math.nan
    tail_n: float = 0
    ks: float = math.nan
    """Kolmogorov-Smirnov distance of the tail from the law"""


def describe(layer: LayerWeights) -> dict[str, float]:
    """COLUMNS of a layer, whose weights as a matrix have the singular values sigma_i.

    spectral_norm is the largest sigma; frobenius_norm sqrt(sum sigma^2); stable_rank
    sum sigma^2 / max sigma^2; effective_rank exp(-sum p log p) with p = sigma / sum sigma (Roy and
    Vetterli 2007); rank counts the sigma above rounding. log_determinant is 2 sum log sigma, that
    of W W' over the smaller side; it and condition_number, max sigma / min sigma, are NaN where the
    matrix is singular, that is where rank is below n_singular_values. alpha_ are of the power law
    of the eigenvalues sigma^2 of W'W (`fit_power_law`). All is NaN where a weight is not finite.
    """
    weight = layer.weight
    matrix = weight.reshape(len(weight), -1).astype(np.float64)
    n = min(matrix.shape)
    if not np.isfinite(matrix).all():
        return {"n_singular_values": n} | dict.fromkeys(COLUMNS[1:], math.nan)
    sigma = singular_values(matrix)
    positive = sigma[sigma > sigma[0] * max(matrix.shape) * np.finfo(float).eps]
    squares = positive**2
    found = (n, len(positive), float(sigma[0]), math.sqrt(squares.sum()))
    shape = _shape(positive) if len(positive) else (math.nan, math.nan)
    singular = len(positive) < n
    inverse = (math.nan, math.nan) if singular else _inverse(positive)
    return dict(zip(COLUMNS, (*found, *shape, *inverse, *fit_power_law(squares)), strict=True))


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """From the largest to the smallest, of a float64 matrix.

    By the eigenvalues of the Gram matrix of the smaller side, three times as fast as a singular
    value decomposition, which is taken where squares would lose the smallest ones' digits.
    """
    rows, columns = matrix.shape
    gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    squares = np.linalg.eigvalsh(gram)[::-1]
    if squares[-1] > WELL_CONDITIONED * squares[0]:
        return np.sqrt(squares)
    return np.linalg.svd(matrix, compute_uv=False)


def _shape(sigma: np.ndarray) -> tuple[float, float]:
    """Stable and effective rank of positive singular values."""
    share = sigma / sigma.sum()
    return float(((sigma / sigma[0]) ** 2).sum()), math.exp(-(share @ np.log(share)))


def _inverse(sigma: np.ndarray) -> tuple[float, float]:
    """Log-determinant and condition number of a matrix of full rank."""
    return 2 * float(np.log(sigma).sum()), float(sigma[0] / sigma[-1])


def fit_power_law(values: np.ndarray) -> PowerLaw:
    """The power law of the largest of positive `values` (Clauset, Shalizi and Newman 2009).

    For each xmin among the values, alpha = 1 + n / sum log(x / xmin) over the n values from xmin
    on, its standard error (alpha - 1) / sqrt(n); the xmin of the least Kolmogorov-Smirnov distance
    is taken. The distance is max |P(x) - S(x)| with S the share of the tail below x, as in the
    authors' program. NaN with fewer than FEWEST values; the tail holds TAIL at least.
    """
    if len(values) < FEWEST:
        return PowerLaw()
    logs = np.sort(np.log(values))
    counts = np.arange(len(logs), TAIL - 1, -1)  # of the tail from each xmin on
    sums = np.cumsum(logs[::-1])[::-1][: len(counts)] - counts * logs[: len(counts)]
    # values that are equal but for rounding follow none
    slopes = counts / np.where(sums > EQUAL * counts, sums, math.nan)
    ks = np.concatenate([_distances(logs, slopes, i) for i in range(0, len(counts), BLOCK)])
    if np.isnan(ks).all():
        return PowerLaw()
    best = int(np.nanargmin(ks))
    n, slope = int(counts[best]), float(slopes[best])
    xmin = math.exp(logs[best])
    return PowerLaw(1 + slope, slope / math.sqrt(n), xmin, n, float(ks[best]))


def _distances(logs: np.ndarray, slopes: np.ndarray, first: int) -> np.ndarray:
    """Kolmogorov-Smirnov distances for BLOCK values of xmin from number `first` on."""
    numbers = np.arange(first, min(first + BLOCK, len(slopes)))[:, None]
    places = np.arange(first, len(logs))
    # values below an xmin count as it, and so as nothing
    above = np.maximum(logs[places] - logs[numbers], 0)
    below = np.maximum(places - numbers, 0) / (len(logs) - numbers)
    result: np.ndarray = np.abs(below - 1 + np.exp(-above * slopes[numbers])).max(1)
    return result
