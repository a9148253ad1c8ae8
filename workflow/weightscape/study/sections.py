"""The sections of a checked config, and the types of their keys.

What a key means stands in the schema. At run time a section is a plain dict, as Snakemake wants it.
"""

from typing import Literal, NotRequired, TypedDict

from weightscape.foreign.listing import SourceItem
from weightscape.models.base import Options

SplitName = Literal["train", "test"]
GROUPS = ("non", "low", "mid", "high", "ungrouped")
Edged = Literal["low", "mid", "high"]
"""The groups that have edges."""
Bounds = dict[Edged, list[float]]
"""[low, high] of each."""


class CrossedSeeds(TypedDict):
    init: int
    shuffle: int


class PopulationItem(TypedDict):
    model: str
    dataset: str
    widths: list[int | str]
    seeds: int | CrossedSeeds
    options: Options
    runs_per_job: NotRequired[int]
    edges: NotRequired[Bounds]


class ImportItem(SourceItem):
    model: str
    dataset: str
    classes: int
    majority_share: NotRequired[float]
    options: Options
    edges: NotRequired[Bounds]


class OwnDataset(TypedDict):
    file: str
    images: str
    labels: str
    split: str
    channels: NotRequired[Literal["first", "last"]]


class Initialisation(TypedDict):
    weights: Literal["normal", "uniform"]
    std: float
    biases: Literal["uniform", "zero"]


class Training(TypedDict):
    epochs: int
    batch_size: int
    optimiser: Literal["adam"]
    learning_rate: float
    initialisation: Initialisation
    snapshots: list[int | Literal["last"]]
    threads: int


class Groups(TypedDict):
    accuracy: SplitName
    edges: Literal["paper", "quantiles"]
    quantiles: Bounds


class Density(TypedDict):
    bandwidth: Literal["silverman", "scott", "isj"]


class Projection(TypedDict):
    perplexities: list[int]
    repeats: int
    neighbours: int
    shuffles: int


class Claims(TypedDict):
    accuracy: SplitName
    resamples: int
    permutations: int
    alpha: float
    non: Literal["exclude", "include"]
    smallest_effect: float


class Figures(TypedDict):
    colour: SplitName
    dpi: int


# a keyword can't be written as an attribute
_Imports = TypedDict("_Imports", {"import": list[ImportItem]})


class Config(_Imports):
    study: str
    populations: list[PopulationItem]
    runs_per_job: int
    device: Literal["auto", "cpu", "cuda"]
    data_folder: str | None
    notify: str | None
    datasets: dict[str, OwnDataset]
    training: Training
    models: dict[str, Options]
    model_files: list[str]
    groups: Groups
    density: Density
    projection: Projection
    claims: Claims
    figures: Figures


class PlacedConfig(Config):
    """As the workflow hands it on."""

    prefix: NotRequired[str]
    """what an outer workflow puts before all paths of the rules"""
