"""The model families: each file beside this one defines one, as a subclass of Model.

A file named `foo.py` adds the family `foo`, and nothing else needs to change: the config's schema,
the plan, the training and the measures follow from the class in it. So does a file elsewhere that
`use_files` names. Nothing here imports torch at import, since each cluster job parses the config
with it.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from weightscape.errors import WeightscapeError
from weightscape.models.base import Layer, Link, Model, Options, Shape

__all__ = [
    "TRIED",
    "Layer",
    "Link",
    "Model",
    "build",
    "check_width",
    "code_digest",
    "families",
    "fixed_shapes",
    "layer_names",
    "links_in",
    "links_of",
    "refusal",
    "source",
    "use_files",
]

HELPERS = ("base", "modules")
TRIED = ("cnn", "dnn", "vit")
"""Families that the tests hold to the contract; any other is tried before it is trained."""
STARTS = ("zeros", "ones", "normal")
FILES = "WEIGHTSCAPE_MODEL_FILES"
"""Environment variable that tells jobs of the files elsewhere, as JSON."""


@functools.cache
def families() -> dict[str, type[Model]]:
    """Every model family by its name, in alphabetical order."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name not in HELPERS:
            found[module.name] = _family(module.name, f"{__name__}.{module.name}", None)
    for name, path in _files().items():
        if name in found:
            raise WeightscapeError(f"{path}: there is a model {name} already; rename the file")
        found[name] = _family(name, f"weightscape_model_{name}", path)
    return dict(sorted(found.items()))


def use_files(paths: Iterable[str]) -> bool:
    """Add files elsewhere, for this process and all that it starts; False if none is new.

    Raises WeightscapeError unless each is one model.
    """
    known = _files()
    files = known | {Path(path).stem: os.path.abspath(path) for path in paths}
    for path in paths:
        name, there = Path(path).stem, known.get(Path(path).stem)
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise WeightscapeError(
                f"{path}: the name of the file is that of the model; write small letters, digits "
                "and _ only"
            )
        if there not in (None, files[name]):
            raise WeightscapeError(f"{path}: {there} is the model {name} already; rename one")
    if files == known:
        return False
    _tell(files)
    try:
        families()
    except WeightscapeError:
        _tell(known)
        raise
    return True


def _tell(files: dict[str, str]) -> None:
    os.environ[FILES] = json.dumps(files)
    families.cache_clear()
    code_digest.cache_clear()


def _files() -> dict[str, str]:
    """Model -> its file elsewhere."""
    found: dict[str, str] = json.loads(os.environ.get(FILES, "{}"))
    return found


def _family(name: str, module: str, path: str | None) -> type[Model]:
    """The one model that a file defines."""
    try:
        loaded = _load(module, path) if path else importlib.import_module(module)
    except Exception as error:  # whatever is wrong with a file of someone's
        where = path or f"models/{name}.py"
        raise WeightscapeError(
            f"{where} can't be imported ({type(error).__name__}: {error}); correct it"
        ) from error
    own = [
        member
        for _, member in inspect.getmembers(loaded, inspect.isclass)
        if issubclass(member, Model) and member.__module__ == module
    ]
    whole = [member for member in own if not inspect.isabstract(member)]
    if len(whole) == 1 and _has_defaults(whole[0].OPTIONS):
        return whole[0]
    reason = f"has {len(whole)} classes of Model; leave one"
    if not whole:
        lacking = sorted(own[0].__abstractmethods__) if own else []
        reason = f"lacks {' and '.join(lacking)}" if own else "has no class of Model"
    elif len(whole) == 1:
        reason = "has OPTIONS that are no dictionary of schemas, each with a default"
    raise WeightscapeError(f"{loaded.__file__} {reason}; docs/extending.md says what a model needs")


def _has_defaults(options: Any) -> bool:
    """Whether options are schemas that a config without any of them can be filled from."""
    return isinstance(options, dict) and all(
        isinstance(part, dict) and "default" in part for part in options.values()
    )


def _load(module: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no file of Python")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def source(name: str) -> str:
    """Where the code of a model is."""
    return inspect.getfile(families()[name])


@functools.cache
def code_digest(name: str) -> str | None:
    """Of the file of a model that is no part of the library: other code makes other runs."""
    path = _files().get(name)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else None


def check_width(name: str, width: str, options: Options) -> None:
    """ValueError, saying what fits, unless `width` is one that the model `name` can take."""
    try:
        families()[name].check_width(width, options)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"check_width fails ({type(error).__name__}: {error})") from error


def build(name: str, width: str, shape: Shape, classes: int, options: Options) -> Model:
    """The model `name` of one width for images of `shape` (channels, height, width).

    Raises WeightscapeError if the model can't take such images, or is none.
    """
    try:
        network = families()[name](width, shape, classes, options)
    except ValueError as error:
        raise WeightscapeError(f"{name} of width {width}: {error}") from error
    except Exception as error:
        if name in TRIED:
            raise
        raise refusal(name, f"__init__ fails ({type(error).__name__}: {error})") from error
    if name not in TRIED:
        _check_layers(name, network)
    return network


def refusal(name: str, reason: str) -> WeightscapeError:
    """That a model does not do what a model does."""
    return WeightscapeError(
        f"the model {name} ({source(name)}): {reason}; docs/extending.md says what a model needs"
    )


def _check_layers(name: str, network: Model) -> None:
    layers = network.layers
    if not (isinstance(layers, list) and layers and all(isinstance(x, Layer) for x in layers)):
        raise refusal(name, "__init__ leaves no list of Layer in `layers`")
    names = [str(layer.name) for layer in layers]
    for layer, of in zip(layers, names, strict=True):
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", of) or names.count(of) > 1:
            reason = f"the layer {of!r} needs a name of its own, of letters, digits and _"
            raise refusal(name, reason)
        sizes = [n for n in layer.shape if isinstance(n, int) and n > 0]
        if len(sizes) not in (2, 4) or len(sizes) != len(layer.shape):
            reason = f"the layer {of} has the shape {layer.shape}, but a shape is (out, in) or"
            raise refusal(name, f"{reason} (out, in, height, width)")
    for of, (_, start) in network.auxiliary.items():
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", of) or start not in STARTS:
            reason = f"the auxiliary parameter {of!r} needs a name of letters, digits and _, and"
            raise refusal(name, f"{reason} {', '.join(STARTS)} as its start")


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
    if family is None:
        return []
    try:
        links = family.links(width, options)
    except Exception as error:
        raise refusal(name, f"links fails ({type(error).__name__}: {error})") from error
    if not (isinstance(links, list) and all(isinstance(link, Link) for link in links)):
        raise refusal(name, "links returns no list of Link")
    return links
