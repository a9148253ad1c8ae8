"""How many runs train side by side on a GPU."""

import resource
from typing import Any, NamedTuple

import numpy as np
import torch

from weightscape.engine.autograd import ANSWERS, activation_bytes
from weightscape.engine.stack import Split
from weightscape.engine.streams import initialise
from weightscape.models import Model

HEADROOM = 0.8  # share of the free memory that stacks are planned to fill


def runs_at_once(
    network: Model, recipe: dict[str, Any], train: Split, memory_mb: int | None
) -> int:
    """How many runs to train side by side on the GPU: as many as fit."""
    needed = bytes_per_run(network, recipe, train)
    free, _ = torch.cuda.mem_get_info()
    fitting = HEADROOM * free / needed.device
    if memory_mb is not None:
        left = memory_mb * 2**20 - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        fitting = min(fitting, left / needed.host)
    return max(1, int(fitting))


class Bytes(NamedTuple):
    """What one more run of a stack takes of the memory of the GPU and of the host."""

    device: float
    host: float


def bytes_per_run(network: Model, recipe: dict[str, Any], train: Split) -> Bytes:
    """Estimated from the number of parameters, and from what autograd keeps of two images."""
    start = initialise(network, recipe["initialisation"], np.random.default_rng(0))
    activations = activation_bytes(network, start, train.images[:2]) / 2
    order, weights = 4 * len(train.labels), 4 * network.n_parameters
    # While a step is captured: the value and two moments, all three as they are put back later, and
    # a gradient as found and as laid out, of the steps before and of the one that is captured
    at_work = 10 * weights + recipe["batch_size"] * (2 * activations + 5 * train.images[0].size)
    # in blocks, and together
    answers = 2 * ANSWERS[network.class_bytes].itemsize * len(train.labels)
    return Bytes(at_work + order + answers, 2 * order + 4 * weights)
