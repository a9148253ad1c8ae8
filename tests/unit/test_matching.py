"""Matching, against planted orders, every order there is, and the functions of the networks."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.measures.runs.matching import COLUMNS, match, measure, read_orders, reorder
from weightscape.models import Link, links_of
from weightscape.storage.shards import Shard, write_shard
from weightscape.storage.tables import read_table

SMALL = {"tokens": "patches", "d_model": 12, "feedforward": 7, "dropout": 0.0, "depth": 1}
HEADS = ("query", "key", "value")

# (layers whose rows move, the layer whose columns move with them, how many parts)
CASES = {
    "dnn": ("dnn", "6x5", (1, 4, 4), {}, [(("fc1",), "fc2", 6), (("fc2",), "fc3", 5)]),
    "cnn": ("cnn", "5", (2, 6, 5), {"head": "flatten"}, [(("conv1",), "fc", 5)]),
    "gap": ("cnn", "5", (2, 6, 5), {"head": "gap"}, [(("conv1",), "fc", 5)]),
    "vit": ("vit", "4", (1, 8, 8), SMALL, [(HEADS, "attention_out", 4), (("mlp1",), "mlp2", 7)]),
    "deep": (
        "vit",
        "3",
        (1, 8, 8),
        SMALL | {"depth": 2},
        [
            (HEADS, "attention_out", 3),
            (("mlp1",), "mlp2", 7),
            (tuple(f"{name}_2" for name in HEADS), "attention_out_2", 3),
            (("mlp1_2",), "mlp2_2", 7),
        ],
    ),
}
each_case = pytest.mark.parametrize("case", CASES)


def network_of(case):
    name, width, shape, options, _ = CASES[case]
    return models.build(name, width, shape, 3, options)


def draw(case, seed):
    """Random weights and biases of each layer, and the auxiliary parameters."""
    random, network = np.random.default_rng(seed), network_of(case)
    shapes = {name: shape for name, (shape, _) in network.auxiliary.items()}
    for layer in network.layers:
        shapes |= {f"{layer.name}.weight": layer.shape, f"{layer.name}.bias": layer.shape[:1]}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def weights_of(parameters):
    return {
        name.removesuffix(".weight"): values
        for name, values in parameters.items()
        if name.endswith(".weight") and not name.startswith("norm")
    }


def places(order, n):
    """Where each of n rows or columns comes from if its equal parts stand in this order."""
    size = n // len(order)
    return np.concatenate([np.arange(part * size, (part + 1) * size) for part in order])


def move(parameters, sources, target, order):
    """The same network with parts of its nodes in another order: rows, biases and columns."""
    moved = dict(parameters)
    for name in sources:
        for key in {f"{name}.weight", f"{name}.bias"} & parameters.keys():
            moved[key] = moved[key][places(order, len(moved[key]))]
    columns = moved[f"{target}.weight"]
    moved[f"{target}.weight"] = columns[:, places(order, columns.shape[1])]
    return moved


def move_all(case, parameters, orders):
    """`orders`: in the order of the case's links, or by its sources."""
    for place, (sources, target, _) in enumerate(CASES[case][4]):
        order = orders[sources] if isinstance(orders, dict) else orders[place]
        parameters = move(parameters, sources, target, order)
    return parameters


def random_orders(case, seed):
    random = np.random.default_rng(seed)
    return [random.permutation(parts) for _, _, parts in CASES[case][4]]


def links_of_case(case):
    name, width, _, options, _ = CASES[case]
    return links_of(name, width, options)


def found_orders(case, ours, theirs):
    """Sources -> order, of two networks' parameters."""
    orders = match(weights_of(ours), weights_of(theirs), links_of_case(case))
    return {link.sources: order for link, order in orders.items()}


def product(ours, theirs):
    """The sum over layers of the inner products of weights."""
    a, b = weights_of(ours), weights_of(theirs)
    return sum(float((a[name].astype(float) * b[name]).sum()) for name in a)


