"""Statements: the paper's claims as effects of one population, with the direction they predict.

docs/claims.md lists them, and each claim's file in `claims.paper` makes its own. Each is measured
over all runs and with width held fixed; the verdict is `judge`'s.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import pandas as pd

from weightscape import heads
from weightscape.claims.effects import Draws, Pair
from weightscape.claims.evidence import Evidence, Statement
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
            without=("pooled_p_adjusted", "within_p_adjusted", "verdict"),
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
                    "the second of the two layers"
                ),
            },
            joined=False,
        ),
    },
    settings={
        "accuracy": "claims.accuracy",
        "resamples": "claims.resamples",
        "permutations": "claims.permutations",
    },
)

EFFECT_COLUMNS = tuple(heads.tables()["claim_effects"].names)
WIDTH_COLUMNS = tuple(heads.tables()["claim_widths"].names)
VALUE_COLUMNS = tuple(heads.tables()["claim_values"].names)


class Sums(NamedTuple):
    """What `measure` returns: rows per statement, and of each per width and per run."""

    effects: pd.DataFrame
    widths: pd.DataFrame
    values: pd.DataFrame


def make(job: Job) -> None:
    settings = job.settings
    names = [name for name in heads.measures()["claims"].reads if name != "runs"]
    tables = {name: job.table(name) for name in names}
    draws = Draws(settings["resamples"], settings["permutations"])
    found = measure(job.runs, tables, settings["accuracy"], draws)
    job.write(claim_effects=found.effects, claim_widths=found.widths, claim_values=found.values)


def measure(runs: pd.DataFrame, tables: dict[str, pd.DataFrame], split: str, draws: Draws) -> Sums:
    """The statements of one population's claims, by the final accuracy (%) on `split`.

    `tables` has each table that a claim names in its head.
    """
    pair = dict(zip(KEYS[:2], runs[KEYS[:2]].iloc[0], strict=True))
    evidence = Evidence(runs, tables, split, draws)
    effects, widths, values = [], [], []
    for claim, head in heads.claims().items():
        if head.each != "population":
            continue
        evidence.tables = {name: tables[name] for name in head.reads if name != "runs"}
        for statement in import_module(heads.claim_module(claim)).statements(evidence):
            layer, statistic = statement.layer, statement.statistic
            _check_words(claim, statistic)
            of = {"claim": claim, **pair, "layer": layer, "statistic": statistic}
            effects.append(of | _row(statement))
            within = statement.effect.within
            widths += [
                of | {"width": width, "n": within.n_of_width[width], "effect": effect}
                for width, effect in within.of_width.items()
            ]
            if statement.x is not None:
                values.append(runs[[*KEYS, "group"]].assign(**of, x=statement.x, y=statement.y))
    return Sums(
        pd.DataFrame(effects, columns=list(EFFECT_COLUMNS)),
        pd.DataFrame(widths, columns=list(WIDTH_COLUMNS)),
        pd.concat(values, ignore_index=True)[list(VALUE_COLUMNS)],
    )


def measure_across(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """EFFECT_COLUMNS of the claims that are about a whole study, from its tables."""
    parts = [pd.DataFrame(columns=list(EFFECT_COLUMNS))]
    for claim, head in heads.claims().items():
        if head.each == "study":
            found = import_module(heads.claim_module(claim)).effects(tables)
            for statistic in found["statistic"].unique():
                _check_words(claim, statistic)
            parts.append(found.assign(claim=claim).reindex(columns=list(EFFECT_COLUMNS)))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _check_words(claim: str, statistic: str) -> None:
    if statistic not in heads.claims()[claim].statistics:
        raise WeightscapeError(
            f"{heads.claim_module(claim)} has a statement of {statistic}, which is not among the "
            "statistics of its head"
        )


def _row(statement: Statement) -> dict[str, Any]:
    """EFFECT_COLUMNS after the keys."""
    n_of_width = statement.effect.pooled.n_of_width
    row = statement.effect.columns() | {
        "measure": statement.measure,
        "predicted": statement.predicted,
        "n_per_width": " ".join(f"{width}:{n}" for width, n in n_of_width.items()),
        "n_smaller": statement.n_smaller,
        "sign_flip": statement.effect.sign_flip,
    }
    return row | (_contrast_row(statement.contrast) if statement.contrast else {})


def _contrast_row(contrast: Pair) -> dict[str, Any]:
    pooled, within = contrast
    return {
        "n_contrast": pooled.n,
        **pooled.columns("delta"),
        "n_thirds": within.n,
        **within.columns("delta_within"),
    }
