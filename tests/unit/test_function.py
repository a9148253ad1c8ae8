"""Function: disagreement by double loops and simulation, Mantel by brute force, planted runs."""

import itertools
import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from weightscape.errors import WeightscapeError
from weightscape.measures.runs import function, matching
from weightscape.measures.runs.function import (
    CLASSES_COLUMNS,
    DISAGREEMENT_COLUMNS,
    HEAD,
    PAIR_COLUMNS,
    WEIGHT_COLUMNS,
    agreement,
    compare,
    compare_groups,
    measure,
)
from weightscape.runs.collecting import KEYS
from weightscape.storage.hdf5 import write_file
from weightscape.storage.shards import write_shard
from weightscape.storage.tables import read_table

CLASSES, IMAGES = 4, 60
LAYERS = ["fc1", "fc2", "fc3"]


def mantel(x, y, z, seed=0):
    return function.mantel(x, y, z, np.random.default_rng(seed))


def draw_predictions(accuracies, labels, classes, random):
    """Runs whose errors are independent, and spread evenly over the wrong classes."""
    wrong = (labels + random.integers(1, classes, (len(accuracies), len(labels)))) % classes
    is_right = random.random(wrong.shape) < np.asarray(accuracies)[:, None]
    return np.where(is_right, labels, wrong).astype(np.uint8)


# ---- pairs of runs


@given(st.integers(1, 6), st.integers(1, 30), st.integers(2, 12), st.integers(0, 99))
def test_pairs_are_those_of_a_double_loop(n, images, classes, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    predicted = random.integers(0, classes, (n, images)).astype(np.uint8)
    found = compare(predicted, labels, classes)
    for a, b in itertools.product(range(n), repeat=2):
        pairs = list(zip(predicted[a], predicted[b], labels, strict=True))
        differ = sum(p != q for p, q, _ in pairs) / images
        wrong = [p == q for p, q, label in pairs if label not in (p, q)]
        assert found.disagreement[a, b] == pytest.approx(differ, abs=1e-6)
        expected = sum(wrong) / len(wrong) if wrong else math.nan
        assert found.same_wrong[a, b] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    np.testing.assert_allclose(found.accuracy, [(p == labels).mean() for p in predicted])


@pytest.mark.parametrize("block_bytes", [1, 700, 2**26])
def test_blocks_change_nothing(block_bytes, monkeypatch):
    monkeypatch.setattr(function, "BLOCK_BYTES", block_bytes)
    predicted = np.random.default_rng(0).integers(0, 300, (7, 50)).astype(np.uint16)
    expected = [[sum(a == b) for a in predicted] for b in predicted]
    np.testing.assert_array_equal(agreement(predicted), expected)


@pytest.mark.parametrize(("a", "b", "classes"), [(0.9, 0.6, 10), (0.3, 0.25, 3), (1, 0.5, 2)])
def test_expected_disagreement_is_that_of_independent_errors(a, b, classes):
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, 200_000)
    predicted = draw_predictions([a, b], labels, classes, random)
    found = compare(predicted, labels, classes)
    # three standard errors of a share of 200,000 images
    assert found.expected[0, 1] == pytest.approx(found.disagreement[0, 1], abs=0.0035)
    if a < 1:
        wrong = 3 * 0.5 / math.sqrt((1 - a) * (1 - b) * 200_000)
        assert found.same_wrong[0, 1] == pytest.approx(1 / (classes - 1), abs=wrong)
    else:
        assert math.isnan(found.same_wrong[0, 1])


def test_a_thousand_runs_are_compared_in_little_memory():
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 1000)
    predicted = draw_predictions(np.full(1000, 0.8), labels, 10, random)
    tracemalloc.start()
    compare(predicted, labels, 10)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**28


# ---- groups


GROUPS = ["low", "high", "low", "high", "high", "low", "non"]
WIDTHS = ["5", "5", "5", "8", "8", "8", "8"]


def table_of(groups, widths):
    return pd.DataFrame(
        {
            "model": "dnn",
            "dataset": "own",
            "width": widths,
            "seed": range(len(groups)),
            "group": groups,
        }
    )


@pytest.fixture
def some():
    random = np.random.default_rng(3)
    labels = random.integers(0, CLASSES, IMAGES)
    accuracies = np.linspace(0.3, 0.9, len(GROUPS))
    return compare(draw_predictions(accuracies, labels, CLASSES, random), labels, CLASSES)


