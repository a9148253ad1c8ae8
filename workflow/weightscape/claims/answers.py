"""Answers: whether each claim holds, by all its statements together, in a sentence.

The rule is in docs/claims.md. A claim is mixed if some of its statements speak for it and some
against it. It holds if more than half speak for it, and holds in part if fewer do; it does not hold
if more than half speak against it, and fails in part if fewer do. Otherwise it is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from weightscape import heads
from weightscape.claims.judge import FOR, HEAD, NEGLIGIBLE, UNDECIDED, is_about_width
from weightscape.study.catalogue import ALL, TITLES

ANSWERS = ("holds", "holds in part", "mixed", "fails in part", "does not hold", "undecided")
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

    Of several populations there is a row of them all as well, by all their statements; and of
    several families one of each that has several datasets. `smallest` is the smallest effect of
    interest.
    """
    rows = [
        dict(zip(COLUMNS[:3], key, strict=True)) | _answer(of, smallest)
        for key, of in claims.groupby(list(COLUMNS[:3]), sort=False)
    ]
    populations = claims[["model", "dataset"]].drop_duplicates()
    n_datasets = populations["model"].value_counts(sort=False)
    several = n_datasets[n_datasets > 1] if len(n_datasets) > 1 else n_datasets[:0]
    together = [(str(model), claims[claims["model"] == model]) for model in several.index]
    together += [(ALL, claims)] * (len(populations) > 1)
    for model, own in together:
        rows += [
            {"claim": claim, "model": model, "dataset": ALL} | _answer(of, smallest)
            for claim, of in own.groupby("claim", sort=False)
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
    where = _population(of.iloc[0])
    if several:
        models = of["model"].unique()
        family = f" {TITLES.get(models[0], models[0])}" if len(models) == 1 else ""
        where = f"{len(populations)}{family} populations together"
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
        found = (
            f"over all runs, {_what(row)} is {effect_of(row, 'pooled')}, n = {row['n']:.0f} runs"
        )
    else:
        found = (
            f"among networks of one width, {_what(row)} is {effect_of(row, 'within')}, "
            f"n = {row['n_within']:.0f} runs"
        )
    if row["verdict"] in NEGLIGIBLE:
        found += f", shown to be smaller than {smallest:g}"
    found += f", and claimed to be {claimed}"
    return f"{found}, as in {_population(row)}" if several else found


def effect_of(row: Mapping[Hashable, Any] | pd.Series, name: str) -> str:
    """An effect of a table's row, as `+0.12 [+0.02, +0.22]`, as far as it is known; or a dash."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "-"
    return f"{value:+.2f}" if math.isnan(low) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _undecided(of: pd.DataFrame) -> str:
    judged = of[of["verdict"] == "inconclusive"]
    if not len(judged):
        return "there are too few runs"
    seen = judged["detectable"].median()
    found = "no effect within width was found"
    return found if pd.isna(seen) else f"{found}; such a study mostly finds those above {seen:.2f}"


def _what(row: pd.Series) -> str:
    name = heads.claims()[row["claim"]].statistics[row["statistic"]]
    layer = row["layer"] if isinstance(row["layer"], str) else ""
    what = f"{name} ({layer})" if layer else name
    if row["statistic"].startswith("strength_pair"):
        return f"the rank correlation of {what}"
    return _MEASURES[row["measure"]].format(what=what)
