"""Unfinished jobs: runs that are kept one by one until the shard that they are for is whole.

A training job that is killed, wherever it starts again, resumes at its last finished run. Jobs may
meet here, as one that was taken for dead is still at work: what one has removed the other trains.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from weightscape.errors import WeightscapeError
from weightscape.storage.shards import REMEDY, Header, RunRecord, open_shard, write_shard
from weightscape.study.paths import run_name
from weightscape.study.recipes import canonical_json

log = logging.getLogger(__name__)

OTHERWISE = {
    "model": "for another model",
    "dataset": "for another dataset",
    "width": "for another width",
    "recipe": "with another recipe",
    "dataset_digest": "from other images",
    "device": "on another device",
    "final_epoch": "with another last epoch",
    "layers": "with other layers",
    "seed": "with another seed",
    "snapshots": "with other snapshots",
}
"""What differs -> how a run was made."""


UNCOUNTED = {"weightscape", "python", "h5py", "hdf5", "platform"}
"""Software that changes no bit of a run: recipes tell of code that does."""
OF_PROCESSOR = {"processor", "instructions", "blas", "cpu_capability", "products"}
"""Of these, BLAS too has code for each type of processor. What trains on a GPU uses none."""


class Unfinished:
    """The finished runs of jobs whose shards are not, a file each, in `folder`.

    A run is one of this job's own if its file is sound, of the same header, and has the weights of
    `epochs`. `auxiliary` is as in write_shard.
    """

    def __init__(self, folder: Path, header: Header, epochs: set[int], auxiliary: Iterable[str]):
        self.folder, self.header, self.epochs = folder, header, epochs
        self.auxiliary = set(auxiliary)

    def find(self, seeds: Iterable[int]) -> set[int]:
        """Those of the seeds whose runs are there."""
        return {seed for seed in seeds if self.read(seed) is not None}

    def read(self, seed: int) -> RunRecord | None:
        """The run, or None if it has to be trained."""
        path = self.folder / run_name(seed)
        if not path.is_file():
            return None
        try:
            with open_shard(path) as shard:
                run = shard.run(0)
                self._check(shard.header, run, seed)
                return run
        except WeightscapeError as error:
            log.info("seed %d is trained again: %s", seed, str(error).removesuffix(f"; {REMEDY}"))
            return None

    def _check(self, header: Header, run: RunRecord, seed: int) -> None:
        pairs = zip(_what_counts(header).items(), _what_counts(self.header).items(), strict=True)
        differing = [key for (key, there), (_, here) in pairs if there != here]
        if run.seed != seed:
            differing.append("seed")
        if set(run.snapshots) != self.epochs:
            differing.append("snapshots")
        told = OTHERWISE | {"software": self._unlike(header)}
        reasons = [f"was made {_list(told[key] for key in differing)}"] if differing else []
        if not run.predictions:
            reasons.append("has no predictions (an older version wrote it)")
        if reasons:
            path = self.folder / run_name(seed)
            raise WeightscapeError(f"the kept run {path} {_list(reasons)}")

    def _unlike(self, header: Header) -> str:
        """What differs of the software, as `by other software (numpy 2.1.0, here 2.2.0)`."""
        there, here = _counted(header), _counted(self.header)
        names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
        pairs = [
            _tell_pair(name, str(there.get(name, "none")), str(here.get(name, "none")))
            for name in names
        ]
        is_processor = OF_PROCESSOR.issuperset(names)
        what = "on another type of processor" if is_processor else "by other software"
        return f"{what} ({'; '.join(pairs)})"

    def keep(self, run: RunRecord) -> None:
        path = self.folder / run_name(run.seed)
        try:
            write_shard(path, self.header, 1, self.auxiliary, [run])
        except FileNotFoundError:  # with its folder, by a job that has written the shard
            log.info(
                "seed %d is not kept aside: another job has finished this shard and removed %s",
                run.seed,
                self.folder,
            )

    def discard(self, seeds: Iterable[int]) -> None:
        """Remove the runs, what killed jobs have left of them, and folders that are empty then."""
        names = tuple(map(run_name, seeds))
        with suppress(OSError):  # the shard is there, which is what counts
            for path in self.folder.iterdir():
                if path.name.removeprefix(".").startswith(names):
                    path.unlink(missing_ok=True)
            for folder in (self.folder, *self.folder.parents[:3]):  # up to `unfinished`
                folder.rmdir()


def _list(parts: Iterable[str]) -> str:
    """`a, b and c`"""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _tell_pair(name: str, there: str, here: str) -> str:
    """Of instructions, which are many, only those that are missing on one side."""
    if name == "instructions":
        sides = set(there.split()), set(here.split())
        both = set.intersection(*sides)
        there, here = (" ".join(sorted(one - both)) or "none" for one in sides)
    return f"{name} {there}, here {here}"


def _counted(header: Header) -> dict[str, Any]:
    """The software that a run's bytes depend on."""
    uncounted = UNCOUNTED if header.device.startswith("cpu") else UNCOUNTED | OF_PROCESSOR
    return {key: value for key, value in header.software.items() if key not in uncounted}


def _what_counts(header: Header) -> dict[str, str]:
    """All of a header that its bytes of weights depend on."""
    ours = header._replace(software=_counted(header))._asdict()
    return {key: canonical_json(value) for key, value in ours.items()}
