"""Projection: embeddings, their quality, and neighbourhoods, against planted populations."""

import functools
import math
from itertools import product

import numpy as np
import openTSNE
import pandas as pd
import pytest
import sklearn.manifold
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import trustworthiness as trustworthiness_of_sklearn

from weightscape.measures.distances import distances
from weightscape.measures.runs import matching, projection
from weightscape.measures.runs.nulls import weights_of
from weightscape.measures.runs.projection import (
    COLUMNS,
    QUANTILES,
    Settings,
    choose_perplexities,
    embed,
    measure,
    neighbours,
    trustworthiness,
)
from weightscape.measures.runs.purity import COLUMNS as PURITY_COLUMNS
from weightscape.measures.runs.purity import Settings as OfGroups
from weightscape.measures.runs.purity import compare_groups, compare_high
from weightscape.measures.runs.purity import measure as compare_all
from weightscape.storage.shards import open_shard, write_shard
from weightscape.storage.tables import add_groups, read_table

SETTINGS = Settings(perplexities=[5, 30], repeats=2, neighbours=5)
ONCE = SETTINGS._replace(repeats=1)
OF_GROUPS = OfGroups(neighbours=5, shuffles=99)


def matrix(points):
    return squareform(pdist(np.asarray(points, float))).astype(np.float32)


def agreement(points, labels, k=5):
    """Share of the k nearest that are of the same label."""
    away = squareform(pdist(points))
    np.fill_diagonal(away, np.inf)
    return (labels[away.argsort(1)[:, :k]] == labels[:, None]).mean()


# ---- neighbours and trustworthiness


@pytest.mark.parametrize("block_rows", [1, 7, 500])
@pytest.mark.parametrize("k", [1, 4, 29])
def test_neighbours_are_those_of_brute_force(k, block_rows, monkeypatch):
    monkeypatch.setattr(projection, "BLOCK_ROWS", block_rows)
    between = matrix(np.random.default_rng(0).normal(size=(30, 3)))
    nearest, away = neighbours(between, k)
    for run in range(30):
        others = sorted((between[run, other], other) for other in range(30) if other != run)
        assert nearest[run].tolist() == [other for _, other in others[:k]]
        assert away[run].tolist() == [distance for distance, _ in others[:k]]


def test_a_run_is_not_its_own_neighbour_even_among_its_twins():
    nearest, away = neighbours(np.zeros((6, 6), np.float32), 3)
    for run in range(6):
        assert run not in nearest[run]
        assert len(set(nearest[run])) == 3
    np.testing.assert_array_equal(away, 0)


def test_the_distances_are_left_as_they_were():
    between = matrix(np.random.default_rng(0).normal(size=(10, 2)))
    before = between.copy()
    neighbours(between, 3)
    trustworthiness(between, [np.random.default_rng(1).normal(size=(10, 2))], 3)
    np.testing.assert_array_equal(between, before)


