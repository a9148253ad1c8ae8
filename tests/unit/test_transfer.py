"""Transfer: planted populations that are alike, reversed, or have nothing in common."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from planted import plant
from weightscape.claims.analyses import transfer
from weightscape.claims.analyses.accuracy_from_weights import out_of_fold
from weightscape.claims.analyses.transfer import CASES, COLUMNS, make_taught, measure
from weightscape.claims.effects import Draws
from weightscape.claims.learners import LEARNERS

pytestmark = pytest.mark.filterwarnings("error")

DRAWS = Draws(99)
PAIR = ["trained_model", "model", "features", "learner"]


def populate(name, **how):
    runs, final, _ = plant(model=name, **{"of_weights": 2.0, "seeds": 20, **how})
    return make_taught(runs, final, "test")


@pytest.fixture(scope="module")
def populations():
    """Two that are alike, though of other layers, widths and scale; a reversed one; a small one."""
    return [
        populate("dnn", seed=1),
        populate("cnn", seed=2, layers=("conv1", "fc"), widths=("1", "3", "9"), of_width=2.0),
        populate("vit", seed=3, of_weights=-2.0),
        populate("mlp", seed=4, widths=("4", "8"), seeds=4),
    ]


@pytest.fixture(scope="module")
def table(populations):
    return measure(populations, 100, DRAWS)


@pytest.fixture(scope="module")
def rows(table):
    return table.set_index(PAIR).to_dict("index")


def test_there_is_a_row_for_each_ordered_pair(table):
    assert list(table) == list(COLUMNS)
    assert len(table) == 4 * 4 * len(CASES)
    assert len(table.drop_duplicates(PAIR)) == len(table)
    sizes = {"dnn": 100, "cnn": 60, "vit": 100, "mlp": 8}
    assert table.groupby("model")["n"].max().to_dict() == sizes
    assert set(table.loc[table["trained_model"] == "cnn", "n_trained"]) == {60}


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_alike_transfers_within_widths(rows, learner):
    for pair in (("dnn", "cnn"), ("cnn", "dnn")):
        row = rows[(*pair, "weights", learner)]
        assert row["within"] > 0.3
        assert row["within_low"] > 0
        assert row["within_p"] <= 0.02
        assert row["pooled"] > 0.5
        assert not row["sign_flip"]


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_reversed_is_ranked_the_wrong_way_round(rows, learner):
    for pair in (("dnn", "vit"), ("vit", "dnn")):
        row = rows[(*pair, "weights", learner)]
        assert row["within"] < -0.3
        assert row["within_high"] < 0
        assert row["pooled"] > 0  # by the width
        assert row["sign_flip"]


def test_width_transfers_over_all_runs_and_says_nothing_within_widths(rows):
    for trained in ("dnn", "cnn", "vit"):
        for other in ("dnn", "cnn", "vit"):
            row = rows[trained, other, "width", "linear"]
            assert row["pooled"] > 0.5
            assert np.isnan(row["within"])
            assert row["n_within"] == 0


def test_a_population_too_small_to_learn_from_is_still_predicted(rows):
    assert rows["dnn", "mlp", "weights", "linear"]["n"] == 8
    assert np.isfinite(rows["dnn", "mlp", "weights", "linear"]["pooled"])
    assert rows["mlp", "dnn", "weights", "linear"]["n"] == 0
    assert rows["mlp", "dnn", "weights", "linear"]["n_within"] == 0
    assert np.isnan(rows["mlp", "dnn", "weights", "linear"]["pooled"])


def test_own_runs_are_predicted_out_of_fold(rows, populations):
    own = populations[0]
    part = out_of_fold(own.features["weights"], own.runs, own.validation, LEARNERS["linear"])
    row = rows["dnn", "dnn", "weights", "linear"]
    assert row["r2"] == pytest.approx(r2_score(part["accuracy"], part["predicted"]))
    found = stats.spearmanr(part["accuracy"], part["predicted"]).statistic
    assert row["pooled"] == pytest.approx(found)


def test_the_same_runs_under_another_name_are_predicted_as_well():
    """They were learned from, so they are predicted better than out of fold."""
    twins = [populate("dnn", seed=1), populate("cnn", seed=1)]
    found = measure(twins, 100, DRAWS).set_index(PAIR)["within"]
    assert found["dnn", "cnn", "weights", "linear"] >= found["dnn", "dnn", "weights", "linear"]


def test_noise_does_not_transfer(monkeypatch):
    """10 pairs of unrelated populations: correlations within widths are 0 but for chance."""
    monkeypatch.setattr(transfer, "CASES", (("weights", "linear"),))
    found = []
    for seed in range(5):
        pair = [
            populate(name, seed=10 * seed + number, of_weights=0.0, widths=("5", "10"))
            for number, name in enumerate(("dnn", "cnn"))
        ]
        table = measure(pair, 100, Draws(1))
        crossed = table["trained_model"] != table["model"]
        found += table.loc[crossed, "within"].tolist()
    assert len(found) == 10
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert np.abs(found).max() < 4 / np.sqrt(40)


def test_standard_scores_know_no_accuracy():
    runs, final, _ = plant(seeds=5)
    mixed = runs.assign(test_accuracy=runs["test_accuracy"].to_numpy()[::-1])
    first, other = (make_taught(table, final, "test") for table in (runs, mixed))
    for name in first.features:
        np.testing.assert_array_equal(first.features[name], other.features[name])


def test_accuracies_are_in_standard_scores_and_units_do_not_matter():
    runs, final, _ = plant(seeds=5)
    whole = make_taught(runs, final, "test")
    np.testing.assert_allclose(
        whole.runs["accuracy"], stats.zscore(runs["test_accuracy"]), rtol=1e-9
    )
    scaled = final.assign(std=1000 * final["std"] + 3)
    np.testing.assert_allclose(
        make_taught(runs, scaled, "test").features["weights"],
        whole.features["weights"],
        atol=1e-9,
    )


def test_one_population_is_a_table_of_its_own():
    table = measure([populate("dnn", seeds=6)], 100, DRAWS)
    assert len(table) == len(CASES)
    assert (table["n"] == 30).all()


def test_four_runs_and_equal_accuracies_crash_nothing():
    few = populate("dnn", widths=("2", "8"), seeds=2)
    accuracies = {"cnn": 10.0, "vit": np.nan}
    planted = {name: plant(model=name, widths=("5", "10"), seeds=6)[:2] for name in accuracies}
    equal, none = (
        make_taught(runs.assign(test_accuracy=accuracies[name]), final, "test")
        for name, (runs, final) in planted.items()
    )
    table = measure([few, equal, none], 100, DRAWS)
    assert len(table) == 9 * len(CASES)
    assert table["within"].isna().all()
    assert (table.loc[table["model"] == "vit", "n"] == 0).all()
    assert (table.loc[table["trained_model"] == "dnn", "n"] == 0).all()
