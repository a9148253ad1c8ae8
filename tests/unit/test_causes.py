"""Failures: planted runs of each cause are told apart, whatever else is wrong with them."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from weightscape.claims.analyses.causes import (
    ALL_WIDTHS,
    CAUSE_COLUMNS,
    CAUSES,
    FAILURE_COLUMNS,
    OTHERS,
    explain,
)
from weightscape.runs.collecting import KEYS

EPOCHS = 10
LAYERS = ("fc1", "fc2", "fc3")
FALLING, FLAT = np.linspace(2.3, 0.3, EPOCHS + 1), np.full(EPOCHS + 1, 2.301)


def run(
    group, accuracy=95.0, width="5", loss=FALLING, test_loss=None, gradient=1.0, classes=10, **dead
):
    """A planted run: its curves by epoch, and the dead share of its ReLU layers (0 by default)."""
    return {
        "group": group,
        "accuracy": accuracy,
        "width": width,
        "loss": loss,
        "test_loss": loss if test_loss is None else test_loss,
        "gradient": np.broadcast_to(gradient, EPOCHS + 1),
        "classes": classes,
        "dead": {"fc1": dead.get("fc1", 0.0), "fc2": dead.get("fc2", 0.0)},
    }


def tables_of(members):
    """The tables that a study has of these runs."""
    runs, curves, telemetry, predictions = [], [], [], []
    for seed, one in enumerate(members):
        key = dict(zip(KEYS, ("dnn", "mnist", one["width"], seed), strict=True))
        key["group"] = one["group"]
        runs.append({**key, "train_accuracy": one["accuracy"], "test_accuracy": 1.0})
        predictions.append({**key, "n_classes_predicted": one["classes"]})
        for epoch in range(EPOCHS + 1):
            both = {"train_loss": one["loss"][epoch], "test_loss": one["test_loss"][epoch]}
            curves.append({**key, "epoch": epoch, **both})
        for layer, epoch in itertools.product(LAYERS, range(EPOCHS + 1)):
            dead = np.broadcast_to(one["dead"].get(layer, math.nan), EPOCHS + 1)[epoch]
            norm = one["gradient"][epoch]
            norm = norm if layer == "fc1" or math.isnan(norm) else 7.0
            telemetry.append(
                {**key, "layer": layer, "epoch": epoch, "dead_units": dead, "gradient_norm": norm}
            )
    # the order of the tables' rows is nobody's business
    order = np.random.default_rng(0).permutation(len(predictions))
    shuffled = pd.DataFrame(predictions).iloc[order]
    return pd.DataFrame(runs), pd.DataFrame(curves), pd.DataFrame(telemetry), shuffled


def explained(*members):
    return explain(*tables_of(members), "train")


def failures_of(*members):
    """Of these runs beside four that succeeded, whose gradients are 1, 2, 2 and 3."""
    good = [run("high", gradient=norm) for norm in (1.0, 2.0, 2.0, 3.0)]
    return explained(*good, *members)[0]


def broken(at):
    loss = FALLING.copy()
    loss[at:] = np.nan
    return loss


def dying(at):
    """The share of dead units of a layer that dies at an epoch, having been so at the first two."""
    share = np.full(EPOCHS + 1, 0.4)
    share[:2] = 1.0
    share[at:] = 1.0
    return share


PLANTED = {
    "diverged": run("non", loss=broken(4)),
    "dead layer": run("non", loss=FLAT, gradient=0.0, classes=1, fc2=1.0),
    "vanishing gradient": run("low", 20, loss=FLAT, gradient=1e-3, classes=4),
    "constant output": run("non", 11.2, loss=FLAT, gradient=0.5, classes=1, fc1=0.5),
    "nearly dead layer": run("low", 40, loss=FLAT, fc2=0.8),
    "slow": run("low", 40, loss=np.linspace(2.3, 1.8, EPOCHS + 1)),
    "plateau": run("low", 40, loss=np.linspace(2.3, 2.2, EPOCHS + 1), fc1=0.6),
}
NOTHING_KNOWN = np.where(np.arange(EPOCHS + 1) < EPOCHS, np.nan, 1.0)


def test_each_planted_cause_is_found():
    assert set(PLANTED) == set(CAUSES) - {"unknown"}
    found = failures_of(*PLANTED.values())
    assert tuple(found.columns) == FAILURE_COLUMNS
    assert found["cause"].tolist() == list(PLANTED)
    assert found["seed"].tolist() == list(range(4, 4 + len(PLANTED)))


EVERYTHING = {
    "diverged": {"loss": broken(6)},
    "dead layer": {"fc2": 1.0},
    "vanishing gradient": {"gradient": 1e-9},
    "constant output": {"classes": 1},
    "nearly dead layer": {"fc1": 0.75},
    "slow": {"loss": np.linspace(2.3, 1.0, EPOCHS + 1)},
    "plateau": {"loss": FLAT},
}


@pytest.mark.parametrize("first", range(len(PLANTED)))
def test_of_several_causes_the_first_is_given(first):
    traits = {}
    for cause in reversed(CAUSES[first:-1]):
        traits |= EVERYTHING[cause]
    (found,) = failures_of(run("low", **traits)).itertuples()
    assert found.cause == CAUSES[first]


def test_of_networks_whose_curves_are_not_known_no_cause_is_known():
    nothing = {
        "loss": NOTHING_KNOWN,
        "gradient": math.nan,
        "fc1": math.nan,
        "fc2": math.nan,
        "classes": math.nan,
    }
    good, bad = [run("high", **nothing) for _ in range(3)], run("low", 40, **nothing)
    constant = run("non", **nothing)
    broken_end = [run("non", **nothing | {"loss": NOTHING_KNOWN * end}) for end in (np.nan, np.inf)]
    found, _ = explained(*good, bad, constant, *broken_end)
    assert found["cause"].tolist() == ["unknown", "constant output", "unknown", "diverged"]
    assert found["diverged_epoch"].isna().tolist() == [True, True, True, False]


def test_of_networks_trained_elsewhere_a_loss_between_that_is_not_known_is_no_divergence():
    """A zoo may tell of a few epochs alone, and of none on one of the splits."""
    few = np.where(np.isin(np.arange(EPOCHS + 1), [0, 1, EPOCHS]), FALLING, np.nan)
    elsewhere = {"gradient": math.nan, "fc1": math.nan, "fc2": math.nan, "classes": math.nan}
    known = run("low", 40, loss=few, test_loss=few * np.nan, **elsewhere)
    lost = run("low", 40, loss=np.where(np.arange(EPOCHS + 1) == 1, np.inf, few), **elsewhere)
    found, _ = explained(known, lost)
    assert found["cause"].tolist() == ["unknown", "diverged"]
    assert found["diverged_epoch"].tolist() == [pytest.approx(math.nan, nan_ok=True), 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_tells_when(bad):
    loss = FALLING.copy()
    loss[7] = bad
    (found,) = failures_of(run("non", test_loss=loss, fc1=1.0)).itertuples()
    assert (found.cause, found.diverged_epoch) == ("diverged", 7)
    # units of NaN count as dead: they tell nothing
    assert found.dead_layer == ""
    assert math.isnan(found.dead_at_end)


@pytest.mark.parametrize(("at", "before"), [(2, 1.0), (6, 5.0), (EPOCHS, 9.0)])
def test_a_layer_that_dies_is_told_from_its_gradient_before(at, before):
    gradient = np.where(np.arange(EPOCHS + 1) < at, np.arange(EPOCHS + 1.0), 0.0)
    share = dying(at)
    if at == 2:
        share[1] = 0.8
    (found,) = failures_of(run("non", gradient=gradient, fc1=0.3, fc2=share)).itertuples()
    assert (found.cause, found.dead_layer, found.dead_epoch) == ("dead layer", "fc2", at)
    assert (found.dead_at_start, found.dead_at_end) == (1.0, 1.0)
    # over the median of the four that succeeded, 2
    assert found.gradient_before_death == before
    assert found.relative_gradient_before_death == before / 2
    assert (found.gradient_start, found.relative_gradient_end) == (0, 0)


def test_a_layer_that_is_dead_before_training_has_no_gradient_before():
    (found,) = failures_of(run("non", gradient=0.0, fc1=1.0, fc2=1.0)).itertuples()
    assert (found.dead_layer, found.dead_epoch, found.dead_at_start) == ("fc1", 0, 1)
    assert math.isnan(found.gradient_before_death)
    assert math.isnan(found.relative_gradient_before_death)


def test_a_layer_that_was_dead_for_a_while_is_not_dead():
    share = np.full(EPOCHS + 1, 1.0)
    share[-1] = 0.2
    (found,) = failures_of(run("low", loss=FLAT, fc2=share)).itertuples()
    assert (found.cause, found.dead_layer, found.deadest_layer) == ("plateau", "", "fc2")
    assert (found.dead_at_start, found.dead_at_end) == (1, 0.2)
    assert math.isnan(found.dead_epoch)


def test_a_gradient_that_is_small_at_the_end_alone_is_no_cause():
    gradient = np.where(np.arange(EPOCHS + 1) < 7, 1.0, 1e-9)
    (found,) = failures_of(run("low", loss=FLAT, gradient=gradient)).itertuples()
    assert found.cause == "plateau"
    assert found.relative_gradient_end < 1e-8


def test_success_is_that_of_the_same_width():
    wide = [run("high", width="50", gradient=1e5) for _ in range(4)]
    found = failures_of(*wide, run("low", gradient=1.0), run("low", gradient=1.0, width="50"))
    assert found["relative_gradient_start"].tolist() == [0.5, 1e-5]
    assert found["cause"].tolist()[1] == "vanishing gradient"
    assert found["n_reference"].tolist() == [4, 4]


def test_without_a_group_high_the_best_third_stands_for_success():
    others = [run("ungrouped", accuracy, gradient=accuracy) for accuracy in range(50, 62)]
    failed = [run("low", 99.0, gradient=30.0) for _ in range(3)]  # never success, whatever it says
    found, _ = explained(*others, *failed)
    assert found["reference"].tolist() == ["best third"] * 3
    assert found["n_reference"].tolist() == [5] * 3  # of 15 runs
    assert found["relative_gradient_end"].tolist() == [30 / 59] * 3


@pytest.mark.parametrize("n", [0, 2])
def test_with_too_few_successful_runs_nothing_is_relative(n):
    found, _ = explained(*[run("high")] * n, run("low", gradient=1e-9, loss=FLAT))
    assert found["relative_gradient_median"].isna().all()
    assert found["cause"].tolist() == ["plateau"]
    assert found["reference"].tolist() == [""]


def test_without_predictions_a_run_of_the_group_non_has_a_constant_output():
    found = failures_of(
        run("non", loss=FLAT, classes=math.nan), run("low", loss=FLAT, classes=math.nan)
    )
    assert found["constant_output"].tolist() == [True, False]
    assert found["cause"].tolist() == ["constant output", "plateau"]
    assert found["n_classes_predicted"].isna().all()


def test_runs_that_have_no_predictions_at_all_are_explained():
    tables = list(tables_of([run("high"), run("non", loss=FLAT)]))
    tables[3] = tables[3].iloc[:0]
    assert explain(*tables, "train")[0]["cause"].tolist() == ["constant output"]


def test_a_model_without_relu_layers_is_explained():
    tables = list(tables_of([*[run("high")] * 3, run("low", loss=FLAT, gradient=1e-9)]))
    tables[2] = tables[2].assign(dead_units=math.nan)
    found, _ = explain(*tables, "train")
    assert found["cause"].tolist() == ["vanishing gradient"]
    assert found["dead_at_end"].isna().all()


# ---- counts


def test_causes_are_counted_by_group_and_width():
    members = [
        run("non", fc1=1.0),
        run("non", fc1=1.0),
        run("low", loss=FLAT),
        run("high", fc1=1.0),
        run("low", loss=FLAT, width="8"),
        run("mid", loss=FLAT, width="8"),
        run("ungrouped"),
    ]
    _, counts = explained(*members)
    assert tuple(counts.columns) == CAUSE_COLUMNS
    assert len(counts) == 3 * 3 * len(CAUSES)
    some = counts[counts["count"] > 0].set_index(["group", "width", "cause"])
    assert some["count"].to_dict() == {
        ("non", "5", "dead layer"): 2,
        ("non", ALL_WIDTHS, "dead layer"): 2,
        ("low", "5", "plateau"): 1,
        ("low", "8", "plateau"): 1,
        ("low", ALL_WIDTHS, "plateau"): 2,
        (OTHERS, "5", "dead layer"): 1,
        (OTHERS, "5", "slow"): 1,
        (OTHERS, "8", "plateau"): 1,
        (OTHERS, ALL_WIDTHS, "dead layer"): 1,
        (OTHERS, ALL_WIDTHS, "slow"): 1,
        (OTHERS, ALL_WIDTHS, "plateau"): 1,
    }
    n = counts.drop_duplicates(["group", "width"]).set_index(["group", "width"])["n"].to_dict()
    assert n == {
        ("non", "5"): 2,
        ("non", "8"): 0,
        ("non", "all"): 2,
        ("low", "5"): 1,
        ("low", "8"): 1,
        ("low", "all"): 2,
        (OTHERS, "5"): 2,
        (OTHERS, "8"): 1,
        (OTHERS, "all"): 3,
    }


def test_without_failed_runs_there_is_no_failure():
    failures, counts = explained(run("high"), run("mid"))
    assert (len(failures), tuple(failures.columns)) == (0, FAILURE_COLUMNS)
    assert counts[counts["group"] != OTHERS]["count"].sum() == 0
    assert counts[counts["group"] == OTHERS]["count"].sum() == 4
