"""A study: its tables, and the weights of its runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.heads import RUN_KEYS
from weightscape.opened.export import export
from weightscape.opened.run import LAST, Run, find_epoch
from weightscape.storage.parquet import REMEDY as PARQUET_REMEDY
from weightscape.storage.parquet import read_parquet
from weightscape.storage.seals import refuse
from weightscape.storage.shards import Shard, open_shard
from weightscape.storage.tables import read_table
from weightscape.study.paths import SHARD_NAME
from weightscape.study.widths import width_order


class Study:
    """The results of a study, which may lie anywhere: nothing depends on the working folder.

    Every error is a WeightscapeError that names the file, or what there is in place of what was
    asked for.
    """

    def __init__(self, folder: Path | str):
        """`folder` is the study's, as `results/mnist`; or has published tables alone."""
        self.folder = Path(folder).absolute()
        if not (self.folder / "weights").is_dir() and not self.tables:
            hint = " (without weights/ in it)" if self.folder.is_dir() else ""
            raise WeightscapeError(
                f"there is no study in {self.folder}{hint}; name the folder of its results, as "
                "results/mnist"
            )

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    # ---- tables

    @property
    def tables(self) -> list[str]:
        """Names of the tables that are there, as docs/columns.md describes them."""
        return sorted(self._files)

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """Of each table: one file, or if it is published one of each population."""
        found: dict[str, list[Path]] = {}
        for path in sorted((self.folder / "tables").glob("*.csv")):
            found[path.stem] = [path]
        for path in sorted((self.folder / "tables").rglob("[!.]*.parquet")):
            part = path.relative_to(self.folder / "tables").parts
            if ".seals" not in part:
                found.setdefault(part[0].removesuffix(".parquet"), []).append(path)
        return found

    def table(self, name: str) -> pd.DataFrame:
        """A table of all populations; widths are text. What a table is: docs/columns.md."""
        if name not in self.tables:
            near = difflib.get_close_matches(name, self.tables, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.tables)}"
            if not self.tables or (name in heads.tables() and heads.tables()[name].joined):
                hint = "it is not made yet, if the study has one: run snakemake to its end"
            raise WeightscapeError(f"the study {self.folder} has no table {name}; {hint}")
        return pd.concat(map(self._read, self._files[name]), ignore_index=True)

    def _read(self, path: Path) -> pd.DataFrame:
        if path.suffix == ".csv":
            return read_table(path)
        table, is_whole = read_parquet(path), path.parent.name == "tables"
        found = [] if is_whole else sorted(set(table["model"] + "-" + table["dataset"]))
        if found not in ([], [path.stem]):
            raise refuse(path, f"it is of {', '.join(found)}", PARQUET_REMEDY)
        return table

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run: model, dataset, width, seed, group, and final losses and accuracies (%).

        `shard` is the path of its file here; published runs have none.
        """
        runs = self.table("runs")
        if "shard" not in runs:
            return runs
        parts = runs["shard"].str.rpartition("/weights/")[2]
        return runs.assign(shard=[str(self.folder / "weights" / part) for part in parts])

    def train_test_split(self, test_size: float = 0.2, seed: int = 0) -> pd.Series:
        """`train` or `test` for each row of `runs`, by chance, with the share `test_size` of each
        population and width; runs of equal initial weights stay together, as with crossed seeds.
        """
        if not 0 < test_size < 1:
            raise WeightscapeError(f"test_size is {test_size}; it is a share between 0 and 1")
        random, split = np.random.default_rng(seed), pd.Series("train", self.runs.index)
        for _, own in self.runs.groupby(list(RUN_KEYS[:3]), sort=False):
            starts = own["init_seed"].where(own["init_seed"].notna(), own["seed"])
            drawn = random.permutation(starts.unique())
            drawn = drawn[: round(test_size * len(drawn))]
            split[own.index[starts.isin(drawn)]] = "test"
        return split.rename("split")

    # ---- weights

    @cached_property
    def _widths(self) -> dict[tuple[str, str, str], Path]:
        """Model, dataset and width -> the folder of its shards, widths from small to large."""
        folders = (self.folder / "weights").glob("*/*/width-*")
        found = [
            ((path.parts[-3], path.parts[-2], path.name.removeprefix("width-")), path)
            for path in folders
        ]
        return dict(sorted(found, key=lambda item: (item[0][:2], width_order(item[0][2]))))

    @cached_property
    def _known(self) -> list[tuple[str, str, str]]:
        """Model, dataset and width of all runs; of published ones from their table."""
        if (self.folder / "weights").is_dir():
            return list(self._widths)
        keys = dict.fromkeys(self.runs[list(RUN_KEYS[:3])].itertuples(index=False, name=None))
        return sorted(keys, key=lambda key: (key[:2], width_order(key[2])))

    @property
    def populations(self) -> list[tuple[str, str]]:
        """Model and dataset of each population."""
        return list(dict.fromkeys(key[:2] for key in self._known))

    def widths(self, model: str, dataset: str) -> list[str]:
        """The widths of a population, from small to large."""
        return [width for *of, width in self._known if of == [model, dataset]]

    def layers(self, model: str, dataset: str) -> list[str]:
        """The layers of a population's networks, in the order of the forward pass."""
        width = next(iter(self.widths(model, dataset)), "")  # none: an error that says so
        with open_shard(self._paths(model, dataset, width)[0]) as shard:
            return list(shard.header.layers)

    def iter_weights(
        self, model: str, dataset: str, width: str | int, layer: str, epoch: int | str = LAST
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Seed and weights (out, in) or (out, in, kh, kw) float32 of each run, one at a time."""
        for shard in self._shards(model, dataset, width):
            at = find_epoch(epoch, shard.epochs, str(shard.path))
            if layer not in shard.header.layers:
                names = ", ".join(shard.header.layers)
                raise WeightscapeError(f"{model} on {dataset} has no layer {layer}; it has {names}")
            for row, seed in enumerate(shard.seeds):
                yield seed, shard.weight(at, layer, row)

    def weights(
        self, model: str, dataset: str, width: str | int, layer: str, epoch: int | str = LAST
    ) -> np.ndarray:
        """The weights of all runs of one width, (runs, out, in) or (runs, out, in, kh, kw) float32.

        Runs are in the order of their seeds; `epoch` is last, or one whose weights were kept.
        """
        by_seed = dict(self.iter_weights(model, dataset, width, layer, epoch))
        if not by_seed:
            raise WeightscapeError(
                f"{model} on {dataset} of width {width} has no runs: every checkpoint is bad"
            )
        return np.stack([by_seed[seed] for seed in sorted(by_seed)])

    def seeds(self, model: str, dataset: str, width: str | int) -> list[int]:
        """The seeds of all runs of one width, in order."""
        return sorted(seed for shard in self._shards(model, dataset, width) for seed in shard.seeds)

    def run(self, model: str, dataset: str, width: str | int, seed: int) -> Run:
        """One run: its weights, curves, predictions, and the network they make."""
        for shard in self._shards(model, dataset, width):
            if seed in shard.seeds:
                return Run(shard.path, shard.header, seed, self.folder.parent / "datasets")
        raise WeightscapeError(
            f"{model} on {dataset} of width {width} has no run of seed {seed}; it has "
            f"{len(self.seeds(model, dataset, width))} runs"
        )

    def export(
        self,
        path: Path | str,
        epoch: int | str = LAST,
        test_size: float = 0.2,
        seed: int = 0,
    ) -> None:
        """All runs' weights in one file for learning on weights: .safetensors or .npz, by the name.

        For each population and width `<model>/<dataset>/<width>/` has seed, is_test (by
        train_test_split), train_accuracy and test_accuracy (%) of its runs (n,), and of each layer
        `<layer>.weight` (n, out, in) and `<layer>.bias` (n, out). In memory is one run.
        """
        split = self.train_test_split(test_size, seed)
        export(Path(path), self.runs.assign(is_test=split == "test"), epoch)

    def _shards(self, model: str, dataset: str, width: str | int) -> Iterator[Shard]:
        for path in self._paths(model, dataset, str(width)):
            with open_shard(path) as shard:
                yield shard

    def _paths(self, model: str, dataset: str, width: str) -> list[Path]:
        """The shards of one width."""
        if not (self.folder / "weights").is_dir():
            raise WeightscapeError(
                f"{self.folder} has tables alone; its configs train the same weights again"
            )
        if (model, dataset) not in self.populations:
            there = ", ".join(f"{model} on {dataset}" for model, dataset in self.populations)
            raise WeightscapeError(
                f"the study {self.folder} has no {model} on {dataset}; it has {there}"
            )
        if (model, dataset, width) not in self._widths:
            there = ", ".join(self.widths(model, dataset))
            raise WeightscapeError(f"{model} on {dataset} has no width {width}; it has {there}")
        names = sorted(self._widths[model, dataset, width].iterdir())
        paths = [path for path in names if SHARD_NAME.fullmatch(path.name)]
        if not paths:
            raise WeightscapeError(
                f"{model} on {dataset} of width {width} has no shard yet; run snakemake to its end"
            )
        return paths
