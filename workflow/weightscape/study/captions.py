"""What the captions of the report say of a study's populations. Imports nothing heavy."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from weightscape.study.config import Config
from weightscape.study.paths import import_tables
from weightscape.study.population import Population, find_import, populations


def describe(config: Config) -> list[dict[str, Any]]:
    """Of each population: model, dataset, n, `runs` with widths and seeds, `short`, `training`.

    `is_crossed` says whether several initialisations are trained in several orders.
    """
    return [
        {"model": p.model, "dataset": p.dataset, **_describe(config, p)}
        for p in populations(config)
    ]


def _describe(config: Config, population: Population) -> dict[str, Any]:
    if population.imported is not None:
        return _describe_import(config, population)
    widths, n, orders = population.widths, population.seeds, population.shuffle_seeds
    seeds = f"{n // orders} x {orders}" if orders else n
    training = config["training"]
    return {
        "n": population.n_runs,
        "is_crossed": orders is not None and 1 < orders < n,
        "runs": f"n = {population.n_runs} runs: widths {', '.join(widths)}, {seeds} seeds each",
        "short": f"n = {population.n_runs} runs ({len(widths)} widths x {seeds} seeds)",
        "training": (
            f"Training: {training['epochs']} epochs, batches of {training['batch_size']}, Adam "
            f"with learning rate {training['learning_rate']}, initial weights "
            f"N(0, {training['initialisation']['std']}²), biases "
            f"{training['initialisation']['biases']}."
        ),
    }


def _describe_import(config: Config, population: Population) -> dict[str, Any]:
    """Of the runs that were imported, or of those in the table before that."""
    seeds, tables = population.imported or {}, import_tables(config, population)
    counts = {
        width: _count_files(table, len(seeds[width]))
        for width, table in zip(population.widths, tables, strict=True)
    }
    good = {width: n["good"] for width, n in counts.items()}
    n, n_bad = sum(good.values()), sum(count["bad"] for count in counts.values())
    bad = f"; {n_bad} of {n + n_bad} checkpoints are bad and left out" if n_bad else ""
    widths = ", ".join(
        f"{width} ({of_width} run{'' if of_width == 1 else 's'})"
        for width, of_width in good.items()
    )
    epochs = find_import(config, population.model, population.dataset)["epochs"]
    return {
        "n": n,
        "is_crossed": False,
        "runs": f"n = {n} runs, imported: widths {widths}{bad}",
        "short": f"n = {n} runs, imported ({len(good)} widths{bad})",
        "training": f"Training: elsewhere, {epochs} epochs; what is not known of it is left out.",
    }


def _count_files(table: str, n_runs: int) -> Counter[str]:
    """Files of a width by status; all `n_runs` are good before there is a table."""
    if not Path(table).is_file():
        return Counter(good=n_runs)
    with open(table, newline="") as file:
        return Counter(row["status"] for row in csv.DictReader(file))
