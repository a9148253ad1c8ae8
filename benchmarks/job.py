"""One run as a job of its own: by our engine, and by a plain PyTorch script; run by `jobs`.

python -m benchmarks.job ours|plain ARGUMENTS_OF_A_TRAINING_JOB_AS_JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def ours(arguments: dict[str, Any]) -> None:
    """As workflow/scripts/train_runs.py has it."""
    from weightscape.engine.training import TrainingJob, train_shard
    from weightscape.messages.logs import leave

    paths = {key: Path(arguments[key]) for key in ("dataset", "target")}
    train_shard(TrainingJob(**arguments | paths))
    leave()


def plain(arguments: dict[str, Any]) -> None:
    """A DNN's run as a short script would train and save it: images in memory, autograd, Adam."""
    import h5py
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    recipe, units, (seed,) = arguments["recipe"], int(arguments["width"]), arguments["seeds"]
    torch.manual_seed(seed)
    with h5py.File(arguments["dataset"]) as file:
        splits = {
            name: (
                torch.from_numpy(file[f"{name}/images"][()]).flatten(1).float() / 255,
                torch.from_numpy(file[f"{name}/labels"][()]),
            )
            for name in ("train", "test")
        }
    images, labels = splits["train"]
    model = nn.Sequential(
        nn.Linear(images.shape[1], units),
        nn.ReLU(),
        nn.Linear(units, units),
        nn.ReLU(),
        nn.Linear(units, int(labels.max()) + 1),
    )
    for layer in model[::2]:
        nn.init.normal_(layer.weight, std=recipe["initialisation"]["std"])
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe["learning_rate"])
    curves = []
    for _ in range(recipe["epochs"]):
        for rows in torch.randperm(len(labels)).split(recipe["batch_size"]):
            optimiser.zero_grad()
            cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            scores = [
                (cross_entropy(logits, y).item(), (logits.argmax(1) == y).float().mean().item())
                for logits, y in ((model(x), y) for x, y in splits.values())
            ]
        curves.append(scores)
    final = model.state_dict()
    torch.save({"initial": initial, "final": final, "curves": curves}, arguments["target"])


if __name__ == "__main__":
    {"ours": ours, "plain": plain}[sys.argv[1]](json.loads(sys.argv[2]))