def logits(case, parameters):
    shape = CASES[case][2]
    images = torch.rand((6, *shape), generator=torch.Generator().manual_seed(1)).double()
    tensors = {name: torch.from_numpy(v).double() for name, v in parameters.items()}
    return network_of(case).forward(tensors, images, lambda x: x)[0]


@each_case
@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_planted_orders_are_found(case, noise, seed):
    reference, planted = draw(case, seed), random_orders(case, seed + 100)
    noisy = {name: v + noise * draw(case, seed + 200)[name] for name, v in reference.items()}
    found = found_orders(case, move_all(case, noisy, planted), reference)
    for (sources, _, _), order in zip(CASES[case][4], planted, strict=True):
        np.testing.assert_array_equal(found[sources], np.argsort(order))


@pytest.mark.parametrize("seed", range(5))
def test_large_weights_whose_rows_have_no_order_yet_have_no_say(seed):
    reference, planted = draw("dnn", seed), random_orders("dnn", seed + 100)
    reference["fc2.weight"] *= 100
    found = found_orders("dnn", move_all("dnn", reference, planted), reference)
    for (sources, _, _), order in zip(CASES["dnn"][4], planted, strict=True):
        np.testing.assert_array_equal(found[sources], np.argsort(order))


@each_case
def test_every_free_link_has_an_order_and_no_other(case):
    found = found_orders(case, draw(case, 0), draw(case, 1))
    assert set(found) == {sources for sources, _, _ in CASES[case][4]}
    for sources, _, parts in CASES[case][4]:
        assert sorted(found[sources]) == list(range(parts))


@each_case
def test_the_reference_keeps_its_order(case):
    for order in found_orders(case, draw(case, 0), draw(case, 0)).values():
        assert order.tolist() == list(range(len(order)))


@each_case
@pytest.mark.parametrize("seed", range(3))
def test_in_the_order_found_a_network_computes_the_same(case, seed):
    ours = draw(case, seed)
    moved = move_all(case, ours, found_orders(case, ours, draw(case, seed + 1)))
    assert any((moved[name] != ours[name]).any() for name in ours)
    torch.testing.assert_close(logits(case, moved), logits(case, ours))


@each_case
def test_reordered_weights_with_their_biases_moved_compute_the_same(case):
    ours = draw(case, 3)
    links = links_of_case(case)
    orders = match(weights_of(ours), weights_of(draw(case, 4)), links)
    moved = move_all(case, ours, {link.sources: order for link, order in orders.items()})
    again = {f"{n}.weight": reorder(n, weights_of(ours), orders) for n in weights_of(ours)}
    torch.testing.assert_close(logits(case, moved | again), logits(case, ours))


@each_case
@pytest.mark.parametrize("seed", range(3))
def test_reorder_moves_rows_and_columns(case, seed):
    ours, orders = draw(case, seed), random_orders(case, seed)
    links = [link for link in links_of_case(case) if link.is_free]
    expected = weights_of(move_all(case, ours, orders))
    for name in expected:
        found = reorder(name, weights_of(ours), dict(zip(links, orders, strict=True)))
        np.testing.assert_array_equal(found, expected[name])


@each_case
@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_one_link_alone_would_be_closer(case, seed):
    # swaps of two parts are enough to find fault with a wrong assignment
    ours, theirs = draw(case, seed), draw(case, seed + 50)
    best = move_all(case, ours, found_orders(case, ours, theirs))
    for sources, target, parts in CASES[case][4]:
        for a, b in itertools.combinations(range(parts), 2):
            order = np.arange(parts)
            order[[a, b]] = b, a
            swapped = move(best, sources, target, order)
            assert product(swapped, theirs) <= product(best, theirs) + 1e-4


ONE_LINK = {
    "dnn": ("dnn", "4x1", (1, 2, 2), {}, (("fc1",), "fc2", 4)),
    "cnn": ("cnn", "4", (1, 4, 4), {"head": "flatten"}, (("conv1",), "fc", 4)),
    "heads": ("vit", "3", (1, 4, 4), SMALL, (HEADS, "attention_out", 3)),
    "mlp": ("vit", "3", (1, 4, 4), SMALL | {"feedforward": 4}, (("mlp1",), "mlp2", 4)),
}


