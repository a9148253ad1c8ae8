"""Training on a GPU beside PyTorch's peers there, and the paper's scale; `make bench-gpu`.

    python -m benchmarks.gpu FOLDER_OF_PREPARED_DATASETS OUT.csv

Seconds are wall time here: the processor only launches. The columns are those of training.csv, with
`wall_us_per_step` for `cpu_us_per_step`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import torch_peers
from benchmarks.case import BATCH, Case, Contender, make_case, make_recipe, make_stack, parse
from weightscape.engine import training
from weightscape.engine.devices import make_deterministic
from weightscape.storage.tables import write_table

CASES = [
    ("dnn", "mnist", "5", 1000),
    ("dnn", "mnist", "100", 1000),
    ("dnn", "cifar10", "1000", 50),
    ("cnn", "mnist", "16", 200),
    ("vit", "mnist", "8", 16),
]
STEPS, TURNS = 100, 3


def ours(case: Case, runs: int, device: str) -> Contender:
    """A stack as a training job makes it, each run in an order of its own."""
    stack, random = make_stack(case, runs, device), np.random.default_rng(0)

    def train(batches: np.ndarray) -> None:
        order = batches.ravel().astype(np.int32)
        stack.train_epoch(random.permuted(np.tile(order, (stack.runs, 1)), axis=1))

    return Contender("ours", stack.runs, train)


def measure(case: Case, runs: int, device: str, steps: int = STEPS) -> list[dict[str, object]]:
    """A row per contender: the least of its turns."""
    makers: list[Callable[[], Contender]] = [
        lambda: ours(case, runs, device),
        lambda: torch_peers.in_memory(case, device),
        lambda: torch_peers.stacked(case, device, min(runs, 100)),
    ]
    rows = []
    for make in makers:  # one at a time on the GPU: each may fill its memory
        contender = make()
        best = min(_turn(contender, case, steps, device) for _ in range(TURNS + 1))
        us = 1e6 * best / steps / contender.runs
        rows.append(
            {
                "model": case.model,
                "dataset": case.dataset,
                "width": case.width,
                "runs_per_job": contender.runs,
                "contender": contender.name,
                "wall_us_per_step": f"{us:.2f}",
            }
        )
        print(
            f"{case.model} {case.dataset} {case.width}: {contender.name}, {contender.runs} side "
            f"by side, {us:.2f} us a step of one run",
            flush=True,
        )
        del contender
        if device != "cpu":
            torch.cuda.empty_cache()
    return rows


def _turn(contender: Contender, case: Case, steps: int, device: str) -> float:
    batches = np.random.default_rng(0).permutation(len(case.labels))[: steps * BATCH]
    if device != "cpu":
        torch.cuda.synchronize()
    started = time.perf_counter()
    contender.train(batches.reshape(-1, BATCH))
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def whole_population(dataset: Path, runs: int, width: str) -> float:
    """Seconds of a job of DNNs by Table 1's recipe, evaluation and shard included."""
    target = dataset.with_name("benchmark-shard.h5")
    started = time.perf_counter()
    job = training.TrainingJob(
        dataset=dataset,
        target=target,
        model="dnn",
        width=width,
        seeds=list(range(runs)),
        recipe=make_recipe("dnn", width),
        snapshot_epochs=[0],
        device="auto",
        threads=1,
    )
    training.train_shard(job)
    target.unlink()
    return time.perf_counter() - started


def main() -> None:
    arguments = parse(__doc__).parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks: torch finds no GPU here; `make bench` measures the CPU")
    make_deterministic("cuda", threads=1, with_torch=True)
    rows = []
    for model, dataset, width, runs in CASES:
        case = make_case(model, arguments.datasets / f"{dataset}.h5", width)
        rows += measure(case, runs, "cuda")
    write_table(pd.DataFrame(rows), arguments.out)
    seconds = whole_population(arguments.datasets / "mnist.h5", 1000, "100")
    print(f"1000 MNIST DNNs of width 100, 20 epochs: {seconds:.1f} s")


if __name__ == "__main__":
    main()
