"""What the captions of the report say of a study's populations. Imports nothing heavy."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weightscape.errors import WeightscapeError
from weightscape.study.paths import import_tables, on_disk
from weightscape.study.population import Population, find_import
from weightscape.study.sections import Config, Initialisation

CROSSED = (
    "initialisation and order of the images by themselves, and what only both together determine, "
    "since a run has no other source of chance"
)
PLAIN = (
    "all that the seed determines, initialisation and order together, which crossed seeds would "
    "tell apart"
)
GRID = (
    "{what}. {populations}. Colour is the final {figures[colour]} accuracy, scaled per population; "
    "groups are by final {groups[accuracy]} accuracy. Widths are pooled: see the figure of each "
    "population, and the table purity, for what holds within a width. After Zheng et al. (arXiv "
    "2408.11720)."
)
TABLE = "Table *{name}* of the study {study}, one row per {row}. Populations: {counts}."


class Caption:
    """A caption as a parameter of a job; among its other parameters the first sentence will do."""

    def __init__(self, text: str):
        self.text = text

    def __str__(self) -> str:
        return self.text.partition(". ")[0]


class Captions:
    """The captions of a job's files, by their paths, as a parameter of the job."""

    def __init__(self, texts: dict[str, str]):
        self.texts = texts

    def __str__(self) -> str:
        return f"of {len(self.texts)} files"

    def of_next(self, categories: Mapping[Any, Mapping[Any, Sequence[Any]]]) -> str:
        """The caption of the file that Snakemake's report describes now, of all that it shows.

        It tells a template of a caption the job, and not the file; but it describes all files in
        the order of `categories`, so this one is the first that has no caption.
        """
        files = (file for parts in categories.values() for of in parts.values() for file in of)
        now = next(file for file in files if not hasattr(file, "caption"))
        return self.texts[str(now.path)]


def caption(text: str, config: Config, shown: Sequence[Population], **more: str) -> str:
    """A head's text about some populations, its fields filled in.

    Fields are `more`; the config's sections, as in {figures[colour]}; `populations`, all in one
    line; and where there is one population what `describe` tells of it.
    """
    told = [describe(config, population) for population in shown]
    # `training` is the sentence of a population
    sections = {
        key: _plain(value)
        for key, value in config.items()
        if isinstance(value, dict) and key != "training"
    }
    lines = {
        "populations": "; ".join("{model} on {dataset}, {short}".format(**p) for p in told),
        "counts": "; ".join("{model} on {dataset}, n = {n} runs".format(**p) for p in told),
        "study": config["study"],
    }
    known = sections | lines | (told[0] if len(told) == 1 else {}) | more
    try:
        return text.format(**known)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise WeightscapeError(
            f"the caption '{text[:60]}...' has a field that is not known, {error}; known are "
            f"{', '.join(sorted(known))}"
        ) from None


def _plain(section: dict[str, Any]) -> dict[str, Any]:
    """A section of the config with its lists as text."""
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in section.items()
    }


def describe(config: Config, population: Population) -> dict[str, Any]:
    """Model, dataset, n, `runs` with widths and seeds, `short`, `training` and `chance`.

    The last says what makes the runs of a width differ.
    """
    of = _describe_import if population.is_imported else _describe
    return {"model": population.model, "dataset": population.dataset, **of(config, population)}


def _describe(config: Config, population: Population) -> dict[str, Any]:
    widths, n, orders = population.widths, population.n_seeds, population.n_shuffle_seeds
    seeds = f"{n // orders} x {orders}" if orders else n
    training = config["training"]
    return {
        "n": population.n_runs,
        "chance": CROSSED if orders is not None and 1 < orders < n else PLAIN,
        "runs": f"n = {population.n_runs} runs: widths {', '.join(widths)}, {seeds} seeds each",
        "short": f"n = {population.n_runs} runs ({len(widths)} widths x {seeds} seeds)",
        "training": (
            f"Training: {training['epochs']} epochs, batches of {training['batch_size']}, Adam "
            f"with learning rate {training['learning_rate']}, initial weights "
            f"{_initial_weights(training['initialisation'])}, biases "
            f"{training['initialisation']['biases']}."
        ),
    }


def _initial_weights(initialisation: Initialisation) -> str:
    if initialisation["weights"] == "uniform":
        return "uniform by fan-in"
    return f"N(0, {initialisation['std']}²)"


def _describe_import(config: Config, population: Population) -> dict[str, Any]:
    """Of the runs that were imported, or of those in the table before that."""
    seeds, tables = population.imported_seeds, import_tables(config, population)
    counts = {
        width: _count_files(on_disk(config, table), len(seeds[width]))
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
        "chance": PLAIN,
        "runs": f"n = {n} runs, imported: widths {widths}{bad}",
        "short": f"n = {n} runs, imported ({len(good)} widths{bad})",
        "training": f"Training: elsewhere, {epochs} epochs; what is not known of it is left out.",
    }


def _count_files(table: Path, n_runs: int) -> Counter[str]:
    """Files of a width by status; all `n_runs` are good before there is a table."""
    if not table.is_file():
        return Counter(good=n_runs)
    with table.open(newline="") as file:
        return Counter(row["status"] for row in csv.DictReader(file))
