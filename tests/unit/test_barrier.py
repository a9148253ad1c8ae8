"""Barriers by a loop in numpy, of planted copies, and of models whose nodes are matched."""

import logging
import math

import numpy as np
import pandas as pd
import pytest

from weightscape import models
from weightscape.engine.streams import initialise
from weightscape.measures.networks import Shown, answer
from weightscape.measures.runs import barrier, matching
from weightscape.measures.runs.barrier import HEAD, End, measure, permute, score
from weightscape.runs.collecting import KEYS
from weightscape.storage.images import write_dataset
from weightscape.storage.shards import write_shard

LAYERS, PIXELS, CLASSES, IMAGES = ["fc1", "fc2", "fc3"], 6, 3, 40
NAMES = ["loss_barrier", "matched_loss_barrier", "error_barrier", "matched_error_barrier"]
SMALL = {"tokens": "patches", "d_model": 12, "feedforward": 7, "dropout": 0.0, "depth": 2}


def network(random, h1=6, h2=5):
    shapes = {"fc1": (h1, PIXELS), "fc2": (h2, h1), "fc3": (CLASSES, h2)}
    arrays = {f"{name}.weight": random.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": random.normal(size=shape[0]) for name, shape in shapes.items()}
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def reordered(p, first, second):
    """The same function with the hidden units in other orders."""
    return {
        "fc1.weight": p["fc1.weight"][first],
        "fc1.bias": p["fc1.bias"][first],
        "fc2.weight": p["fc2.weight"][second][:, first],
        "fc2.bias": p["fc2.bias"][second],
        "fc3.weight": p["fc3.weight"][:, second],
        "fc3.bias": p["fc3.bias"],
    }


def score_by_hand(p, images, labels):
    """Loss and error (%), an image at a time."""
    losses, wrong = [], 0
    for image, label in zip(images, labels, strict=True):
        x = image.ravel() / 255
        for layer in LAYERS:
            x = p[f"{layer}.weight"].astype(float) @ x + p[f"{layer}.bias"]
            x = x if layer == "fc3" else np.maximum(x, 0)
        losses.append(math.log(sum(math.exp(value) for value in x)) - x[label])
        wrong += int(np.argmax(x) != label)
    return np.mean(losses), 100 * wrong / len(labels)


def barriers_by_hand(a, b, images, labels):
    ends = [score_by_hand(p, images, labels) for p in (a, b)]
    found = [0.0, 0.0]
    for step in range(1, 6):
        t = step / 6
        inside = score_by_hand({n: (1 - t) * a[n] + t * b[n] for n in a}, images, labels)
        for number in range(2):
            straight = (1 - t) * ends[0][number] + t * ends[1][number]
            found[number] = max(found[number], inside[number] - straight)
    return found


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(0, 256, (IMAGES, 1, 2, 3)).astype(np.uint8)


def teacher():
    return {name: 3 * values for name, values in network(np.random.default_rng(1)).items()}


@pytest.fixture(scope="module")
def labels(images):
    """What one network says, so that its copies have a low loss."""
    network = models.build("dnn", "6x5", (1, 2, 3), CLASSES, {})
    return answer(network, teacher(), images)[0].argmax(1)


@pytest.fixture
def study(synthesise, header, images, labels, tmp_path):
    """Writes (width, parameters) runs, the last the best; gives what `measure` reads."""
    (record,) = synthesise(tmp_path / "any.h5", [0])
    splits = dict.fromkeys(("train", "test"), (images, labels))
    write_dataset("own", tmp_path / "own.h5", splits, {})

    def write(members, model="dnn"):
        shards, rows = [], []
        for seed, (width, parameters) in enumerate(members):
            path = tmp_path / f"{seed}.h5"
            ours = header._replace(model=model, width=width, layers=LAYERS)
            own = record._replace(seed=seed, snapshots={0: parameters, 3: parameters})
            write_shard(path, ours, 1, [], [own])
            shards.append(str(path))
            rows.append((model, "digits", width, seed, str(path), 10.0 + seed))
        runs = pd.DataFrame(rows, columns=[*KEYS, "shard", "test_accuracy"])
        orders = tmp_path / "matching.h5"
        matching.measure(shards, runs, tmp_path / "matching.csv", orders)
        return shards, runs, tmp_path / "own.h5", orders

    return write


# ---- numbers


def test_barriers_are_those_of_a_loop(study, images, labels):
    random, members = np.random.default_rng(0), []
    for _ in range(4):
        own = reordered(teacher(), random.permutation(6), random.permutation(5))
        near = network(random)
        members.append(("6x5", {name: own[name] + np.float32(0.3) * near[name] for name in own}))
    given = study(members)
    table = measure(*given)
    assert list(table) == HEAD.tables["barrier"].written
    assert table["seed"].tolist() == [0, 1, 2]
    assert set(table["reference_seed"]) == {3}
    assert set(table["n_images"]) == {IMAGES}
    best = members[3][1]
    orders = matching.read_orders(given[3], "6x5", models.links_of("dnn", "6x5", {}))
    for row in table.to_dict("records"):
        own = members[row["seed"]][1]
        moved = reordered(own, *orders[row["seed"]].values())
        plain, matched = (barriers_by_hand(p, best, images, labels) for p in (own, moved))
        expected = [plain[0], matched[0], plain[1], matched[1]]
        assert [row[name] for name in NAMES] == pytest.approx(expected, abs=1e-5)
    assert table["loss_barrier"].max() > 0.1


def test_a_copy_with_its_nodes_in_another_order_has_no_matched_barrier(study):
    random, best = np.random.default_rng(1), teacher()
    copies = [reordered(best, random.permutation(6), random.permutation(5)) for _ in range(3)]
    table = measure(*study([("6x5", p) for p in (*copies, best)]))
    assert (table["loss_barrier"] > 0.05).all()
    assert table["matched_loss_barrier"].to_numpy() == pytest.approx(0, abs=1e-6)
    assert table["matched_error_barrier"].to_numpy() == pytest.approx(0, abs=1e-6)


def test_nodes_that_are_in_order_already_have_the_same_barrier_matched(study):
    random = np.random.default_rng(2)
    best = network(random)
    near = {name: value + np.float32(0.05) for name, value in best.items()}
    table = measure(*study([("6x5", near), ("6x5", best)]))
    assert table["loss_barrier"].tolist() == table["matched_loss_barrier"].tolist()
    assert table["error_barrier"].tolist() == table["matched_error_barrier"].tolist()


def test_each_width_has_its_own_reference(study):
    random = np.random.default_rng(3)
    members = [(w, network(random, h, h)) for w, h in (("4", 4), ("5", 5), ("4", 4), ("5", 5))]
    table = measure(*study(members))
    assert table[["width", "seed", "reference_seed"]].to_numpy().tolist() == [
        ["4", 0, 2],
        ["5", 1, 3],
    ]


def test_batches_change_nothing(study, monkeypatch):
    given = study([("6x5", network(np.random.default_rng(seed))) for seed in range(3)])
    expected = measure(*given)
    monkeypatch.setattr(barrier, "BATCH", 7)
    pd.testing.assert_frame_equal(measure(*given), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "width", "shape", "options"),
    [
        ("dnn", "6x5", (1, 4, 4), {}),
        ("cnn", "5", (2, 6, 5), {"head": "flatten"}),
        ("cnn", "5", (2, 6, 5), {"head": "gap"}),
        ("vit", "4", (1, 8, 8), SMALL),
    ],
)
def test_nodes_in_any_order_make_the_same_network(model, width, shape, options):
    """Biases move with their nodes."""
    random = np.random.default_rng(0)
    built = models.build(model, width, shape, 3, options)
    parameters = initialise(built, {"std": 0.5, "biases": "uniform"}, random)
    shown = Shown(random.integers(0, 256, (9, *shape)).astype(np.uint8), np.arange(9) % 3, 3)
    links = [link for link in models.links_of(model, width, options) if link.is_free]
    weights = {layer.name: parameters[f"{layer.name}.weight"] for layer in built.layers}
    orders = {
        link: random.permutation(link.parts or len(weights[link.sources[0]])) for link in links
    }
    moved = permute(End(built, parameters, np.zeros(2)), orders)
    assert any((moved[name] != parameters[name]).any() for name in moved if "bias" in name)
    expected, _ = answer(built, parameters, shown.images)
    np.testing.assert_allclose(answer(built, moved, shown.images)[0], expected, atol=1e-4)
    np.testing.assert_allclose(
        score(built, moved, shown), score(built, parameters, shown), rtol=1e-4
    )


