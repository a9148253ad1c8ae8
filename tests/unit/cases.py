"""Small networks, data and recipes to train, and the ways to train them."""

import numpy as np

from weightscape import models
from weightscape.engine.autograd import AutogradStack
from weightscape.engine.by_hand import HandStack
from weightscape.engine.linear import FastLinear
from weightscape.engine.stack import Split
from weightscape.engine.streams import RunKey, initialise

KEY = RunKey("dnn", "own", "6x5", 0)
VIT = {"tokens": "patches", "d_model": 8, "feedforward": 12, "dropout": 0.1, "depth": 1}
NORMAL = {"weights": "normal", "std": 0.3, "biases": "uniform"}


def make_recipe(**changes):
    return {
        "version": 1,
        "options": {},
        "epochs": 3,
        "batch_size": 7,
        "optimiser": "adam",
        "learning_rate": 0.01,
        "initialisation": NORMAL,
    } | changes


def random_split(n, shape=(1, 4, 4), classes=3, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, *shape), dtype=np.uint8)
    return Split(images, random.integers(0, classes, n))


def random_orders(runs, n, seed=0):
    stream = np.random.default_rng(seed)
    return np.array([stream.permutation(n) for _ in range(runs)], np.int32)


def batches(order, size=7):
    return [order[first : first + size].tolist() for first in range(0, len(order), size)]


def start_of(network, seed=0):
    return initialise(network, NORMAL, KEY._replace(seed=seed).stream("init"))


def by_hand(network, starts, train, recipe, seeds=None):
    (start,) = starts
    return HandStack(network, network.by_hand(), start, train, recipe)


def by_autograd(network, starts, train, recipe, seeds=None, device="cpu"):
    """Runs whose dropout is that of `seeds`; of 0, 1, ... by default."""
    seeds = range(len(starts)) if seeds is None else seeds
    streams = [KEY._replace(seed=seed).stream("dropout") for seed in seeds]
    return AutogradStack(network, starts, streams, train, recipe, device)


def by_blas(network, starts, train, recipe, seeds=None):
    """A single run with the linear layers that large networks have."""
    stack = by_autograd(network, starts, train, recipe, seeds)
    stack.products = FastLinear()
    return stack


class Case:
    """A family's network, and data that it can take."""

    def __init__(self, name, width, shape=(1, 8, 8), **options):
        self.name, self.width, self.shape, self.options = name, width, shape, options
        self.network = models.build(name, width, shape, 3, options)

    def __repr__(self):
        return "-".join([self.name, self.width, *map(str, self.options.values())])

    def starts(self, runs=1):
        return [start_of(self.network, seed) for seed in range(runs)]

    def split(self, n, seed=0):
        return random_split(n, self.shape, seed=seed)

    def recipe(self, **changes):
        return make_recipe(options=self.options, **changes)


DNN = Case("dnn", "12x9")
CNN = Case("cnn", "4", (2, 6, 5), head="flatten")
GAP = Case("cnn", "4", (2, 6, 5), head="gap")
TRANSFORMER = Case("vit", "2", **(VIT | {"dropout": 0.0}))