@pytest.mark.parametrize("block_rows", [1, 13, 500])
@pytest.mark.parametrize(("n", "k"), [(40, 5), (41, 20), (12, 1), (7, 3)])
def test_trustworthiness_is_scikit_learn_s(n, k, block_rows, monkeypatch):
    monkeypatch.setattr(projection, "BLOCK_ROWS", block_rows)
    random = np.random.default_rng(n)
    points = random.normal(size=(n, 6))
    between = matrix(points)
    places = [points[:, :2], random.normal(size=(n, 2)), points[:, :2] + random.normal(size=(n, 2))]
    found = trustworthiness(between, places, k)
    expected = [
        trustworthiness_of_sklearn(between, place, n_neighbors=k, metric="precomputed")
        for place in places
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[0] > found[1]


def test_trustworthiness_with_twins_in_the_embedding_is_scikit_learn_s():
    # 20 pairs in one place each, far from the rest: the k = 1 nearest is the twin
    random = np.random.default_rng(0)
    between = matrix(random.normal(size=(40, 6)))
    place = np.repeat(random.normal(size=(20, 2)), 2, axis=0)
    expected = trustworthiness_of_sklearn(between, place, n_neighbors=1, metric="precomputed")
    assert trustworthiness(between, [place], 1) == [pytest.approx(expected, rel=1e-12)]


@given(arrays(np.int64, (15, 2), elements=st.integers(0, 3)), st.integers(1, 6))
def test_of_runs_in_the_same_place_any_may_be_the_nearest(place, k):
    between = matrix(np.random.default_rng(1).normal(size=(15, 4)))
    away = squareform(pdist(place))
    best = worst = 0.0
    for run in range(15):
        others = [other for other in range(15) if other != run]
        order = sorted(others, key=lambda other: between[run, other])
        excess = {other: max(0, rank - k) for rank, other in enumerate(order, 1)}
        best += sum(excess[o] for o in sorted(others, key=lambda o: (away[run, o], excess[o]))[:k])
        worst += sum(
            excess[o] for o in sorted(others, key=lambda o: (away[run, o], -excess[o]))[:k]
        )
    low, high = (1 - 2 * sum_ / (15 * k * (30 - 3 * k - 1)) for sum_ in (worst, best))
    (found,) = trustworthiness(between, [place.astype(float)], k)
    assert low - 1e-12 <= found <= high + 1e-12


def test_places_that_are_those_of_the_weights_are_fully_trusted():
    points = np.random.default_rng(0).normal(size=(30, 2))
    assert trustworthiness(matrix(points), [points], 5) == [1]


def test_trustworthiness_looks_at_less_than_half_of_the_runs():
    points = np.random.default_rng(0).normal(size=(9, 3))
    place = points[:, :2]
    expected = trustworthiness_of_sklearn(points, place, n_neighbors=4)
    assert trustworthiness(matrix(points), [place], 30) == [pytest.approx(expected)]


# ---- t-SNE


@pytest.mark.parametrize(
    ("wanted", "n", "chosen"),
    [
        ([5, 30, 50], 1000, [5, 30, 50]),
        ([5, 30, 50], 151, [5, 30, 50]),
        ([5, 30, 50], 150, [5, 30]),
        ([5, 30, 50], 91, [5, 30]),
        ([5, 30, 50], 90, [5]),
        ([5, 30, 50], 15, [4]),
        ([30], 90, [29]),
        ([30], 7, [2]),
    ],
)
def test_perplexities_that_the_runs_allow(wanted, n, chosen):
    assert choose_perplexities(wanted, n) == chosen


@pytest.fixture(scope="module")
def planted():
    """Distances between 150 points in three clusters of a space of 20, and their clusters."""
    labels = np.arange(150) % 3
    centres = 12 * np.eye(3, 20)
    points = np.random.default_rng(0).normal(size=(150, 20)) + centres[labels]
    return matrix(points), labels


@pytest.fixture(scope="module")
def embedded(planted):
    return embed(planted[0], 15, 0)


@pytest.fixture
def large(monkeypatch):
    """Embeddings of 150 runs by openTSNE, in fewer steps than it takes by itself."""
    quick = functools.partial(openTSNE.TSNE, early_exaggeration_iter=40, n_iter=20)
    monkeypatch.setattr(openTSNE, "TSNE", quick)
    monkeypatch.setattr(projection, "LARGE", 149)


def test_planted_clusters_are_found(planted, embedded):
    _, labels = planted
    points, divergence = embedded
    assert points.shape == (150, 2)
    assert 0 < divergence < 3
    assert agreement(points, labels) > 0.95


def test_the_same_repeat_is_the_same_bytes_and_another_is_not(planted, embedded):
    between, labels = planted
    again, divergence = embed(between, 15, 0)
    assert again.tobytes() == embedded[0].tobytes()
    assert divergence == embedded[1]
    other, _ = embed(between, 15, 1)
    assert np.abs(other - again).max() > 1
    assert agreement(other, labels) > 0.95


def test_many_runs_are_embedded_as_well(planted, embedded, large):
    between, labels = planted
    points, divergence = embed(between, 15, 0)
    assert points.shape == (150, 2)
    assert np.isfinite(points).all()
    assert 0 < divergence < 3
    assert agreement(points, labels) > 0.95
    assert not np.allclose(points, embedded[0])
    again, _ = embed(between, 15, 0)
    assert again.tobytes() == points.tobytes()
    other, _ = embed(between, 15, 1)
    assert np.abs(other - points).max() > 1


def test_scikit_learn_serves_where_there_is_no_other(planted, embedded, large, monkeypatch):
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    points, _ = embed(planted[0], 15, 0)
    assert points.tobytes() == embedded[0].tobytes()


def divergence_of(points, between, perplexity):
    """Between the symmetric neighbourhoods at a perplexity and those of the places."""
    rows = enumerate(between.astype(float))
    p = np.array([neighbourhood(row, run, perplexity) for run, row in rows])
    p = (p + p.T) / (2 * len(p))
    q = 1 / (1 + squareform(pdist(points, "sqeuclidean")))
    np.fill_diagonal(q, 0)
    q /= q.sum()
    some = p > 1e-12
    return (p[some] * np.log(p[some] / q[some])).sum()


def test_the_divergence_is_that_of_the_places(planted, embedded):
    points, divergence = embedded
    # Barnes-Hut looks at 45 neighbours
    assert divergence == pytest.approx(divergence_of(points, planted[0], 15), rel=0.03)


def test_the_divergence_of_many_runs_is_that_of_the_places(planted, large):
    points, divergence = embed(planted[0], 15, 0)
    assert divergence == pytest.approx(divergence_of(points, planted[0], 15), rel=0.03)


def neighbourhood(away, run, perplexity):
    """A normal density of the distances whose entropy is ln(perplexity), by bisection."""
    squares, others = away**2, np.arange(len(away)) != run
    low, high = 1e-9, 1e9
    for _ in range(100):
        precision = math.sqrt(low * high)
        weights = np.where(others, np.exp(-precision * (squares - squares[others].min())), 0)
        p = weights / weights.sum()
        entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
        low, high = (precision, high) if entropy > math.log(perplexity) else (low, precision)
    return p


# ---- shards of planted networks


def draw(random, h1, h2, scale=1.0):
    """Weights and biases of a DNN of 6 inputs and 3 classes."""
    shapes = {"fc1": (h1, 6), "fc2": (h2, h1), "fc3": (3, h2)}
    weights = {f"{name}.weight": random.normal(0, scale, s) for name, s in shapes.items()}
    biases = {f"{name}.bias": random.normal(0, scale, s[:1]) for name, s in shapes.items()}
    return {name: values.astype(np.float32) for name, values in (weights | biases).items()}


def shuffled(parameters, random):
    """The same network with its hidden units in another order."""
    p = dict(parameters)
    for layer, after in (("fc1", "fc2"), ("fc2", "fc3")):
        order = random.permutation(len(p[f"{layer}.weight"]))
        p[f"{layer}.weight"], p[f"{layer}.bias"] = (
            p[f"{layer}.weight"][order],
            p[f"{layer}.bias"][order],
        )
        p[f"{after}.weight"] = p[f"{after}.weight"][:, order]
    return p


def nothing(parameters):
    return {name: np.zeros_like(values) for name, values in parameters.items()}


@pytest.fixture(scope="module")
def population(synthesise, header, tmp_path_factory):
    """Write runs of a DNN, a shard per list of networks; gives the shards and a table of runs."""
    records = synthesise(tmp_path_factory.mktemp("records") / "any.h5", range(30))

    def write(networks, groups=None):
        folder = tmp_path_factory.mktemp("population")
        paths, rows, done = [], [], {}
        for number, (width, members) in enumerate(networks):
            first = done.get(width, 0)
            done[width] = first + len(members)
            written = [
                record._replace(snapshots={0: nothing(parameters), 3: parameters})
                for record, parameters in zip(records[first:], members, strict=False)
            ]
            path = folder / f"shard-{number}.h5"
            own = header._replace(model="dnn", width=width, layers=["fc1", "fc2", "fc3"])
            write_shard(path, own, len(members), [], written)
            paths.append(str(path))
            rows += [("dnn", "digits", width, run.seed, str(path), 50.0) for run in written]
        names = ["model", "dataset", "width", "seed", "shard", "test_accuracy"]
        runs = pd.DataFrame(rows, columns=names)
        runs["group"] = ["low"] * len(runs) if groups is None else groups
        return paths, runs.assign(other_group="")

    return write


def measure_briefly(*arguments):
    """With maps in a quarter of the steps, where it is not tested how good they are."""
    quick = functools.partial(sklearn.manifold.TSNE, max_iter=250)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.manifold, "TSNE", quick)
        measure(*arguments)


