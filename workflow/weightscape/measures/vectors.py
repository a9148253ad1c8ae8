"""Vectors: the weights of many runs, one run after another, for distances between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weightscape.measures.distances import Vectors
from weightscape.measures.runs.matching import Orders, read_orders, reorder
from weightscape.storage.shards import Shard, open_shard


class Run(NamedTuple):
    """Where a run's weights are."""

    shard: str
    row: int
    width: str
    seed: int


def vectors_of(members: list[Run], vector: Callable[[Shard, int], np.ndarray]) -> Vectors:
    """The runs' vectors from a number on, made by `vector` of an open shard and a row.

    Each shard is opened once for its runs.
    """
    ends = [i for i, (a, b) in enumerate(pairwise(members), 1) if a.shard != b.shard]

    def read(start: int) -> Iterator[np.ndarray]:
        for first, last in pairwise([start, *(end for end in ends if end > start), len(members)]):
            with open_shard(members[first].shard) as shard:
                for run in members[first:last]:
                    yield vector(shard, run.row)

    return read


class Matched:
    """Brings a layer's weights of a run of one width in the order that matches the reference."""

    def __init__(self, path: Path, width: str):
        self.path, self.width = path, width
        self.orders: dict[int, Orders] | None = None

    def __call__(self, shard: Shard, row: int, layer: str, weight: np.ndarray) -> np.ndarray:
        if self.orders is None:
            self.orders = read_orders(self.path, self.width, shard.links)
        return reorder(layer, {layer: weight}, self.orders[shard.seeds[row]])
