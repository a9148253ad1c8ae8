"""The config: checked against the schema and the models, and filled with every default.

Imports nothing heavy, since each cluster job parses it.
"""

import copy
import difflib
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.study.catalogue import BUILTIN
from weightscape.study.listing import ListedRun, read_listing
from weightscape.study.sections import Config, ImportItem, PopulationItem, Training

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"

FAULTS_SHOWN = 5  # of one table


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


def check(config: dict[str, Any]) -> Config:
    """A copy of `config` with all defaults filled in.

    Raises WeightscapeError that lists every fault: unknown keys (with the nearest known one),
    wrong types and values, widths that do not fit their model, missing files and folders.
    """
    _raise(list(_schema_faults(config)))
    full: Config = _fill(copy.deepcopy(config), load_schema())
    for _, item in _listed(full):
        common = full["models"].get(item["model"], {})
        item["options"] = common | item["options"]
    _raise(list(_study_faults(full)))
    return full


def _raise(faults: list[str]) -> None:
    if faults:
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise WeightscapeError(f"the config can't be used:{listing}")


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
    if isinstance(value, float) and "integer" in schema.get("type", ()):
        return int(value)  # YAML's 1e+2 is a float
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    other = schema.get("additionalProperties") or {}
    for key, part in properties.items():
        if key not in value and "default" in part:
            value[key] = copy.deepcopy(part["default"])
    return {key: _fill(item, properties.get(key, other)) for key, item in value.items()}


def _schema_faults(config: dict[str, Any]) -> Iterator[str]:
    yield from _infinite(config, "")
    validator = jsonschema.Draft202012Validator(load_schema())
    for error in sorted(validator.iter_errors(config), key=lambda error: str(error.path)):
        where = _dotted(error.absolute_path)
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            yield from _unknown_keys(where, error.instance, error.schema)
        else:
            yield f"{where or 'top level'}: {_sentence(error)}"


