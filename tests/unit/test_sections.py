"""The types of the config's keys are those of the schema."""

from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pytest

from weightscape.study.config import load_schema
from weightscape.study.sections import Config, Training

NAMES = {int: "integer", float: "number", str: "string", NoneType: "null"}


def assert_same(kind, schema, where=""):
    if is_typeddict(kind):
        assert_same_keys(kind, schema, where)
    elif get_origin(kind) in (Union, UnionType):
        for part, other in zip(get_args(kind), alternatives(schema), strict=True):
            assert_same(part, other, where)
    elif get_origin(kind) is Literal:
        assert list(get_args(kind)) == schema.get("enum", [schema.get("const")]), where
    elif get_origin(kind) is list:
        assert schema["type"] == "array", where
        assert_same(*get_args(kind), schema["items"], f"{where}[]")
    elif get_origin(kind) is dict:
        assert_same_values(*get_args(kind), schema, where)
    else:
        assert schema["type"] == NAMES[kind], where


def assert_same_keys(kind, schema, where):
    parts, kinds = schema["properties"], get_type_hints(kind)
    assert set(kinds) == set(parts), where
    always = {key for key in parts if "default" in parts[key] or key in schema.get("required", ())}
    assert kind.__required_keys__ == always, where
    for key, part in parts.items():
        assert_same(kinds[key], part, f"{where}.{key}")


def assert_same_values(key, value, schema, where):
    assert schema["type"] == "object", where
    parts = schema.get("properties", {})
    if get_origin(key) is Literal:
        assert list(get_args(key)) == list(parts), where
    if value is not Any:  # as of a model's options
        values = [*parts.values(), *filter(None, [schema.get("additionalProperties")])]
        assert values, where
        for part in values:
            assert_same(value, part, f"{where}.<name>")


def alternatives(schema):
    return schema.get("anyOf") or [schema | {"type": name} for name in schema["type"]]


def test_the_types_are_those_of_the_schema():
    assert_same(Config, load_schema())


class More(Training):
    seed: int


class Fewer(TypedDict):
    epochs: int


class Other(Training):
    batch_size: float


class Choice(Training):
    optimiser: Literal["adam", "sgd"]


@pytest.mark.parametrize("wrong", [More, Fewer, Other, Choice])
def test_a_difference_is_found(wrong):
    with pytest.raises(AssertionError):
        assert_same(wrong, load_schema()["properties"]["training"])
