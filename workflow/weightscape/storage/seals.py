"""Seals of tables: what SHA-256 a table had when it was written, so that damage is an error.

A CSV file has no place for one that every reader of CSV passes over, so it stands in a file of its
own: `.seals/statistics.csv` beside `statistics.csv`, as `sha256sum` writes it and checks it. A
table without a seal was made by other hands and is taken as it is.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.files import explain, replace_whole

FOLDER = ".seals"
REMEDY = "delete it and run again to make it again"


@contextmanager
def replace_sealed(target: Path) -> Iterator[Path]:
    """As `replace_whole`, with a seal. A job that is killed between the two leaves none."""
    seal = _seal_of(target)
    with replace_whole(target) as aside:
        yield aside
        digest = _digest(aside)
        seal.unlink(missing_ok=True)
    with replace_whole(seal) as aside:
        aside.write_text(f"{digest}  {target.name}\n", encoding="utf-8")


def remove_sealed(target: Path) -> None:
    """A table, if it is there, and its seal."""
    target.unlink(missing_ok=True)
    _seal_of(target).unlink(missing_ok=True)


def check_seal(path: Path, remedy: str = REMEDY) -> None:
    """Raises WeightscapeError if a table is missing, or not as it was written."""
    try:
        digest = _digest(path)
        told = _seal_of(path).read_bytes() if _seal_of(path).is_file() else None
    except OSError as error:
        raise WeightscapeError(explain(error, "the table", path, remedy)) from error
    if told is not None and told.split()[:1] != [digest.encode()]:
        raise refuse(path, "it is damaged, or was changed after it was written", remedy)


def refuse(path: Path | str, reason: str, remedy: str = REMEDY) -> WeightscapeError:
    return WeightscapeError(f"the table {path} is refused: {reason}; {remedy}")


def _seal_of(path: Path) -> Path:
    return path.parent / FOLDER / path.name


def _digest(path: Path) -> str:
    with path.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()