def _infinite(value: Any, where: str) -> Iterator[str]:
    """Numbers that YAML allows and JSON schema does not know: .inf and .nan."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: {value} is no finite number"
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _infinite(item, _dotted([*([where] if where else []), key]))


def _unknown_keys(where: str, found: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    known = list(schema.get("properties", {}))
    for key in (str(key) for key in found if key not in known):
        hint = _hint(key, known, "known here: ")
        yield f"{where}{'.' if where else ''}{key}: unknown key; {hint}"


def _sentence(error: jsonschema.ValidationError) -> str:
    meaning = error.schema.get("description") if isinstance(error.schema, dict) else None
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return f"the key '{missing}' is missing"
    reasons = {
        "minimum": f"{error.instance} is too small: at least {error.validator_value}",
        "maximum": f"{error.instance} is too large: at most {error.validator_value}",
        "exclusiveMinimum": f"{error.instance} must be above {error.validator_value}",
        "enum": f"{error.instance!r} is none of {error.validator_value}",
        "type": f"{error.instance!r} is not of type {error.validator_value}",
        "pattern": f"{error.instance!r} does not match {error.validator_value}",
        "not": f"{error.instance!r} is not allowed",
        "minItems": "the list is too short",
        "propertyNames": f"{error.instance!r} has a name that can't be one of a file",
        "anyOf": f"{error.instance!r} is not of a kind that fits here",
    }
    reason = reasons.get(str(error.validator), error.message)
    return f"{reason} ({meaning.strip()})" if meaning else reason


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
        yield "'populations' and 'import' list nothing; name networks to train, or to import"
    seen: set[tuple[str, str]] = set()
    for where, item in listed:
        pair = item["model"], item["dataset"]
        if pair in seen:
            yield f"{where}: {' on '.join(pair)} stands here twice; join their widths"
        seen.add(pair)
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
            yield f"{where}.dataset: {_unknown(dataset, known)}, or describe it under datasets"
        if model not in families:
            yield f"{where}.model: {_unknown(model, list(families))}"
            continue
        texts = [str(width) for width in population["widths"]]
        if len(set(texts)) < len(texts):
            yield f"{where}.widths: a width stands here twice"
        for width in texts:
            try:
                families[model].check_width(width, population["options"])
            except ValueError as error:
                yield f"{where}.widths: {width} does not fit {model}: {error}"


def _import_faults(config: Config) -> Iterator[str]:
    own: dict[str, list[str]] = {}  # layers of the models that are no family
    for number, item in enumerate(config["import"]):
        where, model = f"import[{number}]", item["model"]
        if not Path(item["folder"]).is_dir():
            yield f"{where}.folder: there is no folder {item['folder']}; correct the path"
        listing = read_listing(item["table"])
        faults = [*listing.faults, *_accuracy_faults(config, listing.rows)]
        yield from (f"{where}.table: {fault}" for fault in faults[:FAULTS_SHOWN])
        if len(faults) > FAULTS_SHOWN:
            yield f"{where}.table: and {len(faults) - FAULTS_SHOWN} faults more"
        layers = list(item["layers"])
        if model in models.families():
            yield from _family_faults(where, item, sorted({row.width for row in listing.rows}))
        elif not layers:
            yield f"{where}.layers: {model} is no family here; name the tensors of its layers"
        elif own.setdefault(model, layers) != layers:
            yield f"{where}.layers: {model} has other layers elsewhere; choose another name for one"
        elif item["options"]:
            yield f"{where}.options: {model} is no family here, so it has none; leave them out"
        for place, (layer, entry) in enumerate(item["layers"].items()):
            reads, earlier = entry["reads"], layers[:place]
            if reads is not None and reads not in earlier:
                text = _unknown(reads, earlier)
                yield f"{where}.layers.{layer}.reads: {text}; a layer reads one before it"


def _accuracy_faults(config: Config, rows: list[ListedRun]) -> Iterator[str]:
    asked = {
        "groups.accuracy": config["groups"]["accuracy"],
        "claims.accuracy": config["claims"]["accuracy"],
        "figures.colour": config["figures"]["colour"],
    }
    for key, split in asked.items():
        missing = [row.file for row in rows if math.isnan(row.final[f"{split}_accuracy"])]
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
            models.families()[model].check_width(width, options)
            fitting.append(width)
        except ValueError as error:
            yield f"{where}.table: {width} does not fit {model}: {error}"
    if not (item["layers"] and fitting):
        return
    known = models.layer_names(model, fitting[0], options)
    if list(item["layers"]) != known:
        yield f"{where}.layers: {model} has the layers {', '.join(known)}, in this order"
    for layer, entry in item["layers"].items():
        if entry["reads"]:
            yield f"{where}.layers.{layer}.reads: {model} knows this of its layers; leave it out"


def _dataset_faults(config: Config) -> Iterator[str]:
    for name, own in config["datasets"].items():
        if name in BUILTIN:
            yield f"datasets.{name}: this name belongs to a built-in dataset; choose another"
        if not Path(own["file"]).is_file():
            yield f"datasets.{name}.file: there is no file {own['file']}; correct the path"
    folder = config["data_folder"]
    if folder is None:
        return
    if not Path(folder).is_dir():
        yield (
            f"data_folder: there is no folder {folder}; correct the path, or set it to null to "
            "download"
        )
        return
    for name in sorted({population["dataset"] for population in config["populations"]}):
        files = BUILTIN[name].files if name in BUILTIN else ()
        missing = [file for file in files if not (Path(folder) / file).is_file()]
        if missing:
            yield f"data_folder: {folder} lacks {', '.join(missing)}, which {name} is made from"


def _snapshot_faults(training: Training) -> Iterator[str]:
    for epoch in training["snapshots"]:
        if not isinstance(epoch, str) and epoch > training["epochs"]:
            yield f"training.snapshots: epoch {epoch} is after the last one, {training['epochs']}"


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
