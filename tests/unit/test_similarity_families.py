"""Similarity across families, against all pairs of runs by brute force, and planted answers."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from weightscape.claims.analyses import similarity_families
from weightscape.claims.analyses.similarity_families import COLUMNS, Family, make_family, measure
from weightscape.claims.effects import Draws
from weightscape.errors import WeightscapeError
from weightscape.measures.runs.similarity import Triangles
from weightscape.storage.directions import add_directions, add_runs, write_directions

pytestmark = pytest.mark.filterwarnings("error")

DRAWS = Draws(99)
IMAGES, CLASSES = 24, 3
LAYERS = {"dnn": ["fc1", "fc2"], "cnn": ["conv1"]}


def sharpen(random, accuracy):
    """Outputs of a layer that tells classes apart as well as its run is accurate."""
    classes = np.repeat(np.eye(CLASSES), IMAGES // CLASSES, axis=0) @ random.normal(size=(3, 40))
    noise = random.normal(size=(IMAGES, 40))
    return (accuracy / 100 * classes + (1 - accuracy / 100) * noise).astype(np.float32)


@pytest.fixture
def populate(tmp_path):
    """A family whose outputs are drawn for each run; the runs are not in the order of the file."""

    def make(model, outputs_of=sharpen, n=30, images=IMAGES, broken=(), dataset="mnist", seed=0):
        random = np.random.default_rng([seed, len(model)])
        random.bytes(sum(map(ord, model)))
        accuracy = random.uniform(10, 100, n)
        runs = pd.DataFrame(
            {
                "model": model,
                "dataset": dataset,
                "width": np.array(["4", "8"])[np.arange(n) % 2],
                "seed": np.arange(n) // 2,
                "test_accuracy": accuracy,
                "group": np.select([accuracy < 30, accuracy > 70], ["low", "high"], "mid"),
            }
        )
        runs.loc[0, "group"] = "non"
        path = tmp_path / f"{dataset}-{model}.h5"
        kept = {}
        with write_directions(path, model, dataset, LAYERS[model]) as file:
            order = random.permutation(n)
            add_runs(file, runs.iloc[order].to_dict("records"))
            for weights, layer in itertools.product(("final", "initial"), LAYERS[model]):
                triangles = Triangles.of(n, images)
                for place, run in enumerate(order):
                    quality = accuracy[run] if weights == "final" else 0.0
                    outputs = outputs_of(random, quality)[:images]
                    triangles.put(
                        place, np.full_like(outputs, np.nan) if run in broken else outputs
                    )
                known = triangles.lengths > 0
                add_directions(file, weights, layer, triangles.directions, known)
                own = np.full_like(triangles.directions, np.nan)
                own[order] = np.where(known[:, None], triangles.directions, np.nan)
                kept[weights, layer] = own
        return make_family(runs, path, "test", "exclude"), runs, kept

    return make


def test_likeness_is_that_of_all_pairs_by_brute_force(populate, monkeypatch):
    monkeypatch.setattr("weightscape.storage.directions.ROWS", 7)
    made = {model: populate(model, broken=(5, 6)) for model in LAYERS}
    table = measure([family for family, _, _ in made.values()], DRAWS)
    assert tuple(table) == COLUMNS
    assert len(table) == 2 * 2 * 2  # directions, weights, layers of the DNN
    for row in table.to_dict("records"):
        (_, runs, own), (_, others, theirs) = made[row["model"]], made[row["reference_model"]]
        assert row["is_last"] == ("fc1" not in (row["layer"], row["reference_layer"]))
        of = own[row["weights"], row["layer"]]
        all_of_reference = theirs[row["weights"], row["reference_layer"]]
        between = of @ all_of_reference.T  # CKA of each two
        is_high = (others["group"] == "high") & ~np.isnan(all_of_reference[:, 0])
        high, low_and_mid = runs["group"] == "high", runs["group"].isin(["low", "mid"])
        like = between[:, is_high].mean(1)
        assert row["cka"] == pytest.approx(np.nanmean(like[high]), abs=1e-4)
        assert row["cka_others"] == pytest.approx(np.nanmean(like[low_and_mid]), abs=1e-4)
        assert row["n_reference"] == is_high.sum()
        assert row["n_high"] == (high & ~np.isnan(like)).sum()
        counted = ~np.isnan(like) & (runs["group"] != "non")
        expected = stats.spearmanr(like[counted], runs["test_accuracy"][counted]).statistic
        assert row["pooled"] == pytest.approx(expected, abs=0.02)  # half precision may swap two
        assert row["n"] == counted.sum() == 27


def test_families_that_learn_one_thing_are_alike_where_they_are_accurate(populate):
    table = measure([populate(model)[0] for model in LAYERS], DRAWS)
    # of these classes each run has its own random image, and so what they share is which are alike
    final, initial = (table[table["weights"] == weights] for weights in ("final", "initial"))
    assert (final["within_low"] > 0.3).all()
    assert (final["cka_low"] > final["cka_others"]).all()
    assert (final["cka_low"] < final["cka"]).all()
    assert (initial["cka"].abs() < 0.05).all()
    assert (initial["within_p"] > 0.01).all()


def test_the_interval_of_the_mean_covers_it():
    """Of effects of both sides, whose true mean is 0, in 400 draws."""
    random, found = np.random.default_rng(0), []
    for _ in range(400):
        one, other = random.normal(size=12), random.normal(size=20)
        between = one[:, None] + other + random.normal(size=(12, 20))
        _, low, high = similarity_families._mean_with_interval(between.mean(1), between.mean(0))
        found.append(low < 0 < high)
    assert 0.88 < np.mean(found) < 0.98


def test_few_high_runs_compare_with_nobody(populate):
    family, other = (populate(model)[0] for model in LAYERS)
    few = family._replace(runs=family.runs.assign(group=["high"] * 2 + ["low"] * 27))
    rows = measure([few, other], DRAWS).set_index(["model", "weights"])
    assert rows.loc[("cnn", "final"), "n_reference"].tolist() == [2, 2]
    assert rows.loc["cnn"]["pooled"].isna().all()
    assert rows.loc["dnn"]["pooled"].notna().all()
    assert math.isnan(rows.loc[("dnn", "final"), "cka_low"].iloc[0])


def test_families_are_compared_on_one_dataset_and_where_they_tell_of_layers(populate, tmp_path):
    one, other = populate("dnn")[0], populate("cnn", dataset="digits")[0]
    assert measure([one, other], DRAWS).empty
    with write_directions(tmp_path / "none.h5", "mine", "mnist", []):
        pass
    silent = Family("mine", "mnist", one.runs.assign(model="mine"), tmp_path / "none.h5")
    assert measure([one, silent], DRAWS).empty


def test_other_images_are_an_error(populate):
    families = [populate("dnn")[0], populate("cnn", images=20)[0]]
    with pytest.raises(WeightscapeError, match=r"is of other test images than that of \w+; delete"):
        measure(families, DRAWS)
