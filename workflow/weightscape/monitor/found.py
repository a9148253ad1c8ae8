"""Which shards of a study are there: what the plan and the status say of it comes from here."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from weightscape.storage.shards import is_made_otherwise
from weightscape.study.paths import (
    existing_shards,
    on_disk,
    seeds_text,
    shard_ranges,
    weights_folder,
)
from weightscape.study.population import Population
from weightscape.study.recipes import wanted_digest
from weightscape.study.sections import Config

AT_ONCE = 16  # a file server answers each after a while, and many as fast as one


class Found(NamedTuple):
    """The shards of one width of a population, each by its seeds."""

    asked: list[range]
    done: set[range]
    """of those asked for; by the recipe of the config, as far as they can be read"""
    otherwise: set[range]
    """there by another recipe or with other snapshots: to be trained anew, and replaced"""

    def count_runs(self, population: Population, width: str, shards: set[range]) -> int:
        """Runs of the population in some of the shards."""
        imported = population.imported_seeds.get(width)
        if imported is not None:
            return len(imported) if shards else 0
        return sum(min(seeds.stop, population.n_seeds) - seeds.start for seeds in shards)


def find_shards(config: Config, population: Population, width: str) -> Found:
    """Looks at each shard once; a folder of a thousand takes as long as one of few."""
    folder = on_disk(
        config, weights_folder(config["study"], population.model, population.dataset, width)
    )
    existing = existing_shards(folder)
    asked = shard_ranges(config, population, width, existing)
    there = sorted(set(asked) & set(existing), key=min)
    if not there:
        return Found(asked, set(), set())
    paths = [folder / f"seeds-{seeds_text(seeds)}.h5" for seeds in there]
    is_other = partial(is_made_otherwise, digest=wanted_digest(config, population))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        others = list(pool.map(is_other, paths))
    otherwise = {seeds for seeds, other in zip(there, others, strict=True) if other}
    return Found(asked, set(there) - otherwise, otherwise)


def tell_replaced(runs: int) -> str:
    """What happens to runs that are there by another recipe; nothing if there are none."""
    if not runs:
        return ""
    what = "1 run is" if runs == 1 else f"{runs:,} runs are"
    return (
        f"{what} there by another recipe or with other snapshots, and would be trained anew and "
        "replaced. To keep them, give this study another name."
    )
