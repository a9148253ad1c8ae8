"""A whole study judged: its statements' verdicts, and what they come to."""

from __future__ import annotations

import pandas as pd

from weightscape.claims.answers import answer
from weightscape.claims.families import compare
from weightscape.claims.judge import judge, judge_ways
from weightscape.claims.statements import measure_across
from weightscape.errors import WeightscapeError


def judge_study(
    effects: pd.DataFrame,
    ways: pd.DataFrame,
    across: dict[str, pd.DataFrame],
    way: dict[str, str],
    alpha: float,
    smallest: float,
) -> dict[str, pd.DataFrame]:
    """The tables claims, multiverse, families and answers.

    `effects` (claim_effects) and `ways` (claim_ways) are of all populations, and `across` has the
    tables that claims about the study read. The study was analysed in `way`. Raises
    WeightscapeError if there is no statement.
    """
    parts = [part for part in (effects, measure_across(across, smallest)) if len(part)]
    if not parts:
        raise WeightscapeError(
            "the study has no runs to judge, because every checkpoint is bad; tables/imports.csv "
            "says why"
        )
    judged = judge(pd.concat(parts, ignore_index=True), alpha, smallest)
    claims, multiverse = judge_ways(judged, way, ways, alpha, smallest)
    return {
        "claims": claims,
        "multiverse": multiverse,
        "families": compare(claims, alpha, smallest),
        "answers": answer(claims, smallest),
    }
