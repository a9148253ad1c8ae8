"""One training job, timed from inside; it imports nothing that a job does not."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path


def job(arguments: dict[str, object], started: float) -> None:
    """A training job in a process of its own, which prints its seconds as JSON."""
    import torch  # noqa: F401  the time of its import is what a job can't save

    seconds = {"torch": time.time() - started}
    from weightscape.engine import training
    from weightscape.engine.by_hand import HandStack

    gc.freeze()  # as the workflow's script does
    stacks, steps = [], []
    train_stack, train_epoch = training.train_stack, HandStack.train_epoch

    def timed(work: Callable, spans: list) -> Callable:
        def call(*arguments):
            begun = time.time()
            found = work(*arguments)
            spans.append((begun, time.time()))
            return found

        return call

    training.train_stack = timed(train_stack, stacks)
    HandStack.train_epoch = timed(train_epoch, steps)
    paths = {key: Path(arguments[key]) for key in ("dataset", "target")}
    training.train_shard(training.TrainingJob(**arguments | paths))
    seconds |= {
        "to_training": stacks[0][0] - started - seconds["torch"],
        "training": sum(end - begun for begun, end in stacks),
        "steps": sum(end - begun for begun, end in steps),
        "cpu": time.process_time(),
    }
    print(json.dumps(seconds))
