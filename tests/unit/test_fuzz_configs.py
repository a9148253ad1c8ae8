"""Configs that are odd at random: a sentence, or a config that is filled; never anything else.

WEIGHTSCAPE_FUZZ=5000 tries more of them.
"""

import copy
import datetime
import itertools
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightscape.errors import WeightscapeError
from weightscape.study import populations, recipe
from weightscape.study.config import check
from weightscape.study.reading import check_file

CONFIGS = [
    yaml.safe_load(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
]
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 10**6, 10**12, 10**15, 10**401, -(10**400), 16**5000, 2.5, 1e-320]),
    st.integers(),
    st.floats(),
)
TEXTS = st.one_of(
    st.sampled_from(["", "1e-3", "1e999", "nan", "20x50", "0x1", "9" * 5000, "a" * 5000, "../x"]),
    st.sampled_from(
        ["a\n", "a\0", "\ud800", "{x}", "{", "a b", "(1)", "Ä", "\u0661", "x\u2028y", "dnn"]
    ),
    st.text(st.characters(exclude_categories=()), max_size=20),
)
ODD = st.one_of(
    NUMBERS,
    TEXTS,
    st.sampled_from([None, True, False, datetime.date(2020, 1, 1), b"x", {1}, (1, 2)]),
    st.lists(st.one_of(NUMBERS, TEXTS), max_size=3),
    st.dictionaries(st.one_of(TEXTS, st.integers(), st.none()), TEXTS, max_size=3),
)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Configs that are right, some with every key, and one that imports."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "runs.csv").write_text("file,width,train_accuracy,test_accuracy\na,4,90,80\n")
    (folder / "mine.npz").touch()
    zoo = {
        "study": "zoo",
        "datasets": {"mine": {"file": str(folder / "mine.npz")}},
        "populations": [
            {
                "model": "vit",
                "dataset": "mine",
                "widths": [2],
                "seeds": {"init": 2, "shuffle": 2},
                "options": {"d_model": 8},
                "runs_per_job": 3,
                "edges": {"low": [0, 10], "mid": [20, 30], "high": [40, 50]},
            }
        ],
        "import": [
            {
                "model": "pets",
                "dataset": "pets",
                "folder": str(folder),
                "table": str(folder / "runs.csv"),
                "classes": 3,
                "layers": {"one": {"weight": "0.w"}, "two": {"weight": "2.w", "reads": "one"}},
            }
        ],
    }
    return [*CONFIGS, *map(check, [zoo, *CONFIGS])]


def places(node, depth=8):
    """Every part of a config that has parts, which may hold itself, and their keys."""
    for key in list(node.keys() if isinstance(node, dict) else range(len(node))):
        yield node, key
        if isinstance(node[key], dict | list) and depth and len(node) < 100:
            yield from places(node[key], depth - 1)


def mutate(data, config):
    known = list(itertools.islice(places(config), 1000))
    if not known:
        return
    node, key = data.draw(st.sampled_from(known), "place")
    others = [parent[name] for parent, name in known]
    match data.draw(st.sampled_from(["odd", "other", "text", "delete", "twice", "rename", "deep"])):
        case "odd":
            node[key] = data.draw(ODD)
        case "other":  # which may hold this one
            node[key] = data.draw(st.sampled_from(others))
        case "text":
            node[key] = f"{node[key]}e0" if isinstance(node[key], float) else "1e2"
        case "delete":
            del node[key]
        case "twice" if isinstance(node, list):
            node.append(node[key])
        case "rename" if isinstance(node, dict):
            node[data.draw(st.one_of(TEXTS, st.integers()))] = node.pop(key)
        case "deep":
            for _ in range(data.draw(st.sampled_from([1, 3, 60, 5000]))):
                node[key] = [node[key]]


FUZZ = settings(
    max_examples=int(os.environ.get("WEIGHTSCAPE_FUZZ", "50")),
    deadline=datetime.timedelta(seconds=20),  # none goes on for ever
    suppress_health_check=[*HealthCheck],
)


@FUZZ
@given(data=st.data())
def test_an_odd_config_is_told_or_filled(bases, data):
    config = copy.deepcopy(data.draw(st.sampled_from(bases)))
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        mutate(data, config)
    try:
        full = check(config, "odd.yaml")
    except WeightscapeError as error:
        fault = str(error)
        fault.encode()  # can be printed
    else:
        assert check(full) == full
        json.dumps(full, allow_nan=False).encode()
        for population in populations(full):
            recipe(full, population)
        return
    assert fault.startswith("the config odd.yaml can't be used:\n  - ")
    assert len(max(fault.splitlines(), key=len)) < 2000


@FUZZ
@given(data=st.data())
def test_an_odd_file_is_told_or_taken(tmp_path_factory, data):
    text = yaml.safe_dump(data.draw(st.sampled_from(CONFIGS)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text)))
        lines = text.splitlines(keepends=True) or [""]
        piece = data.draw(
            st.one_of(
                st.sampled_from(["\t", "&a ", "*a", "[", "{", "}", "!!set ", "? ", "- ", "---\n"]),
                st.sampled_from(
                    ["<<: *a\n", "1" * 5000, "%YAML 9.9\n", "\ufeff", "'", "2020-19-39"]
                ),
                st.sampled_from(lines),
                st.text(max_size=5),
            )
        )
        text = text[:place] + piece + text[place:]
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_bytes(text.encode(data.draw(st.sampled_from(["utf-8", "utf-16"])), "replace"))
    fault = ""
    try:
        check_file(path)
    except WeightscapeError as error:
        fault = str(error)
    assert bool(fault) == fault.startswith(f"the config {path}")
    assert "\n" not in fault
    assert fault or isinstance(yaml.safe_load(path.read_bytes()), dict)
