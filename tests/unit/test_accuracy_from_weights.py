"""Prediction: planted populations with known answers, scikit-learn's scores, folds by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

from planted import plant, write_tables
from weightscape.claims.analyses import accuracy_from_weights as prediction
from weightscape.claims.analyses import transfer
from weightscape.claims.analyses.accuracy_from_weights import (
    COLUMNS,
    FEATURES,
    INNER,
    PREDICTED,
    make_validation,
    measure,
    out_of_fold,
    r_squared,
    score,
    tell,
    with_accuracy,
)
from weightscape.claims.effects import Draws
from weightscape.claims.features import (
    NUMBERS,
    by_layer,
    final_weights,
    initial_weights,
    over_layers,
    width_names,
    width_numbers,
)
from weightscape.claims.learners import LEARNERS
from weightscape.storage.tables import read_table

pytestmark = pytest.mark.filterwarnings("error")

CASE = ["features", "learner", "validation"]
NESTED = {
    "features": "weights",
    "learner": "linear",
    "validation": "nested",
    "n_features": 3,
    "n_folds": 5,
}


def find(tables):
    """(features, learner, validation) -> its row."""
    return tables[0].set_index(CASE).to_dict("index")


@pytest.fixture(scope="module")
def of_width():
    """120 runs whose accuracy follows from width and from nothing else."""
    return measure(*plant(seeds=24), "test", 200)


@pytest.fixture(scope="module")
def of_weights():
    """120 runs of which weights tell half of what width does not."""
    return measure(*plant(seeds=24, of_weights=1.0), "test", 200)


# planted populations


@pytest.mark.parametrize("learner", LEARNERS)
def test_where_width_is_all_weights_tell_nothing_within_widths(of_width, learner):
    rows = find(of_width)
    for features in FEATURES:
        row = rows[features, learner, "nested"]
        assert row["r2"] > 0.85  # 25 var(log width) / (25 var(log width) + 1) is 0.96
        assert row["r2_within_width"] < 0.05
        assert row["r2_within_width_low"] <= 0
    assert rows["weights", learner, "nested"]["r2"] <= rows["width", learner, "nested"]["r2"] + 0.01


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_weights_tell_within_widths_is_found(of_weights, learner):
    rows = find(of_weights)
    for validation in INNER:
        row = rows["weights+width", learner, validation]
        # half of the variance is h's, whose correlation with accuracy is sqrt(1/2); trees of some
        # hundred runs see less of it behind the width
        assert (0.5 if learner == "linear" else 0.2) < row["spearman_within_width"] < 0.8
        assert row["r2"] > rows["width", learner, validation]["r2"] + 0.002
        if learner == "linear":
            assert 0.3 < row["r2_within_width"] < 0.6
            assert row["r2_within_width_low"] > 0.1
        for features in ("width", "initial"):
            assert rows[features, learner, validation]["r2_within_width"] < 0.05
            assert not rows[features, learner, validation]["spearman_within_width"] > 0.2


@pytest.mark.parametrize("learner", LEARNERS)
def test_noise_tells_nothing_beyond_chance(learner):
    """10 populations of 40 runs and 30 features that know nothing: R2 is at most about 0."""
    found = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        runs = plant(widths=("5", "10"), seeds=20, of_width=0.0, seed=seed)[0]
        known = with_accuracy(runs, "test")
        x = random.normal(size=(len(runs), 30))
        validation = make_validation(known, "nested")
        found.append(out_of_fold(x, known, validation, LEARNERS[learner]).assign(**NESTED))
    rows = pd.concat([score([part], 100) for part in found])
    for column in ("r2", "r2_within_width", "spearman_within_width"):
        error = rows[column].std() / np.sqrt(len(rows))
        assert rows[column].mean() < 3 * error
    assert (rows["r2_low"] > 0).sum() <= 1


def test_choosing_features_by_all_accuracies_would_be_seen():
    """The same test does find a leak: features chosen with the accuracies of all runs."""
    random = np.random.default_rng(0)
    known = with_accuracy(plant(widths=("5", "10"), of_width=0.0)[0], "test")
    many = random.normal(size=(len(known), 2000))
    r = (many - many.mean(0)).T @ (known["accuracy"] - known["accuracy"].mean())
    leaked = many[:, np.argsort(-np.abs(r))[:30]]
    part = out_of_fold(leaked, known, make_validation(known, "nested"), LEARNERS["linear"])
    assert r2_score(part["accuracy"], part["predicted"]) > 0.3


@pytest.mark.parametrize("learner", LEARNERS)
def test_width_may_have_any_mean_when_it_is_known_and_not_when_it_is_new(learner):
    """Accuracies that jump between widths: their means are told in full, and not guessed."""
    jumps = {"5": 90.0, "10": 20.0, "20": 80.0, "40": 30.0, "80": 70.0}
    runs, final, initial = plant(of_width=0.0, seeds=15)
    known = with_accuracy(runs, "test")
    known["accuracy"] += known["width"].map(jumps)
    found = {}
    for validation in INNER:
        x = tell(known, final, initial, validation)["width"]
        part = out_of_fold(x, known, make_validation(known, validation), LEARNERS[learner])
        found[validation] = r2_score(part["accuracy"], part["predicted"])
    means = known.groupby("width")["accuracy"].transform("mean")
    assert found["nested"] > r2_score(known["accuracy"], means) - 0.01
    assert found["leave_one_width_out"] < 0.1


def test_width_alone_says_nothing_within_widths(of_width):
    """Out of fold the mean of a width is lower where the held runs are better; it must not show."""
    rows = of_width[0][of_width[0]["features"] == "width"]
    for column in ("r2_within_width", "r2_within_width_low", "r2_within_width_high"):
        assert (rows[column] == 0).all()
    assert rows["spearman_within_width"].isna().all()
    predicted = of_width[1].query("features == 'width' and validation == 'nested'")
    assert (predicted["beyond"] == 0).all()


# scores


@pytest.fixture(scope="module")
def predictions():
    """Two predictions of 60 runs that are neither right nor useless, in three widths."""
    random = np.random.default_rng(1)
    accuracy = np.repeat([60.0, 70, 90], 20) + random.normal(size=60)
    runs = pd.DataFrame({"width": np.repeat(["5", "10", "20x50"], 20), "accuracy": accuracy})
    parts = []
    for error in (1.0, 3.0):
        predicted = accuracy + error * random.normal(size=60)
        mean = pd.Series(predicted).groupby(runs["width"]).transform("mean")
        parts.append(runs.assign(predicted=predicted, beyond=predicted - mean, **NESTED))
    return parts


def test_scores_are_scikit_learn_s_and_scipy_s(predictions):
    table = score(predictions, 50)
    for part, row in zip(predictions, table.to_dict("records"), strict=True):
        true, predicted = part["accuracy"], part["predicted"]
        assert row["n"] == 60
        assert row["r2"] == pytest.approx(r2_score(true, predicted))
        assert row["mean_absolute_error"] == pytest.approx(mean_absolute_error(true, predicted))
        assert row["spearman"] == pytest.approx(stats.spearmanr(true, predicted).statistic)
        of_width = [
            stats.spearmanr(rows["accuracy"], rows["predicted"]).statistic
            for _, rows in part.groupby("width")
        ]
        assert row["spearman_within_width"] == pytest.approx(np.mean(of_width))
        assert row["n_ranked_within_width"] == 60


def test_r2_within_widths_by_a_loop(predictions):
    for part, row in zip(predictions, score(predictions, 50).to_dict("records"), strict=True):
        errors = total = 0.0
        for _, rows in part.groupby("width"):
            true, predicted = rows["accuracy"].tolist(), rows["predicted"].tolist()
            for y, p in zip(true, predicted, strict=True):
                off = y - sum(true) / 20
                errors += (off - (p - sum(predicted) / 20)) ** 2
                total += off**2
        assert row["r2_within_width"] == pytest.approx(1 - errors / total)


def test_intervals_hold_the_true_r2_as_often_as_they_say():
    """200 populations of two widths: R2 = 1 - 1/4 where errors have a quarter of the variance."""
    held = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        predicted = random.normal(size=(80, 1)) * np.sqrt(3)
        values = predicted[:, 0] + random.normal(size=80)
        _, low, high = r_squared(predicted, values, np.repeat(["5", "10"], 40), 200)[:, 0]
        held += low <= 0.75 <= high
    assert 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200) - 0.02 < held / 200


def test_resamples_keep_the_runs_of_each_width():
    """Width 5 has errors and width 10 none: every resample has as much of both."""
    values = np.array([1.0, -1, 1, -1, 10, -10])
    predicted = np.array([2.0, -2, 2, -2, 10, -10])[:, None]
    found = r_squared(predicted, values, np.array(["5"] * 4 + ["10"] * 2), 100)[:, 0]
    np.testing.assert_allclose(found, 1 - 4 / 204)


def test_equal_accuracies_have_no_r2():
    assert np.isnan(r_squared(np.ones((5, 2)), np.full(5, 3.0), np.array(["5"] * 5), 10)).all()


# who is predicted from whom


def test_no_run_is_predicted_by_what_it_taught():
    """A learner that remembers: no run of the same width and initial weights is in its memory."""
    runs = plant(widths=("5", "10", "20", "40"), seeds=12)[0]
    known = with_accuracy(runs.assign(init_seed=runs["seed"] // 3), "test")
    names = (known["width"] + "/" + known["init_seed"].astype(str)).factorize()[0].astype(float)
    met = []

    def remember(training, accuracy, others):
        met.append(np.isin(others[:, 0], training[:, 0]).mean())
        return np.isin(others[:, :1], training[:, 0]).T.astype(float)

    part = out_of_fold(names[:, None], known, make_validation(known, "nested"), remember)
    assert (part["predicted"] == 0).all()
    inner = [share for number, share in enumerate(met) if number % 4 < 3]
    assert inner == [0] * 15  # five folds of three each, none of which share initial weights


def test_left_out_widths_are_new_in_inner_folds_too():
    known = with_accuracy(plant(seeds=6)[0], "test")
    validation = make_validation(known, "leave_one_width_out")
    widths = known["width"].to_numpy()
    for fold in np.unique(validation.folds):
        held = validation.folds == fold
        assert len(set(widths[held])) == 1
        assert not set(widths[held]) & set(widths[~held])
        folds = validation.inner(~held)
        for inner in np.unique(folds):
            assert not set(widths[~held][folds == inner]) & set(widths[~held][folds != inner])


def test_each_fold_has_runs_of_each_width():
    known = with_accuracy(plant(seeds=10)[0], "test")
    counts = pd.crosstab(make_validation(known, "nested").folds, known["width"])
    assert (counts == 2).all(axis=None)


def test_small_populations_are_not_predicted():
    runs = plant(widths=("5", "10", "20"), seeds=4)[0]
    known = with_accuracy(runs, "test")
    assert make_validation(known, "nested") is not None
    assert make_validation(known, "leave_one_width_out") is None  # two are too few to learn from
    assert make_validation(known[:9], "nested") is None
    shared = known.assign(init_seed=0)
    assert make_validation(shared, "nested") is None  # three starts


# tables


def test_the_table_has_a_row_for_each_case_and_each_run_is_predicted_once(of_weights):
    table, predicted = of_weights
    assert list(table) == list(COLUMNS)
    assert list(predicted) == list(PREDICTED)
    assert len(table) == len(FEATURES) * len(LEARNERS) * len(INNER)
    assert (table["n"] == 120).all()
    assert set(table["n_folds"]) == {5}
    sizes = table.drop_duplicates(["features", "validation"]).set_index(["features", "validation"])
    assert sizes["n_features"].to_dict() == {
        ("width", "nested"): 6,
        ("initial", "nested"): 9,
        ("weights", "nested"): 9,
        ("weights+width", "nested"): 15,
        ("width", "leave_one_width_out"): 1,
        ("initial", "leave_one_width_out"): 9,
        ("weights", "leave_one_width_out"): 9,
        ("weights+width", "leave_one_width_out"): 10,
    }
    assert (predicted.groupby([*CASE, "width", "seed"]).size() == 1).all()
    assert len(predicted) == 120 * len(table)


def test_scores_are_those_of_the_predictions_that_are_kept(of_weights):
    table, predicted = of_weights
    for case, row in find((table,)).items():
        part = predicted[(predicted[CASE] == list(case)).all(axis=1)]
        assert row["r2"] == pytest.approx(r2_score(part["accuracy"], part["predicted"]))


def test_a_population_of_four_runs_has_rows_and_no_predictions():
    table, predicted = measure(*plant(widths=("2", "8"), seeds=2), "test", 100)
    assert (table["n"] == 0).all()
    assert table["r2"].isna().all()
    assert len(table) == 16
    assert len(predicted) == 0
    assert list(predicted) == list(PREDICTED)


def test_failed_runs_stay_in_the_data():
    """Runs whose weights diverged: NaN and infinite numbers, and accuracies of chance."""
    runs, final, initial = plant(widths=("5", "10", "20", "40"), seeds=10)
    failed = runs["seed"] == 3
    runs.loc[failed, ["test_accuracy", "group"]] = [10.0, "non"]
    final.loc[final["seed"] == 3, ["std", "mean", "skew"]] = np.nan
    table, predicted = measure(runs, final, initial, "test", 100)
    assert (table["n"] == 40).all()
    of_weights = predicted.query("features == 'weights' and validation == 'nested' and seed == 3")
    assert (of_weights["predicted"] < 50).all()  # that numbers are missing tells it
    assert (of_weights["group"] == "non").all()


def test_what_is_not_known_is_left_out_and_the_same_is_found_again():
    """A run without accuracy, and a population without initial weights."""
    runs, final, initial = plant(widths=("5", "10", "20", "40"), seeds=4)
    runs.loc[3, "test_accuracy"] = np.nan
    table, predicted = measure(runs, final, initial[:0], "test", 100)
    assert set(table.loc[table["n"] == 0, "features"]) == {"initial"}
    assert set(table.loc[table["features"] != "initial", "n"]) == {15}
    assert "initial" not in set(predicted["features"])
    again = measure(runs, final, initial[:0], "test", 100)
    pd.testing.assert_frame_equal(table, again[0])
    pd.testing.assert_frame_equal(predicted, again[1])


# features


def test_features_are_told_from_the_tables_of_the_measures(tmp_path):
    runs, final, initial = plant(widths=("5", "20x50"[:2]), seeds=3)
    paths = write_tables(runs, final, initial, tmp_path)
    tables = {name: read_table(path) for name, path in paths.items()}
    found, start = final_weights(tables), initial_weights(tables["nulls"])
    for read, planted in ((found, final), (start, initial)):
        assert len(read) == len(planted)
        np.testing.assert_allclose(read["std"], planted["std"])
        assert list(read)[5:] == NUMBERS


def test_numbers_that_tell_the_width_are_no_features():
    for name in ("fan_in", "n_weights", "strength_n_nodes", "n_singular_values", "target"):
        assert name not in NUMBERS
    assert {"mean", "std", "q05", "strength_gini", "spectral_norm", "stable_rank"} <= set(NUMBERS)


def test_features_stand_in_the_order_of_the_runs():
    runs, final, _ = plant(widths=("5", "10"), seeds=3)
    mixed = final.sample(frac=1, random_state=0)
    mixed["layer"] = pd.Categorical(mixed["layer"], ["fc1", "fc2", "fc3"])
    mixed = mixed.sort_values("layer", kind="stable").astype({"layer": str})
    np.testing.assert_array_equal(by_layer(mixed, runs), by_layer(final, runs))
    row = final[(final["width"] == "10") & (final["seed"] == 1)]
    expected = row[["mean", "std", "skew"]].to_numpy().ravel()
    np.testing.assert_array_equal(by_layer(final, runs)[4], expected)


def test_layers_of_any_number_are_told_by_three():
    runs, final, _ = plant(widths=("5",), seeds=2)
    final.loc[(final["layer"] == "fc2") & (final["seed"] == 0), "mean"] = np.nan
    final.loc[final["seed"] == 1, "skew"] = np.nan
    first, mid, last = (final[final["layer"] == name] for name in ("fc1", "fc2", "fc3"))
    found = over_layers(final, runs)
    columns = ["mean", "std", "skew"]
    np.testing.assert_array_equal(found[:, :3], first[columns])
    np.testing.assert_array_equal(found[:, 3:6], last[columns])
    assert found[0, 6] == pytest.approx((first["mean"].iloc[0] + last["mean"].iloc[0]) / 2)
    assert found[1, 7] == pytest.approx(
        sum(table["std"].iloc[1] for table in (first, mid, last)) / 3
    )
    assert np.isnan(found[1, 8])


def test_widths_as_numbers_and_as_names():
    np.testing.assert_allclose(np.exp(width_numbers(["5", "20"])), [[5], [20]])
    np.testing.assert_allclose(np.exp(width_numbers(["5", "20x50"])), [[5, 5], [20, 50]])
    assert width_names(["5", "20x50", "5"]).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_widths_that_are_names_have_no_number_and_crash_nothing():
    assert np.isnan(width_numbers(["small", "large"])).all()
    np.testing.assert_allclose(np.exp(width_numbers(["a", "20x50"])), [[np.nan] * 2, [20, 50]])
    names = ("tiny", "small", "large", "huge")
    runs, final, initial = plant(widths=("2", "4", "8", "16"), seeds=6)
    named = dict(zip(("2", "4", "8", "16"), names, strict=True))
    runs, final, initial = (t.assign(width=t["width"].map(named)) for t in (runs, final, initial))
    table, _ = measure(runs, final, initial, "test", 20)
    of_width = table[(table["features"] == "width") & (table["validation"] == "nested")]
    assert (of_width["n"] == 24).all()
    r2 = of_width.set_index("learner")["r2"]
    assert r2["linear"] > 0.8  # a mean for each name
    assert r2["boosting"] > 0  # of 24 runs its trees see few
    moved = transfer.measure([transfer.make_taught(runs, final, "test")], 10, Draws(10))
    assert (moved["n"] == 24).all()


def test_a_new_width_is_told_by_its_number_only():
    runs, final, initial = plant(seeds=3)
    assert tell(runs, final, initial, "nested")["width"].shape == (15, 6)
    assert tell(runs, final, initial, "leave_one_width_out")["width"].shape == (15, 1)
    assert prediction.FEWEST_WIDTHS > 2
