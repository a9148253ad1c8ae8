"""The paper's claims: each statement's effect over all runs beside that with width held fixed."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.lines import Line2D

from weightscape.claims.scorecard import COLOURS, SIGNS, statistic_name
from weightscape.drawing import style
from weightscape.heads import FigureHead, claims

HEAD = FigureHead(
    reads=("claims", "claim_widths", "claim_values"),
    category="Claims",
    caption=(
        "One claim on {model} on {dataset} ({runs}). A row per statement: its effect over all "
        "runs (dots) and with width held fixed (diamonds), with 95 % intervals over runs, and the "
        "effect in each width (strokes, coloured by width). The grey half is what the claim "
        "predicts; verdicts at alpha = {claims[alpha]} after adjustment over all statements of "
        "the study, whose adjusted p is told where an interval alone would say more. Below, the "
        "runs that count, coloured by width, crosses where they are non: pooled, and by their "
        "ranks within their width; triangles are far from the others, and named. Of C6, the runs "
        "that did not converge above all others, moved up and down at random. Runs that did not "
        "converge: {claims[non]} (C6 has them always). By final {claims[accuracy]} accuracy. The "
        "table of all statements has n, p and Cliff's delta."
    ),
    layers=False,
    each="claim",
)

MEASURES = {
    "spearman": "Spearman's rank correlation",
    "spearman_difference": "difference of two of Spearman's rank correlations",
    "cliffs_delta": "Cliff's delta",
    "purity": "purity less that of shuffled groups",
}
_RUN = ["width", "seed"]
POOLED, WITHIN = "#222222", "#0072B2"
ROW = 0.21  # inches of a statement
SHOWN = 3  # statements whose runs are shown
APART = 0.17  # of a row, between pooled and within


def draw(population: style.Shown, split: str, claim: str) -> Figure:
    """One claim on one population.

    Above, a row per statement: pooled and within-width effect with 95 % intervals, and the effect
    in each width. Below, where a statement is of a number of each run, the runs of the first such
    statistic: as they are, and by their ranks within their width. Where y says whether a run is
    `non`, they are of each statistic the layer of the largest effect.
    """
    runs = population.runs
    judged, widths, values = (_of(population.measure[name], claim, runs) for name in HEAD.reads)
    # as C6, which compares runs that are `non` with all others
    is_of_sets = bool((values["y"] == (values["group"] == "non")).all())
    shown = _shown(judged, values, is_of_sets) if len(values) else []
    height = 1.4 + ROW * max(len(judged), 1)
    figure = Figure(figsize=(style.PAGE[0], height + (3.9 if shown else 0)), layout="constrained")
    parts: list[Figure | SubFigure] = [figure]
    if shown:
        parts = list(cast("np.ndarray", figure.subfigures(2, 1, height_ratios=[height, 3.9])))
    scale, numbers = style.width_scale(runs)
    axes = parts[0].subplots()
    _draw_effects(axes, judged, widths, scale, numbers)
    _add_legend(parts[0], judged, widths)
    if shown:
        panels = parts[1].subplots(2, len(shown), squeeze=False)
        for column, own in zip(panels.T, shown, strict=True):
            _draw_runs(column, own, scale, numbers, is_of_sets)
        style.add_width_bar(parts[1], list(panels.ravel()), scale, numbers)
    style.put_heading(figure, f"{claim}: {claims()[claim].says}", [population])
    keys = pd.concat([values[_RUN].iloc[:0], *(own[_RUN] for own in shown)])
    is_drawn = pd.MultiIndex.from_frame(runs[_RUN]).isin(pd.MultiIndex.from_frame(keys))
    drawn = population._replace(runs=runs[is_drawn])
    style.add_non_legend(parts[-1], [drawn])
    return figure


def _shown(judged: pd.DataFrame, values: pd.DataFrame, is_of_sets: bool) -> list[pd.DataFrame]:
    """The values of each statement whose runs are shown."""
    statistics = values["statistic"].unique()
    told = [name for name in claims()[judged["claim"].iloc[0]].statistics if name in statistics]
    parts = []
    for statistic in told if is_of_sets else told[:1]:
        of = judged[judged["statistic"] == statistic]
        of = of.loc[of["pooled"].abs().fillna(0).nlargest(1).index] if is_of_sets else of
        own = values[values["statistic"] == statistic]
        parts += [own[own["layer"].fillna("") == layer] for layer in of["layer"].fillna("")]
    return style.spread([part for part in parts if len(part)], SHOWN)


def _of(table: pd.DataFrame, claim: str, runs: pd.DataFrame) -> pd.DataFrame:
    pair = runs[["model", "dataset"]].iloc[0]
    is_own = (table[["model", "dataset"]] == pair).all(axis=1) & (table["claim"] == claim)
    return table[is_own]


def _draw_effects(
    axes: Axes,
    judged: pd.DataFrame,
    widths: pd.DataFrame,
    scale: ScalarMappable,
    numbers: dict[str, float],
) -> None:
    axes.axvline(0, color="black", linewidth=0.6)
    labels = []
    for place, (_, row) in enumerate(judged.iterrows()):
        # the half that the claim predicts
        axes.barh(place, row["predicted"] * 2, height=1, color="#F2F2F2", zorder=0)
        _draw_widths(axes, place + APART, _of_statement(widths, row), scale, numbers)
        for name, colour, marker, shift in (
            ("pooled", POOLED, "o", -APART),
            ("within", WITHIN, "D", APART),
        ):
            _draw_interval(axes, place + shift, row, name, colour, marker)
        labels.append(
            f"{statistic_name(row['claim'], row['statistic'])}, {_layer(row)}".rstrip(", ")
        )
        axes.annotate(
            f"{SIGNS[row['verdict']]} {row['verdict']}{_told_p(row)}",
            (1.01, place),
            fontsize=6,
            va="center",
            xycoords=("axes fraction", "data"),
            color=_ink(row["verdict"]),
        )
    ends = judged[["pooled_low", "pooled_high", "within_low", "within_high"]].to_numpy(float)
    of_widths = widths["effect"].to_numpy(float)
    reach = np.abs(np.nan_to_num(np.concatenate([ends.ravel(), of_widths]))).max(initial=1.0)
    axes.set_xlim(-1.05 * reach, 1.05 * reach)
    axes.set_ylim(max(len(judged), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels, fontsize=6.5)
    axes.grid(False)
    n = judged[["n", "n_within"]].max().fillna(0)  # too few runs for any statement
    axes.set_xlabel(_measures(judged))
    axes.set_title(f"n = {n['n']:.0f} runs pooled, {n['n_within']:.0f} within width")


def _told_p(row: pd.Series) -> str:
    """Why a verdict is not sure of an effect whose interval leaves out 0."""
    low, high, p = (row[f"within_{end}"] for end in ("low", "high", "p_adjusted"))
    is_apart = (low > 0 or high < 0) and row["verdict"] == "inconclusive"
    return f"\n   adjusted p {p:.2g}" if is_apart and np.isfinite(p) else ""


def _measures(judged: pd.DataFrame) -> str:
    """What the axis of effects shows."""
    names = [MEASURES[measure] for measure in dict.fromkeys(judged["measure"])]
    return "; ".join(names) or "effect"


def _of_statement(widths: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """The effect in each width of a statement."""
    is_own = widths["statistic"] == row["statistic"]
    found: pd.DataFrame = widths[is_own & (widths["layer"].fillna("") == _layer(row))]
    return found


def _draw_widths(
    axes: Axes, place: float, own: pd.DataFrame, scale: ScalarMappable, numbers: dict[str, float]
) -> None:
    """A stroke per width."""
    colours = scale.to_rgba(own["width"].map(numbers).to_numpy(float))
    places = np.full(len(own), place)
    axes.scatter(own["effect"], places, marker="|", s=22, c=colours, linewidths=0.9, zorder=2)


def _draw_interval(
    axes: Axes, place: float, row: pd.Series, name: str, colour: str, marker: str
) -> None:
    """An effect with its interval; open where width is held fixed."""
    if not np.isfinite(row[name]):
        return
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    axes.hlines(place, low, high, color=colour, linewidth=1.1, zorder=3)
    face = colour if name == "pooled" else "white"
    axes.plot(
        row[name], place, marker, color=colour, markersize=3.4, zorder=4, markerfacecolor=face
    )


def _layer(row: pd.Series) -> str:
    return row["layer"] if isinstance(row["layer"], str) else ""


def _ink(verdict: str) -> str:
    return "#666666" if verdict in ("too few runs", "no effect") else COLOURS[verdict]


def _add_legend(figure: FigureBase, judged: pd.DataFrame, widths: pd.DataFrame) -> None:
    """Of what is drawn alone."""
    marks = [
        Line2D([], [], color=colour, marker=marker, markersize=3.4, label=label, mfc=face)
        for name, colour, marker, label, face in (
            ("pooled", POOLED, "o", "pooled, 95 % interval", POOLED),
            ("within", WITHIN, "D", "within width, 95 % interval", "white"),
        )
        if np.isfinite(judged[name].astype(float)).any()
    ]
    if np.isfinite(widths["effect"].astype(float)).any():
        marks.append(Line2D([], [], color="#666666", marker="|", linestyle="", label="one width"))
    marks.append(Line2D([], [], color="#E2E2E2", linewidth=6, label="as the claim predicts"))
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=6.5)


def _draw_runs(
    panels: np.ndarray,
    values: pd.DataFrame,
    scale: ScalarMappable,
    numbers: dict[str, float],
    is_of_sets: bool,
) -> None:
    """The runs of one statement: y against x above, ranks within each width below.

    Crosses are `non`. Where a statement compares sets of runs, y is the set, and a statistic that
    is the same in each width has no ranks there.
    """
    there = pd.DataFrame(values[np.isfinite(values[["x", "y"]]).all(axis=1)])
    by_width = there.groupby("width")
    ranks = by_width[["x", "y"]].rank(pct=True)
    if is_of_sets:  # places that keep runs apart
        there["y"] += np.random.default_rng(0).uniform(-0.3, 0.3, len(there))
        ranks["y"] = there["y"]
    row = values.iloc[0]
    name = statistic_name(row["claim"], row["statistic"])
    layers = _layer(row).split("-")
    y_name, unit, title = "accuracy", " (%)", _layer(row)
    if len(layers) > 1:  # `strength, layer against next` is the strength of either
        title, unit = f"{name}\n{title}", ""
        name, y_name = (f"{name.partition(',')[0]} of {layer}" for layer in layers)
    shown = [
        (panels[0], there, name, y_name + unit, "pooled"),
        (panels[1], ranks, f"rank of {name}", f"rank of {y_name}", "within width"),
    ]
    if (by_width["x"].nunique() < 2).all():
        shown.pop()[0].set_visible(False)
    colours = scale.to_rgba(there["width"].map(numbers).to_numpy(float))
    for axes, points, x_label, y_label, what in shown:
        style.write_out(axes)
        style.draw_points(axes, points[["x", "y"]], there["group"] == "non", colours, 0.8, there)
        axes.set_title(f"{title}, {what} (n = {len(points)})".removeprefix(", "), fontsize=6.5)
        axes.set_xlabel(x_label, fontsize=6.5)
        if is_of_sets:
            axes.set_yticks([0, 1], ["others", "non"])
            axes.set_ylim(-0.5, 1.5)
        else:
            axes.set_ylabel(y_label, fontsize=6.5)
        axes.tick_params(labelsize=6)
