"""What a figure is drawn from, told in its files, so that it is drawn again only when that changes.

Dates would not do: Snakemake dates all files of a job when one of them is made anew.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from weightscape.heads import LIBRARY

PACKAGES = ("matplotlib", "numpy", "pandas")
SIZE = 16  # bytes
BEGINNING = 4096  # bytes of a figure's file that have what it tells of itself
END = {".svg": b"</svg>\n", ".png": b"IEND\xaeB`\x82"}


def origin_of(files: Iterable[str], settings: Any) -> str:
    """A digest of all that a figure follows from: files, settings (as JSON has them) and code."""
    told = [[_digest_of(file) for file in files], settings, _digest_of_code()]
    return f"drawn from {_digest(json.dumps(told).encode())}"


def is_of(path: Path, origin: str) -> bool:
    """Whether there is a figure's file, not cut off, that tells this origin."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return origin.encode() in content[:BEGINNING] and content.endswith(END[path.suffix])


@cache
def _digest_of(file: str) -> str:
    with open(file, "rb") as raw:
        return hashlib.file_digest(raw, lambda: hashlib.blake2b(digest_size=SIZE)).hexdigest()


@cache
def _digest_of_code() -> str:
    """Of the whole library, since a figure may use any of it, and of the packages that draw."""
    code = [path.read_text(encoding="utf-8") for path in sorted(LIBRARY.rglob("*.py"))]
    return _digest(json.dumps([code, [version(name) for name in PACKAGES]]).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=SIZE).hexdigest()