# ---- what is not there


def test_one_run_of_a_width_has_no_barrier(study):
    assert measure(*study([("6x5", network(np.random.default_rng(0)))])).empty


@pytest.mark.parametrize("diverged", [0, 2])
def test_a_run_or_a_reference_that_diverged_has_empty_barriers(study, diverged, caplog):
    members = [("6x5", network(np.random.default_rng(seed))) for seed in range(3)]
    members[diverged][1]["fc2.bias"][0] = np.nan
    table = measure(*study(members))
    assert table["loss_barrier"].isna().tolist() == [True, diverged == 2]
    assert table[NAMES].isna().all(axis=1).tolist() == [True, diverged == 2]
    assert f"{1 + (diverged == 2)} of 3 runs are not in barriers" in caplog.text


def test_without_images_or_a_family_the_table_is_empty(study, caplog):
    caplog.set_level(logging.INFO, "weightscape")
    members = [("6x5", network(np.random.default_rng(seed))) for seed in range(2)]
    shards, runs, _, orders = study(members)
    assert list(measure(shards, runs, None, orders)) == HEAD.tables["barrier"].written
    assert "dnn answers no test images here" in caplog.text
    assert measure(*study(members, model="somebody_s")).empty


def test_a_model_that_tells_no_links_has_no_matched_barrier(study, monkeypatch):
    members = [("6x5", network(np.random.default_rng(seed))) for seed in range(2)]
    monkeypatch.setattr(models.families()["dnn"], "links", staticmethod(lambda *_: []))
    table = measure(*study(members))
    assert table["loss_barrier"].notna().all()
    assert table[["matched_loss_barrier", "matched_error_barrier"]].isna().all(axis=None)
