"""What every format of checkpoints shares: a checkpoint that is open, and how one is refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from weightscape.errors import WeightscapeError

DEFLATE = 1032  # it makes a byte of no more
FREE = 2**26
"""Bytes that an array may always have."""
MOST_COMPRESSED = 20
"""Bytes that a larger array may have for each that it takes in its file: weights compress less."""

LONGEST = 1000  # letters of a reason
DAMAGED = "it is damaged"


class Refused(WeightscapeError):
    """A checkpoint that can't be used: its run is left out, and the others go on."""


class Checkpoint(Protocol):
    """An open checkpoint."""

    def names(self) -> Iterable[str]:
        """The names of its arrays of numbers."""

    def find(self, name: str) -> Any:
        """What has this name, for `read`; None if there is nothing."""

    def read(self, name: str, found: Any) -> np.ndarray:
        """The numbers of what `find` has found, float32; Refused if it has none that fit."""


def refuse(path: Path, reason: str, remedy: str) -> Refused:
    """The reason may quote the file: it is told in one line, and not endless."""
    reason = "".join(letter if letter.isprintable() else "?" for letter in reason[:LONGEST])
    return Refused(f"the checkpoint {path} is refused: {reason}; {remedy}")


def no_floats(path: Path, name: str, kind: object) -> Refused:
    return refuse(path, f"'{name}' is {kind}", "save it as 16, 32 or 64-bit floats")


def too_large(path: Path, name: str) -> Refused:
    return refuse(path, f"'{name}' is larger than the file", "save it again")


def check_expansion(path: Path, name: str, size: int, stored: int) -> None:
    """Refuse an array that would take far more memory than the bytes that are stored of it."""
    if size > DEFLATE * stored:
        raise too_large(path, name)
    if size > max(FREE, MOST_COMPRESSED * stored):
        raise refuse(
            path,
            f"'{name}' has {size} bytes, but only {stored} in the file",
            "if it is right, save it without compression",
        )


# a float64 beyond float32 is infinite, as in the network itself; NaN of any kind is NaN
@np.errstate(over="ignore", invalid="ignore")
def as_float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 whose upper half a bfloat16 is."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
