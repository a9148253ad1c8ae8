"""Similarity: CKA by loops and by its published formula, its invariances, and planted networks."""

import itertools
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.measures.runs import similarity
from weightscape.measures.runs.purity import HIGH, Settings, compare_groups
from weightscape.measures.runs.similarity import HEAD, Triangles, normalise, triangle
from weightscape.runs.collecting import KEYS
from weightscape.storage.directions import open_directions, read_directions, read_runs
from weightscape.storage.images import write_dataset
from weightscape.storage.shards import write_shard

LAYERS, PIXELS, CLASSES, IMAGES = ["fc1", "fc2", "fc3"], 6, 3, 40


SETTINGS = Settings(neighbours=2, shuffles=99)


def measure(shards, runs, dataset):
    kept = Path(shards[0]).with_name("similarity.h5")
    return similarity.measure(shards, runs, dataset, SETTINGS, kept)["similarity"]


def hsic(a, b):
    """The unbiased estimate of Song et al. (2012, equation 5), of outputs (m, units)."""
    m = len(a)
    k, h = (x @ x.T * (1 - np.eye(m)) for x in (a.astype(float), b.astype(float)))
    one = np.ones(m)
    total = np.trace(k @ h) + (one @ k @ one) * (one @ h @ one) / ((m - 1) * (m - 2))
    return (total - 2 / (m - 2) * (one @ k @ h @ one)) / (m * (m - 3))


def cka(a, b):
    return hsic(a, b) / math.sqrt(hsic(a, a) * hsic(b, b))


def products_of(*outputs):
    """HSIC of each two of some runs' outputs."""
    triangles = Triangles.of(len(outputs), len(outputs[0]))
    for run, own in enumerate(outputs):
        triangles.put(run, own.astype(np.float32))
    return triangles.products()


# ---- the estimate


