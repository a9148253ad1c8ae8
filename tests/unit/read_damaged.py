"""Read files that may be damaged, one a line of standard input; say in a line what came of it.

HDF5 may crash or loop for ever on damaged metadata, so the tests do this in a process apart.
"""

import hashlib
import sys
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.foreign.checkpoints import read_tensors
from weightscape.preparing.datasets import read_arrays
from weightscape.storage.images import load
from weightscape.storage.shards import CURVES, open_shard
from weightscape.storage.tables import read_table


def texts_of(attributes):
    """Attributes with text as str: HDF5 text of fixed length reads as bytes."""
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}


def read_dataset(path):
    images = load(path)
    arrays = {"train": images.train, "test": images.test}
    found = {name: [(a.shape, a.dtype, a.tobytes()) for a in two] for name, two in arrays.items()}
    return images.name, images.classes, images.digest, found


def read_shard(path):
    """All that a reader can ask of a shard."""
    with open_shard(path) as shard:
        names = [f"{kind}/{curve}" for kind in ("curves", "final") for curve in CURVES]
        arrays = {name: shard.read(name) for name in names}
        for epoch in (0, shard.header.final_epoch):
            for layer in shard.header.layers:
                arrays[f"{epoch}/{layer}/bias"] = shard.read(f"epochs/{epoch}/{layer}/bias")
                for row in range(len(shard.seeds)):
                    arrays[f"{epoch}/{layer}/{row}"] = shard.weight(epoch, layer, row)
        for kind in ("dead_units", "gradient_norm"):
            arrays |= {f"{kind}/{layer}": a for layer, a in shard.telemetry(kind).items()}
        arrays["predictions"] = shard.predictions()
        found = {name: (a.shape, a.tobytes()) for name, a in arrays.items()}
        return shard.header, shard.seeds, found


def read_checkpoint(path):
    return {name: a.tobytes() for name, a in read_tensors(Path(path), ["w", "b"]).items()}


def read_own(path):
    splits = read_arrays("stars", {"file": path} | {k: k for k in ("images", "labels", "split")})
    return {name: [a.tobytes() for a in arrays] for name, arrays in splits.items()}


def outcome(kind, path):
    try:
        found = READERS[kind](path)
    except WeightscapeError as error:
        return "refused" if path in str(error) else f"refused without its name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read " + hashlib.sha256(repr(found).encode("utf-8", "backslashreplace")).hexdigest()


READERS = {
    "dataset": read_dataset,
    "shard": read_shard,
    "checkpoint": read_checkpoint,
    "own": read_own,
    "table": read_table,
}

if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        print(" ".join(outcome(*line.rstrip("\n").split(" ", 1)).split("\n")), flush=True)
