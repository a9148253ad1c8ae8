"""The scorecard: one page with the verdict on each claim, for all populations of a study."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from weightscape import heads
from weightscape.claims.answers import ANSWERS, effect_of
from weightscape.claims.judge import VERDICTS, is_about_width
from weightscape.runs.paper_tables import PAGE_STYLE
from weightscape.study.catalogue import ALL, TITLES

SIGNS = {
    "supported": "✓",
    "supported, but small": "~",
    "masked by width": "M",
    "explained by width": "W",
    "no effect": "0",
    "reversed within width": "⇄",
    "contradicted": "✗",
    "inconclusive": "?",
    "too few runs": "·",
}
# Okabe and Ito's, told apart in every form of colour-blindness; the sign tells them in grey
COLOURS = {
    "supported": "#0072B2",
    "supported, but small": "#56B4E9",
    "masked by width": "#009E73",
    "explained by width": "#E69F00",
    "no effect": "#F0E442",
    "reversed within width": "#D55E00",
    "contradicted": "#B5482A",
    "inconclusive": "#8C8C8C",
    "too few runs": "#E6E6E6",
}
_LIGHT = (
    "supported, but small",
    "explained by width",
    "no effect",
    "too few runs",
)
_ANSWER_COLOURS = {
    "holds": "#0072B2",
    "holds in part": "#009E73",
    "mixed": "#CC79A7",
    "fails in part": "#E69F00",
    "does not hold": "#D55E00",
    "undecided": "#8C8C8C",
}
MEANINGS = {
    "supported": "within width as claimed",
    "supported, but small": "the same, but below the smallest effect of interest",
    "masked by width": "within width as claimed, over all runs not seen",
    "explained by width": "over all runs as claimed, within width shown to be negligible",
    "no effect": "within width shown to be negligible, over all runs not as claimed",
    "reversed within width": "over all runs as claimed, within width the other way",
    "contradicted": "within width the other way",
    "inconclusive": "within width neither seen nor shown to be negligible",
    "too few runs": "too few to judge",
}

MANY = 3
"""Populations beyond which the answers at the head are each family's."""
NOT_TESTED = "not tested"
NOT_KNOWN = "<small>not known</small>"
"""Of what runs do not tell, as of imported ones their initial weights or what they predict."""

_STYLE = (
    PAGE_STYLE
    + """<style>
.scorecard td, .scorecard th { vertical-align: top; text-align: left; }
.scorecard .verdict { border-radius: 3px; padding: 0 0.35em; margin-right: 0.2em; color: white;
  white-space: nowrap; font-size: 0.85em; display: inline-block; }
.scorecard .light { color: #222; }
.answers { margin-bottom: 0.8em; }
.answers td, .answers th { padding: 0.15em 0.6em; line-height: 1.25; }
.answers td b { color: white; border-radius: 3px; padding: 0 0.4em; white-space: nowrap; }
.sentences { margin: 0.2em 0 1em 1.2em; padding: 0; line-height: 1.3; }
.scorecard .claim td { border-bottom: none; padding-top: 0.7em; font-weight: 600; }
.scorecard small { color: #555; white-space: nowrap; }
/* of the report, which centres its first page: the head of a long one would be out of reach */
body:has(#app) { margin: 0; }
#app .items-center.justify-center { align-items: flex-start; justify-content: flex-start; }
#app .prose { max-width: none; }
</style>"""
)


def render(
    tables: dict[str, pd.DataFrame], reliability: pd.DataFrame, study: str, alpha: float
) -> str:
    """The page, of the tables claims, families and answers, and of the populations' reliability.

    It also stands in the report's first page.
    """
    claims, answers = tables["claims"], tables["answers"]
    pairs = list(claims[["model", "dataset"]].drop_duplicates().itertuples(index=False, name=None))
    head = "".join(
        f"<th>{_title(pair)}<br>{_count(claims, reliability, pair)}</th>" for pair in pairs
    )
    body = "".join(
        _claim_rows(claim, claims[claims["claim"] == claim], pairs) for claim in heads.claims()
    )
    body += _families(tables["families"], len(pairs))
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in answers["sentence"])
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{_STYLE}\n'
        f"{_answers(answers, pairs, study)}\n"
        "<details><summary>In a sentence each, with effects, intervals and n</summary>"
        f'<ul class="sentences">{sentences}</ul></details>\n'
        f'<table class="scorecard"><caption>{_caption(claims, study, alpha)}</caption>'
        f"<thead><tr><th>statement</th>{head}</tr></thead><tbody>{body}</tbody></table>\n</html>\n"
    )


