"""Statements: the paper's claims as effects of one population, with the direction they predict.

docs/claims.md lists them, and each claim's file in `claims.paper` makes its own. Each is measured
over all runs and with width held fixed, as the config says and in the other ways that an analyst
could have chosen; the verdict is `judge`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape import heads
from weightscape.claims.effects import NOTHING, POWER, Draws, Pair, from_interval
from weightscape.claims.evidence import ByLayer, Evidence, Statement, Way
from weightscape.errors import WeightscapeError
from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.runs.collecting import KEYS

HEAD = MeasureHead(
    reads=(),
    tables={
        "claim_effects": Table(
            row="statement of a claim: its effects, before they are judged",
            like="claims",
            without=(
                "pooled_p_adjusted",
                "within_p_adjusted",
                "negligible_p_adjusted",
                "verdict",
                "ways",
                "ways_agree",
            ),
            joined=False,
        ),
        "claim_ways": Table(
            row="statement of a claim and other way to analyse the study: its effects",
            like="multiverse",
            without=("verdict",),
            joined=False,
        ),
        "claim_widths": Table(
            row="statement and width: the effect in that width alone",
            keys=("claim", "model", "dataset", "layer", "statistic", "width"),
            columns={
                "n": "runs of the width that the effect rests on",
                "effect": (
                    "the statement's effect among the runs of this width alone, by the measure "
                    "that claims.csv names"
                ),
                "reliability": (
                    "of the accuracies of the width's runs, as in reliability.csv; empty where "
                    "the statement is not about test accuracy"
                ),
            },
        ),
        "claim_values": Table(
            row="statement of a claim and run: the numbers that its figure shows",
            keys=(
                "claim",
                "model",
                "dataset",
                "width",
                "seed",
                "group",
                "layer",
                "statistic",
            ),
            columns={
                "x": (
                    "value of the statistic in this run; of strength_pair the mean node "
                    "strength of the first of the two layers"
                ),
                "y": (
                    "final accuracy of the run (%); of strength_pair the mean node strength of "
                    "the second of the two layers; of C6 1 if the run did not converge, else 0"
                ),
            },
            joined=False,
        ),
    },
    settings={
        "accuracy": "claims.accuracy",
        "non": "claims.non",
        "permutations": "claims.permutations",
        "smallest_effect": "claims.smallest_effect",
    },
)

EFFECT_COLUMNS = tuple(heads.tables()["claim_effects"].names)
WAY_COLUMNS = tuple(heads.tables()["claim_ways"].names)
WIDTH_COLUMNS = tuple(heads.tables()["claim_widths"].names)
VALUE_COLUMNS = tuple(heads.tables()["claim_values"].names)

MOST_OF_WAYS = 999  # permutations, as there are seven other ways to make each statement


class Sums(NamedTuple):
    """What `measure` returns: rows per statement, and of each per width and per run."""

    effects: pd.DataFrame
    widths: pd.DataFrame
    values: pd.DataFrame


def make(job: Job) -> None:
    settings = job.settings
    names = [name for name in heads.measures()["claims"].reads if name != "runs"]
    tables = {name: job.table(name) for name in names}
    way = Way(settings["accuracy"], settings["non"])
    draws = Draws(settings["permutations"])
    smallest = settings["smallest_effect"]
    runs = job.runs_regrouped
    found = measure(runs, tables, way, draws, smallest)
    job.write(
        claim_effects=found.effects,
        claim_ways=measure_ways(runs, tables, way, draws, smallest),
        claim_widths=found.widths,
        claim_values=found.values,
    )


def measure(
    runs: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    way: Way,
    draws: Draws,
    smallest_effect: float,
) -> Sums:
    """The statements of one population's claims, made in one way.

    `runs` has their groups by either edges, and `tables` each table that a claim names in its head.
    """
    effects, widths, values = [], [], []
    for evidence, of, statement in _statements(runs, ByLayer(tables), way, draws):
        contrast = _contrast_row(statement.contrast()) if statement.contrast else {}
        effects.append(of | _row(statement, smallest_effect) | contrast)
        within = statement.effect.within
        reliability = (evidence.reliability or {}) if statement.is_of_accuracy else {}
        widths += [
            of
            | {"width": width, "n": within.n_of_width[width], "effect": effect}
            | {"reliability": reliability.get(width)}
            for width, effect in within.of_width.items()
        ]
        if statement.x is not None:
            own = evidence.runs[[*KEYS, "group"]]
            values.append(own.assign(**of, x=statement.x, y=statement.y))
    return Sums(
        pd.DataFrame(effects, columns=list(EFFECT_COLUMNS)),
        pd.DataFrame(widths, columns=list(WIDTH_COLUMNS)),
        pd.concat(values, ignore_index=True)[list(VALUE_COLUMNS)]
        if values
        else pd.DataFrame(columns=list(VALUE_COLUMNS)),
    )


def measure_ways(
    runs: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    way: Way,
    draws: Draws,
    smallest_effect: float,
) -> pd.DataFrame:
    """WAY_COLUMNS: the same statements in all other ways, as far as these make others of them."""
    draws = Draws(min(draws.permutations, MOST_OF_WAYS))
    varying = {claim: head.varies for claim, head in heads.claims().items()}
    rows, by_layer = [], ByLayer(tables)
    has_other_edges = (runs["other_group"] != "").any()
    for other in way.others(tuple(heads.WAYS)):
        if other.is_of_other_edges and not has_other_edges:
            continue
        claims = [claim for claim, varies in varying.items() if other in way.others(varies)]
        for _, of, statement in _statements(runs, by_layer, other, draws, claims):
            rows.append(of | other._asdict() | _row(statement, smallest_effect))
    return pd.DataFrame(rows, columns=list(WAY_COLUMNS))


def _statements(
    runs: pd.DataFrame,
    by_layer: ByLayer,
    way: Way,
    draws: Draws,
    claims: list[str] | None = None,
) -> Iterator[tuple[Evidence, dict[str, str], Statement]]:
    """Each statement of some claims, with its evidence and the keys of its row."""
    pair = dict(zip(KEYS[:2], runs[KEYS[:2]].iloc[0], strict=True))
    for claim, head in heads.claims().items():
        if head.each != "population" or (claims is not None and claim not in claims):
            continue
        own = way if "non" in head.varies else way._replace(non="include")
        chosen = own.choose(runs)  # none, if none converged: statements say so
        reliability = _reliability(by_layer.tables["reliability"], own)
        evidence = Evidence(chosen, head.reads, by_layer, own, draws, reliability)
        for statement in import_module(heads.claim_module(claim)).statements(evidence):
            _check_words(claim, statement.statistic)
            keys = {"layer": statement.layer, "statistic": statement.statistic}
            yield evidence, {"claim": claim, **pair, **keys}, statement


def _reliability(table: pd.DataFrame, way: Way) -> dict[str, float] | None:
    """By width, of the runs that are analysed; it is known of test accuracies alone."""
    of_runs = table[table["runs"] == ("all" if way.non == "include" else "converged")]
    known = of_runs.dropna(subset="reliability")
    if way.split != "test" or not len(known):
        return None
    return dict(zip(known["width"], known["reliability"], strict=True))


def measure_across(tables: dict[str, pd.DataFrame], smallest_effect: float) -> pd.DataFrame:
    """EFFECT_COLUMNS of the claims that are about a whole study, from its tables.

    What is known of an effect within width but its interval is taken from that.
    """
    parts = [pd.DataFrame(columns=list(EFFECT_COLUMNS))]
    for claim, head in heads.claims().items():
        if head.each == "study":
            found = import_module(heads.claim_module(claim)).effects(tables)
            for statistic in found["statistic"].unique():
                _check_words(claim, statistic)
            whole = found.assign(claim=claim).reindex(columns=list(EFFECT_COLUMNS))
            parts.append(_with_errors(whole, smallest_effect))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _with_errors(effects: pd.DataFrame, smallest_effect: float) -> pd.DataFrame:
    within = [
        from_interval(row["within"], row["within_low"], row["within_high"])
        for _, row in effects.iterrows()
    ]
    return effects.assign(
        within_error=[effect.error for effect in within],
        negligible_p=[effect.negligible_p(smallest_effect) for effect in within],
        detectable=[effect.detectable for effect in within],
    )


def _check_words(claim: str, statistic: str) -> None:
    if statistic not in heads.claims()[claim].statistics:
        raise WeightscapeError(
            f"{heads.claim_module(claim)} has a statement of {statistic}, which is not among the "
            "statistics of its head"
        )


def _row(statement: Statement, smallest_effect: float) -> dict[str, Any]:
    """Columns after the keys."""
    pooled, within, between = statement.effect
    corrected, corrected_low, corrected_high = within.corrected()
    of_width = float(np.minimum(1.0, POWER * pooled.error))  # which can't be held fixed
    return statement.effect.columns() | {
        "measure": statement.measure,
        "predicted": statement.predicted,
        "n_per_width": " ".join(f"{width}:{n}" for width, n in pooled.n_of_width.items()),
        "n_smaller": statement.n_smaller,
        "n_widths": between.n,
        "between": between.value,
        "between_p": between.p,
        "corrected": corrected,
        "corrected_low": corrected_low,
        "corrected_high": corrected_high,
        "within_error": within.error,
        "negligible_p": within.negligible_p(smallest_effect),
        "detectable": of_width if within is NOTHING else within.detectable,
        "heterogeneity": within.heterogeneity,
        "heterogeneity_p": within.heterogeneity_p,
        "sign_flip": statement.effect.sign_flip,
    }


def _contrast_row(contrast: Pair) -> dict[str, Any]:
    pooled, within, _ = contrast
    return {
        "n_contrast": pooled.n,
        **pooled.columns("delta"),
        "n_thirds": within.n,
        **within.columns("delta_within"),
    }