def test_groups_are_compared_pair_by_pair(some):
    runs = table_of(GROUPS, WIDTHS)
    rows = {
        (row["group_a"], row["group_b"], row["widths"]): row for row in compare_groups(some, runs)
    }
    expected = {}
    for a, b in itertools.combinations(range(len(GROUPS)), 2):
        names = sorted((GROUPS[a], GROUPS[b]), key=["non", "low", "high"].index)
        relation = "same" if WIDTHS[a] == WIDTHS[b] else "other"
        for widths in (relation, "all"):
            expected.setdefault((*names, widths), []).append((a, b))
    assert set(rows) == set(expected)
    for key, pairs in expected.items():
        row = rows[key]
        assert (row["n_pairs"], row["n_runs"]) == (len(pairs), len(set(sum(pairs, ()))))
        for name in ("disagreement", "expected", "same_wrong"):
            values = pd.Series([getattr(some, name)[pair] for pair in pairs])
            assert row[name] == pytest.approx(values.mean(), rel=1e-5, nan_ok=True)
        assert row["ratio"] == pytest.approx(row["disagreement"] / row["expected"])
        assert row["same_wrong_expected"] == pytest.approx(1 / 3)
        assert math.isnan(row["disagreement_low"])  # too few runs for an interval


def test_intervals_are_over_runs_and_not_over_pairs(monkeypatch):
    """Against a bootstrap that draws runs one by one and lists their pairs."""
    monkeypatch.setattr("weightscape.measures.pairs.RESAMPLES", 5000)
    random = np.random.default_rng(1)
    labels = random.integers(0, CLASSES, IMAGES)
    runs = table_of(["low"] * 6 + ["high"] * 7, ["5"] * 5 + ["8"] * 8)
    accuracies = random.uniform(0.2, 0.95, 13)
    found = compare(draw_predictions(accuracies, labels, CLASSES, random), labels, CLASSES)
    rows = {
        (row["group_a"], row["group_b"]): row
        for row in compare_groups(found, runs)
        if row["widths"] == "all"
    }
    high = (runs["group"] == "high").to_numpy()
    draws = {("low", "low"): [], ("low", "high"): [], ("high", "high"): []}
    assert set(rows) == set(draws)
    for _ in range(3000):
        drawn = np.array([*random.choice(range(5), 5), *random.choice(range(5, 13), 8)])
        first, second = np.array(list(itertools.combinations(drawn, 2))).T
        of_both = high[first].astype(int) + high[second]
        for number, key in enumerate(draws):
            one = (of_both == number) & (first != second)
            if one.any():
                pairs = first[one], second[one]
                draws[key].append((found.disagreement[pairs].mean(), found.expected[pairs].mean()))
    for key, row in rows.items():
        means, expected = np.array(draws[key], float).T
        for end, share in (("low", 0.025), ("high", 0.975)):
            for name, values in (("disagreement", means), ("ratio", means / expected)):
                wanted = np.quantile(values, share)
                assert row[f"{name}_{end}"] == pytest.approx(wanted, abs=0.3 * values.std())
        assert row["disagreement_low"] < row["disagreement"] < row["disagreement_high"]


# ---- weights and function


def random_matrix(random, n):
    values = random.integers(0, 30, (n, n)).astype(float)  # with ties
    return np.triu(values, 1) + np.triu(values, 1).T


@pytest.mark.parametrize("seed", range(3))
def test_mantel_is_that_of_brute_force(seed):
    """Every order of five runs: the correlations of listed pairs, by scipy."""
    random, n = np.random.default_rng(seed), 5
    x, y, z = (random_matrix(random, n) for _ in range(3))
    found = mantel(x, y, z)
    pairs = list(itertools.combinations(range(n), 2))

    def correlate(order):
        a = [x[order[i], order[j]] for i, j in pairs]
        b, c = ([m[i, j] for i, j in pairs] for m in (y, z))
        ab, ac, bc = (spearmanr(*two).statistic for two in ((a, b), (a, c), (b, c)))
        return ab, (ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2))

    simple, partial = correlate(range(n))
    assert (found.simple, found.partial) == pytest.approx((simple, partial))
    every = [correlate(order) for order in itertools.permutations(range(n))]
    told = function.combine([found])
    for p, value, exact in ((told["p"], simple, 0), (told["p_partial"], partial, 1)):
        share = np.mean([one[exact] >= value - 1e-12 for one in every])
        assert p == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / 999) + 0.002)


