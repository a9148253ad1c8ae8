"""Failures: why runs of the groups non and low failed, from their curves and telemetry.

A run has one cause, the first of CAUSES that fits:

- diverged: a loss is not finite;
- dead layer: after the last epoch all units of a ReLU layer are zero for every test image, so that
  nothing passes, forwards or back (Lu, Shin, Su, Karniadakis 2019, arXiv 1903.06733);
- vanishing gradient: no layer is dead, and yet the gradient of the first layer is below VANISHING
  of that of successful runs, in half of the epochs or more;
- constant output: it predicts one class for all test images;
- nearly dead layer: at most a quarter of the units of a ReLU layer are alive at the end;
- slow: the training loss still falls;
- plateau: it stopped learning at a low accuracy;
- unknown: its curves are not known, as of networks that were trained elsewhere.

Successful runs are those of the group high of the same width, or else the best third of the width,
non and low left out. The gradient of a run behind a dead layer is zero because the layer is dead:
whether it was small before is told by the gradient at the last epoch before, relative to that of
successful runs at the same epoch. Telemetry is by epoch: what comes first within an epoch, it
can't tell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.runs.collecting import KEYS

HEAD = MeasureHead(
    reads=("runs", "grouping", "convergence", "telemetry", "predicted_classes"),
    tables={
        "failures": Table(
            row="run of the groups non and low: why it failed, with the evidence",
            keys=("model", "dataset", "width", "seed", "group"),
            columns={
                "cause": (
                    "first that fits of diverged, dead layer, vanishing gradient, constant "
                    "output, nearly dead layer, slow, plateau, unknown"
                ),
                "diverged_epoch": (
                    "first epoch with a loss that is not finite; empty if the run did not diverge"
                ),
                "dead_layer": (
                    "first layer whose ReLU units are all zero for every test image at the "
                    "end; empty if there is none or the run diverged"
                ),
                "dead_epoch": (
                    "epoch from which on dead_layer is dead without a break, 0 for before "
                    "training; empty without a dead layer"
                ),
                "deadest_layer": (
                    "layer with the largest share of dead ReLU units at the end; empty for "
                    "diverged runs and without ReLU layers"
                ),
                "dead_at_start": (
                    "share of the units of deadest_layer that are zero for every test image "
                    "before training, from 0 to 1"
                ),
                "dead_at_end": (
                    "share of the units of deadest_layer that are zero for every test image "
                    "after the last epoch, from 0 to 1"
                ),
                "n_classes_predicted": (
                    "classes predicted for at least one test image; empty without stored "
                    "predictions"
                ),
                "constant_output": (
                    "True if one class is predicted for all test images; without stored "
                    "predictions, if the run is non with a finite loss"
                ),
                "loss_fall": (
                    "relative fall of the training loss over the last fifth of the epochs, 1 - "
                    "loss at the end / loss before"
                ),
                "gradient_start": (
                    "Euclidean norm of the loss gradient with respect to the first layer's "
                    "weights, before training"
                ),
                "gradient_before_death": (
                    "the same at the last epoch before dead_epoch; empty without a dead layer "
                    "and if it was dead before training"
                ),
                "gradient_end": "the same after the last epoch",
                "relative_gradient_start": (
                    "gradient_start over the median of the successful runs of the same width "
                    "at the same epoch"
                ),
                "relative_gradient_before_death": (
                    "gradient_before_death over the median of the successful runs of the same "
                    "width at the same epoch"
                ),
                "relative_gradient_end": (
                    "gradient_end over the median of the successful runs of the same width at "
                    "the same epoch"
                ),
                "relative_gradient_median": (
                    "median over all epochs of the gradient norm relative to these successful "
                    "runs; below 0.001 it has vanished, if no layer is dead"
                ),
                "reference": (
                    "runs of the width that stand for success: high (that group) or best third "
                    "(non and low left out); empty with fewer than three"
                ),
                "n_reference": "number of these successful runs; 0 with fewer than three",
            },
            texts=("cause", "dead_layer", "deadest_layer", "reference"),
        ),
        "causes": Table(
            row="group, width and cause: how many runs failed by that cause",
            keys=("model", "dataset", "group", "width"),
            columns={
                "cause": (
                    "cause of failure, as in failures.csv; of the group others a mark that "
                    "fits runs which did not fail"
                ),
                "count": "runs of the group and width with this cause",
                "n": "all runs of the group and width",
            },
            texts=("cause",),
        ),
    },
    settings={
        "accuracy": "groups.accuracy",
    },
)

FAILED = ("non", "low")
OTHERS = "others"
ALL_WIDTHS = "all"
CAUSES = (
    "diverged",
    "dead layer",
    "vanishing gradient",
    "constant output",
    "nearly dead layer",
    "slow",
    "plateau",
    "unknown",
)

VANISHING = 1e-3  # runs that learn lie within a factor of ten of each other
NEARLY_DEAD = 0.75  # of a layer's units: all classes go through the quarter that is left
SLOW = 0.05  # runs that succeed in the paper's 20 epochs end with falls of 2 to 4 %
LAST_PART = 0.2  # of the epochs, over which the fall is measured; fewer are noise
FEWEST_SUCCESSFUL = 3  # runs whose median stands for those that succeed

FAILURE_COLUMNS = tuple(HEAD.tables["failures"].names)
CAUSE_COLUMNS = tuple(HEAD.tables["causes"].names)


def make(job: Job) -> None:
    runs, (curves, telemetry, predicted) = job.runs, map(job.table, HEAD.reads[2:])
    split = job.settings["accuracy"]
    failures, causes = explain(runs, curves, telemetry, predicted, split)
    job.write(failures=failures, causes=causes)


def explain(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    telemetry: pd.DataFrame,
    predictions: pd.DataFrame,
    split: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """FAILURE_COLUMNS of the runs of FAILED, and CAUSE_COLUMNS of all; tables of one population.

    Success is measured by the accuracy on `split`. In the counts, OTHERS are all runs that did not
    fail: what they have in common with those that did explains nothing.
    """
    found = explain_all(runs, curves, telemetry, predictions, split)
    failed = found[found["group"].isin(FAILED)]
    return failed[list(FAILURE_COLUMNS)].reset_index(drop=True), count_causes(found)


def explain_all(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    telemetry: pd.DataFrame,
    predictions: pd.DataFrame,
    split: str,
) -> pd.DataFrame:
    """The evidence and the cause that fits first, for every run."""
    keys = pd.MultiIndex.from_frame(runs[KEYS])
    # of networks that were trained elsewhere no gradient is known, and NaN is a loss not known
    is_trained = bool(telemetry["gradient_norm"].notna().any())
    evidence: dict[str, Any] = _losses(curves, keys, is_trained)
    is_finite = np.isnan(evidence["diverged_epoch"])
    evidence |= _dead_units(telemetry, keys, is_finite)
    evidence |= _gradients(telemetry, keys, successful(runs, split), evidence["dead_epoch"])
    classes = predictions.set_index(KEYS)["n_classes_predicted"].reindex(keys).to_numpy(float)
    # without predictions, non says it: a loss of ln(classes) and the majority's share
    is_non = (runs["group"] == "non") & is_finite & evidence["ends_finite"]
    constant = np.where(np.isnan(classes), is_non, classes == 1)
    evidence |= {"n_classes_predicted": classes, "constant_output": constant.astype(bool)}
    found = runs[[*KEYS, "group"]].assign(**evidence)
    conditions = [
        ~is_finite,
        found["dead_layer"] != "",
        found["relative_gradient_median"] < VANISHING,
        found["constant_output"],
        found["dead_at_end"] >= NEARLY_DEAD,
        found["loss_fall"] > SLOW,
        found["loss_fall"] <= SLOW,
    ]
    return found.assign(cause=np.select(conditions, CAUSES[:-1], CAUSES[-1]))


def _by_epoch(table: pd.DataFrame, column: str, keys: pd.MultiIndex) -> np.ndarray:
    """(n, epochs + 1) of a table with a row per run and epoch, in the order of the keys."""
    wide = table.pivot(index=KEYS, columns="epoch", values=column)
    return wide.reindex(keys).to_numpy(float)


def _losses(curves: pd.DataFrame, keys: pd.MultiIndex, is_trained: bool) -> dict[str, np.ndarray]:
    """The first epoch of a loss that is not finite, and the relative fall of the training loss over
    the last part of the epochs. NaN tells of a run that diverged only where it was trained here."""
    train, test = (_by_epoch(curves, f"{split}_loss", keys) for split in ("train", "test"))
    broken = np.isinf(train) | np.isinf(test) | ((np.isnan(train) | np.isnan(test)) & is_trained)
    first = np.where(broken.any(1), broken.argmax(1), np.nan)
    last = train.shape[1] - 1
    before = last - max(1, round(LAST_PART * last))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "diverged_epoch": first,
            "loss_fall": 1 - train[:, last] / train[:, before],
            "ends_finite": np.isfinite(train[:, last]) | np.isfinite(test[:, last]),
        }


def _dead_units(
    telemetry: pd.DataFrame, keys: pd.MultiIndex, is_finite: np.ndarray
) -> dict[str, np.ndarray]:
    """The first dead layer and the epoch from which it stays dead; and of the layer with most dead
    units at the end, which is the first dead one where there is one, their share at both ends.

    Of a run that diverged nothing is told: a unit of NaN is above zero for no image.
    """
    shares = {
        str(layer): _by_epoch(part, "dead_units", keys)
        for layer, part in telemetry.groupby("layer", sort=False)
        if part["dead_units"].notna().any()
    }
    n = len(keys)
    if not shares:  # a model without ReLU layers
        names, nothing = np.full(n, "", object), np.full(n, np.nan)
        return {
            "dead_layer": names,
            "deadest_layer": names,
            "dead_epoch": nothing,
            "dead_at_start": nothing,
            "dead_at_end": nothing,
        }
    stacked = np.where(is_finite[:, None], np.stack(list(shares.values())), np.nan)
    deadest = np.nan_to_num(stacked[:, :, -1], nan=-1).argmax(0)
    own = stacked[deadest, np.arange(n)]
    is_dead, is_alive = own[:, -1] == 1, own != 1
    names = np.where(is_finite, np.array(list(shares), object)[deadest], "")
    # the epoch after the last one with a unit alive
    since = np.where(is_alive.any(1), own.shape[1] - is_alive[:, ::-1].argmax(1), 0)
    return {
        "dead_layer": np.where(is_dead, names, ""),
        "deadest_layer": names,
        "dead_epoch": np.where(is_dead, since, np.nan),
        "dead_at_start": own[:, 0],
        "dead_at_end": own[:, -1],
    }


class Reference(NamedTuple):
    """The runs of a width that stand for success."""

    name: str
    """high, or best third"""
    rows: np.ndarray


def successful(runs: pd.DataFrame, split: str) -> dict[str, Reference]:
    """By width, where there are FEWEST_SUCCESSFUL of them."""
    found = {}
    for width, own in runs.reset_index(drop=True).groupby("width", sort=False):
        high = own.index[own["group"] == "high"]
        others = own[~own["group"].isin(FAILED)].dropna(subset=f"{split}_accuracy")
        best = others.sort_values(f"{split}_accuracy", kind="stable", ascending=False)
        third = best.index[: max(FEWEST_SUCCESSFUL, len(own) // 3)]
        is_high = len(high) >= FEWEST_SUCCESSFUL
        rows = high if is_high else third
        if len(rows) >= FEWEST_SUCCESSFUL:
            name = "high" if is_high else "best third"
            found[str(width)] = Reference(name, rows.to_numpy())
    return found


def relative_gradients(
    telemetry: pd.DataFrame, keys: pd.MultiIndex, references: dict[str, Reference]
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient norms of the first layer, (n, epochs + 1), and the same over the median of the
    successful runs of the same width at the same epoch."""
    first = telemetry[telemetry["layer"] == telemetry["layer"].iloc[0]]
    norms = _by_epoch(first, "gradient_norm", keys)
    usual, widths = np.full_like(norms, np.nan), keys.get_level_values("width")
    for width, reference in references.items():
        usual[widths == width] = np.median(norms[reference.rows], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return norms, norms / usual


def _gradients(
    telemetry: pd.DataFrame,
    keys: pd.MultiIndex,
    references: dict[str, Reference],
    dead_epoch: np.ndarray,
) -> dict[str, Any]:
    """Norms at the start, at the last epoch before a layer died, and at the end."""
    norms, relative = relative_gradients(telemetry, keys, references)
    found: dict[str, Any] = {}
    before = np.where(dead_epoch > 0, dead_epoch - 1, np.nan)
    place = np.nan_to_num(before).astype(int)[:, None]
    for prefix, values in (("", norms), ("relative_", relative)):
        found[f"{prefix}gradient_start"] = values[:, 0]
        here = np.take_along_axis(values, place, 1)[:, 0]
        found[f"{prefix}gradient_before_death"] = np.where(np.isnan(before), np.nan, here)
        found[f"{prefix}gradient_end"] = values[:, -1]
    found["relative_gradient_median"] = np.median(relative, axis=1)
    own = [references.get(width) for width in keys.get_level_values("width")]
    found["reference"] = ["" if one is None else one.name for one in own]
    found["n_reference"] = [0 if one is None else len(one.rows) for one in own]
    return found


def count_causes(found: pd.DataFrame) -> pd.DataFrame:
    """CAUSE_COLUMNS: runs of each cause, of the n of a group and width; also of none."""
    named = found.assign(group=found["group"].where(found["group"].isin(FAILED), OTHERS))
    everywhere = pd.concat([named, named.assign(width=ALL_WIDTHS)])
    widths = [*dict.fromkeys(found["width"]), ALL_WIDTHS]
    every = pd.MultiIndex.from_product(
        [(*FAILED, OTHERS), widths, CAUSES], names=["group", "width", "cause"]
    )
    counts = everywhere.groupby(["group", "width", "cause"]).size().reindex(every, fill_value=0)
    table = counts.rename("count").reset_index()
    table["n"] = table.groupby(["group", "width"])["count"].transform("sum")
    pair = found[KEYS[:2]].iloc[0]
    return table.assign(**pair)[list(CAUSE_COLUMNS)]
