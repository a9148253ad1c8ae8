"""What a head can say: a class for each kind of file, and one for a table."""

from __future__ import annotations

from dataclasses import dataclass, field

KEYS = {
    "claim": "name of the claim, as C1",
    "model": "model family",
    "dataset": "name of the dataset",
    "width": "width of the network, as text: 20, 20x50, or a name",
    "seed": "number of the run among those of its width",
    "group": "non, low, mid, high or ungrouped",
    "layer": "layer; two as fc1-fc2 where they are compared; empty for the whole network",
    "statistic": "name of the number",
    "epoch": "epoch after which it was measured; 0 is before training",
}
"""Columns that mean the same in every table."""
RUN_KEYS = ("model", "dataset", "width", "seed")
"""Which together name a run."""
COSTS = ("tables", "shards", "pairs")
"""What a measure's memory and time grow with, from the cheapest to the dearest."""
WAYS = {
    "split": ("train", "test"),
    "non": ("exclude", "include"),
    "widths": ("all", "without the smallest"),
    "edges": ("as set", "other"),
}
"""What an analyst chooses before a statement is measured, as multiverse.csv has it."""
TEXT_KEYS = ("claim", "model", "dataset", "width", "group", "layer", "statistic")


@dataclass(frozen=True)
class Table:
    """A table: what a row is, and what each column means, in the order of the file."""

    row: str
    """`run and layer: norms and ranks of the weights`, as the report says it"""
    columns: dict[str, str] = field(default_factory=dict)
    """column -> meaning, with its unit"""
    keys: tuple[str, ...] = ()
    """the first columns, of KEYS"""
    texts: tuple[str, ...] = ()
    """of the columns those that are text"""
    joined: bool = True
    """whether `tables/<name>.csv` has the rows of all populations"""
    like: str = ""
    """another table that has the same columns, but for those that it is `without`"""
    without: tuple[str, ...] = ()
    of_layers: bool = False
    """whether it goes on with the columns of the measures of one layer, as null models have them"""

    def __post_init__(self) -> None:
        _check_texts(keys=self.keys, texts=self.texts, without=self.without)
        for key in self.keys:
            if key not in KEYS:
                raise ValueError(
                    f"{key} is no key; describe it as a column, or use one of {[*KEYS]}"
                )
        for name in self.texts:
            if not self.like and name not in self.columns:
                raise ValueError(f"{name} is none of its columns")

    @property
    def names(self) -> list[str]:
        """All columns, in order."""
        return [*self.keys, *self.columns]

    @property
    def is_grouped_later(self) -> bool:
        """Whether each run's group is added where the table is read, or joined with others: so no
        measure of runs depends on the groups."""
        return {"seed", "group"} <= set(self.keys)

    @property
    def written(self) -> list[str]:
        """The columns that a measure writes."""
        return [name for name in self.names if not (name == "group" and self.is_grouped_later)]


@dataclass(frozen=True)
class LayerHead:
    """A measure of one layer of one run: a table `<name>.csv` with a row per run and layer.

    Its file has `describe(layer: LayerWeights)`, which returns the columns; nothing for a layer
    without heads, if it is `of_heads`.
    """

    row: str
    columns: dict[str, str] = field(default_factory=dict)
    sizes: tuple[str, ...] | None = None
    """columns that tell the layer's size, and so the width: no learner may see them"""
    like: str = ""
    """another measure that has the same columns, in place of one's own"""
    texts: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """columns that compare with initial weights or tell of biases: null models have none of them"""
    prefix: str = ""
    """before the columns where several measures stand together, as in nulls.csv"""
    effects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """figure of the paper, or of ours -> columns whose effects are measured by null models too"""
    variation: tuple[str, ...] = ()
    """columns whose variance variation.csv splits into width, initialisation and order"""
    figure: int = 99
    """first figure of the paper that shows it; puts tables in order"""
    of_heads: bool = False
    """whether only layers that fall into heads have a row"""

    @property
    def table(self) -> Table:
        keys = ("model", "dataset", "width", "seed", "group", "layer")
        return Table(self.row, self.columns, keys, self.texts)

    def __post_init__(self) -> None:
        _check_texts(sizes=self.sizes or (), texts=self.texts, beside=self.beside)
        _check_texts(variation=self.variation, **self.effects)
        if self.like:
            return
        if not self.columns or self.sizes is None:
            raise ValueError("it needs columns and sizes; () says that no column is a size")
        shown = [name for names in self.effects.values() for name in names]
        for name in (*self.sizes, *self.texts, *self.beside, *self.variation, *shown):
            if name not in self.columns:
                raise ValueError(f"{name} is none of its columns")
        if both := set(shown) & set(self.beside):
            raise ValueError(f"{both.pop()} is beside, so null models have no effect of it")

    @property
    def of_nulls(self) -> tuple[str, ...]:
        """The columns that are told of null models, without the prefix."""
        return tuple(name for name in self.columns if name not in {*self.beside, *self.texts})


