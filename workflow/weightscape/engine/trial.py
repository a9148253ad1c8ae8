"""One batch through a model, before runs are trained of it: whether it does what a model does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from weightscape import models
from weightscape.engine.autograd import Values, keep
from weightscape.engine.streams import initialise
from weightscape.models import Link, Model
from weightscape.models.base import Options, Shape

BATCH = 3
START = {"std": 0.05, "biases": "uniform"}


def try_model(name: str, width: str, shape: Shape, classes: int, options: Options) -> None:
    """Raises WeightscapeError, which names the model's file, unless it keeps the contract."""
    network = models.build(name, width, shape, classes, options)
    if reason := _find_fault(network, models.links_of(name, width, options)):
        raise models.refusal(name, reason)


def _find_fault(network: Model, links: list[Link]) -> str:
    """What is wrong with a model, or nothing."""
    start = initialise(network, START, np.random.default_rng(0))
    values = {name: torch.from_numpy(value).requires_grad_() for name, value in start.items()}
    images = torch.rand(BATCH, *network.shape, generator=torch.Generator().manual_seed(0))
    try:
        found = network.forward(dict(values), images, keep)
        alone = network.forward(dict(values), images[-1:], keep)
    except KeyError as error:
        if not error.args or error.args[0] in values:
            return f"forward fails (KeyError: {error})"
        return f"forward reads the parameter {error}, but there are {', '.join(values)}"
    except Exception as error:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in values.items())
        reason = str(error).partition("\n")[0]
        return (
            f"forward fails ({type(error).__name__}: {reason}) with {shapes}, where a weight is "
            "(out, in)"
        )
    reasons = _output_fault(network, found), _link_fault(network, links)
    return next(filter(None, reasons), "") or _use_fault(found[0], alone[0], values)


def _output_fault(network: Model, found: Any) -> str:
    wanted = (BATCH, network.classes)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
        what = type(found).__name__
        return f"forward returns a {what}; return logits, and a dict of each ReLU layer's output"
    logits, units = found
    if not isinstance(logits, Tensor) or logits.shape != wanted:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        return f"the logits of {BATCH} images have the shape {shape}; it must be {wanted}"
    rows = {layer.name: layer.shape[0] for layer in network.layers}
    for name, output in units.items():
        if name not in rows:
            return f"forward returns the output of {name!r}; its layers are {', '.join(rows)}"
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        if (shape[:1] + shape[-1:]) != (BATCH, rows[name]):
            return f"the output of {name} is {shape}; it must be ({BATCH}, ..., {rows[name]})"
    return ""


def _link_fault(network: Model, links: list[Link]) -> str:
    shapes = {layer.name: layer.shape for layer in network.layers}
    for link in links:
        for name in (*link.sources, link.target):
            if name not in shapes:
                return f"links names {name!r}; its layers are {', '.join(shapes)}"
        for name in link.sources:
            nodes, columns = shapes[name][0], shapes[link.target][1]
            if columns % nodes or (link.parts and nodes % link.parts):
                return f"{link.target} has {columns} columns, which aren't {nodes} nodes of {name}"
    return ""


def _use_fault(logits: Tensor, alone: Tensor, values: Values) -> str:
    """A parameter without effect, or images that have an effect on each other."""
    if not torch.isfinite(logits).all():
        return "its logits are not finite"
    if not torch.allclose(logits[-1:], alone, rtol=1e-3, atol=1e-4):
        return "the logits of an image depend on the other images of its batch"
    loss = cross_entropy(logits, torch.arange(BATCH) % logits.shape[1])
    unused = list(values)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
        unused = [name for name, g in zip(values, gradients, strict=True) if g is None]
    if unused:
        return f"the logits do not depend on {', '.join(unused)}; use it, or leave it out"
    return ""
