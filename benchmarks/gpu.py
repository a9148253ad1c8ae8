"""Training on a GPU beside PyTorch's peers there, and the paper's scale; `make bench-gpu`.

    python -m benchmarks.gpu FOLDER_OF_PREPARED_DATASETS OUT.csv

Seconds are wall time here: the processor only launches. The columns are those of training.csv, with
`wall_us_per_step` for `cpu_us_per_step`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import torch_peers
from benchmarks.case import BATCH, LEARNING_RATE, Case, Contender, make_case
from benchmarks.table import write
from weightscape import training
from weightscape.engine.stack import Split

CASES = [
    ("dnn", "mnist", "5", 1000), ("dnn", "mnist", "100", 1000), ("dnn", "cifar10", "1000", 50),
    ("cnn", "mnist", "16", 200), ("vit", "mnist", "8", 16),
]  # fmt: skip
STEPS, TURNS, EPOCHS = 100, 3, 20


def ours(case: Case, runs: int, device: str) -> Contender:
    """A stack as a training job makes it, or fewer runs where the memory ends."""
    split = Split(*(torch.from_numpy(a).to(device) for a in (case.images, case.labels)))
    how = {"weights": "normal", "std": 0.05, "biases": "uniform"}
    recipe = {
        "options": case.network.options, "batch_size": BATCH, "learning_rate": LEARNING_RATE,
        "initialisation": how, "epochs": EPOCHS,
    }  # fmt: skip
    if device != "cpu":
        runs = min(runs, training.runs_at_once(case.network, recipe, split, None))
    keys = [training.RunKey(case.model, case.dataset, case.width, seed) for seed in range(runs)]
    stack = training.make_stack(case.network, keys, split, recipe)

    def train(batches: np.ndarray) -> None:
        order = torch.from_numpy(batches.ravel())
        stack.train_epoch([order[torch.randperm(len(order))] for _ in keys])

    return Contender("ours", runs, train)


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
        rows.append({
            "model": case.model, "dataset": case.dataset, "width": case.width,
            "runs_per_job": contender.runs, "contender": contender.name,
            "wall_us_per_step": f"{us:.2f}",
        })  # fmt: skip
        print(f"{case.model} {case.dataset} {case.width}: {contender.name}, {contender.runs} side "
              f"by side, {us:.2f} us a step of one run", flush=True)  # fmt: skip
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


def whole_population(dataset: Path, runs: int, epochs: int, width: str = "100") -> float:
    """Seconds of a job of MNIST DNNs, evaluation and shard included."""
    recipe = {
        "version": 1, "options": {}, "epochs": epochs, "batch_size": BATCH, "optimiser": "adam",
        "learning_rate": LEARNING_RATE,
        "initialisation": {"weights": "normal", "std": 0.05, "biases": "uniform"},
    }  # fmt: skip
    target = dataset.with_name("benchmark-shard.h5")
    started = time.perf_counter()
    training.train_shard(
        dataset=dataset, target=target, model="dnn", width=width, seeds=list(range(runs)),
        recipe=recipe, snapshots=[0], device="auto", threads=1,
    )  # fmt: skip
    target.unlink()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("datasets", type=Path, help="folder of prepared datasets (*.h5)")
    parser.add_argument("out", type=Path, help="CSV file to write")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks: torch finds no GPU here; `make bench` measures the CPU")
    training.make_deterministic(torch.device("cuda"), threads=1)
    rows = []
    for model, dataset, width, runs in CASES:
        case = make_case(model, arguments.datasets / f"{dataset}.h5", width)
        rows += measure(case, runs, "cuda")
    write(arguments.out, rows)
    seconds = whole_population(arguments.datasets / "mnist.h5", 1000, EPOCHS)
    print(f"1000 MNIST DNNs of width 100, {EPOCHS} epochs: {seconds:.1f} s")


if __name__ == "__main__":
    main()