@dataclass(frozen=True)
class MeasureHead:
    """A measure of a population, or an analysis of its tables: one job, and the tables it writes.

    Its file has `make(job: Job)`.
    """

    reads: tuple[str, ...]
    """tables by name, other files with their ending, `shards`, `images`, which is the dataset, and
    `layers`, which are the tables of the measures of one layer"""
    tables: dict[str, Table]
    files: tuple[str, ...] = ()
    """what it writes that is no table"""
    settings: dict[str, str] = field(default_factory=dict)
    """name -> key of the config"""
    each: str = "population"
    """what a job is for: a population, a layer of it, or the whole study"""
    cost: str = "tables"
    """what memory and time grow with: tables, shards, or pairs of runs"""
    report: str = ""
    """category in the report, of a table of the whole study"""
    layers: bool = False
    """whether it also writes the tables of all measures of one layer"""

    def __post_init__(self) -> None:
        _check_texts(reads=self.reads, files=self.files)
        _check_word("each", self.each, ("population", "layer", "study"))
        _check_word("cost", self.cost, COSTS)
        for key in self.settings.values():
            _check_key(key)
        if self.files and self.each != "population":
            raise ValueError("only a job for each population writes files that are no tables")
        if self.each == "study" and (
            self.cost != "tables" or {"shards", "images"} & set(self.reads)
        ):
            raise ValueError(
                "a job for the whole study reads no shards and no images, and costs what tables do"
            )


@dataclass(frozen=True)
class ClaimHead:
    """A claim of the paper. Its file has `statements(evidence)`, by which it is tested.

    One of the whole study has `effects(tables)` in its place, and no figure.
    """

    says: str
    """the claim in a sentence"""
    reads: tuple[str, ...]
    """tables by name, the runs apart"""
    statistics: dict[str, str]
    """statistic of a statement -> what it is, in words"""
    each: str = "population"
    """or `study`: then its statements are made of tables of the whole study"""
    figures: str = ""
    """figures of the paper in which it is seen, as `2-4`"""
    untested: str = ""
    """why a study may have no statement of it"""
    varies: tuple[str, ...] = ("split", "non", "widths")
    """which of the ways to analyse a study make another statement of it; without `non` it is always
    about all runs, those that did not converge among them"""

    def __post_init__(self) -> None:
        _check_texts(reads=self.reads, varies=self.varies)
        for choice in self.varies:
            _check_word("varies", choice, tuple(WAYS))
        _check_word("each", self.each, ("population", "study"))


@dataclass(frozen=True)
class FigureHead:
    """A figure. Its file has `draw(population, split)`.

    With a grid it is `draw(populations, split)`, always a list; of each claim it is
    `draw(population, split, claim)`.
    """

    reads: tuple[str, ...]
    """tables by name, other files with their ending; the runs apart"""
    category: str
    """in the report"""
    caption: str
    """with fields as {model}, {runs} and {figures[colour]}; see study.captions"""
    labels: dict[str, str] = field(default_factory=dict)
    """what tells it from other figures of the category"""
    layers: bool = True
    """whether its label lists the layers"""
    split: str = "figures.colour"
    """key of the config: the accuracy that it shows"""
    each: str = "population"
    """or `claim`: a figure for each claim; or `study`, where there are several populations"""
    grid: str = ""
    """caption of the paper's grid of several populations, where it has one"""
    grid_of: str = "model"
    """a grid for each model, of its datasets, or one of the whole `study`"""

    def __post_init__(self) -> None:
        _check_texts(reads=self.reads)
        if not self.reads:
            raise ValueError("reads is empty; name a table, as runs")
        _check_key(self.split)
        _check_word("each", self.each, ("population", "claim", "study"))
        _check_word("grid_of", self.grid_of, ("model", "study"))
        if self.grid and (len(self.reads) != 1 or self.each != "population"):
            raise ValueError("a grid is of one table of each population")


def _check_word(field: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"{field} is {word}; it can be {', '.join(known)}")


def _check_texts(**fields: tuple[str, ...]) -> None:
    for name, texts in fields.items():
        if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"{name} is {texts!r}; it must be a tuple of texts, as ('mean', 'std')"
            )


def _check_key(key: str) -> None:
    if key.count(".") != 1:
        raise ValueError(f"{key} is not a key of the config like claims.alpha")
