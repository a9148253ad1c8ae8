"""The model families: each file beside this one defines one, as a subclass of Model.

A file named `foo.py` adds the family `foo`, and nothing else needs to change: the config's schema,
the plan, the training and the measures follow from the class in it. Nothing here imports torch at
import, since each cluster job parses the config with it.
"""

import functools
import importlib
import inspect
import pkgutil
from typing import Any

from weightscape.errors import WeightscapeError
from weightscape.models.base import Layer, Link, Model, Options, Shape

__all__ = [
    "Layer",
    "Link",
    "Model",
    "build",
    "families",
    "fixed_shapes",
    "layer_names",
    "links_in",
    "links_of",
]


@functools.cache
def families() -> dict[str, type[Model]]:
    """Every model family by its name, in alphabetical order."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name == "base":
            continue
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for _, member in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(member, Model) and member.__module__ == loaded.__name__:
                found[module.name] = member
    return found


def build(name: str, width: str, shape: Shape, classes: int, options: Options) -> Model:
    """The model `name` of one width for images of `shape` (channels, height, width).

    Raises WeightscapeError if the model can't take such images.
    """
    try:
        return families()[name](width, shape, classes, options)
    except ValueError as error:
        raise WeightscapeError(f"{name} of width {width}: {error}") from error


def layer_names(name: str, width: str, options: Options) -> list[str]:
    """The layers of the model `name` in the order of the forward pass.

    They do not depend on the images, so none need to be there: any shape stands in.
    """
    return [layer.name for layer in build(name, width, (3, 32, 32), 10, options).layers]


def fixed_shapes(
    name: str, width: str, classes: int, options: Options
) -> dict[str, tuple[int | None, ...]]:
    """Each layer's shape, None where it depends on the images; nothing of an unknown family."""
    if name not in families():
        return {}
    some, others = (
        build(name, width, shape, classes, options).layers for shape in ((1, 28, 28), (3, 32, 32))
    )
    return {
        one.name: tuple(n if n == m else None for n, m in zip(one.shape, other.shape, strict=True))
        for one, other in zip(some, others, strict=True)
    }


def links_in(name: str, width: str, recipe: dict[str, Any]) -> list[Link]:
    """The links of networks of a recipe: their family's, or those that an import tells."""
    told = recipe.get("layers", {})
    order = recipe.get("layer_order", told)
    own = [Link((told[name]["reads"],), name) for name in order if told[name]["reads"]]
    return own or links_of(name, width, recipe.get("options", {}))


def links_of(name: str, width: str, options: Options) -> list[Link]:
    """The links of the model `name`; none of a family that is not known here."""
    family = families().get(name)
    return family.links(width, options) if family else []