def project(paths, runs, tmp_path, layer="fc2", settings=SETTINGS, run=measure_briefly):
    """The tables of a projection, of orders that are matched before."""
    orders = tmp_path / "orders.h5"
    matching.measure(paths, runs, tmp_path / "matching.csv", orders)
    run(paths, runs, orders, layer, settings, tmp_path / "t.csv")
    of_groups = OF_GROUPS._replace(neighbours=settings.neighbours)
    compare_all(paths, runs, orders, of_groups, tmp_path / "purity.csv")
    compared = read_table(tmp_path / "purity.csv")
    of_layer = compared[(compared["layer"] == layer) & (compared["groups"] == "all")]
    of_layer = of_layer.reset_index(drop=True)
    return add_groups(read_table(tmp_path / "t.csv"), runs), of_layer


def distances_of(embedding, paths, layer, orders=None):
    """Between the runs of shards of one or more widths, as an embedding sees them."""
    members, shapes = [], {}
    for path in paths:
        with open_shard(path) as shard:
            width = shard.header.width
            members += [projection.Run(path, n, width, s) for n, s in enumerate(shard.seeds)]
            shapes[width] = shard.weight(3, layer, 0).shape
    form, length = projection.form_of(embedding, members, layer, shapes, orders)
    return distances(projection.read_vectors(members, layer, "final", form), len(members), length)


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_a_network_with_its_units_shuffled_is_the_same_after_matching(population, layer, tmp_path):
    random = np.random.default_rng(0)
    one = draw(random, 7, 5)
    copies = [shuffled(one, random) for _ in range(9)]
    paths, runs = population([("7x5", copies[:4]), ("7x5", copies[4:])])
    orders = tmp_path / "orders.h5"
    matching.measure(paths, runs, tmp_path / "matching.csv", orders)
    norm = np.linalg.norm(one[f"{layer}.weight"])
    before = distances_of("width", paths, layer)
    assert before[~np.eye(9, dtype=bool)].min() > 0.1 * norm
    assert distances_of("matched", paths, layer, orders).max() < 2e-3 * norm


