"""Answers: whether each claim holds, by all its statements together, in a sentence.

The rule is in docs/claims.md. A claim is mixed if some of its statements speak for it and some
against it. It holds if more than half speak for it, and holds in part if fewer do; it does not hold
if more than half speak against it, and fails in part if fewer do. Otherwise it is undecided.
"""

from __future__ import annotations

import pandas as pd

from weightscape import heads
from weightscape.claims.judge import FOR, HEAD, NEGLIGIBLE, UNDECIDED, is_about_width
from weightscape.study.catalogue import TITLES

ANSWERS = ("holds", "holds in part", "mixed", "fails in part", "does not hold", "undecided")
ALL = "all"
"""Model and dataset of the answer by the statements of all populations."""
COLUMNS = tuple(HEAD.tables["answers"].names)

_STATES = ("mixed", "undecided")  # which a claim is; all other answers are what it does

_MEASURES = {
    "spearman": "the rank correlation of {what} with accuracy",
    "spearman_difference": "the difference of rank correlations with accuracy, {what},",
    "cliffs_delta": "Cliff's delta of {what}",
    "purity": "what the {what} has beyond shuffled groups",
}


def answer(claims: pd.DataFrame, smallest: float) -> pd.DataFrame:
    """COLUMNS, a row per claim and population, of the judged statements in their order.

    Of several populations there is a row of them all as well, by all their statements. `smallest`
    is the smallest effect of interest.
    """
    rows = [
        dict(zip(COLUMNS[:3], key, strict=True)) | _answer(of, smallest)
        for key, of in claims.groupby(list(COLUMNS[:3]), sort=False)
    ]
    if len(claims.drop_duplicates(list(COLUMNS[1:3]))) > 1:
        rows += [
            {"claim": claim, "model": ALL, "dataset": ALL} | _answer(of, smallest)
            for claim, of in claims.groupby("claim", sort=False)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _answer(of: pd.DataFrame, smallest: float) -> dict[str, object]:
    """Columns after the keys."""
    is_for, is_undecided = of["verdict"].isin(FOR), of["verdict"].isin(UNDECIDED)
    is_against = ~(is_for | is_undecided)
    n_for, n_against, n_undecided = (int(s.sum()) for s in (is_for, is_against, is_undecided))
    word = _word(n_for, n_against, len(of))
    counts = (
        f"{len(of)} statement{'s' * (len(of) != 1)}: {n_for} for it, {n_against} against, "
        f"{n_undecided} undecided"
    )
    populations = of.groupby(["model", "dataset"], sort=False)
    several = len(populations) > 1
    where = f"{len(populations)} populations together" if several else _population(of.iloc[0])
    shown = f"{of['claim'].iloc[0]} {'is ' * (word in _STATES)}{word} for {where}: "
    sides = [of[side] for side in (is_for, is_against) if side.any()]
    shown += "; but ".join(_surest(side, smallest, several) for side in sides) or _undecided(of)
    return {
        "answer": word,
        "n_statements": len(of),
        "n_for": n_for,
        "n_against": n_against,
        "n_undecided": n_undecided,
        "n": populations["n"].max().sum(),
        "sentence": f"{shown} ({counts}).",
    }


def _population(row: pd.Series) -> str:
    return " on ".join(TITLES.get(row[name], row[name]) for name in ("model", "dataset"))


def _word(n_for: int, n_against: int, n: int) -> str:
    if n_for and n_against:
        return "mixed"
    if n_for:
        return "holds" if 2 * n_for > n else "holds in part"
    if n_against:
        return "does not hold" if 2 * n_against > n else "fails in part"
    return "undecided"


def _surest(decisive: pd.DataFrame, smallest: float, several: bool) -> str:
    """The statement of the smallest p, of those that decide; of `several` populations, with its
    own."""
    about_width = decisive.apply(is_about_width, axis=1)
    is_negligible = decisive["verdict"].isin(NEGLIGIBLE)
    p = decisive["within_p"].mask(about_width, decisive["pooled_p"])
    p = p.mask(is_negligible, decisive["negligible_p"]).fillna(1)
    row = decisive.iloc[int(p.to_numpy().argmin())]
    claimed = "positive" if row["predicted"] > 0 else "negative"
    if is_about_width(row):
        told = f"over all runs, {_what(row)} is {_interval(row, 'pooled')}, n = {row['n']:.0f} runs"
    else:
        told = (
            f"among networks of one width, {_what(row)} is {_interval(row, 'within')}, "
            f"n = {row['n_within']:.0f} runs"
        )
    if row["verdict"] in NEGLIGIBLE:
        told += f", shown to be smaller than {smallest:g}"
    told += f", and claimed to be {claimed}"
    return f"{told}, as in {_population(row)}" if several else told


def _undecided(of: pd.DataFrame) -> str:
    judged = of[of["verdict"] == "inconclusive"]
    if not len(judged):
        return "there are too few runs"
    seen = judged["detectable"].median()
    told = "no effect within width was found"
    return told if pd.isna(seen) else f"{told}; such a study mostly finds those above {seen:.2f}"


def _what(row: pd.Series) -> str:
    name = heads.claims()[row["claim"]].statistics[row["statistic"]]
    layer = row["layer"] if isinstance(row["layer"], str) else ""
    what = f"{name} ({layer})" if layer else name
    if row["statistic"].startswith("strength_pair"):
        return f"the rank correlation of {what}"
    return _MEASURES[row["measure"]].format(what=what)


def _interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:+.2f} [{row[f'{name}_low']:+.2f}, {row[f'{name}_high']:+.2f}]"
