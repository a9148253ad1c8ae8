"""The config: checked against the schema and the models, and filled with every default.

Imports nothing heavy, since each cluster job parses it.
"""

from __future__ import annotations

import copy
import difflib
import functools
import itertools
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.foreign import sources
from weightscape.foreign.listing import ListedRun
from weightscape.study.catalogue import ALL, BUILTIN
from weightscape.study.reading import DEEPEST, MOST_ENTRIES
from weightscape.study.sections import Config, ImportItem, PopulationItem, Training

if TYPE_CHECKING:
    from jsonschema import ValidationError

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"

FAULTS_SHOWN = 5  # of one table
SHOWN = 100  # characters of a wrong value
LARGEST = 1e15
MOST_SEEDS = 1_000_000  # of a width
LONGEST, LONGEST_KEY = 4096, 100  # characters: no path is longer
UNPRINTED = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, of halves of a character, and of ends of lines."""
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")

TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
"""JSON's types in words."""
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z": (
        "letters, digits, - and _ only, and begin with a letter or a digit"
    ),
    r"^[A-Za-z][A-Za-z0-9_]*\Z": "letters, digits and _ only, and begin with a letter",
    r"^[a-z][a-z0-9_]*\Z": "small letters, digits and _ only, and begin with a letter",
    r"^[0-9]+(x[0-9]+)*\Z": "numbers joined by x, such as 20x50",
    r"\.py\Z": "a path that ends in .py",
    r"\.(npz|h5|hdf5)\Z": "a path that ends in .npz, .h5 or .hdf5",
}
"""The schema's patterns in words that follow `write`."""


@functools.cache
def load_schema() -> dict[str, Any]:
    """The JSON schema with the options of every model family merged in and references resolved."""
    schema = yaml.safe_load(SCHEMA.read_text())
    populations = [schema["properties"][key]["items"] for key in ("populations", "import")]
    for population in populations:
        population["allOf"] = []
    for name, family in models.families().items():
        options = {
            "type": "object",
            "additionalProperties": False,
            "default": {},
            "description": f"Options of {name}.",
            "properties": family.OPTIONS,
        }
        schema["properties"]["models"]["properties"][name] = options
        is_family = {"properties": {"model": {"const": name}}, "required": ["model"]}
        has_options = {"if": is_family, "then": {"properties": {"options": options}}}
        for population in populations:
            population["allOf"].append(has_options)
    resolved: dict[str, Any] = _resolve(schema, schema["$defs"])
    return resolved


def check(config: dict[str, Any], origin: str = "") -> Config:
    """A copy of `config`, which comes from `origin`, with all defaults filled in.

    Raises WeightscapeError that lists every fault: unknown keys (with the nearest known one),
    wrong types and values, widths that do not fit their model, missing files and folders.
    """
    if _is_endless(config):
        _raise(origin, [f"it has more than {MOST_ENTRIES:,} entries, or refers to itself"])
    _use_model_files(config, origin)
    given = _read_numbers(config, load_schema())
    _raise(origin, list(_odd_values(given, "")) or list(_schema_faults(given)))
    full: Config = _fill(given, load_schema())
    for imported in full["import"]:
        sources.complete(imported)
    for _, item in _listed(full):
        common = full["models"].get(item["model"], {})
        item["options"] = common | item["options"]
    _raise(origin, list(_study_faults(full)))
    return full


def _use_model_files(config: dict[str, Any], origin: str) -> None:
    """Before all else, since the schema has the options of their models."""
    files = config.get("model_files")
    if not (isinstance(files, list) and all(isinstance(file, str) for file in files)):
        return  # as the schema says
    if list(_odd_values(files, "")) or not all(file.endswith(".py") for file in files):
        return
    for number, file in enumerate(files):
        where = f"model_files[{number}]"
        _raise(origin, list(_file_faults(where, file)))
        try:
            if models.use_files([file]):
                load_schema.cache_clear()
        except WeightscapeError as error:
            _raise(origin, [f"{where}: {error}"])