@pytest.mark.parametrize("case", ONE_LINK)
@pytest.mark.parametrize("seed", range(8))
def test_of_one_link_every_order_is_weighed(case, seed, monkeypatch):
    name, width, shape, options, (sources, target, parts) = ONE_LINK[case]
    monkeypatch.setitem(CASES, "one", (name, width, shape, options, [(sources, target, parts)]))
    ours, theirs = draw("one", seed), draw("one", seed + 50)
    (link,) = (one for one in links_of_case("one") if one.is_free and one.sources == sources)
    orders = match(weights_of(ours), weights_of(theirs), [link])
    best = max(
        itertools.permutations(range(parts)),
        key=lambda order: product(move(ours, sources, target, order), theirs),
    )
    assert orders[link].tolist() == list(best)


seeds = st.integers(0, 2**32 - 1)


def draw_tiny(seed):
    """Two pairs of hidden layers of 3 units, so small that the ascent has several ends."""
    random = np.random.default_rng(seed)
    shapes = {"fc1.weight": (3, 2), "fc2.weight": (3, 3), "fc3.weight": (2, 3)}
    ours, theirs = (
        {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(2)
    )
    return ours, theirs


def every_order(ours, theirs):
    """Both links' orders -> inner product, of all 36."""
    orders = list(itertools.permutations(range(3)))
    return {
        pair: product(move_all("dnn", ours, pair), theirs)
        for pair in itertools.product(orders, orders)
    }


@given(seeds)
@example(52)
def test_matched_weights_are_never_further_than_without_an_order(seed):
    ours, theirs = draw_tiny(seed)
    moved = move_all("dnn", ours, found_orders("dnn", ours, theirs))
    assert product(moved, theirs) >= product(ours, theirs) - 1e-4


@given(seeds)
@example(52)
def test_the_ascent_ends_where_neither_link_alone_can_rise(seed):
    ours, theirs = draw_tiny(seed)
    products, found = every_order(ours, theirs), found_orders("dnn", ours, theirs)
    first, second = (tuple(found[sources].tolist()) for sources in (("fc1",), ("fc2",)))
    alone = [v for pair, v in products.items() if pair[0] == first or pair[1] == second]
    assert products[first, second] >= max(alone) - 1e-4


def test_the_ascent_mostly_ends_at_the_highest_of_all():
    ends = []
    for seed in range(50):
        ours, theirs = draw_tiny(seed)
        moved = move_all("dnn", ours, found_orders("dnn", ours, theirs))
        ends.append(product(moved, theirs) >= max(every_order(ours, theirs).values()) - 1e-4)
    assert np.mean(ends) > 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["ours", "theirs", "both"])
def test_weights_that_are_not_finite_keep_their_order(value, side):
    ours, theirs = draw("dnn", 0), draw("dnn", 1)
    for name, parameters in (("ours", ours), ("theirs", theirs)):
        if side in (name, "both"):
            parameters["fc2.weight"][1, 2] = value
    for order in found_orders("dnn", ours, theirs).values():
        assert order.tolist() == list(range(len(order)))


def test_without_free_links_there_is_nothing_to_order():
    weights = weights_of(draw("vit", 0))
    fixed = Link(("value",), "attention_out", is_free=False)
    assert match(weights, weights_of(draw("vit", 1)), [fixed]) == {}


EPOCHS = 3


@pytest.fixture
def population(synthesise, header, tmp_path):
    """DNNs: shards and (width, seed) -> weights; 6x5 in two shards, its run 2 planted as run 0."""
    weights, paths = {}, []
    for name, width, seeds in (("a", "6x5", [0, 1]), ("b", "6x5", [2, 3]), ("c", "4", [0, 1])):
        path = tmp_path / f"{name}.h5"
        records = []
        for record in synthesise(path, seeds):
            parameters = final_weights(width, record.seed)
            weights[width, record.seed] = weights_of(parameters)
            start = {key: 2 - values for key, values in parameters.items()}
            records.append(record._replace(snapshots={0: start, EPOCHS: parameters}))
        ours = header._replace(
            model="dnn",
            width=width,
            recipe={"version": 1, "options": {}},
            layers=["fc1", "fc2", "fc3"],
            final_epoch=EPOCHS,
        )
        write_shard(path, ours, len(seeds), [], records)
        paths.append(str(path))
    return paths, weights


