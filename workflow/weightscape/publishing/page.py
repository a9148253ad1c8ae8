"""docs/results.md: what was found of the published populations, from their tables."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from weightscape import heads
from weightscape.claims.answers import effect_of
from weightscape.errors import WeightscapeError
from weightscape.opened.study import Study
from weightscape.publishing.data import (
    FOLDER,
    of_population,
    paper_figures,
    read_configs,
    studies,
)
from weightscape.runs.paper_tables import settings
from weightscape.study.catalogue import ALL, TITLES
from weightscape.study.sections import GROUPS, Config


def results() -> str:
    """What was found of each population in docs/results/, in Markdown, from its tables."""
    study, configs = Study(FOLDER), read_configs()
    tables = {name: study.table(name) for name in ("answers", "claims", "groups", "multiverse")}
    populations = [*configs]
    lines = [*_trained(populations, configs), ""]
    lines += [*_answers_of(populations, tables["answers"]), ""]
    lines += [*_pictures_of(populations, tables["claims"]), ""]
    lines += _starts()
    lines += [*_figures(), ""]
    for model, dataset in populations:
        own = {name: of_population(table, model, dataset) for name, table in tables.items()}
        lines += [*_results_of(model, dataset, own), ""]
    return "\n".join(lines).rstrip()


def _trained(
    populations: list[tuple[str, str]], configs: dict[tuple[str, str], Config]
) -> Iterator[str]:
    yield "## Table 1: what was trained\n"
    yield "Each layer with its weights per node and its nodes, from the smallest to the largest.\n"
    yield "| population | layers | widths | seeds each | n | widths in the paper | n in the paper |"
    yield "|---" * 7 + "|"
    for key in populations:
        rows = settings(configs[key]).to_dict("records")
        layers = [f"{row['layer']} {row['inputs']} to {row['outputs']}" for row in rows]
        last = rows[-1]
        cells = [_title(*key), "; ".join(layers), last["widths"], last["seeds"], f"{last['n']:,}"]
        cells += [last["paper_widths"], f"{last['paper_n']:,}"]
        yield f"| {' | '.join(map(str, cells))} |"


def _answers_of(populations: list[tuple[str, str]], answers: pd.DataFrame) -> Iterator[str]:
    yield "## The answers side by side\n"
    yield "In brackets: statements for the claim, against it, and undecided.\n"
    of = dict.fromkeys(zip(answers["model"], answers["dataset"], strict=True))
    together = [key for key in of if key[1] == ALL]  # each family, and all
    names = [_title(*key) for key in (*populations, *together)]
    yield f"| claim | what it says | {' | '.join(names)} |"
    yield "|---" * (len(names) + 2) + "|"
    for claim, rows in answers.groupby("claim"):
        cells = dict.fromkeys((*populations, *together), "")
        for row in rows.to_dict("records"):
            counts = ", ".join(str(row[name]) for name in ("n_for", "n_against", "n_undecided"))
            cells[row["model"], row["dataset"]] = f"{row['answer']} ({counts})"
        yield f"| {claim} | {heads.claims()[str(claim)].says} | {' | '.join(cells.values())} |"


def _pictures_of(populations: list[tuple[str, str]], claims: pd.DataFrame) -> Iterator[str]:
    yield "## The paper's pictures\n"
    yield (
        "Is what the paper's figures show seen over the runs of all widths, as the paper has\n"
        "them? And what is left of it among networks of one width? Each cell says in how many\n"
        "layers the effect has the claimed sign, with a 95 % interval that leaves out 0, and the\n"
        "range of the layers' effects.\n"
    )
    yield "| figures | statement | sign | population | over all runs | within width |"
    yield "|---|---|---|---|---|---|"
    for claim, head in heads.claims().items():
        for statistic, words in head.statistics.items() if head.figures else ():
            for key in populations:
                rows = _judged(of_population(claims, *key), claim, statistic)
                if len(rows):
                    seen = [_seen(rows, name) for name in ("pooled", "within")]
                    cells = [head.figures, f"{claim}: {words}", _sign(rows), _title(*key), *seen]
                    yield f"| {' | '.join(cells)} |"


def _starts() -> Iterator[str]:
    """What the initial weights change: the studies from other ones beside the paper's study."""
    published = [(read_configs(folder), Study(folder)) for folder in studies()]
    if len(published) == 1:
        return
    by_start = {_start(configs): study for configs, study in published}
    if len(by_start) < len(published):
        raise WeightscapeError(
            f"two studies in {FOLDER} have the same initial weights, of {', '.join(by_start)}; "
            "keep one of them"
        )
    others = [key for configs, _ in published[1:] for key in configs]
    populations = [key for key in published[0][0] if key in others]
    yield "## From other initial weights\n"
    yield (
        "The same networks, trained from initial weights that are drawn otherwise. The paper says\n"
        "*normal* and no more. *Uniform* is what torch's layers have: within 1/√(inputs).\n"
        "Accuracies are medians of the runs' last ones, in %.\n"
    )
    yield from _runs_from(by_start, populations)
    yield "\nThe answers to the claims:\n"
    yield from _answers_from(by_start, populations)
    yield "\nWhat is seen within width, as in the table of the paper's pictures:\n"
    yield from _seen_from(by_start, populations)
    yield ""


