"""The explorer's page, by Bokeh: views that share one table of runs, and so one selection.

What a browser does with a choice is in explorer.js. The page holds all that it shows, asks the
network for nothing, and keeps the choices in its address.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import BooleanFilter, CDSView, ColumnDataSource, CustomJS, HoverTool
from bokeh.models.widgets import (
    Button,
    DataTable,
    Div,
    MultiSelect,
    NumberFormatter,
    Select,
    TableColumn,
)
from bokeh.plotting import figure
from bokeh.resources import INLINE

from weightscape.drawing.style import GROUP_COLOURS
from weightscape.exploring.gather import OF_RUNS, WHOLE, Explored, Weights
from weightscape.study.widths import width_order

SCRIPT = Path(__file__).with_name("explorer.js")
KEYS = ("model", "dataset", "width", "seed", "group")
COLUMNS = (*KEYS, *OF_RUNS, "shard")
"""Of the table of selected runs."""
FILTERS = ("model", "dataset", "group", "width")
COLOURS = ("group", "test accuracy (%)", "width")
SIZE: dict[str, Any] = {"width": 435, "height": 330}
TOOLS: dict[str, Any] = {
    "tools": "box_select,lasso_select,tap,pan,wheel_zoom,reset",
    "active_drag": "box_select",
}
MOST_CURVES = 300  # of selected runs that are drawn; the table has all


def render(explored: Explored, study: str) -> str:
    """The page of a study, as HTML."""
    page = _Page(explored)
    document = Document(title=f"weightscape: {study}")
    document.add_root(page.layout(study))
    document.js_on_event(DocumentReady, page.on("start"))
    return file_html(document, INLINE, title=f"weightscape: {study}")


class _Page:
    """The models of one page, by the names that explorer.js has for them."""

    def __init__(self, explored: Explored):
        self.runs = runs = explored.runs
        n = len(runs)
        nothing = np.full(n, np.nan, np.float32)
        told: dict[str, Any] = {key: runs[key].tolist() for key in (*KEYS, "shard")}
        told |= {key: runs[of].to_numpy(np.float32) for key, of in OF_RUNS.items()}
        places = {"x": nothing, "y": nothing, "map_x": nothing, "map_y": nothing}
        colour: dict[str, Any] = {"colour": [GROUP_COLOURS["ungrouped"]] * n}
        self.source = ColumnDataSource(
            {**told, "size": runs["size"].to_numpy(np.float32), **places, **colour}
        )
        self.numbers = [ColumnDataSource(dict(part)) for part in explored.numbers]
        self.maps = [ColumnDataSource(dict(part)) for part in explored.maps]
        self.curves = ColumnDataSource({"accuracy": list(explored.curves)})
        self.drawn = ColumnDataSource({"xs": [], "ys": [], "colour": []})
        self.bars, self.density = (
            ColumnDataSource({"left": [], "right": [], "chosen": [], "rest": []}) for _ in range(2)
        )
        weights = explored.weights
        self.edges, self.shares = (
            [
                ColumnDataSource({name: getattr(of, key).ravel() for name, of in part.items()})
                for part in weights
            ]
            for key in Weights._fields
        )
        self.chosen = ColumnDataSource({key: [] for key in COLUMNS})
        self.filter = BooleanFilter(booleans=[True] * n)
        self.names = {key: _names(explored, key) for key in ("numbers", "maps")}
        first = next(iter(OF_RUNS))
        x = next((key for key in self.names["numbers"] if ": std (" in key), first)
        numbers, maps = [*OF_RUNS, *self.names["numbers"]], self.names["maps"] or ["none"]
        map_ = next((key for key in maps if "quantiles" in key), maps[0])
        layers = [name for part in weights for name in part] or ["none"]
        self.choices: dict[str, Select] = {
            "x": _select("across", x, numbers),
            "y": _select("up", first, numbers),
            "map": _select("map of t-SNE", map_, maps),
            "colour": _select("colour by", COLOURS[0], COLOURS),
            "weights": _select("density of weights", layers[0], layers),
        }
        self.filters = {key: self._filter(key) for key in FILTERS}
        # the views stay where they are when a line comes or goes
        self.told = Div(text="", name="told", styles={"white-space": "pre", "min-height": "3.6em"})
        self.legend = Div(text="")
        self.views = self._views()
        for key, choice in {**self.choices, **self.filters}.items():
            choice.js_on_change("value", self.on(key))
        self.source.selected.js_on_change("indices", self.on("selection"))

    def on(self, what: str) -> CustomJS:
        """What happens in the browser."""
        args = {
            "what": what,
            "source": self.source,
            "numbers": self.numbers,
            "maps": self.maps,
            "curves": self.curves,
            "drawn": self.drawn,
            "bars": self.bars,
            "density": self.density,
            "shares": self.shares,
            "edges": self.edges,
            "whole": WHOLE,
            "chosen": self.chosen,
            "kept": self.filter,
            "choices": self.choices,
            "filters": self.filters,
            "told": self.told,
            "legend": self.legend,
            "axes": {
                "x": self.views["numbers"].xaxis[0],
                "y": self.views["numbers"].yaxis[0],
                "bars": self.views["bars"].xaxis[0],
                "weights": self.views["weights"].xaxis[0],
                "map": self.views["map"].title,
            },
            "groups": GROUP_COLOURS,
            "most": MOST_CURVES,
            "columns": [*COLUMNS],
            "sizes": self.runs.groupby(["model", "dataset"], sort=False).size().tolist(),
        }
        return CustomJS(args=args, code=SCRIPT.read_text(encoding="utf-8"))

    def layout(self, study: str) -> Any:
        copy, save, clear = (
            Button(label=label, width=150)
            for label in ("Copy the table", "Save it as CSV", "Select none")
        )
        for button, what in ((copy, "copy"), (save, "save"), (clear, "clear")):
            button.js_on_click(self.on(what))
        head = Div(text="<h1>Runs of the study</h1>", styles={"font-size": "80%"})
        views = self.views
        table = DataTable(
            name="chosen",
            source=self.chosen,
            columns=self._columns(),
            width=1300,
            height=230,
            index_position=None,
        )
        return column(
            head,
            self.told,
            row(*self.filters.values(), column(*self._in_rows(self.choices))),
            self.legend,
            row(views["width"], views["numbers"], views["map"]),
            row(views["curves"], views["bars"], views["weights"]),
            row(copy, save, clear),
            table,
        )

    @staticmethod
    def _in_rows(choices: dict[str, Select]) -> list[Any]:
        every = list(choices.values())
        return [row(*every[first : first + 2]) for first in range(0, len(every), 2)]

    def _filter(self, key: str) -> MultiSelect:
        values = dict.fromkeys(self.runs[key])
        order = sorted(values, key=width_order) if key == "width" else list(values)
        title = f"only {key}"
        return MultiSelect(title=title, name=title, options=order, width=140, size=4)

    def _views(self) -> dict[str, figure]:
        width = figure(
            title="Accuracy and width",
            x_axis_type="log",
            x_axis_label="width (product of its numbers)",
            y_axis_label="test accuracy (%)",
            name="width",
            **TOOLS,
            **SIZE,
        )
        self._scatter(width, "size", next(iter(OF_RUNS)))
        numbers, maps = (
            figure(title=title, name=key, **TOOLS, **SIZE)
            for key, title in (("numbers", "Two numbers of each run"), ("map", "Map"))
        )
        self._scatter(numbers, "x", "y")
        self._scatter(maps, "map_x", "map_y")
        curves = figure(
            name="curves",
            title=f"Training of selected runs (at most {MOST_CURVES})",
            x_axis_label="epoch",
            y_axis_label="test accuracy (%)",
            tools="pan,wheel_zoom,reset",
            **SIZE,
        )
        curves.multi_line("xs", "ys", color="colour", source=self.drawn, line_alpha=0.6)
        bars = _compare("bars", "Number across: selected, and rest", "share of runs", self.bars)
        weights = _compare("weights", "Weights: selected, and rest", "density", self.density)
        return {
            "width": width,
            "numbers": numbers,
            "map": maps,
            "curves": curves,
            "bars": bars,
            "weights": weights,
        }

    def _scatter(self, view: figure, x: str, y: str) -> None:
        dots = view.scatter(
            x,
            y,
            source=self.source,
            view=CDSView(filter=self.filter),
            color="colour",
            size=6,
            fill_alpha=0.8,
            line_color=None,
            nonselection_fill_alpha=0.08,
        )
        tips = [(key, f"@{{{key}}}") for key in (*KEYS, next(iter(OF_RUNS)))]
        view.add_tools(HoverTool(renderers=[dots], tooltips=tips))

    def _columns(self) -> list[TableColumn]:
        two = NumberFormatter(format="0.00")
        plain = [TableColumn(field=key, title=key) for key in KEYS]
        numbers = [TableColumn(field=key, title=key, formatter=two) for key in OF_RUNS]
        return [*plain, *numbers, TableColumn(field="shard", title="shard", width=420)]


def _compare(name: str, title: str, label: str, source: ColumnDataSource) -> figure:
    """Bars of the selected runs over those of the rest."""
    view = figure(name=name, title=title, y_axis_label=label, tools="pan,wheel_zoom,reset", **SIZE)
    bars: dict[str, Any] = {"left": "left", "right": "right", "bottom": 0, "source": source}
    view.quad(top="rest", color="#8C8C8C", alpha=0.5, legend_label="the rest", **bars)
    view.quad(top="chosen", color="#0072B2", alpha=0.5, legend_label="selected", **bars)
    return view


def _select(title: str, value: str, options: Sequence[str]) -> Select:
    every: list[Any] = [*options]
    return Select(title=title, name=title, value=value, options=every, width=330)


def _names(explored: Explored, kind: str) -> list[str]:
    """Of all populations, in their order."""
    parts = getattr(explored, kind)
    names = dict.fromkeys(key for part in parts for key in part)
    return list(names) if kind == "numbers" else [n[:-3] for n in names if n.endswith(": x")]
