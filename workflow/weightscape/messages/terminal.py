"""Tables and amounts of time, as a terminal shows them."""

from collections.abc import Collection


def align(lines: list[list[str]], left: Collection[int]) -> list[str]:
    """Lines of cells in columns: those numbered in `left` flush left, all others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def format_time(seconds: float) -> str:
    """12 min, in the largest unit of which there are at least two."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
