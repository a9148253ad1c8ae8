"""Spectra of a layer, against numpy, scipy, closed forms, planted laws and weightwatcher."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import linalg, stats

from weightscape.measures.layer import LayerWeights
from weightscape.measures.layers import spectra
from weightscape.measures.layers.spectra import (
    COLUMNS,
    FEWEST,
    TAIL,
    fit_power_law,
    singular_values,
)


def described(weight):
    return spectra.describe(LayerWeights(weight))


pytestmark = pytest.mark.filterwarnings("error")

ALPHA = ("alpha", "alpha_se", "alpha_xmin", "alpha_tail_n", "alpha_ks")

weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)


def gaussian(*shape, seed=0, std=0.05):
    return np.random.default_rng([seed, *shape]).normal(0, std, shape).astype(np.float32)


def with_spectrum(sigma, rows, columns, seed=0):
    """A matrix with these singular values."""
    random = np.random.default_rng(seed)
    left, right = (
        linalg.qr(random.normal(size=(n, len(sigma))), mode="economic")[0] for n in (rows, columns)
    )
    return (left * sigma) @ right.T


@pytest.mark.parametrize(
    "shape", [(7, 30), (30, 7), (12, 12), (1, 9), (9, 1), (5, 2, 3, 3), (60, 4, 2, 2)]
)
def test_every_column_but_alpha_against_numpy_and_scipy(shape):
    weight = gaussian(*shape)
    matrix = weight.reshape(shape[0], -1).astype(np.float64)
    sigma, n = linalg.svdvals(matrix), min(matrix.shape)
    gram = matrix @ matrix.T if shape[0] == n else matrix.T @ matrix
    sign, log_determinant = np.linalg.slogdet(gram)
    assert sign == 1
    found = described(weight)
    assert tuple(found) == COLUMNS
    expected = {
        "n_singular_values": n,
        "rank": np.linalg.matrix_rank(matrix),
        "spectral_norm": np.linalg.norm(matrix, 2),
        "frobenius_norm": np.linalg.norm(matrix),
        "stable_rank": (np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2,
        "effective_rank": math.exp(stats.entropy(sigma)),
        "log_determinant": log_determinant,
        "condition_number": np.linalg.cond(matrix),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-8)
    assert all(math.isnan(found[name]) for name in ALPHA if name != "alpha_tail_n")
    assert found["alpha_tail_n"] == 0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e9])
@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_ill_conditioned_matrices_lose_no_digits(shape, scale):
    # the squares of the smallest would be lost in a Gram matrix: 1e-9 squared is below rounding
    sigma = scale * np.geomspace(1, 1e-9, 40)
    found = singular_values(with_spectrum(sigma, *shape))
    np.testing.assert_allclose(found[:25], sigma[:25], rtol=1e-9)
    np.testing.assert_allclose(found, sigma, rtol=1e-5)


@pytest.mark.parametrize("smallest", [1.0, 0.1, 0.0011])
def test_well_conditioned_matrices_have_nine_digits(smallest, monkeypatch):
    matrix = with_spectrum(np.geomspace(1, smallest, 30), 30, 200)
    expected = linalg.svdvals(matrix)
    monkeypatch.setattr(np.linalg, "svd", None)  # by the Gram matrix alone
    np.testing.assert_allclose(singular_values(matrix), expected, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 3, 40])
def test_the_identity_has_full_rank_in_every_sense(n):
    found = described(2 * np.eye(n, dtype=np.float32))
    assert found["n_singular_values"] == found["rank"] == n
    for name, value in {
        "spectral_norm": 2,
        "frobenius_norm": 2 * math.sqrt(n),
        "stable_rank": n,
        "effective_rank": n,
        "log_determinant": n * math.log(4),
        "condition_number": 1,
    }.items():
        assert found[name] == pytest.approx(value, rel=1e-12)


def test_orthogonal_rows_are_as_the_identity():
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 12)))[0].T
    found = described(rows.reshape(12, 2, 5, 5).astype(np.float32))
    for name, value in {"stable_rank": 12, "effective_rank": 12, "log_determinant": 0}.items():
        assert found[name] == pytest.approx(value, abs=1e-5)


def test_one_direction_has_rank_one():
    # whole numbers: the products are exact
    found = described(np.outer([1, 2, 3, 4], [2, -1, 5]).astype(np.float32))
    assert (found["n_singular_values"], found["rank"]) == (3, 1)
    assert found["spectral_norm"] == pytest.approx(30, rel=1e-12)  # sqrt 30 sqrt 30
    assert found["stable_rank"] == pytest.approx(1, rel=1e-12)
    assert found["effective_rank"] == pytest.approx(1, rel=1e-12)
    assert math.isnan(found["log_determinant"])
    assert math.isnan(found["condition_number"])


def test_a_planted_diagonal_by_hand():
    # sigma 4, 2, 1, 1 of a sum of 8: entropy 1/2 log 2 + 1/4 log 4 + 2/8 log 8 = 1.75 log 2
    found = described(np.diag([1, -4, 2, 1]).astype(np.float32))
    assert found["stable_rank"] == pytest.approx(22 / 16, rel=1e-12)
    assert found["effective_rank"] == pytest.approx(2**1.75, rel=1e-12)
    assert found["log_determinant"] == pytest.approx(2 * math.log(8), rel=1e-12)
    assert found["condition_number"] == pytest.approx(4, rel=1e-12)


@given(weights)
def test_ranks_have_their_order_and_norms_theirs(weight):
    found = described(weight)
    n = found["n_singular_values"]
    matrix = weight.reshape(len(weight), -1).astype(np.float64)
    norm = np.linalg.norm(matrix)
    assert found["frobenius_norm"] == pytest.approx(norm, rel=1e-9, abs=1e-300)
    if not norm:
        assert found["rank"] == 0
        assert math.isnan(found["stable_rank"])
        return
    assert found["spectral_norm"] == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-9)
    assert 1 - 1e-9 <= found["stable_rank"] <= found["effective_rank"] * (1 + 1e-9)
    assert found["effective_rank"] <= found["rank"] * (1 + 1e-9)
    assert found["rank"] <= n
    assert math.isnan(found["log_determinant"]) == (found["rank"] < n)


@given(weights, st.integers(0, 2**32 - 1))
def test_neither_rows_nor_columns_have_an_order(weight, seed):
    random = np.random.default_rng(seed)
    mixed = random.permutation(random.permutation(weight), axis=1)
    found, again = described(weight), described(mixed)
    for name in ("spectral_norm", "frobenius_norm", "stable_rank", "effective_rank"):
        assert again[name] == pytest.approx(found[name], rel=1e-7, abs=1e-12, nan_ok=True)


@given(weights, st.sampled_from([2.0, 1024.0]))
def test_ranks_have_no_unit(weight, factor):
    found, again = described(weight), described(weight * np.float32(factor))
    for name in ("rank", "stable_rank", "effective_rank", "condition_number"):
        assert again[name] == pytest.approx(found[name], rel=1e-9, nan_ok=True)
    shift = 2 * found["n_singular_values"] * math.log(factor)
    expected = found["log_determinant"] + shift
    assert again["log_determinant"] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_have_no_spectrum(bad):
    weight = gaussian(60, 80)
    weight[3, 5] = bad
    found = described(weight)
    assert found["n_singular_values"] == 60
    assert all(math.isnan(found[name]) for name in COLUMNS[1:])


def test_the_largest_float32_are_described():
    weight = np.full((3, 4), np.finfo(np.float32).max)
    found = described(weight)
    assert found["spectral_norm"] == pytest.approx(float(weight[0, 0]) * math.sqrt(12), rel=1e-9)
    assert found["rank"] == 1


# ---- the power law


def pareto(alpha, n, seed, xmin=1.0):
    """n values of density ~ x^-alpha from xmin on."""
    return xmin * np.random.default_rng(seed).uniform(size=n) ** (-1 / (alpha - 1))


def by_loops(values):
    """The fit as the paper writes it: alpha, its standard error, xmin, n and the distance."""
    best = None
    for xmin in sorted(values):
        tail = sorted(x for x in values if x >= xmin)
        n = len(tail)
        if n < TAIL:
            break
        alpha = 1 + n / sum(math.log(x / xmin) for x in tail)
        law = stats.pareto(alpha - 1, scale=xmin)
        distance = max(abs(law.cdf(x) - place / n) for place, x in enumerate(tail))
        if best is None or distance < best[-1]:
            best = (alpha, (alpha - 1) / math.sqrt(n), xmin, n, distance)
    return best


@pytest.mark.parametrize("block", [1, 7, 64])
@pytest.mark.parametrize("n", [FEWEST, 90])
def test_the_fit_is_that_of_loops(n, block, monkeypatch):
    monkeypatch.setattr(spectra, "BLOCK", block)
    for seed, values in enumerate(
        (pareto(2.5, n, 1), np.random.default_rng(2).uniform(0.1, 5, n), pareto(9, n, 3, 1e-4))
    ):
        assert fit_power_law(values) == pytest.approx(by_loops(values), rel=1e-9), seed


@pytest.mark.parametrize("alpha", [2.0, 3.5, 6.0])
def test_a_planted_alpha_comes_back_with_its_standard_error(alpha):
    # 200 samples of 500 values; where the data choose xmin, the tail is the one that fits best and
    # alpha is a little off
    fits = [fit_power_law(pareto(alpha, 500, seed)) for seed in range(200)]
    found = np.array([fit.alpha for fit in fits])
    error = found.std() / math.sqrt(len(found))
    assert abs(found.mean() - alpha) < 0.02 * (alpha - 1) + 3 * error
    # z is standard normal for a known xmin; its choice widens that a little
    z = (found - alpha) / np.array([fit.se for fit in fits])
    assert 0.9 < z.std() < 1.5
    assert np.median([fit.tail_n for fit in fits]) > 350


def test_the_tail_is_found_above_a_body_that_follows_no_law():
    # 300 values from 1 on with alpha = 2.5, below them 700 that rise
    fits = []
    for seed in range(40):
        body = np.random.default_rng([seed, 1]).uniform(size=700) ** 0.5
        fits.append(fit_power_law(np.concatenate([body, pareto(2.5, 300, seed)])))
    # standard error of the mean 1.5 / sqrt(300 x 40) = 0.014
    assert np.mean([fit.alpha for fit in fits]) == pytest.approx(2.5, abs=0.06)
    assert np.median([fit.xmin for fit in fits]) == pytest.approx(1, abs=0.1)


@given(st.integers(FEWEST, 120), st.integers(0, 10**6), st.sampled_from([2.0, 64.0, 1 / 1024]))
def test_alpha_has_no_unit_and_xmin_has(n, seed, factor):
    values = np.random.default_rng(seed).lognormal(size=n)
    fit, again = fit_power_law(values), fit_power_law(values * factor)
    assert again == pytest.approx(fit._replace(xmin=factor * fit.xmin), rel=1e-6)
    assert fit.tail_n == (values >= fit.xmin * (1 - 1e-12)).sum() >= TAIL


def test_too_few_values_have_no_alpha():
    assert fit_power_law(pareto(2, FEWEST, 0)).tail_n >= TAIL
    fit = fit_power_law(pareto(2, FEWEST - 1, 0))
    assert math.isnan(fit.alpha)
    assert fit.tail_n == 0


def test_equal_eigenvalues_have_no_alpha():
    assert math.isnan(fit_power_law(np.full(FEWEST, 0.3)).alpha)
    assert math.isnan(
        described(np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0])["alpha"]
    )


def test_alpha_is_of_the_eigenvalues_above_rounding():
    values = pareto(2.5, 70, 0)
    matrix = with_spectrum(np.sqrt(values), 80, 90).astype(np.float64)
    found = described(matrix)
    assert (found["n_singular_values"], found["rank"]) == (80, 70)
    expected = by_loops(values)
    assert [found[name] for name in ALPHA] == pytest.approx(expected, rel=1e-6)


# ---- weightwatcher 0.7.7, WeightWatcher(model).analyze(min_evals=8) of a torch Linear layer that
# holds the matrix; its spectral_norm is the largest eigenvalue, its sigma alpha's standard error

REFERENCES = {
    "heavy": {
        "alpha": 3.886787856944956,
        "alpha_se": 0.5103168173731898,
        "alpha_xmin": 2.7985607652355187,
        "alpha_tail_n": 32,
        "alpha_ks": 0.11705636566218647,
        "stable_rank": 28.944331798984173,
        "lambda_max": 7.795317512854405,
        "log_norm": 2.3533973372462524,
        "rank": 100,
    },
    "planted": {
        "alpha": 2.4234259049600593,
        "alpha_se": 0.11622223846038428,
        "alpha_xmin": 1.004022935637678,
        "alpha_tail_n": 150,
        "alpha_ks": 0.04228683524647492,
        "stable_rank": 11.466390377459488,
        "lambda_max": 37.234110796889475,
        "log_norm": 2.63036771014316,
        "rank": 150,
    },
    "spiked": {
        "alpha": 3.135265375650346,
        "alpha_se": 0.27339271652701336,
        "alpha_xmin": 1.422729981092107,
        "alpha_tail_n": 61,
        "alpha_ks": 0.12976909332506092,
        "stable_rank": 2.177365971835034,
        "lambda_max": 130.5211113846584,
        "log_norm": 2.4536121945657445,
        "rank": 80,
    },
    # of these weightwatcher takes tails of 10 and 9 eigenvalues: alpha 20.7 +- 6.2 and 9.6 +- 2.9
    "gaussian": {
        "stable_rank": 89.56568855208542,
        "lambda_max": 4.375132482488911,
        "log_norm": 2.5931328773055338,
        "rank": 200,
    },
    "square": {
        "stable_rank": 31.580788241868206,
        "lambda_max": 1.1466154530473662,
        "log_norm": 1.5588407561037974,
        "rank": 120,
    },
}


@pytest.fixture(scope="module")
def reference_matrices():
    random = np.random.default_rng(20240811)
    found = {
        "gaussian": random.normal(0, 0.05, (200, 784)),
        "square": random.normal(0, 0.05, (120, 120)),
        "heavy": random.standard_t(3, (100, 300)) * 0.05,
    }
    left = np.linalg.qr(random.normal(size=(150, 150)))[0]
    right = np.linalg.qr(random.normal(size=(400, 150)))[0]
    found["planted"] = (left * (1 - random.uniform(size=150)) ** (-1 / 3)) @ right.T
    noise = random.normal(0, 0.05, (80, 784))
    found["spiked"] = noise + np.outer(random.normal(size=80), random.normal(size=784)) * 0.05
    return {name: matrix.astype(np.float32) for name, matrix in found.items()}


@pytest.mark.parametrize("name", REFERENCES)
def test_as_weightwatcher_finds(name, reference_matrices):
    found = described(reference_matrices[name])
    known = found | {
        "lambda_max": found["spectral_norm"] ** 2,
        "log_norm": math.log10(found["frobenius_norm"] ** 2),
    }
    expected = REFERENCES[name]
    assert {key: known[key] for key in expected} == pytest.approx(expected, rel=1e-6)
