"""Pickles as data: what a pickle describes, while nothing that it names is imported or called.

Where a pickle names a function or a class there is a Global; where it calls one, a Made: its name
and what it was given. The meaning of a few of them is for the reader to know.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

MOST_STEPS = 5_000_000
"""Opcodes of a pickle: each takes up to 100 bytes of memory, and a microsecond."""
LONGEST_NAME = 1000  # of a function


class PickleError(Exception):
    """A pickle that breaks off or makes no sense."""


@dataclass(eq=False, slots=True)
class Global:
    """A function or a class, by its name alone."""

    name: str


@dataclass(eq=False, slots=True)
class Made:
    """What a function or a class would have made, had it been called."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Persistent:
    """What lies outside the pickle, by its key."""

    key: Any


class Pickle(NamedTuple):
    content: Any
    outside: list[Persistent]
    """what it refers to outside itself, in its order"""


def load(file: BinaryIO) -> Pickle:
    """What the pickle at the file's position describes; the file is left at its end."""
    machine = _Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if step > MOST_STEPS:
                raise PickleError(f"more than {MOST_STEPS} steps")
            machine.do(opcode.name, argument)
        return Pickle(machine.stack[-1], machine.outside)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PickleError(str(error)) from error


def text_key(key: Any) -> str | None:
    """A key of a dict as a part of a name; None for one that can't be."""
    if type(key) is int and abs(key) < 2**63:
        return str(key)
    return key if isinstance(key, str) else None


def _set_items(target: Any, items: list[Any]) -> Any:
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            # text alone: others might take long to hash, or be objects
            if (name := text_key(key)) is not None:
                target[name] = value
    return target


NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
}
FROM_MARK: dict[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "FROZENSET": list,
    "TUPLE": tuple,
    "DICT": lambda items: _set_items({}, items),
}


class _Machine:
    """The stack of the pickle protocols 0 to 5 (pickletools has their opcodes)."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.outside: list[Persistent] = []

    def do(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP" if self.marks and self.marks[-1] == len(self.stack):
                self.marks.pop()
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self._pop_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "APPEND" | "APPENDS" | "ADDITEMS" | "SETITEM" | "SETITEMS" | "BUILD":
                self._fill(opcode)
            case "STOP" | "PROTO" | "FRAME":
                pass
            case _:
                self.stack.append(self._made(opcode, argument))

    def _pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _pop(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def _made(self, opcode: str, argument: Any) -> Any:
        """The new object of an opcode that makes one."""
        if opcode in NEW:
            return NEW[opcode]()
        if opcode in FROM_MARK:
            return FROM_MARK[opcode](self._pop_mark())
        if opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            return tuple(self._pop(int(opcode[-1])))
        if opcode in ("PERSID", "BINPERSID"):
            self.outside.append(Persistent(argument or self.stack.pop()))
            return self.outside[-1]
        if argument is None or opcode in ("GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            return self._named(opcode, argument)
        return argument  # a number, a text or bytes

    def _named(self, opcode: str, argument: Any) -> Global | Made:
        """A function or a class, or what would come of its call."""
        match opcode:
            case "GLOBAL":
                return Global(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                module, name = self._pop(2)
                if len(module) + len(name) > LONGEST_NAME:
                    raise PickleError("a name of endless length")
                return Global(f"{module}.{name}")
            case "EXT1" | "EXT2" | "EXT4":
                return Global(f"extension {argument}")
            case "INST":
                return Made(argument.replace(" ", "."), tuple(self._pop_mark()))
            case "OBJ":
                called, *rest = self._pop_mark()
                arguments: Any = tuple(rest)
            case "REDUCE" | "NEWOBJ":
                called, arguments = self._pop(2)
            case "NEWOBJ_EX":
                called, arguments, _ = self._pop(3)
            case _:
                raise PickleError(f"the opcode {opcode}")
        if not isinstance(arguments, tuple):  # a list may be long, and stand here again and again
            raise PickleError("a call without a tuple")
        name = called.name if isinstance(called, Global | Made) else type(called).__name__
        return Made(name, arguments)

    def _fill(self, opcode: str) -> None:
        """Put what lies on top of the stack into the object below it."""
        items = self._pop_mark() if opcode.endswith("S") else self._pop(1 + (opcode == "SETITEM"))
        target = self.stack[-1]
        if opcode.startswith("SETITEM"):
            _set_items(target.items if isinstance(target, Made) else target, items)
        elif opcode == "BUILD":
            if isinstance(target, Made):
                target.state = items[0]
        elif isinstance(target, list):
            target.extend(items)


def parts(value: Any) -> Mapping[str, Any]:
    """What lies within a container, a list's items by their number; nothing in other values.

    A module of torch has its parameters and modules in dicts of its state.
    """
    match value:
        case dict():
            return value
        case list() | tuple():
            return {str(place): item for place, item in enumerate(value)}
        case Made(state=dict(state), items=items):
            inner = (parts(state.get(key)) for key in ("_parameters", "_buffers", "_modules"))
            return {**state, **{k: v for part in inner for k, v in part.items()}, **items}
        case Made("collections.OrderedDict", (list(pairs),)):  # as Python 2 wrote it
            return {**_set_items({}, [part for pair in pairs for part in pair]), **value.items}
        case Made():
            return value.items
        case _:
            return {}
