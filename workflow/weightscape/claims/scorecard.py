"""The scorecard: one page with the verdict on each claim, for all populations of a study."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from weightscape import heads
from weightscape.claims.judge import VERDICTS, is_about_width
from weightscape.runs.paper_tables import PAGE_STYLE
from weightscape.study.catalogue import TITLES

SIGNS = {
    "supported": "✓",
    "reversed within width": "⇄",
    "width only": "W",
    "not supported": "✗",
    "too few runs": "·",
}
# Okabe and Ito's, told apart in every form of colour-blindness; the sign tells them in grey
COLOURS = {
    "supported": "#0072B2",
    "reversed within width": "#D55E00",
    "width only": "#E69F00",
    "not supported": "#8C8C8C",
    "too few runs": "#E6E6E6",
}

_STYLE = (
    PAGE_STYLE
    + """<style>
.scorecard td, .scorecard th { vertical-align: top; text-align: left; }
.scorecard .verdict { border-radius: 3px; padding: 0 0.35em; margin-right: 0.2em; color: white;
  white-space: nowrap; font-size: 0.85em; display: inline-block; }
.scorecard .light { color: #222; }
.scorecard .claim td { border-bottom: none; padding-top: 0.7em; font-weight: 600; }
.scorecard small { color: #555; white-space: nowrap; }
/* of the report, which centres its first page: the head of a long one would be out of reach */
body:has(#app) { margin: 0; }
#app .items-center.justify-center { align-items: flex-start; justify-content: flex-start; }
#app .prose { max-width: none; }
</style>"""
)


def render(claims: pd.DataFrame, study: str, alpha: float) -> str:
    """The page, of the table of judged claims; it also stands in the report's first page."""
    pairs = list(claims[["model", "dataset"]].drop_duplicates().itertuples(index=False, name=None))
    head = "".join(f"<th>{_title(pair)}<br>{_count(claims, pair)}</th>" for pair in pairs)
    body = "".join(
        _claim_rows(claim, claims[claims["claim"] == claim], pairs) for claim in heads.claims()
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{_STYLE}\n'
        f'<table class="scorecard"><caption>{_caption(claims, study, alpha)}</caption>'
        f"<thead><tr><th>statement</th>{head}</tr></thead><tbody>{body}</tbody></table>\n</html>\n"
    )


def _caption(claims: pd.DataFrame, study: str, alpha: float) -> str:
    counts = claims["verdict"].value_counts()
    legend = " ".join(_tag(verdict, verdict) for verdict in VERDICTS)
    told = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    return (
        f"<b>The paper's claims on the study {escape(study)}, over all runs and with width held "
        f"fixed.</b> {len(claims)} statements: {told}. Each layer has its verdict: {legend} Under "
        "them the median over layers of the effect, pooled → within width, from -1 to 1 "
        "(C2: from -2 to 2). "
        f"alpha = {alpha:g} after adjustment over all statements; rules: docs/claims.md."
    )


def _title(pair: tuple[str, str]) -> str:
    return escape(" on ".join(TITLES.get(name, name) for name in pair))


def _count(claims: pd.DataFrame, pair: tuple[str, str]) -> str:
    """`n = 200 runs`: the most that a statement of a population rests on."""
    of_pair = claims[(claims["model"] == pair[0]) & (claims["dataset"] == pair[1])]
    return f"<small>n = {of_pair['n'].max():.0f} runs</small>"


def _claim_rows(name: str, claims: pd.DataFrame, pairs: list[tuple[str, str]]) -> str:
    head = heads.claims()[name]
    text = f"{name}. {head.says}"
    if not len(claims):
        text += f" Not tested: {head.untested or 'no statement of it could be made'}."
    rows = f'<tr class="claim"><td colspan="{1 + len(pairs)}">{escape(text)}</td></tr>'
    for statistic, of in claims.groupby("statistic", sort=False):
        cells = "".join(
            f"<td>{_cell(of[(of['model'] == model) & (of['dataset'] == dataset)])}</td>"
            for model, dataset in pairs
        )
        rows += f"<tr><td>{escape(statistic_name(name, str(statistic)))}</td>{cells}</tr>"
    return rows


def statistic_name(claim: str, statistic: str) -> str:
    """A statement's statistic in words."""
    return heads.claims()[claim].statistics[statistic]


def _cell(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    tags = "".join(_tag(row["verdict"], row["layer"], _details(row)) for _, row in rows.iterrows())
    pooled, within = (_median(rows[name]) for name in ("pooled", "within"))
    effects = pooled if is_about_width(rows.iloc[0]) else f"{pooled} → {within}"
    return f"{tags}<br><small>{effects}</small>"


def _median(effects: pd.Series) -> str:
    there = effects[np.isfinite(effects.astype(float))]
    return f"{there.median():+.2f}" if len(there) else "-"


def _details(row: pd.Series) -> str:
    parts = [
        f"{what} {row[name]:+.2f} [{row[f'{name}_low']:+.2f}, {row[f'{name}_high']:+.2f}], "
        f"n = {row[n]:.0f}, adjusted p = {row[f'{name}_p_adjusted']:.2g}"
        for what, name, n in (("pooled", "pooled", "n"), ("within width", "within", "n_within"))
    ]
    return f"{row['verdict']}: {'; '.join(parts)}"


def _tag(verdict: str, text: object, details: str = "") -> str:
    known = text if isinstance(text, str) else ""  # a statement of the whole network has no layer
    light = " light" if verdict in ("width only", "too few runs") else ""
    return (
        f'<span class="verdict{light}" style="background:{COLOURS[verdict]}" '
        f'title="{escape(details)}">{SIGNS[verdict]} {escape(known)}</span>'
    )
