"""Compile the kernels for this processor ahead of the first study; `make setup` calls it.

A job that finds none compiles them itself.
"""

from contextlib import suppress

import numpy as np

from weightscape import models
from weightscape.engine.by_hand import HandStack
from weightscape.engine.devices import make_deterministic
from weightscape.engine.stack import Split
from weightscape.engine.streams import RunKey, initialise
from weightscape.errors import WeightscapeError

SHAPE, CLASSES, WIDTH = (1, 8, 8), 10, "1"  # any will do: code is compiled for types, not sizes
RECIPE = {"batch_size": 1, "learning_rate": 0.0}


def compile_kernels() -> None:
    """A step and an evaluation of each family whose gradients are derived by hand."""
    make_deterministic("cpu", threads=1, with_torch=False)
    images = Split(np.zeros((2, *SHAPE), np.uint8), np.zeros(2, np.int64))
    for name, family in models.families().items():
        options = {key: schema["default"] for key, schema in family.OPTIONS.items()}
        with suppress(WeightscapeError):  # a family that knows no such width
            network = models.build(name, WIDTH, SHAPE, CLASSES, options)
            if method := network.by_hand():
                stream = RunKey(name, "none", WIDTH, 0).stream("init")
                start = initialise(network, {"std": 0.0, "biases": "zero"}, stream)
                stack = HandStack(network, method, start, images, RECIPE)
                stack.train_epoch(np.zeros((1, 2), np.int32))
                stack.evaluate(images)


if __name__ == "__main__":
    compile_kernels()