def test_before_matching_the_weights_are_as_they_are(population):
    random = np.random.default_rng(0)
    members = [draw(random, 4, 5) for _ in range(9)]
    paths, _ = population([("4x5", members[:2]), ("4x5", members[2:])])
    expected = matrix([network["fc2.weight"].ravel() for network in members])
    np.testing.assert_allclose(distances_of("width", paths, "fc2"), expected, rtol=1e-4)


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_padded_layers_stand_in_the_corner_of_the_largest(population, layer):
    random = np.random.default_rng(0)
    widths = {"4": (4, 4), "7x2": (7, 2), "3x6": (3, 6)}  # none is the largest on both sides
    members = {width: [draw(random, *units) for _ in range(3)] for width, units in widths.items()}
    paths, _ = population(list(members.items()))
    weights = [network[f"{layer}.weight"] for of_width in members.values() for network in of_width]
    largest = tuple(np.max([weight.shape for weight in weights], axis=0))
    padded = [
        np.pad(w, [(0, most - size) for size, most in zip(w.shape, largest, strict=True)]).ravel()
        for w in weights
    ]
    np.testing.assert_allclose(distances_of("padded", paths, layer), matrix(padded), rtol=1e-4)


def wasserstein(population, first, second):
    """The distance by quantiles between two layers of these weights."""
    sizes = {f"{len(w)}x1": {**draw(np.random.default_rng(0), len(w), 1)} for w in (first, second)}
    parts = []
    for weights in (first, second):
        width = f"{len(weights)}x1"
        parts.append((width, [sizes[width] | {"fc1.weight": weights.astype(np.float32)}]))
    paths, _ = population(parts)
    return distances_of("quantiles", paths, "fc1")[0, 1]


@pytest.mark.parametrize(("m1", "s1", "m2", "s2"), [(0, 1, 0.5, 1), (0, 1, 0, 2), (-1, 3, 1, 0.5)])
def test_between_normal_weights_quantiles_are_apart_by_the_closed_form(population, m1, s1, m2, s2):
    random = np.random.default_rng(0)
    found = wasserstein(
        population, random.normal(m1, s1, (2000, 6)), random.normal(m2, s2, (900, 6))
    )
    assert found == pytest.approx(math.hypot(m1 - m2, s1 - s2), rel=0.05)


def test_between_as_many_weights_quantiles_are_apart_by_those_in_order(population):
    random = np.random.default_rng(0)
    first, second = random.exponential(1, (500, 6)), random.uniform(-2, 2, (500, 6))
    expected = np.sqrt(((np.sort(first, None) - np.sort(second, None)) ** 2).mean())
    assert wasserstein(population, first, second) == pytest.approx(expected, rel=0.02)


def test_both_tails_count_alike(population):
    random = np.random.default_rng(0)
    first, second = random.exponential(1, (50, 6)), random.exponential(3, (50, 6))
    found = wasserstein(population, first, second)
    assert wasserstein(population, -first, -second) == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 30, 700])
def test_a_shift_of_all_weights_is_the_distance_by_quantiles(population, rows):
    # exactly, however many weights there are: each quantile is shifted as far
    weights = np.random.default_rng(0).normal(size=(rows, 6))
    assert wasserstein(population, weights, weights + 0.75) == pytest.approx(0.75, rel=1e-4)


def test_quantiles_of_unequal_sizes_that_are_spread_alike_are_near(population):
    # 0, 1/n, ..., 1 has the quantile function of all sizes at once
    found = wasserstein(
        population, np.linspace(0, 1, 60).reshape(-1, 6), np.linspace(0, 1, 6000).reshape(-1, 6)
    )
    assert found < 1e-3
    assert QUANTILES >= 100


# ---- groups


def purity_of(away, groups, k):
    """By brute force over the runs that have a group."""
    rows = [run for run, group in enumerate(groups) if group != "ungrouped"]
    shares = []
    for run in rows:
        others = sorted((other for other in rows if other != run), key=lambda o: away[run, o])
        shares.append(np.mean([groups[other] == groups[run] for other in others[:k]]))
    return np.mean(shares)


def compare(away, groups, widths, which="all", **changes):
    groups, widths = (pd.Series(list(map(str, values))) for values in (groups, widths))
    return compare_groups(away, groups, widths, OF_GROUPS._replace(**changes), which)


def test_high_runs_are_compared_by_either_edges_and_with_and_without_the_smallest_width():
    random = np.random.default_rng(0)
    runs = pd.DataFrame({"width": ["9", "10x3", "9", "40"] * 8})
    runs["group"] = random.choice(["low", "mid", "high"], 32)
    runs["other_group"] = random.choice(["low", "mid", "high", "ungrouped"], 32)
    away = matrix(random.normal(size=(32, 3)))
    found = list(compare_high(away, runs, OF_GROUPS))
    ways = [(row.pop("edges"), row.pop("widths")) for row in found]
    assert ways == list(product(("as set", "other"), ("all", "without the smallest")))
    for row, (edges, widths) in zip(found, ways, strict=True):
        kept = runs if widths == "all" else runs[runs["width"] != "9"]
        groups = kept["group" if edges == "as set" else "other_group"]
        own = away[np.ix_(kept.index, kept.index)]
        assert row == compare(own, groups, kept["width"], "high")
    one = list(compare_high(away, runs.assign(other_group=""), OF_GROUPS))
    assert [row["edges"] for row in one] == ["as set", "as set"]
    (alone,) = compare_high(away, runs, OF_GROUPS, is_varied=False)
    assert alone == one[0]