def test_p_of_unrelated_runs_is_uniform_though_pairs_are_not_independent():
    random, found = np.random.default_rng(0), []
    for seed in range(80):
        x, y = (np.abs(np.subtract.outer(v, v)) for v in random.normal(size=(2, 12)))
        found.append(mantel(x, y, random_matrix(random, 12), seed))
    alone = [function.combine([one])["p"] for one in found]
    # of two widths together
    both = [function.combine(list(two))["p"] for two in zip(found, found[40:], strict=False)]
    for shares in (alone, both):
        # three standard errors of a share
        error = 3 * 0.5 / math.sqrt(len(shares))
        assert np.mean(np.array(shares) < 0.5) == pytest.approx(0.5, abs=error)
        assert np.mean(np.array(shares) < 0.1) <= 0.1 + 0.6 * error


def test_a_cause_of_both_distances_is_held_fixed():
    random = np.random.default_rng(0)
    accuracy = np.abs(np.subtract.outer(*[random.normal(size=30)] * 2))
    noise = [np.abs(np.subtract.outer(*[random.normal(size=30)] * 2)) for _ in range(2)]
    found = mantel(accuracy + 0.3 * noise[0], accuracy + 0.3 * noise[1], accuracy)
    assert found.simple > 0.7
    assert abs(found.partial) < 0.25


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_what_is_equal_for_all_pairs_correlates_with_nothing(flat):
    random = np.random.default_rng(0)
    matrices = [random_matrix(random, 6) for _ in range(3)]
    matrices[flat] = 1.0 - np.eye(6)
    found = mantel(*matrices)
    assert math.isnan(found.partial)
    assert math.isnan(found.simple) == (flat < 2)
    assert math.isnan(function.combine([found])["p_partial"])


# ---- shards of planted runs


def network(random, h1=4, h2=3, pixels=6):
    shapes = {"fc1": (h1, pixels), "fc2": (h2, h1), "fc3": (CLASSES, h2)}
    weights = {f"{layer}.weight": random.normal(size=shape) for layer, shape in shapes.items()}
    biases = {f"{layer}.bias": random.normal(size=shape[0]) for layer, shape in shapes.items()}
    return {name: values.astype(np.float32) for name, values in (weights | biases).items()}


def with_units_in_order(parameters, first, second):
    """The same function with the hidden units in other orders."""
    p = parameters
    return {
        "fc1.weight": p["fc1.weight"][first],
        "fc1.bias": p["fc1.bias"][first],
        "fc2.weight": p["fc2.weight"][second][:, first],
        "fc2.bias": p["fc2.bias"][second],
        "fc3.weight": p["fc3.weight"][:, second],
        "fc3.bias": p["fc3.bias"],
    }


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(9).integers(0, CLASSES, IMAGES)


@pytest.fixture
def study(synthesise, header, labels, tmp_path):
    """Writes shards of (width, parameters, predictions) runs; measures them; gives the tables."""
    (record,) = synthesise(tmp_path / "any.h5", [0])
    dataset = tmp_path / "own.h5"
    with write_file(dataset, {"format_version": 1, "classes": CLASSES}) as file:
        file["test/labels"] = labels

    def run(*shards, dataset=dataset):
        paths, rows, seeds = [], [], itertools.count()
        for number, (width, members) in enumerate(shards):
            written = [
                record._replace(
                    seed=next(seeds),
                    snapshots={0: parameters, 3: parameters},
                    predictions={} if own is None else {"test": own},
                )
                for parameters, own in members
            ]
            paths.append(str(tmp_path / f"shard-{number}.h5"))
            ours = header._replace(model="dnn", width=width, layers=LAYERS)
            write_shard(tmp_path / f"shard-{number}.h5", ours, len(members), [], written)
            rows += [("dnn", "digits", width, one.seed, paths[-1]) for one in written]
        runs = pd.DataFrame(rows, columns=[*KEYS, "shard"])
        runs = runs.assign(group="low", test_accuracy=range(len(runs)))
        orders = tmp_path / "orders.h5"
        matching.measure(paths, runs, tmp_path / "matching.csv", orders)
        outputs = {name: tmp_path / f"{name}.csv" for name in HEAD.tables}
        measure(paths, runs, dataset, orders, outputs)
        return {name: read_table(path) for name, path in outputs.items()}

    return run


