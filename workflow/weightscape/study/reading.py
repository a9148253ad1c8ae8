"""What a config's file may hold, before anything is made of it.

Snakemake reads the file too, but takes the last of two equal keys, and tells of no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from weightscape.errors import WeightscapeError

MOST_ENTRIES, DEEPEST = 100_000, 50


def check_file(path: Path) -> None:
    """Raises WeightscapeError, which names the file and the line, unless it is a plain config."""
    text = _read(path)
    try:
        found = _check_json(path, text)
    except (ValueError, RecursionError):  # no JSON
        found = _check_yaml(path, text)
    if not isinstance(found, dict):
        raise WeightscapeError(f"the config {path} has no keys; begin with `study: NAME`")


def _check_json(path: Path, text: str) -> Any:
    return json.loads(text, object_pairs_hook=lambda pairs: _unique(path, pairs))


def _unique(path: Path, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise WeightscapeError(f"the config {path} has the key '{key}' twice; remove one")
        found[key] = value
    return found


def _check_yaml(path: Path, text: str) -> Any:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(path, node, 0, {})
        return loader.construct_document(node)
    except RecursionError:
        raise _too_deep(path) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}," if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", error)
        raise WeightscapeError(
            f"the config {path}{where} is not YAML ({problem}); correct it there"
        ) from None
    except ValueError as error:  # a date that is none, a number of 5,000 digits
        reason = str(error).partition(";")[0]
        raise WeightscapeError(
            f"the config {path} has a value that can't be read ({reason}); correct it, or put it "
            "in quotes"
        ) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WeightscapeError(
            f"the config {path} is not UTF-8 text (see byte {error.start + 1}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise WeightscapeError(
            f"the config {path} can't be read ({error.strerror}); name another by --configfile"
        ) from None


def _too_deep(path: Path) -> WeightscapeError:
    return WeightscapeError(
        f"the config {path} is nested more than {DEEPEST} levels deep, or refers to itself; write "
        "out what it means"
    )


def _count(path: Path, node: yaml.Node, depth: int, known: dict[yaml.Node, int]) -> int:
    """Entries below a node, each alias counted as what it stands for.

    A few lines of aliases can stand for more entries than any memory holds.
    """
    if depth > DEEPEST:
        raise _too_deep(path)
    if node in known:
        return known[node]
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(path, node)
        parts = [value for _, value in node.value]
    entries = 1 + sum(_count(path, part, depth + 1, known) for part in parts)
    if entries > MOST_ENTRIES:
        raise WeightscapeError(
            f"the config {path}, line {node.start_mark.line + 1}, stands for more than "
            f"{MOST_ENTRIES:,} entries; use fewer aliases"
        )
    known[node] = entries
    return entries


def _check_keys(path: Path, node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise WeightscapeError(
                f"the config {path} has the key '{key.value}' twice, in line {lines[key.value]} "
                f"and in line {line}; remove one"
            )
        lines[key.value] = line
