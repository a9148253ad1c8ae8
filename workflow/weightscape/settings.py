"""Tables 1 and 2: a study's settings and groups beside the paper's, as CSV and as HTML."""

import math
from typing import Any

import pandas as pd

from weightscape import plan
from weightscape.config import Config
from weightscape.groups import GROUPS
from weightscape.models import Model
from weightscape.study import Population, populations

PAPER = {
    "dnn": {"widths": "5-200", "runs": 1000},
    "cnn": {"widths": "not given", "runs": 1000},
    "vit": {"widths": "2-16 heads", "runs": 30},
}
PAPER_WIDTHS = {("dnn", "cifar10"): "5-1000"}
PAPER_TRAINING = "batch 100, 20 epochs, Adam, learning rate 0.001, normal initial weights"

PAGE_STYLE = """<style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
caption { text-align: left; margin-bottom: 1em; max-width: 60em; }
th, td { padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; text-align: right; }
th { border-bottom: 2px solid #222; text-align: left; }
td:nth-child(-n + 3) { text-align: left; }
</style>"""


def settings(config: Config) -> pd.DataFrame:
    """Table 1 of a study: a row per population and layer, with the paper's widths and runs."""
    rows = [
        row for population in populations(config) for row in _population_rows(config, population)
    ]
    return pd.DataFrame(rows)


def _population_rows(config: Config, population: Population) -> list[dict[str, Any]]:
    networks = [plan.network(config, population, width) for width in population.widths]
    training, pair = config["training"], (population.model, population.dataset)
    paper = PAPER.get(pair[0], {}) if pair[1] in ("mnist", "fmnist", "cifar10") else {}
    return [
        {
            "model": pair[0],
            "dataset": pair[1],
            "layer": layer.name,
            "inputs": _range(networks, number, 1),
            "outputs": _range(networks, number, 0),
            "batch": training["batch_size"],
            "epochs": training["epochs"],
            "optimiser": training["optimiser"],
            "learning_rate": training["learning_rate"],
            "initial_std": training["initialisation"]["std"],
            "widths": " ".join(population.widths),
            "seeds": population.seeds,
            "shuffle_seeds": population.shuffle_seeds or math.nan,
            "n": population.n_runs,
            "paper_widths": PAPER_WIDTHS.get(pair, paper.get("widths", math.nan)),
            "paper_n": paper.get("runs", math.nan),
        }
        for number, layer in enumerate(networks[0].layers)
    ]


def _range(networks: list[Model], number: int, axis: int) -> str:
    """`5-200`: what the widths make of the nodes (axis 0) or inputs (1) of a layer."""
    found = {
        network.layers[number].fan_in if axis else network.layers[number].shape[0]
        for network in networks
    }
    return f"{min(found)}-{max(found)}" if len(found) > 1 else str(min(found))


def render_settings(table: pd.DataFrame) -> str:
    """Table 1 as a page of HTML."""
    return _page(
        table,
        "Table 1. Settings of the study: for each population its layers, with weights per node "
        "(inputs) and nodes (outputs) over the widths, its training, widths, seeds per width "
        "(crossed: shuffle_seeds of them share an initialisation) and n runs. Beside it the "
        f"paper's widths and n; it trains with {PAPER_TRAINING}.",
        "g",
    )


def render_groups(groups: pd.DataFrame) -> str:
    """Table 2 as a page of HTML: n and accuracies of each group beside the paper's median."""
    order = {group: number for number, group in enumerate(GROUPS)}
    number = groups.groupby(["model", "dataset"], sort=False).ngroup()
    table = groups.assign(population=number, rank=groups["group"].map(order))
    table = table.sort_values(["population", "rank"]).drop(columns=["population", "rank"])
    shares = " and ".join(dict.fromkeys(groups["accuracy"]))
    return _page(
        table,
        f"Table 2. Groups of runs by final {shares} accuracy (%): n runs, minimum, median and "
        "maximum, the edges [low, high) that sorted them and where the edges come from. Ungrouped "
        "are the runs in the gaps between groups. paper_median is the paper's; it gives no n.",
        ".2f",
    )


def _page(table: pd.DataFrame, caption: str, number: str) -> str:
    body = table.to_html(
        index=False,
        na_rep="-",
        border=0,
        float_format=lambda value: format(value, number),
        escape=True,
    )
    head, rest = body.split(">", 1)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{PAGE_STYLE}\n'
        f"{head}><caption>{caption}</caption>{rest}\n</html>\n"
    )
