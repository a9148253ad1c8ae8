"""Training: from images and seeds to a shard.

`train_stack` is the loop over epochs, `train_shard` a whole job. A run's weights follow from model,
dataset, width, seed and recipe alone: its random streams do not know of the shard it is in, and
runs of a shard share nothing but the images, or the streams of crossed seeds. On the CPU that holds
for every bit; on a GPU the number of runs that train side by side can change the last ones.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weightscape import models
from weightscape.engine.by_hand import HandStack
from weightscape.engine.devices import choose_device, describe, make_deterministic, software
from weightscape.engine.recorder import Recorder
from weightscape.engine.stack import Scores, Split, Stack
from weightscape.engine.streams import RunKey, draw_orders, initialise
from weightscape.errors import WeightscapeError
from weightscape.messages.progress import Progress
from weightscape.models import Model
from weightscape.storage.images import Images, load
from weightscape.storage.shards import Header, RunRecord, write_shard
from weightscape.storage.unfinished import Unfinished

log = logging.getLogger(__name__)


def train_stack(
    network: Model,
    keys: Sequence[RunKey],
    train: Split,
    test: Split,
    recipe: dict[str, Any],
    snapshot_epochs: set[int],
    progress: Progress | None = None,
    device: str = "cpu",
) -> list[RunRecord]:
    """Train runs of one width side by side from their initialisation to the last epoch.

    Loss and accuracy in training are means over the images of an epoch, as they were trained on.
    A run that turns to NaN goes on and is recorded as it is.
    """
    epochs = recipe["epochs"]
    stack = make_stack(network, keys, train, recipe, device)
    records = [Recorder(epochs) for _ in keys]
    weights = [{0: parameters} for parameters in stack.parameters()]
    _record(stack, records, 0, [found.scores for found in stack.evaluate(train)], test)
    shuffles = [key.stream("shuffle") for key in keys]
    n_images = len(train.labels)
    orders = draw_orders(shuffles, n_images, epochs, stack.rooms(n_images))
    for epoch, of_epoch in enumerate(orders, start=1):
        _record(stack, records, epoch, stack.train_epoch(of_epoch), test)
        if epoch in snapshot_epochs or epoch == epochs:
            for of_run, parameters in zip(weights, stack.parameters(), strict=True):
                of_run[epoch] = parameters
        if progress is not None:
            progress.epoch(len(keys), epoch, epochs)
    final = [found.scores for found in stack.evaluate(train)]
    runs = zip(keys, weights, records, final, strict=True)
    return [_run_record(*run) for run in runs]


def make_stack(
    network: Model, keys: Sequence[RunKey], train: Split, recipe: dict[str, Any], device: str
) -> Stack:
    """Freshly initialised runs on a device, in the fastest way that there is."""
    starts = [initialise(network, recipe["initialisation"], key.stream("init")) for key in keys]
    method = network.by_hand() if device == "cpu" and len(keys) == 1 else None
    if method is not None:
        return HandStack(network, method, starts[0], train, recipe)
    # here, since torch takes two seconds to import
    from weightscape.engine.autograd import AutogradStack

    dropouts = [key.stream("dropout") for key in keys]
    return AutogradStack(network, starts, dropouts, train, recipe, device)


def _record(
    stack: Stack, records: list[Recorder], epoch: int, trained: list[Scores], test: Split
) -> None:
    columns = zip(records, trained, stack.evaluate(test), stack.gradient_norms(), strict=True)
    for record, train, tested, norms in columns:
        record.epoch(epoch, train, tested, norms)


def _run_record(
    key: RunKey, weights: dict[int, dict[str, np.ndarray]], record: Recorder, train: Scores
) -> RunRecord:
    final, predictions = record.final(train), {"test": record.predicted}
    return RunRecord(key.seed, weights, record.curves, final, record.telemetry, predictions)


class TrainingJob(NamedTuple):
    """What a training job is asked for: runs of one width, and how and where to train them."""

    dataset: Path
    """the prepared images"""
    target: Path
    """the shard to write"""
    model: str
    width: str
    seeds: list[int]
    recipe: dict[str, Any]
    snapshot_epochs: list[int]
    """epochs whose weights are kept, beside the first and the last"""
    device: str
    """auto, cpu or cuda"""
    threads: int
    memory_mb: int | None = None
    """of the host, which the runs on a GPU that train side by side may take"""
    unfinished: Path | None = None
    """folder that keeps finished runs until the shard is there, to resume at after a kill"""


def train_shard(job: TrainingJob) -> None:
    """Train the runs of a job and write them to its target.

    On a GPU as many train side by side as fit its memory, and the job's of the host.
    """
    images = load(job.dataset)
    options = job.recipe["options"]
    network = models.build(job.model, job.width, images.shape, images.classes, options)
    if models.code_digest(job.model) != job.recipe.get("code"):
        raise WeightscapeError(
            f"{models.source(job.model)} has changed since the study started; run again"
        )
    device = choose_device(job.device)
    with_torch = device != "cpu" or not network.has_gradients_by_hand
    make_deterministic(device, job.threads, with_torch)
    header = _header(job, network, images, describe(device), software(job.threads, with_torch))
    epochs = {0, *job.snapshot_epochs, header.final_epoch}
    unfinished = None
    if job.unfinished:
        unfinished = Unfinished(job.unfinished, header, epochs, network.auxiliary)
    train, test = Split(*images.train), Split(*images.test)

    def train_some(keys: list[RunKey], progress: Progress | None) -> list[RunRecord]:
        runs = train_stack(network, keys, train, test, job.recipe, epochs, progress, device)
        if unfinished and len(job.seeds) > 1:
            for run in runs:
                unfinished.keep(run)
        return runs

    at_once = _runs_at_once(network, job, train, device)
    runs = _train_runs(header, job.seeds, unfinished, at_once, train_some)
    write_shard(job.target, header, len(job.seeds), network.auxiliary, runs)
    if unfinished:
        unfinished.discard(job.seeds)


def _header(
    job: TrainingJob, network: Model, images: Images, device: str, software: dict[str, Any]
) -> Header:
    return Header(
        model=job.model,
        dataset=images.name,
        width=job.width,
        recipe=job.recipe,
        dataset_digest=images.digest,
        software=software,
        device=device,
        final_epoch=job.recipe["epochs"],
        layers=[layer.name for layer in network.layers],
    )


def _runs_at_once(network: Model, job: TrainingJob, train: Split, device: str) -> int:
    """How many runs to train side by side: one on the CPU, and as many as fit on a GPU.

    A stack on the CPU gains nothing where gradients are compiled, and elsewhere it would make a
    run's last bits depend on its neighbours.
    """
    if device == "cpu":
        return 1
    from weightscape.engine.memory import runs_at_once

    return runs_at_once(network, job.recipe, train, job.memory_mb)


def _train_runs(
    header: Header,
    seeds: list[int],
    unfinished: Unfinished | None,
    at_once: int,
    train_some: Callable[[list[RunKey], Progress | None], list[RunRecord]],
) -> Iterator[RunRecord]:
    """Each run in the order of `seeds`, trained or as an earlier attempt kept it."""
    name = header.model, header.dataset, header.width
    keys = [RunKey(*name, seed, header.recipe.get("shuffle_seeds")) for seed in seeds]
    found = unfinished.find(seeds) if unfinished else set()
    if found:
        log.info("%d of %d runs were finished by an earlier attempt", len(found), len(keys))
    left = [key for key in keys if key.seed not in found]
    if left:
        side_by_side = min(at_once, len(left))
        log.info("training %d runs on %s, %d at once", len(left), header.device, side_by_side)
    with Progress(" ".join(name), len(keys), before=len(found)) as progress:
        stacks = (left[first : first + at_once] for first in range(0, len(left), at_once))
        trained = chain.from_iterable(train_some(stack, progress) for stack in stacks)
        for key in keys:
            run = unfinished.read(key.seed) if unfinished and key.seed in found else next(trained)
            if run is None:  # another job has removed it since
                (run,) = train_some([key], None)
            scores = run.final["train_accuracy"], run.final["test_accuracy"]
            log.info("seed %d: train %.2f %%, test %.2f %%", run.seed, *scores)
            yield run