def _start(configs: dict[tuple[str, str], Config]) -> str:
    """The initial weights of a study, which are those of all its populations."""
    every = [config["training"]["initialisation"] for config in configs.values()]
    names = {
        f"{of['weights']}, σ {of['std']:g}" if of["weights"] == "normal" else of["weights"]
        for of in every
    }
    if len(names) > 1:
        raise WeightscapeError(
            f"populations of one study have unlike initial weights ({', '.join(sorted(names))}); "
            "publish them in folders of their own"
        )
    return names.pop()


def _runs_from(by_start: dict[str, Study], populations: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| population | initial weights | n | {' | '.join(GROUPS)} | train | test |"
    yield "|---" * (len(GROUPS) + 5) + "|"
    for key in populations:
        for start, study in by_start.items():
            runs = of_population(study.runs, *key)
            if len(runs):
                counts = [str((runs["group"] == name).sum()) for name in GROUPS]
                medians = [
                    f"{runs[f'{split}_accuracy'].median():.2f}" for split in ("train", "test")
                ]
                cells = [_title(*key), start, f"{len(runs):,}", *counts, *medians]
                yield f"| {' | '.join(cells)} |"


def _answers_from(by_start: dict[str, Study], populations: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| claim | population | {' | '.join(by_start)} |"
    yield "|---" * (len(by_start) + 2) + "|"
    tables = [study.table("answers") for study in by_start.values()]
    for claim in heads.claims():
        for key in populations:
            own = [of_population(table[table["claim"] == claim], *key) for table in tables]
            cells = ["".join(rows["answer"]) for rows in own]
            if any(cells):
                yield f"| {claim} | {_title(*key)} | {' | '.join(cells)} |"


def _seen_from(by_start: dict[str, Study], populations: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| statement | sign | population | {' | '.join(by_start)} |"
    yield "|---" * (len(by_start) + 3) + "|"
    tables = [study.table("claims") for study in by_start.values()]
    for claim, head in heads.claims().items():
        for statistic, words in head.statistics.items() if head.figures else ():
            for key in populations:
                own = [_judged(of_population(of, *key), claim, statistic) for of in tables]
                seen = [_seen(rows, "within") if len(rows) else "" for rows in own]
                if any(seen):
                    sign = next(_sign(rows) for rows in own if len(rows))
                    cells = [f"{claim}: {words}", sign, _title(*key), *seen]
                    yield f"| {' | '.join(cells)} |"


def _judged(claims: pd.DataFrame, claim: str, statistic: str) -> pd.DataFrame:
    """The statements of one statistic that enough runs speak for."""
    is_it = (claims["claim"] == claim) & (claims["statistic"] == statistic)
    return claims[is_it & (claims["verdict"] != "too few runs")]


def _sign(rows: pd.DataFrame) -> str:
    return "+" if rows["predicted"].iloc[0] > 0 else "-"


def _seen(rows: pd.DataFrame, effect: str) -> str:
    """In how many rows an effect is as predicted, and the range of the effects."""
    known = rows.dropna(subset=[effect])
    if not len(known):
        return ""
    ends = known[[f"{effect}_low", f"{effect}_high"]].mul(known["predicted"], axis=0)
    least, most = known[effect].min(), known[effect].max()
    between = f"{least:+.2f}" if len(known) == 1 else f"{least:+.2f} to {most:+.2f}"
    return f"{(ends.min(axis=1) > 0).sum()} of {len(known)}: {between}"


def _title(model: str, dataset: str) -> str:
    """`DNN on MNIST`; `DNN`, of all datasets; or `all`."""
    return " on ".join(TITLES[name] for name in (model, dataset) if name != ALL) or ALL


def _figures() -> Iterator[str]:
    """The grids of layer x dataset of each model that are published."""
    yield "## The paper's figures\n"
    for name in paper_figures():
        for path in sorted((FOLDER / "figures").glob(f"{name}*.png")):
            # a model, and maybe the only datasets that are shown; or all, in one grid
            model, *datasets = path.stem.removeprefix(name).removeprefix("-").split("-")
            says = heads.shown_by(name)
            if model:
                of = " and ".join(_title(model, dataset) for dataset in datasets or [ALL])
                says = f"{of}. {says}"
            yield f"![{says}](results/figures/{path.name})\n"
            yield f"*{says}.*\n"


def _results_of(model: str, dataset: str, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """What was found of one population, line by line."""
    groups, claims = tables["groups"], tables["claims"]
    name = f"{model}-{dataset}"
    yield f"## {_title(model, dataset)}: {groups['n'].sum():,} runs\n"
    yield f"[Its config](results/configs/{name}.yaml) trains the same runs again.\n"
    yield f"**The groups of Table 2**, by {groups['split'].iloc[0]} accuracy (%):\n"
    yield from ("| group | n | median here | median in the paper |", "|---|---|---|---|")
    for row in groups.to_dict("records"):
        numbers = [_number(row[name]) for name in ("median", "paper_median")]
        yield f"| {row['group']} | {row['n']} | {' | '.join(numbers)} |"
    yield "\n**The answers**\n"
    yield from (f"- {sentence}" for sentence in tables["answers"]["sentence"])
    yield "\n**The statements.** Effects have 95 % intervals; n is the runs of the pooled effect.\n"
    yield "| claim | statement | n | over all runs | within width | verdict | ways that agree |"
    yield "|---|---|---|---|---|---|---|"
    for row in claims.fillna({"layer": ""}).to_dict("records"):
        words = heads.claims()[row["claim"]].statistics[row["statistic"]]
        layer = f" ({row['layer']})" if row["layer"] else ""
        effects = [
            effect_of(row, name) if pd.notna(row[name]) else "" for name in ("pooled", "within")
        ]
        ways = f"{row['ways_agree']} of {row['ways']}"
        cells = [row["claim"], words + layer, str(row["n"]), *effects, row["verdict"], ways]
        yield f"| {' | '.join(cells)} |"
    others = tables["multiverse"]
    c5 = others[(others["claim"] == "C5") & (others["edges"] != "as set")]
    if len(c5):
        counts = c5["verdict"].value_counts()
        told = ", ".join(f"{verdict} {n}" for verdict, n in counts.items())
        yield f"\nC5 by quantiles of accuracy in place of the paper's edges: {told}."


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