def planted(labels, n, seed=0):
    """Runs whose weights and predictions both lie along a line, shuffled: close is alike."""
    random = np.random.default_rng(seed)
    start, step = network(random), network(random)
    wrong = (labels + 1) % CLASSES
    found = []
    for place in np.linspace(0, 1, n):
        parameters = {name: start[name] + np.float32(place) * step[name] for name in start}
        orders = random.permutation(4), random.permutation(3)
        own = np.where(np.arange(IMAGES) < place * IMAGES, wrong, labels).astype(np.uint8)
        found.append((with_units_in_order(parameters, *orders), own))
    return found


def test_the_tables_have_their_columns(study, labels):
    tables = study(("4x3", planted(labels, 6)))
    names = CLASSES_COLUMNS, DISAGREEMENT_COLUMNS, WEIGHT_COLUMNS, PAIR_COLUMNS
    for table, columns in zip(tables.values(), names, strict=True):
        assert tuple(table.columns) == columns
        assert len(table)


def test_classes_that_a_run_predicts(study, labels):
    everything, one = labels.astype(np.uint8), np.full(IMAGES, 2, np.uint8)
    two = np.where(np.arange(IMAGES) < 45, 0, 3).astype(np.uint8)
    parameters = network(np.random.default_rng(0))
    found = study(("4x3", [(parameters, own) for own in (everything, one, two)]))[
        "predicted_classes"
    ]
    assert found["n_classes_predicted"].tolist() == [4, 1, 2]
    most = 100 * max(np.mean(labels == label) for label in range(CLASSES))
    assert found["largest_class_share"].tolist() == pytest.approx([most, 100, 75])


def test_runs_close_in_weights_are_close_in_function_once_they_are_matched(study, labels):
    found = study(("4x3", planted(labels, 12)))["weight_function"]
    rows = {(row.width, row.embedding): row for row in found.itertuples()}
    assert set(rows) == {("4x3", "width"), ("4x3", "matched"), ("all", "width"), ("all", "matched")}
    matched = rows["4x3", "matched"]
    assert (matched.n, matched.n_pairs) == (12, 66)
    assert matched.spearman > 0.9
    assert matched.p == pytest.approx(1 / 1000)
    # here function is accuracy alone
    assert math.isnan(matched.partial) or abs(matched.partial) < 1
    assert rows["4x3", "width"].spearman < 0.6
    assert rows["all", "matched"].spearman == pytest.approx(matched.spearman)


def test_equal_differences_of_accuracy_are_ties(study, labels):
    """Counted in images: 0.3 - 0.2 and 0.2 - 0.1 are equal, and not so as floats."""
    random = np.random.default_rng(3)
    right = [6, 12, 18, 24, 30, 36, 42]
    predicted = []
    for count in right:
        wrong = random.permutation(IMAGES)[count:]
        own = labels.copy()
        own[wrong] = (own[wrong] + random.integers(1, CLASSES, len(wrong))) % CLASSES
        predicted.append(own.astype(np.uint8))
    tables = study(("4x3", [(network(random), own) for own in predicted]))
    pairs = tables["function_pairs"]
    first, second = pairs["seed_a"], pairs["seed_b"]
    apart = np.abs(np.array(right)[first] - np.array(right)[second])
    ab, ac, bc = (
        spearmanr(*two).statistic
        for two in itertools.combinations((pairs["distance"], pairs["disagreement"], apart), 2)
    )
    partial = (ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2))
    found = tables["weight_function"].query("width == '4x3' and embedding == 'width'")
    assert found["partial"].item() == pytest.approx(partial, abs=1e-6)
    np.testing.assert_allclose(pairs["accuracy_difference"], 100 * apart / IMAGES)


