"""Populations whose accuracy is known to follow from width, from weights, or from nothing."""

import numpy as np
import pandas as pd

from weightscape.claims.features import NUMBERS

LAYERS = ("fc1", "fc2", "fc3")


def plant(
    widths=("5", "10", "20", "40", "80"),
    seeds=30,
    of_width=5.0,
    of_weights=0.0,
    noise=1.0,
    seed=0,
    layers=LAYERS,
    numbers=("mean", "std", "skew"),
    model="dnn",
    dataset="mnist",
):
    """Runs, and numbers of their final and of their initial weights.

    accuracy = 70 + of_width log(width) + of_weights h + noise N(0, 1), with h of N(0, 1) for each
    run. In all layers `mean` tells the width, `std` is h - log(width), where initial weights have
    another h, and all else is noise.
    """
    random = np.random.default_rng(seed)
    runs = pd.DataFrame(
        [(model, dataset, width, seed, "high") for width in widths for seed in range(seeds)],
        columns=["model", "dataset", "width", "seed", "group"],
    )
    runs["init_seed"] = runs["seed"]
    size = np.log(runs["width"].astype(float).to_numpy())
    hidden = random.normal(size=len(runs))
    errors = noise * random.normal(size=len(runs))
    runs["test_accuracy"] = 70 + of_width * size + of_weights * hidden + errors
    described = []
    for of_run in (hidden, random.normal(size=len(runs))):
        table = runs[["model", "dataset", "width", "seed"]].merge(
            pd.DataFrame({"layer": list(layers)}), how="cross"
        )
        values = {name: random.normal(size=len(table)) for name in numbers}
        values["mean"] = np.repeat(size, len(layers)) + 0.1 * values["mean"]
        values["std"] = np.repeat(of_run - size, len(layers))
        described.append(table.assign(**values))
    return runs, *described


def write_tables(runs, final, initial, folder):
    """The same as the files that measures write, with 1 for each number that is not there."""
    keys = ["model", "dataset", "width", "seed", "layer"]
    paths = {
        name: folder / f"{name}.csv"
        for name in ("runs", "statistics", "strength", "spectra", "nulls")
    }
    whole = final.assign(**{name: 1.0 for name in NUMBERS if name not in final})
    nulls = pd.concat(
        [
            whole.assign(**initial[[c for c in initial if c not in keys]], weights=kind)
            for kind in ("initial", "shuffled")
        ]
    )
    nulls.loc[nulls["weights"] == "shuffled", "std"] = 99.0
    of_nodes = [name for name in NUMBERS if name.startswith("strength_")]
    spectra = ["spectral_norm", "frobenius_norm", "stable_rank", "effective_rank", "alpha"]
    spectra += [name for name in NUMBERS[NUMBERS.index("spectral_norm") :] if name not in spectra]
    own = [name for name in NUMBERS if name not in {*of_nodes, *spectra}]
    runs.to_csv(paths["runs"], index=False)
    whole[[*keys, *own]].assign(fan_in=784).to_csv(paths["statistics"], index=False)
    renamed = whole[[*keys, *of_nodes]].rename(columns=lambda name: name.removeprefix("strength_"))
    renamed.assign(fan_in=784, target="fc2").to_csv(paths["strength"], index=False)
    whole[[*keys, *spectra]].to_csv(paths["spectra"], index=False)
    nulls.to_csv(paths["nulls"], index=False)
    return paths