def final_weights(width, seed):
    first, second = models.families()["dnn"](width, (1, 4, 4), 3, {}).layers[:2]
    shapes = {"fc1": first.shape, "fc2": second.shape, "fc3": (3, second.shape[0])}
    if (width, seed) == ("6x5", 2):
        return move_all("dnn", final_weights(width, 0), random_orders("dnn", 9))
    random = np.random.default_rng([seed, len(width)])
    return {f"{n}.weight": random.normal(size=s).astype(np.float32) for n, s in shapes.items()}


def runs_of(paths):
    rows = [
        ("6x5", 0, paths[0], 80.0, 10.0, "high"),
        ("6x5", 1, paths[0], np.nan, 90.0, "non"),
        ("6x5", 2, paths[1], 60.0, 20.0, "mid"),
        ("6x5", 3, paths[1], 70.0, 20.0, "mid"),
        ("4", 0, paths[2], 30.0, 30.0, "low"),
        ("4", 1, paths[2], 50.0, 20.0, "low"),
    ]
    columns = ["width", "seed", "shard", "test_accuracy", "train_accuracy", "group"]
    return pd.DataFrame(rows, columns=columns).assign(model="dnn", dataset="digits")


@pytest.fixture
def matched(tmp_path):
    """`measure`, and its table by width, seed and layer, and the path of the orders."""

    def run(paths, runs):
        table, orders = tmp_path / "matching.csv", tmp_path / "matching.h5"
        measure(paths, runs, table, orders)
        found = read_table(table)
        assert found.columns.tolist() == list(COLUMNS)
        found = found.set_index(["width", "seed", "layer"])
        assert found.index.is_unique
        return found.sort_index(), orders

    return run


def cosine(a, b):
    a, b = a.astype(float), b.astype(float)
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def test_a_row_per_run_and_layer(population, matched):
    paths, weights = population
    table, _ = matched(paths, runs_of(paths))
    assert len(table) == 6 * 3
    assert set(table.index) == {(*run, layer) for run in weights for layer in weights[run]}
    assert (set(table["model"]), set(table["dataset"])) == ({"dnn"}, {"digits"})


def test_the_reference_is_the_best_run_of_its_width(population, matched):
    best = {"6x5": 0, "4": 1}
    paths, weights = population
    table, _ = matched(paths, runs_of(paths))
    for (width, seed, layer), row in table.iterrows():
        assert row["reference_seed"] == best[width]
        expected = cosine(weights[width, seed][layer], weights[width, best[width]][layer])
        assert row["cosine"] == pytest.approx(expected, abs=1e-7)


def test_the_best_run_may_be_in_a_later_shard(population, matched):
    paths, weights = population
    runs = runs_of(paths)
    runs.loc[runs["seed"] == 3, "test_accuracy"] = 99
    table, _ = matched(paths, runs)
    assert set(table.loc["6x5", "reference_seed"]) == {3}
    expected = cosine(weights["6x5", 1]["fc2"], weights["6x5", 3]["fc2"])
    assert table.loc[("6x5", 1, "fc2"), "cosine"] == pytest.approx(expected, abs=1e-7)


def test_the_reference_and_its_planted_copy_match_wholly(population, matched):
    paths, _ = population
    table, _ = matched(paths, runs_of(paths))
    for seed in (0, 2):
        assert table.loc[("6x5", seed), "matched_cosine"].tolist() == pytest.approx([1] * 3)
    assert (table.loc[("6x5", 2), "cosine"] < 0.9).all()
    assert (table.loc[("6x5", 1), "matched_cosine"] < 0.9).all()