@pytest.mark.parametrize("k", [1, 4, 19])
def test_purity_is_that_of_brute_force(k):
    random = np.random.default_rng(0)
    away = matrix(random.normal(size=(25, 3)))
    groups = random.choice(["low", "mid", "high", "ungrouped"], 25)
    found = compare(away, groups, ["5"] * 25, neighbours=k)
    n = (groups != "ungrouped").sum()
    assert found["n"] == n
    assert found["neighbours"] == min(k, (n - 1) // 3)
    assert found["purity"] == pytest.approx(purity_of(away, groups, found["neighbours"]))


def test_the_interval_of_the_purity_is_that_of_its_mean_over_runs():
    random = np.random.default_rng(1)
    away, groups = matrix(random.normal(size=(60, 3))), random.choice(["low", "high"], 60)
    found = compare(away, groups, ["5"] * 60, neighbours=5)
    near = np.argsort(np.where(np.eye(60, dtype=bool), np.inf, away), axis=1)[:, :5]
    own = (groups[near] == groups[:, None]).mean(1)
    half = 1.96 * own.std() / 60**0.5
    assert found["purity_low"] == pytest.approx(own.mean() - half, abs=0.15 * half)
    assert found["purity_high"] == pytest.approx(own.mean() + half, abs=0.15 * half)


def test_ungrouped_runs_change_nothing():
    random = np.random.default_rng(0)
    points, groups = (
        random.normal(size=(30, 3)),
        np.array(["low", "high"] * 10 + ["ungrouped"] * 10),
    )
    order = random.permutation(30)
    widths = np.array(["5", "9"])[np.arange(30) // 3 % 2]
    kept = order[groups[order] != "ungrouped"]
    alone = compare(matrix(points[kept]), groups[kept], widths[kept])
    assert compare(matrix(points[order]), groups[order], widths[order]) == alone


def test_of_high_runs_the_neighbours_among_low_and_mid_count():
    random = np.random.default_rng(0)
    groups = random.choice(["low", "mid", "high", "ungrouped", "non"], 60)
    away = matrix(random.normal(size=(60, 3)))
    found = compare(away, groups, ["5"] * 60, which="high", shuffles=2000)
    rows = np.flatnonzero(np.isin(groups, ["low", "mid", "high"]))
    is_high = groups[rows] == "high"
    shares = [
        is_high[[o for o in np.argsort(away[run, rows]) if rows[o] != run][:5]].mean()
        for run in rows[is_high]
    ]
    assert (found["n"], found["neighbours"]) == (len(rows), 5)
    assert found["purity"] == pytest.approx(np.mean(shares))
    # the others that are high, of all others
    assert found["shuffled"] == pytest.approx((is_high.sum() - 1) / (len(rows) - 1), abs=0.01)
    assert math.isnan(compare(away, ["high"] * 60, ["5"] * 60, which="high")["purity"])
    assert math.isnan(compare(away, ["low"] * 60, ["5"] * 60, which="high")["purity"])


def test_the_purity_of_shuffled_groups_is_the_share_of_pairs_that_agree():
    groups = ["low"] * 15 + ["mid"] * 20 + ["high"] * 5
    away = matrix(np.random.default_rng(0).normal(size=(40, 3)))
    found = compare(away, groups, ["5"] * 40, shuffles=2000)
    expected = (15 * 14 + 20 * 19 + 5 * 4) / (40 * 39)
    assert found["shuffled"] == pytest.approx(expected, abs=0.005)


def test_within_widths_that_are_far_apart_shuffled_groups_agree_within_each():
    widths = np.repeat(["5", "9"], 20)
    points = np.random.default_rng(0).normal(size=(40, 3)) + 100 * (widths == "9")[:, None]
    groups = np.array(["low"] * 15 + ["high"] * 5 + ["low"] * 4 + ["high"] * 16)
    found = compare(matrix(points), groups, widths, shuffles=2000)
    within = (15 * 14 + 5 * 4 + 4 * 3 + 16 * 15) / (2 * 20 * 19)
    assert found["shuffled_within_width"] == pytest.approx(within, abs=0.005)
    assert found["shuffled"] == pytest.approx((19 * 18 + 21 * 20) / (40 * 39), abs=0.01)


def plant(random, n=60, by_width=0.0, by_group=0.0, share=0.5):
    """Runs of two widths and groups in a plane, apart by width along one axis and group another.

    `share` of the runs of the smaller width are low, and 1 - share of the larger.
    """
    wide = np.arange(n) % 2 == 1
    low = random.random(n) < np.where(wide, 1 - share, share)
    points = random.normal(size=(n, 4))
    points[:, 0] += by_width * wide
    points[:, 1] += by_group * low
    return matrix(points), np.where(low, "low", "high"), np.where(wide, "9", "5")


def test_groups_that_differ_by_width_alone_differ_over_all_and_not_within():
    within = []
    for seed in range(20):
        found = compare(*plant(np.random.default_rng(seed), by_width=6, share=0.85))
        assert found["p"] == 0.01  # 1 / (1 + 99 shuffles)
        assert found["purity"] > found["shuffled"] + 0.1
        within.append(found["p_within_width"])
    assert np.median(within) > 0.2
    assert np.mean(np.array(within) <= 0.05) <= 0.25


def test_groups_that_are_the_widths_have_nothing_to_shuffle_within():
    away, _, widths = plant(np.random.default_rng(0), by_width=6)
    found = compare(away, np.where(widths == "5", "low", "high"), widths)
    assert found["p"] == 0.01
    assert math.isnan(found["p_within_width"])
    assert math.isnan(found["shuffled_within_width"])


def test_groups_that_differ_within_each_width_differ_both_ways():
    for seed in range(5):
        found = compare(*plant(np.random.default_rng(seed), by_width=6, by_group=3))
        assert (found["p"], found["p_within_width"]) == (0.01, 0.01)
        assert found["purity"] > 0.8


def test_where_groups_differ_in_nothing_p_is_uniform():
    found = [compare(*plant(np.random.default_rng(seed))) for seed in range(40)]
    for name in ("p", "p_within_width"):
        values = np.array([of_seed[name] for of_seed in found])
        # of 40, 2 are expected at 0.05, and 20 at 0.5; beyond these bounds 1 in 1000
        assert (values <= 0.05).sum() <= 7
        assert 10 <= (values <= 0.5).sum() <= 30
        assert values.min() >= 0.01
        assert values.max() <= 1


def test_p_counts_the_shuffles_that_are_as_pure():
    # two pairs of twins, the pairs far apart: 1 of 3 ways to halve the four is as pure
    away, groups = matrix([[0], [0.1], [9], [9.1]]), ["low", "low", "high", "high"]
    found = compare(away, groups, ["5"] * 4, neighbours=1, shuffles=4000)
    assert found["purity"] == 1
    assert found["p"] == pytest.approx(1 / 3, abs=0.03)
    assert found["shuffled"] == pytest.approx(1 / 3, abs=0.03)


def test_p_less_counts_the_shuffles_that_are_no_purer():
    # the pairs are mixed: 2 of 3 ways to halve the four are as impure, the third is purer
    away, groups = matrix([[0], [0.1], [9], [9.1]]), ["low", "high", "low", "high"]
    found = compare(away, groups, ["5"] * 4, neighbours=1, shuffles=4000)
    assert found["purity"] == 0
    assert found["p"] == 1
    assert found["p_less"] == pytest.approx(2 / 3, abs=0.03)


def test_where_all_shuffles_are_alike_neither_side_is_sure():
    # of two pairs of each width, one run is low: whichever it is, two runs have another neighbour
    away = matrix([[0], [0.1], [9], [9.1], [50], [50.1], [59], [59.1]])
    found = compare(away, ["low"] + ["high"] * 7, ["5"] * 4 + ["9"] * 4, neighbours=1)
    assert found["purity"] == found["shuffled_within_width"] == 0.75
    assert found["p_within_width"] == found["p_less_within_width"] == 1


def test_the_same_groups_have_the_same_p():
    planted = plant(np.random.default_rng(0), by_group=0.5)
    assert compare(*planted) == compare(*planted)


@pytest.mark.parametrize(
    "groups", [["low"] * 9, ["ungrouped"] * 9, ["low"] * 5 + ["ungrouped"] * 4]
)
def test_fewer_than_two_groups_have_no_purity(groups):
    found = compare(matrix(np.random.default_rng(0).normal(size=(9, 2))), groups, ["5"] * 9)
    assert found["n"] == groups.count("low")
    names = ("purity", "purity_low", "shuffled", "p", "shuffled_within_width", "p_within_width")
    assert all(math.isnan(found[name]) for name in names)


def test_one_width_has_nothing_within_it():
    away, groups, _ = plant(np.random.default_rng(0))
    found = compare(away, groups, ["5"] * 60)
    assert 0 < found["p"] <= 1
    assert math.isnan(found["p_within_width"])
    assert math.isnan(found["shuffled_within_width"])


# ---- from shards to tables


@pytest.fixture(scope="module")
def two_widths(population):
    """12 runs of width 4 in two shards, 8 of 5x3 of which one is not finite, 3 of width 6."""
    random = np.random.default_rng(0)
    fours = [draw(random, 4, 4) for _ in range(12)]
    fives = [draw(random, 5, 3) for _ in range(8)]
    fives[2]["fc2.weight"][1, 0] = np.nan
    sixes = [draw(random, 6, 6) for _ in range(3)]
    networks = [("4", fours[:5]), ("4", fours[5:]), ("5x3", fives), ("6", sixes)]
    return population(networks, ["low", "high"] * 11 + ["ungrouped"])


@pytest.fixture(scope="module")
def projected(two_widths, tmp_path_factory):
    return project(*two_widths, tmp_path_factory.mktemp("projected"))


def test_a_row_per_run_repeat_and_embedding(projected):
    table, purity = projected
    assert tuple(table.drop(columns="group").columns) == COLUMNS
    # too few runs for a perplexity of 5 in a width: the largest that 12 and 7 allow
    counts = table.groupby(["embedding", "perplexity", "repeat"]).size().to_dict()
    apart = {(name, p): n for name in ("width", "matched") for p, n in ((3, 12), (2, 7))}
    together = {("padded", 5): 22, ("quantiles", 5): 22}
    assert counts == {(*key, r): n for key, n in (apart | together).items() for r in (0, 1)}
    assert set(table["layer"]) == {"fc2"}
    assert (set(table["model"]), set(table["dataset"])) == ({"dnn"}, {"digits"})
    assert np.isfinite(table[["x", "y", "kl_divergence"]]).all(axis=None)
    assert table["trustworthiness"].between(0, 1).all()
    assert tuple(purity.columns) == PURITY_COLUMNS
    final = purity[purity["weights"] == "final"]
    assert list(zip(final["embedding"], final["width"], final["n"], strict=True)) == [
        ("width", "4", 12),
        ("matched", "4", 12),
        ("width", "5x3", 7),
        ("matched", "5x3", 7),
        ("padded", "all", 21),
        ("quantiles", "all", 21),
    ]


def test_groups_are_compared_by_null_models_where_places_count(projected):
    _, purity = projected
    for kind in ("initial", "shuffled", "gaussian"):
        null = purity[purity["weights"] == kind]
        assert list(zip(null["embedding"], null["width"], null["n"], strict=True)) == [
            ("width", "4", 12),
            ("width", "5x3", 7),
            ("padded", "all", 21),
        ]
    assert len(purity) == 6 + 3 * 3


def test_each_run_has_its_own_keys_and_group(two_widths, projected):
    (_, runs), (table, _) = two_widths, projected
    keys = ["model", "dataset", "width", "seed", "group"]
    expected = runs.drop(index=12 + 2)[keys].reset_index(drop=True)
    for embedding in ("padded", "quantiles"):
        rows = table[(table["embedding"] == embedding) & (table["repeat"] == 0)]
        pd.testing.assert_frame_equal(
            rows[keys].reset_index(drop=True), expected, check_dtype=False
        )
    first = table[(table["embedding"] == "width") & (table["repeat"] == 1)]
    by_width = expected[expected["width"] != "6"].reset_index(drop=True)
    pd.testing.assert_frame_equal(first[keys].reset_index(drop=True), by_width, check_dtype=False)


def test_a_width_of_few_runs_and_a_run_that_is_not_finite_are_left_out(projected):
    table, _ = projected
    alone = table[table["embedding"].isin(["width", "matched"])]
    assert set(alone["width"]) == {"4", "5x3"}
    assert set(table["width"]) == {"4", "5x3", "6"}
    assert 2 not in set(table.loc[table["width"] == "5x3", "seed"])


def test_a_layer_whose_weights_are_finite_has_all_runs(two_widths, tmp_path):
    table, _ = project(*two_widths, tmp_path, layer="fc1", settings=ONCE)
    assert (table["embedding"] == "padded").sum() == 23


def test_runs_that_are_not_in_the_table_are_left_out(two_widths, tmp_path):
    paths, runs = two_widths
    table, purity = project(paths, runs.drop(index=[0, 1]), tmp_path, settings=ONCE)
    assert (table["embedding"] == "quantiles").sum() == 20
    assert {0, 1}.isdisjoint(table.loc[table["width"] == "4", "seed"])
    as_it_is = (purity["embedding"] == "width") & (purity["weights"] == "final")
    assert purity.loc[as_it_is, "n"].tolist() == [10, 7]


@pytest.mark.parametrize("weight", [np.inf, -np.inf, np.nan, -1e20, 1e38])
def test_a_run_that_diverged_is_left_out(population, tmp_path, caplog, weight):
    # 1e20 is finite, its square in float32 is not
    random = np.random.default_rng(0)
    members = [draw(random, 4, 4) for _ in range(9)]
    members[3]["fc2.weight"][0, 0] = weight
    paths, runs = population([("4", members)])
    orders, table = tmp_path / "orders.h5", tmp_path / "t.csv"
    matching.measure(paths, runs.drop(index=3), tmp_path / "m.csv", orders)
    measure_briefly(paths, runs, orders, "fc2", ONCE, table)
    embedded = read_table(table)
    assert set(embedded["seed"]) == {0, 1, 2, 4, 5, 6, 7, 8}
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warnings == [
        "1 of 9 runs are not in the maps of fc2, as their weights are not finite or beyond 1e+15: "
        "width 4, seed 3"
    ]
    assert np.isfinite(embedded[["x", "y", "trustworthiness"]]).all(axis=None)


def test_one_width_is_not_padded(population, tmp_path):
    random = np.random.default_rng(0)
    paths, runs = population(
        [("4", [draw(random, 4, 4) for _ in range(9)])], ["low", "mid", "high"] * 3
    )
    table, purity = project(paths, runs, tmp_path, settings=ONCE)
    assert set(table["embedding"]) == {"width", "matched", "quantiles"}
    assert purity[["shuffled_within_width", "p_within_width"]].isna().all(axis=None)
    assert purity["p"].between(0, 1).all()


def test_too_few_runs_have_tables_without_rows(population, tmp_path):
    random = np.random.default_rng(0)
    paths, runs = population([("4", [draw(random, 4, 4) for _ in range(6)])])
    table, purity = project(paths, runs, tmp_path)
    assert (len(table), len(purity)) == (0, 0)
    assert tuple(table.drop(columns="group").columns) == COLUMNS
    assert tuple(purity.columns) == PURITY_COLUMNS


def test_two_networks_in_many_orders_are_told_apart_by_matching(population, tmp_path):
    random = np.random.default_rng(0)
    pair = [draw(random, 8, 8), draw(random, 8, 8)]
    members = []
    for n in range(30):
        copy = shuffled(pair[n % 2], random)
        members.append(
            {name: v + random.normal(0, 0.01, v.shape).astype("f4") for name, v in copy.items()}
        )
    paths, runs = population([("8", members)], ["low", "high"] * 15)
    settings = SETTINGS._replace(perplexities=[5])
    table, purity = project(paths, runs, tmp_path, settings=settings, run=measure)
    purity = purity[purity["weights"] == "final"].set_index("embedding")
    assert purity.loc["matched", "purity"] == 1
    assert purity.loc["matched", "p"] == 0.01
    assert purity.loc["width", "purity"] < 0.9
    for _, rows in table[table["embedding"] == "matched"].groupby("repeat"):
        assert agreement(rows[["x", "y"]].to_numpy(), rows["group"].to_numpy()) > 0.95


def test_a_layer_that_matching_does_not_reorder_has_no_matched_embedding(
    synthesise, tmp_path, monkeypatch
):
    # a family that is not known here has no links
    records = synthesise(tmp_path / "s.h5", range(8), model="strange")
    runs = pd.DataFrame(
        {
            "model": "strange",
            "dataset": "digits",
            "width": "2",
            "seed": [r.seed for r in records],
            "group": "low",
        }
    )
    measure_briefly(
        [str(tmp_path / "s.h5")],
        runs,
        tmp_path / "away.h5",
        "fc",
        ONCE,
        tmp_path / "t.csv",
    )
    assert set(read_table(tmp_path / "t.csv")["embedding"]) == {"width", "quantiles"}


def test_purity_of_null_models_is_that_of_brute_force(two_widths, tmp_path):
    paths, runs = two_widths
    settings = ONCE._replace(neighbours=3)
    _, purity = project(paths, runs, tmp_path, layer="fc1", settings=settings)
    groups = runs["group"].to_numpy()
    padded = purity[purity["embedding"] == "padded"].set_index("weights")["purity"]
    for kind in ("final", "shuffled", "gaussian"):
        vectors = []
        for path in paths:
            with open_shard(path) as shard:
                for row in range(len(shard.seeds)):
                    weight = weights_of(kind, shard, "fc1", row)
                    frame = np.zeros((6, weight.shape[1]))
                    frame[: len(weight)] = weight
                    vectors.append(frame.ravel())
        grouped = groups != "ungrouped"
        away = squareform(pdist(np.array(vectors)[grouped]))
        expected = purity_of(away, groups[grouped], 3)
        assert padded[kind] == pytest.approx(expected), kind


@pytest.mark.parametrize("planted", ["places", "mean"])
def test_null_models_tell_a_distribution_from_its_places(population, tmp_path, planted):
    # groups that differ by where which weight is, or by the mean of all weights
    random = np.random.default_rng(0)
    low, high = draw(random, 6, 6), draw(random, 6, 6)
    members = [
        {
            name: weight + random.normal(0, 0.01, weight.shape).astype("f4")
            if planted == "places"
            else random.normal(5 * number, 1, weight.shape).astype("f4")
            for name, weight in run.items()
        }
        for number, run in enumerate((low, high))
        for _ in range(9)
    ]
    paths, runs = population([("6", members)], ["low"] * 9 + ["high"] * 9)
    _, purity = project(paths, runs, tmp_path, layer="fc1", settings=ONCE)
    purity = purity[purity["embedding"] == "width"].set_index("weights")["purity"]
    assert purity["final"] == 1
    survives = purity[["shuffled", "gaussian"]]
    assert (survives < 0.8).all() if planted == "places" else (survives == 1).all()
