"""Tables 1 and 2: a study's settings and groups beside the paper's, as CSV and as HTML."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from weightscape.heads import MeasureHead, Table
from weightscape.monitor import plan
from weightscape.study.population import Population, find_import, populations
from weightscape.study.sections import GROUPS, Config

HEAD = MeasureHead(
    reads=(),
    tables={
        "settings": Table(
            row=("population: Table 1: models, layers, training, widths and n, beside the paper's"),
            keys=("model", "dataset", "layer"),
            columns={
                "inputs": (
                    "weights that come into one node of the layer; from smallest to largest "
                    "over the widths, as 2-20"
                ),
                "outputs": "nodes of the layer; from smallest to largest over the widths",
                "batch": "images in one training step; empty for imports",
                "epochs": "epochs of training",
                "optimiser": "optimiser; empty for imports",
                "learning_rate": "learning rate, constant over training; empty for imports",
                "initial_std": (
                    "standard deviation of the normal distribution that initial weights are "
                    "drawn from; empty where they are uniform, and for imports"
                ),
                "widths": "the widths, with spaces between",
                "seeds": (
                    "runs of each width; with crossed seeds initialisations x orders of the "
                    "training images"
                ),
                "shuffle_seeds": (
                    "runs that share an initialisation, each with its own order of the "
                    "training images; empty with plain seeds"
                ),
                "n": "runs of the population, all widths together",
                "paper_widths": "widths in the paper; empty for populations that it does not have",
                "paper_n": "runs in the paper; empty for populations that it does not have",
            },
        ),
    },
    each="study",
)

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


def settings(config: Config, statistics: pd.DataFrame | None = None) -> pd.DataFrame:
    """Table 1 of a study: a row per population and layer, with the paper's widths and runs.

    Of networks that are imported, layers, widths and n are those in the table `statistics`.
    """
    rows = []
    for population in populations(config):
        pair = population.model, population.dataset
        paper = PAPER.get(pair[0], {}) if pair[1] in ("mnist", "fmnist", "cifar10") else {}
        beside = {
            "paper_widths": PAPER_WIDTHS.get(pair, paper.get("widths", math.nan)),
            "paper_n": paper.get("runs", math.nan),
        }
        if not population.is_imported:
            own = _population_rows(config, population)
        else:
            assert statistics is not None
            is_own = (statistics["model"] == pair[0]) & (statistics["dataset"] == pair[1])
            own = _import_rows(config, population, statistics[is_own])
        rows += [{"model": pair[0], "dataset": pair[1]} | row | beside for row in own]
    return pd.DataFrame(rows)


def _population_rows(config: Config, population: Population) -> list[dict[str, Any]]:
    networks = [plan.network(config, population, width) for width in population.widths]
    training, start = config["training"], config["training"]["initialisation"]
    return [
        {
            "layer": layer.name,
            "inputs": _range(network.layers[number].fan_in for network in networks),
            "outputs": _range(network.layers[number].shape[0] for network in networks),
            "batch": training["batch_size"],
            "epochs": training["epochs"],
            "optimiser": training["optimiser"],
            "learning_rate": training["learning_rate"],
            "initial_std": start["std"] if start["weights"] == "normal" else math.nan,
            "widths": " ".join(population.widths),
            "seeds": population.n_seeds,
            "shuffle_seeds": population.n_shuffle_seeds or math.nan,
            "n": population.n_runs,
        }
        for number, layer in enumerate(networks[0].layers)
    ]


def _import_rows(
    config: Config, population: Population, statistics: pd.DataFrame
) -> list[dict[str, Any]]:
    """Of the runs that were imported; how they were trained is not known."""
    by_width = statistics.drop_duplicates(["width", "seed"])["width"].value_counts()
    widths = [width for width in population.widths if width in by_width]
    return [
        {
            "layer": layer,
            "inputs": _range(of_layer["fan_in"]),
            "outputs": _range(of_layer["n_weights"] // of_layer["fan_in"]),
            "batch": math.nan,
            "epochs": find_import(config, population.model, population.dataset)["epochs"],
            **dict.fromkeys(("optimiser", "learning_rate", "initial_std"), math.nan),
            "widths": " ".join(widths),
            "seeds": _range(by_width),
            "shuffle_seeds": math.nan,
            "n": by_width.sum(),
        }
        for layer, of_layer in statistics.groupby("layer", sort=False)
    ]


def _range(numbers: Iterable[int]) -> str:
    """`5-200`, from the smallest number to the largest."""
    found = set(numbers)
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
    shares = " and ".join(dict.fromkeys(groups["split"]))
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