@given(st.integers(4, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_hsic_is_that_of_the_published_formula(m, units, others, seed):
    random = np.random.default_rng(seed)
    a, b = 5 + random.normal(size=(m, units)), 0.01 * random.normal(size=(m, others))
    found = products_of(a, b)
    size = math.sqrt(hsic(a, a) * hsic(b, b))
    assert found[0, 1] == pytest.approx(hsic(a, b), abs=1e-4 * size)
    assert found.diagonal() == pytest.approx([hsic(a, a), hsic(b, b)], rel=1e-3)


def test_the_shape_of_outputs_does_not_matter():
    outputs = np.random.default_rng(0).normal(size=(10, 3, 4))
    np.testing.assert_array_equal(triangle(outputs)[0], triangle(outputs.reshape(10, 12))[0])


def test_rotation_scale_and_shift_change_nothing():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(50, 6)), random.normal(size=(50, 9))
    b[:, :6] += a
    rotation = np.linalg.qr(random.normal(size=(6, 6)))[0]
    found = normalise(products_of(a, b, a @ rotation, 30 * a, a + 7, a[:, ::-1]))
    assert found[0, 1] == pytest.approx(cka(a, b), abs=1e-5)
    assert 0.3 < found[0, 1] < 0.9
    for other in range(2, 6):
        assert found[0, other] == pytest.approx(1, abs=1e-5)
        assert found[1, other] == pytest.approx(found[0, 1], abs=1e-5)


def test_outputs_that_one_image_moves_have_no_direction():
    outputs = np.zeros((20, 7), np.float32)
    for image in (0, 3):
        alone = outputs.copy()
        alone[image] = [0.3, 0, 1.7, 0, 0, 2.9, 0.1]
        direction, length = triangle(alone)
        assert not direction.any()
        assert length == 0
    outputs[[3, 5]] = 0.3
    assert triangle(outputs)[1] > 0


def test_unrelated_wide_layers_are_not_alike():
    """The plain estimate says 0.8 of them."""
    random = np.random.default_rng(0)
    outputs = random.normal(size=(30, 64, 300))
    between = normalise(products_of(*outputs))[np.triu_indices(30, 1)]
    assert abs(between.mean()) < 3 / math.sqrt(435) * between.std() + 0.005
    centred = [x - x.mean(0) for x in outputs[:2]]
    k, h = (x @ x.T for x in centred)
    assert (k * h).sum() / np.linalg.norm(k) / np.linalg.norm(h) > 0.8


def test_minibatches_give_what_all_images_give():
    random = np.random.default_rng(0)
    shared = random.normal(size=(2000, 4))
    outputs = [np.hstack([shared, random.normal(size=(2000, 12))]) for _ in range(3)]
    whole = normalise(products_of(*outputs))
    parts = sum(products_of(*(own[batch::10] for own in outputs)) for batch in range(10))
    np.testing.assert_allclose(normalise(parts), whole, atol=0.02)
    np.testing.assert_allclose(whole[np.triu_indices(3, 1)], 0.25, atol=0.03)  # 4 of 16 units


def test_outputs_that_are_equal_have_no_length_and_infinite_ones_none_at_all():
    random = np.random.default_rng(0)
    equal, infinite = np.full((7, 3), 0.1), np.full((7, 3), np.inf)
    found = normalise(products_of(random.normal(size=(7, 3)), equal, infinite))
    assert np.isnan(found).sum() == 8
    assert found[0, 0] == pytest.approx(1)


# ---- shards of planted runs


def network(random, h1=6, h2=5):
    shapes = {"fc1": (h1, PIXELS), "fc2": (h2, h1), "fc3": (CLASSES, h2)}
    arrays = {f"{name}.weight": random.normal(size=shape) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": random.normal(size=shape[0]) for name, shape in shapes.items()}
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def hidden_of(p, images):
    x = images.reshape(len(images), -1) / 255
    first = np.maximum(x @ p["fc1.weight"].T + p["fc1.bias"], 0)
    return {"fc1": first, "fc2": np.maximum(first @ p["fc2.weight"].T + p["fc2.bias"], 0)}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(0, 256, (IMAGES, 1, 2, 3)).astype(np.uint8)


@pytest.fixture
def study(synthesise, header, images, tmp_path):
    """Writes (width, group, initial, final) runs; gives what `measure` reads."""
    (record,) = synthesise(tmp_path / "any.h5", [0])
    labels = np.arange(IMAGES) % CLASSES
    write_dataset(
        "own", tmp_path / "own.h5", dict.fromkeys(("train", "test"), (images, labels)), {}
    )

    def write(members, model="dnn"):
        shards, rows = [], []
        for seed, (width, group, initial, final) in enumerate(members):
            path = tmp_path / f"{seed}.h5"
            ours = header._replace(model=model, width=width, layers=LAYERS)
            own = record._replace(seed=seed, snapshots={0: initial, 3: final})
            write_shard(path, ours, 1, [], [own])
            shards.append(str(path))
            rows.append((model, "digits", width, seed, group, str(path)))
        runs = pd.DataFrame(rows, columns=[*KEYS, "group", "shard"]).assign(other_group="")
        return shards, runs, tmp_path / "own.h5"

    return write


def some(n=6):
    random = np.random.default_rng(0)
    groups, widths = ["low", "high", "high"], ["6x5", "4"]
    return [
        (
            widths[run % 2],
            groups[run % 3],
            *(network(random, *((6, 5) if run % 2 == 0 else (4, 4))) for _ in range(2)),
        )
        for run in range(n)
    ]


def test_rows_are_means_over_pairs_by_the_published_formula(study, images):
    members = some()
    table = measure(*study(members))
    assert list(table) == HEAD.tables["similarity"].names
    expected = {}
    for (number, weights), layer in itertools.product(
        enumerate(("initial", "final"), 2), LAYERS[:2]
    ):
        for a, b in itertools.combinations(range(len(members)), 2):
            groups = tuple(sorted((members[a][1], members[b][1]), key=["low", "high"].index))
            relation = "same" if members[a][0] == members[b][0] else "other"
            value = cka(*(hidden_of(members[run][number], images)[layer] for run in (a, b)))
            for widths in (relation, "all"):
                expected.setdefault((layer, weights, *groups, widths), []).append((a, b, value))
    keys = ["layer", "weights", "group_a", "group_b", "widths"]
    assert set(table[keys].itertuples(index=False, name=None)) == set(expected)
    for row in table.to_dict("records"):
        pairs = expected[tuple(row[key] for key in keys)]
        assert row["n_pairs"] == len(pairs)
        assert row["n_runs"] == len({run for pair in pairs for run in pair[:2]})
        assert row["cka"] == pytest.approx(np.mean([value for *_, value in pairs]), abs=1e-4)
        assert math.isnan(row["cka_low"])  # too few runs


@pytest.mark.parametrize("block_bytes", [1, 2**17])
def test_blocks_change_nothing(study, block_bytes, monkeypatch):
    given = study(some())
    monkeypatch.setattr(similarity, "BATCH", 9)
    expected = measure(*given)
    monkeypatch.setattr(similarity, "BLOCK_BYTES", block_bytes)
    pd.testing.assert_frame_equal(measure(*given), expected, rtol=1e-6)


def test_runs_that_differ_by_the_order_of_their_units_are_alike(study):
    """At the start they are not related, so the null is lower."""
    random = np.random.default_rng(1)
    final, members = network(random), []
    for _ in range(7):
        first, second = random.permutation(6), random.permutation(5)
        own = {
            **{"fc1.weight": final["fc1.weight"][first], "fc1.bias": final["fc1.bias"][first]},
            "fc2.weight": 3 * final["fc2.weight"][second][:, first],
            "fc2.bias": 3 * final["fc2.bias"][second],
            **{"fc3.weight": final["fc3.weight"][:, second], "fc3.bias": final["fc3.bias"]},
        }
        members.append(("6x5", "high", network(random), own))
    table = measure(*study(members)).set_index(["layer", "weights", "widths"])
    for layer in LAYERS[:2]:
        alike, null = table.loc[layer, "final", "same"], table.loc[layer, "initial", "same"]
        assert [alike["cka"], alike["cka_low"], alike["cka_high"]] == pytest.approx(
            [1] * 3, abs=1e-4
        )
        assert null["cka_low"] < null["cka"] < null["cka_high"] < 0.99


def test_high_runs_are_compared_with_their_neighbours_by_cka(study, images):
    members = some(12)
    shards, runs, dataset = study(members)
    kept = dataset.with_name("similarity.h5")
    found = similarity.measure(shards, runs, dataset, SETTINGS, kept)["similarity_purity"]
    assert list(found) == HEAD.tables["similarity_purity"].names
    in_ways = found[found["edges"] == "as set"]
    assert in_ways["widths"].tolist() == 2 * ["all", "without the smallest"]
    assert in_ways["layer"].unique().tolist() == LAYERS[:2]
    for row in in_ways.to_dict("records"):
        kept = [m for m in members if row["widths"] == "all" or m[0] != "4"]
        outputs = [hidden_of(member[3], images)[row["layer"]] for member in kept]
        away = 1 - np.array([[cka(a, b) for a in outputs] for b in outputs])
        widths, groups = (pd.Series([member[i] for member in kept]) for i in (0, 1))
        expected = compare_groups(away, groups, widths, SETTINGS, HIGH)
        assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_what_runs_make_of_a_first_minibatch_is_kept(study, images, monkeypatch):
    monkeypatch.setattr(similarity, "BATCH", 16)  # of 40 images, so every third
    members = some()
    members[2][3]["fc1.weight"][0, 0] = np.nan
    shards, runs, dataset = study(members)
    measure(shards, runs, dataset)
    with open_directions(dataset.with_name("similarity.h5")) as file:
        assert list(file.attrs["layers"]) == LAYERS[:2]
        assert read_runs(file) == [(member[0], seed) for seed, member in enumerate(members)]
        for weights, place in (("final", 3), ("initial", 2)):
            outputs = [hidden_of(member[place], images[::3])["fc1"] for member in members]
            ((first, block),) = read_directions(file, weights, "fc1")
            known = [run for run in range(6) if (run, weights) != (2, "final")]
            assert first == 0
            known = [run for run in known if hsic(outputs[run], outputs[run]) > 1e-9]
            assert np.flatnonzero(~np.isnan(block[:, 0])).tolist() == known
            expected = [[cka(outputs[one], outputs[other]) for one in known] for other in known]
            np.testing.assert_allclose(block[known] @ block[known].T, expected, atol=1e-3)


# ---- what is not there


def test_runs_that_diverged_or_are_dead_are_left_out_of_what_they_lack(study, caplog):
    members = some()
    members[0][3]["fc1.weight"][0, 0] = np.nan
    members[1][3]["fc2.weight"][:] = 0  # fc1 tells the images apart, fc2 does not
    table = measure(*study(members))
    of_all = table[table["widths"] == "all"].groupby(["layer", "weights"])["n_pairs"].sum()
    assert of_all.to_dict() == {
        ("fc1", "final"): 10,
        ("fc1", "initial"): 15,
        ("fc2", "final"): 6,
        ("fc2", "initial"): 15,
    }
    assert table["cka"].notna().all()
    assert "1 of 6 runs are left out of fc1, final weights" in caplog.text
    assert "2 of 6 runs are left out of fc2, final weights" in caplog.text


def test_one_run_or_only_diverged_ones_leave_an_empty_table(study):
    members = some(3)
    assert measure(*study(members[:1])).empty
    for _, _, *both in members:
        for parameters in both:
            parameters["fc1.bias"][:] = np.inf
    assert measure(*study(members)).empty


def test_without_images_or_a_family_nothing_is_compared(study, caplog):
    caplog.set_level(logging.INFO, "weightscape")
    shards, runs, _ = study(some(2))
    assert list(measure(shards, runs, None)) == HEAD.tables["similarity"].names
    assert "dnn tells no layers' outputs of test images" in caplog.text
    assert measure(*study(some(2), model="somebody_s")).empty
    assert "somebody_s tells no layers' outputs" in caplog.text
