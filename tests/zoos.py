"""Two kinds of public zoos in small, as they lie on disk."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import torch

EPOCHS = [0, 1, 2]
STEPS = [0, 1, 5]
VARIABLES = {
    "sequential/conv2d/bias:0": (4,),
    "sequential/conv2d/kernel:0": (3, 3, 1, 4),
    "sequential/dense/bias:0": (3,),
    "sequential/dense/kernel:0": (4, 3),
}
"""Kernels as TensorFlow has them."""


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    net = torch.nn.Module()
    net.module_list = torch.nn.ModuleList(
        [torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Linear(4, 3)]
    )
    return net


def write_ray_tune(folder: Path, n_runs: int = 3) -> list[list[dict]]:
    """Trials of Ray Tune; the state_dict of each run and epoch."""
    found = []
    for seed in range(n_runs):
        trial, net, states = folder / f"NN_tune_{seed:05d}_seed={seed}", network(seed), []
        trial.mkdir(parents=True)
        lines = []
        for epoch in EPOCHS:
            place = trial / f"checkpoint_{epoch:06d}"
            place.mkdir()
            with torch.no_grad():
                for values in net.parameters():
                    values.add_(torch.randn_like(values), alpha=0.1 * epoch)
            states.append({name: t.numpy().copy() for name, t in net.state_dict().items()})
            torch.save(net.state_dict(), place / "checkpoints")
            torch.save(torch.optim.Adam(net.parameters()).state_dict(), place / "optimizer")
            numbers = {
                "train_loss": 2.0 - epoch / 2,
                "test_loss": 2.1 - epoch / 2,
                "train_acc": 0.3 + 0.2 * epoch + 0.01 * seed,
                "test_acc": 0.25 + 0.2 * epoch + 0.01 * seed,
            }
            lines.append(json.dumps(numbers | {"training_iteration": epoch, "config": {}}))
        (trial / "result.json").write_text("\n".join(lines) + "\n")
        (trial / "params.json").write_text("{}")
        found.append(states)
    (folder / "config.json").write_text("{}")
    return found


def write_matrix(folder: Path, n_runs: int = 3) -> np.ndarray:
    """One matrix of all runs and steps, with its layout and metrics; (runs, steps, columns)."""
    folder.mkdir(parents=True)
    random, n = np.random.default_rng(0), sum(map(np.prod, VARIABLES.values()))
    weights = random.normal(size=(n_runs, len(STEPS), n)).astype(np.float32)
    np.save(folder / "weights.npy", weights.reshape(-1, n))
    with (folder / "layout.csv").open("w", newline="") as file:
        table, start = csv.writer(file), 0
        table.writerow(["varname", "start_idx", "end_idx", "shape"])
        for name, shape in VARIABLES.items():
            table.writerow([name, start, end := start + int(np.prod(shape)), str(shape)])
            start = end
    columns = ["modeldir", "test_accuracy", "test_loss", "train_accuracy", "train_loss", "step"]
    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for run in range(n_runs):
            for place, step in enumerate(STEPS):
                numbers = [0.2 + 0.2 * place + 0.01 * run, 2.0, 0.25 + 0.2 * place, 1.9]
                table.writerow([f"/x/{run}/permanent_ckpt-{step}", *numbers, step])
    return weights
