"""Where compiled code is kept: by what it was compiled from, wherever the checkout lies.

numba itself would look at the file of a function alone, not at what it calls, and would compile
anew in each copy of the project: twenty CPU seconds.
"""

import hashlib
from pathlib import Path

import numba
from numba.core.caching import UserProvidedCacheLocator


class Locator(UserProvidedCacheLocator):
    """Looks in the folder that `keep` names, in no folder of its own for each place of a source."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        return ""


def keep(blas: str) -> None:
    """Keep what numba compiles in a folder for just these sources and this BLAS."""
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    digest = hashlib.blake2b(sources + blas.encode(), digest_size=8).hexdigest()
    locators = [f"{Locator.__module__}.{Locator.__name__}", "UserWideCacheLocator"]
    numba.config.CACHE_DIR = str(here / "__pycache__" / digest)  # type: ignore[attr-defined]
    numba.config.CACHE_LOCATOR_CLASSES = ",".join(locators)  # type: ignore[attr-defined]