def _answers(answers: pd.DataFrame, pairs: list[tuple[str, str]], study: str) -> str:
    """Whether each claim holds for each population, on a few lines; of many, for each family."""
    by_cell = {(row["claim"], row["model"], row["dataset"]): row for _, row in answers.iterrows()}
    columns = pairs
    families = dict.fromkeys(model for model, _ in pairs)
    if 1 < len(families) < len(pairs) and len(pairs) > MANY:
        known = set(zip(answers["model"], answers["dataset"], strict=True))
        columns = [pair for pair in pairs if (pair[0], ALL) not in known]
        columns += [(model, ALL) for model in families if (model, ALL) in known]
    columns = [*columns, (ALL, ALL)] if len(pairs) > 1 else columns
    head, rows = "".join(f"<th>{_title(column)}</th>" for column in columns), ""
    for claim, of in heads.claims().items():
        cells = "".join(f"<td>{_answer(by_cell.get((claim, *of)))}</td>" for of in columns)
        rows += f"<tr><td>{claim}. {escape(of.says)}</td>{cells}</tr>"
    return (
        '<table class="scorecard answers"><caption><b>Do the paper\'s claims hold among networks '
        f"of one width? Study {escape(study)}. {_in_short(answers, columns[-1])}</b> In brackets: "
        f"statements for it, against it, undecided.</caption>"
        f"<thead><tr><th>claim</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _in_short(answers: pd.DataFrame, of: tuple[str, str]) -> str:
    """`Mixed: C1, C4. Does not hold: C2.`, of one column of the answers."""
    own = answers[(answers["model"] == of[0]) & (answers["dataset"] == of[1])]
    told = dict(zip(own["claim"], own["answer"], strict=True))
    by_word: dict[str, list[str]] = {word: [] for word in (*ANSWERS, NOT_TESTED)}
    for claim in heads.claims():
        by_word[told.get(claim, NOT_TESTED)].append(claim)
    return " ".join(f"{w.capitalize()}: {', '.join(of)}." for w, of in by_word.items() if of)


def _answer(row: pd.Series | None) -> str:
    if row is None:
        return NOT_TESTED
    counts = f"{row['n_for']}, {row['n_against']}, {row['n_undecided']}"
    return (
        f'<b style="background:{_ANSWER_COLOURS[row["answer"]]}" '
        f'title="{escape(row["sentence"])}">{row["answer"]}</b> <small>({counts})</small>'
    )


def _caption(claims: pd.DataFrame, study: str, alpha: float) -> str:
    counts = claims["verdict"].value_counts()
    seen = [verdict for verdict in VERDICTS if counts.get(verdict, 0)]
    legend = ", ".join(
        f"{_tag(verdict, f'{counts[verdict]} {verdict}')} {MEANINGS[verdict]}" for verdict in seen
    )
    return (
        f"<b>The {len(claims)} statements of these claims, over all runs and with width held "
        f"fixed.</b> {legend}. Each layer has its verdict; under them the median over layers of "
        "the effect, pooled → within width (and as that would be if accuracies were reliable), "
        "from -1 to 1 (C2: from -2 to 2), and the smallest effect within width that 80 % of such "
        "studies would see. "
        f"alpha = {alpha:g} after adjustment over all statements; rules: docs/claims.md."
    )


def _title(pair: tuple[str, str]) -> str:
    """`DNN on MNIST`; `DNN`, of all datasets; or `all`."""
    names = [TITLES.get(name, name) for name in pair if name != ALL]
    return escape(" on ".join(names)) or ALL


def _count(claims: pd.DataFrame, reliability: pd.DataFrame, pair: tuple[str, str]) -> str:
    """`n = 200 runs`, the most that a statement of a population rests on; and how reliable the
    accuracies are, from width to width."""
    of_pair, reliable = (
        table[(table["model"] == pair[0]) & (table["dataset"] == pair[1])]
        for table in (claims, reliability)
    )
    known = reliable.loc[reliable["runs"] == "converged", "reliability"].dropna()
    told = ""
    if len(known):
        told = f"<br>reliability of accuracy<br>by width {known.min():.2f} to {known.max():.2f}"
    return f"<small>n = {of_pair['n'].max():.0f} runs{told}</small>"


def _claim_rows(name: str, claims: pd.DataFrame, pairs: list[tuple[str, str]]) -> str:
    head = heads.claims()[name]
    text = f"{name}. {head.says}"
    if not len(claims):
        text += f" Not tested: {head.untested or 'no statement of it could be made'}."
    rows = f'<tr class="claim"><td colspan="{1 + len(pairs)}">{escape(text)}</td></tr>'
    for statistic, words in head.statistics.items() if len(claims) else ():
        of = claims[claims["statistic"] == statistic]
        cells = "".join(
            f"<td>{_cell(of[(of['model'] == model) & (of['dataset'] == dataset)])}</td>"
            for model, dataset in pairs
        )
        rows += f"<tr><td>{escape(words)}</td>{cells}</tr>"
    return rows


def statistic_name(claim: str, statistic: str) -> str:
    """A statement's statistic in words."""
    return heads.claims()[claim].statistics[statistic]


def _families(families: pd.DataFrame, n_pairs: int) -> str:
    """A row that tells of how many statistics the families' effects are alike."""
    if not len(families):
        return ""
    counts = families["verdict"].value_counts()
    told = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
    return (
        f"<tr><td>effects within width, family against family</td><td colspan={n_pairs}>"
        f"of {len(families)} statistics: {told} <small>(families.csv)</small></td></tr>"
    )


def _cell(rows: pd.DataFrame) -> str:
    if not len(rows):
        return NOT_KNOWN
    tags = "".join(_tag(row["verdict"], row["layer"], _details(row)) for _, row in rows.iterrows())
    pooled, within = (_median(rows[name]) for name in ("pooled", "within"))
    corrected = f" ({_median(rows['corrected'])})" if rows["corrected"].notna().any() else ""
    effects = pooled if is_about_width(rows.iloc[0]) else f"{pooled} → {within}{corrected}"
    seen = rows["detectable"].median()
    power = f"; sees {seen:.2f}" if np.isfinite(seen) else ""
    return f"{tags}<br><small>{effects}{power}</small>"


def _median(effects: pd.Series) -> str:
    there = effects[np.isfinite(effects.astype(float))]
    return f"{there.median():+.2f}" if len(there) else "-"


def _details(row: pd.Series) -> str:
    parts = [
        f"{what} {effect_of(row, name)}, n = {row[n]:.0f}, "
        f"adjusted p = {row[f'{name}_p_adjusted']:.2g}"
        for what, name, n in (("pooled", "pooled", "n"), ("within width", "within", "n_within"))
    ]
    if np.isfinite(row["between"]):
        parts.append(
            f"between {row['n_widths']:.0f} widths {row['between']:+.2f}, "
            f"p = {row['between_p']:.2g}"
        )
    if np.isfinite(row["corrected"]):
        parts.append(f"within width if accuracies were reliable {row['corrected']:+.2f}")
    if np.isfinite(row["heterogeneity"]):
        parts.append(
            f"widths differ by I2 = {row['heterogeneity']:.2f}, p = {row['heterogeneity_p']:.2g}"
        )
    parts.append(f"adjusted p that it is not negligible = {row['negligible_p_adjusted']:.2g}")
    parts.append(f"{row['ways_agree']:.0f} of {row['ways']:.0f} ways to analyse agree")
    return f"{row['verdict']}: {'; '.join(parts)}"


def _tag(verdict: str, text: object, details: str = "") -> str:
    known = text if isinstance(text, str) else ""  # a statement of the whole network has no layer
    light = " light" if verdict in _LIGHT else ""
    return (
        f'<span class="verdict{light}" style="background:{COLOURS[verdict]}" '
        f'title="{escape(details)}">{SIGNS[verdict]} {escape(known)}</span>'
    )