def _raise(origin: str, faults: list[str]) -> None:
    if faults:
        listing = "".join(f"\n  - {fault}" for fault in faults)
        name = f"the config {origin}" if origin else "the config"
        raise WeightscapeError(f"{name} can't be used:{listing}")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_endless(config: Any) -> bool:
    """Whether it has more entries than a study needs: YAML can say much in a few lines."""
    entries, level = 0, [config]
    for _ in range(DEEPEST):
        below = (item for value in level for item in _parts(value))
        level = list(itertools.islice(below, MOST_ENTRIES))
        entries += len(level)
        if entries >= MOST_ENTRIES or not level:
            break
    return bool(level)


def _read_numbers(value: Any, schema: dict[str, Any]) -> Any:
    """A copy of `value` with the numbers that YAML takes for something else.

    1e-3, without a point, is text to it, and 1e+2 is no whole number. Within lists and mappings
    of --config Snakemake takes every number for text.
    """
    if isinstance(value, list):
        return [_read_numbers(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        properties = schema.get("properties", {}) | _options_of(value, schema)
        other = schema.get("additionalProperties") or {}
        return {key: _read_numbers(item, properties.get(key, other)) for key, item in value.items()}
    types = _types(schema)
    if isinstance(value, str) and "string" not in types and {"number", "integer"} & types:
        value = float(value) if NUMBER.fullmatch(value) else value
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole and "integer" in types else value


def _options_of(item: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """What the schema says of the options of a population's own model."""
    for condition in schema.get("allOf", ()):
        if item.get("model") == condition["if"]["properties"]["model"]["const"]:
            found: dict[str, Any] = condition["then"]["properties"]
            return found
    return {}


def _types(schema: dict[str, Any]) -> set[str]:
    """The types that a schema allows, those of its alternatives included."""
    own = schema.get("type", ())
    alternatives = [_types(part) for part in schema.get("anyOf", ())]
    return set().union({own} if isinstance(own, str) else own, *alternatives)


def _odd_values(value: Any, where: str) -> Iterator[str]:
    """What is valid in YAML, and no schema refuses, but nothing here can take."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: {value} is not a finite number"
    elif isinstance(value, int | float) and abs(value) > LARGEST:
        yield f"{where}: the number is too large; write one below 10^15"
    elif isinstance(value, str):
        if reason := _odd_text(value, LONGEST, "\n\t" if where == "notify" else ""):
            yield f"{where}: {reason}"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _odd_values(item, f"{where}[{number}]")
    for key, item in value.items() if isinstance(value, dict) else ():
        if not isinstance(key, str):
            yield f"{where or 'top level'}: the key {_cut(repr(key))} is no text; put it in quotes"
        elif reason := _odd_text(key, LONGEST_KEY):
            yield f"{where or 'top level'}: the key {_cut(repr(key))} can't be used; {reason}"
        else:
            yield from _odd_values(item, f"{where}.{key}" if where else key)


def _odd_text(text: str, longest: int, allowed: str = "") -> str:
    """What keeps a text from being a name or a path, and what to do; nothing if it may be one."""
    if len(text) > longest:
        return f"the text is too long; write at most {longest:,} characters"
    odd = (c for c in text if unicodedata.category(c) in UNPRINTED and c not in allowed)
    if found := next(odd, ""):
        return f"the text has the character U+{ord(found):04X}, which is not printed; remove it"
    return ""


def _cut(text: str) -> str:
    """A text without its end if it is long."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _resolve(node: Any, definitions: dict[str, Any]) -> Any:
    """`node` with each local $ref replaced by its definition (keys beside it take precedence)."""
    if isinstance(node, list):
        return [_resolve(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        named = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _resolve(named, definitions) | rest
    return {key: _resolve(value, definitions) for key, value in node.items()}


def _fill(value: Any, schema: dict[str, Any]) -> Any:
    """`value` with the schema's defaults for the keys that it leaves out."""
    if isinstance(value, list):
        return [_fill(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    other = schema.get("additionalProperties") or {}
    for key, part in properties.items():
        if key not in value and "default" in part:
            value[key] = copy.deepcopy(part["default"])
    return {key: _fill(item, properties.get(key, other)) for key, item in value.items()}


def _schema_faults(config: dict[str, Any]) -> Iterator[str]:
    from jsonschema import Draft202012Validator  # a tenth of a job's start, which checks no config

    validator = Draft202012Validator(load_schema())
    for error in sorted(validator.iter_errors(config), key=lambda error: str(error.path)):
        where = _dotted(error.absolute_path)
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            yield from _unknown_keys(where, error.instance, error.schema)
        else:
            yield f"{where or 'top level'}: {_sentence(error)}"


def _unknown_keys(where: str, found: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    known = list(schema.get("properties", {}))
    for key in (str(key) for key in found if key not in known):
        hint = _hint(key, known, "known here: ")
        yield f"{where}{'.' if where else ''}{key}: unknown key; {hint}"


def _sentence(error: ValidationError) -> str:
    meaning = error.schema.get("description") if isinstance(error.schema, dict) else None
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return f"the key '{missing}' is missing"
    rule: Any = error.validator_value
    is_name = "propertyNames" in error.absolute_schema_path
    what = _cut(repr(error.instance))
    what = f"the name {what}" if is_name else what
    reasons = {
        "minimum": f"{error.instance} is too small: at least {rule}",
        "maximum": f"{error.instance} is too large: at most {rule}",
        "exclusiveMinimum": f"{error.instance} must be above {rule}",
        "exclusiveMaximum": f"{error.instance} must be below {rule}",
        "not": f"{what} is not allowed; choose another",
        "maxLength": f"{what} is too long: at most {rule} characters",
        "minItems": f"the list needs at least {_entries(rule)}",
        "maxItems": f"the list may have at most {_entries(rule)}",
        "uniqueItems": f"{what} has an entry twice; remove one",
    }
    match error.validator:
        case "enum":
            reason = f"{what} is not allowed; choose {_any_of(rule)}"
        case "type":
            types = [rule] if isinstance(rule, str) else rule
            reason = f"{what} must be {_any_of(TYPES[name] for name in types)}"
        case "pattern":
            reason = f"{what} is not allowed; write {PATTERNS[rule]}"
        case "anyOf":
            reason = f"{what} is not a valid value here; write {_any_of(map(_in_words, rule))}"
        case other:
            reason = reasons.get(str(other), error.message)
    return f"{reason} ({meaning.strip()})" if meaning else reason


def _in_words(schema: dict[str, Any]) -> str:
    """What a schema of one value asks for, after `write`."""
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    if "const" in schema:
        return str(schema["const"])
    return f"{TYPES[schema['type']]} from {schema['minimum']} to {schema['maximum']:,}"


def _any_of(words: Iterable[Any]) -> str:
    """`a, b or c`"""
    *most, last = map(str, words)
    return f"{', '.join(most)} or {last}" if most else last


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _dotted(path: Any) -> str:
    """populations[0].seeds for the path ('populations', 0, 'seeds')."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _study_faults(config: Config) -> Iterator[str]:
    """What no schema can say: names that must exist, numbers that must fit each other."""
    yield from _pair_faults(config)
    yield from _population_faults(config)
    yield from _import_faults(config)
    yield from _dataset_faults(config)
    yield from _snapshot_faults(config["training"])
    for name, (low, high) in config["groups"]["quantiles"].items():
        if low >= high:
            yield f"groups.quantiles.{name}: the first share must be below the second"


def _pair_faults(config: Config) -> Iterator[str]:
    """What holds for populations to train and to import alike."""
    listed = _listed(config)
    if not listed:
        yield (
            "the config lists no networks; add some to train under populations, or to import "
            "under import"
        )
    seen: dict[tuple[str, str], str] = {}
    for where, item in listed:
        pair = item["model"], item["dataset"]
        for name in ("model", "dataset"):
            if item[name] == ALL:
                yield f"{where}.{name}: tables have `{ALL}` for all of them together; rename it"
        if pair in seen:
            is_alike = seen[pair].split("[")[0] == where.split("[")[0]
            yield f"{where}: {' on '.join(pair)} is listed twice; " + (
                "put all its widths into one entry"
                if is_alike
                else f"remove this entry or {seen[pair]}, or give the import's dataset another name"
            )
        seen.setdefault(pair, where)
        for name, (low, high) in item.get("edges", {}).items():
            if low >= high:
                yield f"{where}.edges.{name}: the first edge must be below the second"


def _listed(config: Config) -> list[tuple[str, PopulationItem | ImportItem]]:
    """Populations to train and to import, with the places where they stand."""
    trained = enumerate(config["populations"])
    imported = enumerate(config["import"])
    return [
        *((f"populations[{number}]", item) for number, item in trained),
        *((f"import[{number}]", item) for number, item in imported),
    ]


def _population_faults(config: Config) -> Iterator[str]:
    families, known = models.families(), [*BUILTIN, *config["datasets"]]
    for number, population in enumerate(config["populations"]):
        where = f"populations[{number}]"
        model, dataset = population["model"], population["dataset"]
        if dataset not in known:
            text = _unknown(dataset, known)
            yield (
                f"{where}.dataset: {text}{'' if text.endswith('?') else '.'} If it is a dataset of "
                "your own, describe it under datasets"
            )
        if model not in families:
            yield f"{where}.model: {_unknown(model, list(families))}"
            continue
        seeds = population["seeds"]
        if isinstance(seeds, dict) and seeds["init"] * seeds["shuffle"] > MOST_SEEDS:
            yield f"{where}.seeds: init x shuffle is too large: at most {MOST_SEEDS:,}"
        texts = [str(width) for width in population["widths"]]
        if len(set(texts)) < len(texts):
            yield f"{where}.widths: a width is listed twice; remove one"
        for width in texts:
            try:
                models.check_width(model, width, population["options"])
            except ValueError as error:
                yield f"{where}.widths: {_cut(width)} does not fit {model}: {error}"
                continue
            yield from _model_faults(where, model, width, population["options"])


def _model_faults(where: str, model: str, width: str, options: dict[str, Any]) -> Iterator[str]:
    """Of a model that no test holds to the contract: what the parse needs of it."""
    if model in models.TRIED:
        return
    try:
        models.layer_names(model, width, options)
        models.links_of(model, width, options)
    except WeightscapeError as error:
        yield f"{where}.model: {error}"


def _import_faults(config: Config) -> Iterator[str]:
    own: dict[str, list[str]] = {}  # layers of the models that are no family
    for number, item in enumerate(config["import"]):
        where, model = f"import[{number}]", item["model"]
        yield from _folder_faults(f"{where}.folder", item["folder"])
        yield from _brace_faults(f"{where}.folder", item["folder"])
        listing = sources.listing(item)
        key = "table" if item["source"] == "table" else "folder"
        told = item.get("table", item["folder"])
        yield from _brace_faults(f"{where}.{key}", told) if key == "table" else ()
        files = [file for row in listing.rows for file in row.places(item["epochs"]).values()]
        braces = [fault for file in files for fault in _brace_faults(told, file)]
        faults = [*listing.faults, *braces, *_accuracy_faults(config, listing.rows)]
        yield from (f"{where}.{key}: {fault}" for fault in faults[:FAULTS_SHOWN])
        if (more := len(faults) - FAULTS_SHOWN) > 0:
            yield f"{where}.{key}: and {more} more mistake{'s' if more > 1 else ''}"
        if listing.epochs and item["epochs"] != listing.epochs[-1]:
            yield f"{where}.epochs: the files tell {listing.epochs[-1]}; remove this key"
        layers = list(item["layers"])
        if model in models.families():
            yield from _family_faults(where, item, sorted({row.width for row in listing.rows}))
        elif not layers and (key == "table" or not faults):  # other sources may tell them
            yield (
                f"{where}.layers: {model} is not a model family of this project, so its layers "
                "must be listed under layers"
            )
        elif own.setdefault(model, layers) != layers:
            yield (
                f"{where}.layers: {model} is imported twice with different layers; give one of "
                "the two another name"
            )
        elif item["options"]:
            yield (
                f"{where}.options: {model} is not a model family of this project and takes no "
                "options; remove them"
            )
        for place, (layer, entry) in enumerate(item["layers"].items()):
            reads, earlier = entry["reads"], layers[:place]
            if reads is not None and reads not in earlier:
                hint = _hint(reads, earlier, "a layer can only read a layer listed before it: ")
                yield f"{where}.layers.{layer}.reads: '{reads}' is not before {layer}; {hint}"


def _accuracy_faults(config: Config, rows: list[ListedRun]) -> Iterator[str]:
    asked = {
        "groups.accuracy": config["groups"]["accuracy"],
        "claims.accuracy": config["claims"]["accuracy"],
        "figures.colour": config["figures"]["colour"],
    }
    for key, split in asked.items():
        missing = [
            row.file for row in rows if not row.fault and math.isnan(row.final[f"{split}_accuracy"])
        ]
        if missing:
            yield (
                f"{split}_accuracy is missing for {missing[0]} ({len(missing)} of {len(rows)} "
                f"runs), and {key} is {split}; add it, or set {key}: test"
            )


def _family_faults(where: str, item: ImportItem, widths: list[str]) -> Iterator[str]:
    model, options = item["model"], item["options"]
    fitting = []
    for width in widths:
        try:
            models.check_width(model, width, options)
            fitting.append(width)
        except ValueError as error:
            yield f"{where}.table: {_cut(width)} does not fit {model}: {error}"
    if not (item["layers"] and fitting):
        return
    known = models.layer_names(model, fitting[0], options)
    if list(item["layers"]) != known:
        yield f"{where}.layers: {model} has the layers {', '.join(known)}, in this order"
    for layer, entry in item["layers"].items():
        if entry["reads"]:
            yield (
                f"{where}.layers.{layer}.reads: {model} already defines which layer reads which; "
                "remove this key"
            )


# os.path, since Path raises where a name is too long or a folder is closed


def _file_faults(where: str, path: str) -> Iterator[str]:
    if not os.path.isfile(path):
        yield f"{where}: there is no file {_cut(path)}; correct the path"


def _folder_faults(where: str, path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield f"{where}: there is no folder {_cut(path)}; correct the path"


def _brace_faults(where: str, path: str) -> Iterator[str]:
    if "{" in path or "}" in path:
        yield f"{where}: {_cut(path)} has a brace, which is a wildcard to Snakemake; rename it"


def _dataset_faults(config: Config) -> Iterator[str]:
    for name, own in config["datasets"].items():
        if name in BUILTIN:
            yield f"datasets.{name}: this name belongs to a built-in dataset; choose another"
        yield from _file_faults(f"datasets.{name}.file", own["file"])
        yield from _brace_faults(f"datasets.{name}.file", own["file"])
    folder = config["data_folder"]
    if folder is None:
        return
    if faults := list(_folder_faults("data_folder", folder)):
        yield f"{faults[0]}, or set it to null to download"
        return
    for name in sorted({population["dataset"] for population in config["populations"]}):
        files = BUILTIN[name].files if name in BUILTIN else ()
        missing = [file for file in files if not os.path.isfile(os.path.join(folder, file))]
        if missing:
            them = "it" if len(missing) == 1 else "them"
            yield (
                f"data_folder: {folder} has no {', '.join(missing)}; {name} needs {them}. "
                f"Add {them}, or set data_folder to null to download"
            )


def _snapshot_faults(training: Training) -> Iterator[str]:
    for epoch in training["snapshots"]:
        if not isinstance(epoch, str) and epoch > training["epochs"]:
            yield (
                f"training.snapshots: epoch {epoch} does not exist: training has "
                f"{training['epochs']} epoch{'s' if training['epochs'] > 1 else ''}"
            )


def _unknown(name: str, known: list[str]) -> str:
    return f"'{name}' is not known; {_hint(name, known, 'choose one of ')}"


def _hint(name: str, known: list[str], otherwise: str) -> str:
    """The known name nearest to `name`, or all of them after the words `otherwise`."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else otherwise + (", ".join(known) or "none")


def key_table() -> str:
    """Every key of the schema as a Markdown table, for config/README.md."""
    lines = ["| key | default | unit | meaning |", "|---|---|---|---|"]
    for key, part in _keys("", load_schema()):
        default = f"`{json.dumps(part['default'])}`" if "default" in part else "required"
        if part.get("optional"):
            default = ""
        meaning = " ".join(part["description"].split()).replace("|", "\\|")
        if "enum" in part:
            meaning = f"One of {', '.join(part['enum'])}. {meaning}"
        lines.append(f"| `{key}` | {default} | {part.get('unit', '')} | {meaning} |")
    return "\n".join(lines)


def _keys(where: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        key = f"{where}{name}"
        optional = name not in schema.get("required", []) and "default" not in part
        yield key, {**part, "optional": optional}
        yield from _keys(f"{key}.", part)
        if isinstance(part.get("additionalProperties"), dict):
            yield from _keys(f"{key}.<name>.", part["additionalProperties"])
        if part.get("type") == "array":
            yield from _keys(f"{key}[].", part["items"])


if __name__ == "__main__":
    print(key_table())