def test_matched_distances_are_those_of_reordered_networks(study, labels):
    random = np.random.default_rng(4)
    start = network(random)
    others = [network(random) for _ in range(6)]
    networks = [
        {name: start[name] + np.float32(0.01) * other[name] for name in start} for other in others
    ]
    orders = [(random.permutation(4), random.permutation(3)) for _ in networks]
    predicted = np.random.default_rng(5).integers(0, CLASSES, (6, IMAGES)).astype(np.uint8)
    found = study(
        (
            "4x3",
            [
                (with_units_in_order(p, *order), own)
                for p, order, own in zip(networks, orders, predicted, strict=True)
            ],
        )
    )["function_pairs"]
    assert len(found) == 15

    def apart(a, b):
        names = [f"{layer}.weight" for layer in LAYERS]
        return math.sqrt(sum(float(((a[n] - b[n]).astype(float) ** 2).sum()) for n in names))

    for pair in found.itertuples():
        a, b = pair.seed_a, pair.seed_b
        assert pair.matched_distance == pytest.approx(apart(networks[a], networks[b]), rel=1e-3)
        shuffled = [with_units_in_order(networks[run], *orders[run]) for run in (a, b)]
        assert pair.distance == pytest.approx(apart(*shuffled), rel=1e-3)
        assert pair.disagreement == pytest.approx((predicted[a] != predicted[b]).mean(), abs=1e-6)
        accuracy = [100 * (predicted[run] == labels).mean() for run in (a, b)]
        assert pair.accuracy_difference == pytest.approx(abs(accuracy[0] - accuracy[1]), abs=1e-4)


def test_widths_are_combined_by_their_runs(study, labels):
    few = [(p, own) for p, own in planted(labels, 4, seed=2)]  # too few for a width of its own
    narrow, wide = planted(labels, 6), planted(labels, 9, seed=1)
    found = study(("4x3", narrow), ("8", wide), ("20", few))["weight_function"]
    found = found[found["embedding"] == "width"].set_index("width")
    assert found["n"].to_dict() == {"4x3": 6, "8": 9, "all": 15}
    expected = (6 * found.loc["4x3", "spearman"] + 9 * found.loc["8", "spearman"]) / 15
    assert found.loc["all", "spearman"] == pytest.approx(expected)


def test_many_pairs_are_a_sample_for_the_figure_alone(study, labels, monkeypatch):
    monkeypatch.setattr(function, "PAIRS_OF_WIDTH", 10)
    tables = study(("4x3", planted(labels, 8)))
    assert len(tables["function_pairs"].drop_duplicates()) == 10
    assert tables["weight_function"]["n_pairs"].tolist() == [28] * 4


# ---- what is not there


def test_runs_without_predictions_are_named_and_left_out(study, labels, caplog):
    caplog.set_level("INFO", "weightscape")
    members = planted(labels, 6)
    tables = study(("4x3", members), ("4x3", [(p, None) for p, _ in members[:2]]))
    assert "2 of 8 runs have no predictions" in caplog.text
    assert (
        tables["predicted_classes"]["n_classes_predicted"].isna().tolist()
        == [False] * 6 + [True] * 2
    )
    assert tables["disagreement"]["n_runs"].tolist() == [6, 6]
    assert tables["weight_function"]["n"].tolist() == [6] * 4


def test_a_population_without_predictions_has_empty_tables(study, labels):
    tables = study(("4x3", [(p, None) for p, _ in planted(labels, 6)]))
    assert tables["predicted_classes"]["largest_class_share"].isna().all()
    assert [len(tables[name]) for name in HEAD.tables] == [6, 0, 0, 0]
    assert tuple(tables["function_pairs"].columns) == PAIR_COLUMNS


def test_without_a_dataset_there_are_no_predictions(study, labels):
    members = [(parameters, None) for parameters, _ in planted(labels, 6)]
    tables = study(("4x3", members), dataset=None)
    assert [len(tables[name]) for name in HEAD.tables] == [6, 0, 0, 0]


def test_predictions_of_other_images_are_refused(study, labels):
    parameters = network(np.random.default_rng(0))
    with pytest.raises(
        WeightscapeError, match=r"shard-0\.h5 is refused.*59\), but there are 60 test"
    ):
        study(("4x3", [(parameters, labels[1:].astype(np.uint8))] * 2))


def test_a_run_that_diverged_disagrees_but_is_nowhere_in_weights(study, labels):
    members = planted(labels, 7)
    broken = {name: values * np.float32(np.nan) for name, values in members[3][0].items()}
    members[3] = broken, np.zeros(IMAGES, np.uint8)
    tables = study(("4x3", members))
    assert tables["disagreement"]["n_runs"].tolist() == [7, 7]
    assert tables["weight_function"]["n"].tolist() == [6] * 4
    assert not {3} & {*tables["function_pairs"]["seed_a"], *tables["function_pairs"]["seed_b"]}