@pytest.mark.parametrize("width", ["6x5", "4"])
def test_stored_orders_give_the_matched_cosines(population, matched, width):
    paths, weights = population
    table, path = matched(paths, runs_of(paths))
    links = links_of("dnn", width, {})
    orders = read_orders(path, width, links)
    assert set(orders) == {seed for of_width, seed in weights if of_width == width}
    for seed, found in orders.items():
        ours = {f"{name}.weight": values for name, values in weights[width, seed].items()}
        by_sources = {link.sources: order for link, order in found.items()}
        moved = weights_of(move_all("dnn", ours, by_sources))
        reference = weights[width, table.loc[(width, seed, "fc1"), "reference_seed"]]
        for layer, theirs in reference.items():
            expected = table.loc[(width, seed, layer), "matched_cosine"]
            assert cosine(moved[layer], theirs) == pytest.approx(expected, abs=1e-7)
            again = reorder(layer, weights[width, seed], found)
            assert cosine(again, theirs) == pytest.approx(expected, abs=1e-7)


def test_runs_that_the_study_does_not_ask_for_are_left_out(population, matched):
    paths, _ = population
    runs = runs_of(paths)
    table, path = matched(paths, runs[(runs["width"] == "6x5") & (runs["seed"] > 0)])
    assert {run[:2] for run in table.index} == {("6x5", 1), ("6x5", 2), ("6x5", 3)}
    # the best run of all is not asked for, so the best of the others takes its place
    assert set(table["reference_seed"]) == {3}
    assert set(read_orders(path, "6x5", links_of("dnn", "6x5", {}))) == {1, 2, 3}


def test_a_run_of_nan_has_no_cosine_and_its_own_order(population, matched, monkeypatch):
    paths, _ = population
    from weightscape.measures.runs import matching

    read = matching.read_weights

    def damaged(shard, row):
        weights = read(shard, row)
        if shard.header.width == "4" and shard.seeds[row] == 0:
            weights["fc1"][0, 0] = np.nan
        return weights

    monkeypatch.setattr(matching, "read_weights", damaged)
    table, path = matched(paths, runs_of(paths))
    assert table.loc[("4", 0, "fc1"), ["cosine", "matched_cosine"]].isna().all()
    row = table.loc[("4", 0, "fc2")]
    assert row["cosine"] == row["matched_cosine"]
    for order in read_orders(path, "4", links_of("dnn", "4", {}))[0].values():
        assert order.tolist() == [0, 1, 2, 3]


def test_a_layer_of_zeros_has_no_cosine(synthesise, header, matched, tmp_path):
    path = tmp_path / "zeros.h5"
    zeros = {
        "conv1.weight": np.zeros((2, 1, 3, 3), np.float32),
        "fc.weight": np.ones((3, 8), np.float32),
    }
    records = [r._replace(snapshots=dict.fromkeys((0, 3), zeros)) for r in synthesise(path, [0])]
    write_shard(path, header, 1, [], records)
    row = {
        "model": "cnn",
        "dataset": "digits",
        "width": "2",
        "seed": 0,
        "group": "non",
        "shard": str(path),
        "test_accuracy": 10.0,
    }
    table, _ = matched([str(path)], pd.DataFrame([row]))
    assert np.isnan(table.loc[("2", 0, "conv1"), "matched_cosine"])
    assert table.loc[("2", 0, "fc"), "matched_cosine"] == pytest.approx(1)


def test_of_a_model_without_links_no_run_is_matched(population, matched, monkeypatch, caplog):
    paths, _ = population
    assert matched(paths, runs_of(paths))[0]["matched_cosine"].notna().all()
    monkeypatch.setattr(Shard, "links", [])
    with caplog.at_level("INFO", logger="weightscape"):
        table, path = matched(paths, runs_of(paths))
    assert table["matched_cosine"].isna().all()
    assert table["cosine"].notna().all()
    assert "dnn tells no links between its layers, so that no run is matched" in caplog.text
    assert set(read_orders(path, "4", [])[0]) == set()


def test_damaged_orders_are_refused(population, matched):
    paths, _ = population
    _, path = matched(paths, runs_of(paths))
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightscapeError, match=r"matching\.h5"):
        read_orders(path, "4", links_of("dnn", "4", {}))
