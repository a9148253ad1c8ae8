"""A width as text, as numbers, and in order."""

import math


def width_parts(width: str) -> list[int]:
    """The numbers of a width, [20, 50] of `20x50`; none of a width that is a name."""
    parts = width.split("x")
    return list(map(int, parts)) if all(map(str.isdecimal, parts)) else []


def width_number(width: str) -> float:
    """A width as one number, the product of `20x50`; NaN for a width that is a name."""
    parts = width_parts(width)
    return float(math.prod(parts)) if parts else math.nan


def width_order(width: str) -> tuple[bool, list[int], str]:
    """What widths are sorted by: as numbers, and after them those that are names."""
    parts = width_parts(width)
    return not parts, parts, width
