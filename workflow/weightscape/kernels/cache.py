"""Where compiled code is kept, so that a checkout compiles once for each type of processor.

numba's own cache looks at the file of a function alone, not at what it calls; it compiles anew in
each copy of the project and in each job that gets there first, twenty CPU seconds each; and a file
that was cut off stops it for ever. Here a file is a compiled function, named by all that it was
compiled from, and sealed together with its name. What can't be read is compiled again; what can't
be kept is told.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pickle
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numba
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from weightscape.files import replace_whole
from weightscape.messages.logs import COMPILED

log = logging.getLogger(__name__)

SEAL = hashlib.blake2b().digest_size  # bytes before the code itself
HERE = Path(__file__).parent


class Store:
    """The folders of what is compiled from these sources for this BLAS, and the lock under which
    one process compiles for all.

    `holder` names the function for which this process has the lock: the first of those that call
    each other.
    """

    def __init__(self, blas: str):
        sources = b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))
        settings = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
        made_by = blas, sys.version, numba.__version__, sorted(settings.items())
        self.digest = hashlib.blake2b(sources + repr(made_by).encode(), digest_size=8).hexdigest()
        own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        # a checkout that others share may be one that they can't write to
        self.folders = [HERE / "__pycache__" / self.digest, Path(own, "weightscape", self.digest)]
        self.holder: str | None = None
        self._lock: TextIO | None = None
        self._begun = 0.0

    def read(self, name: str) -> bytes | None:
        """What is kept under a name, if it is there and as it was written."""
        for folder in self.folders:
            try:
                kept = (folder / name).read_bytes()
            except OSError:
                continue
            code = kept[SEAL:]
            if kept[:SEAL] == self._seal(name, code):
                return code
            log.warning("%s is damaged: it is compiled again", folder / name)
        return None

    def _seal(self, name: str, code: bytes) -> bytes:
        """Of the name too: another function's code, though whole, must not be run in its place."""
        return hashlib.blake2b(f"{self.digest}/{name}\n".encode() + code).digest()

    def keep(self, name: str, code: bytes) -> None:
        reasons = []
        for folder in self.folders:
            try:
                with replace_whole(folder / name) as aside:
                    aside.write_bytes(self._seal(name, code) + code)
                return
            except Exception as error:  # a cache is not worth a job
                reasons.append(f"{folder} ({error})")
        log.warning(
            "compiled code can't be kept in %s: each job compiles anew", " nor in ".join(reasons)
        )

    def lock(self, holder: str) -> None:
        """Wait until no other process compiles; where there are no locks, don't."""
        if self.holder is not None:
            return
        self.holder, self._lock, self._begun = holder, self._open_lock(), time.monotonic()
        if self._lock is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another job that compiles the kernels")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError:  # a file system that knows no locks
            pass

    def _open_lock(self) -> TextIO | None:
        for folder in self.folders:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                return (folder / "lock").open("a")
        return None

    def unlock(self, holder: str) -> None:
        if self.holder == holder:
            self.holder = None
            log.info("%s%.1f s", COMPILED, time.monotonic() - self._begun)
            if self._lock is not None:
                self._lock.close()


class KernelCache(_Cache):
    """What numba asks before it compiles a function, and tells afterwards."""

    def __init__(self, function: Callable[..., Any], store: Store):
        self._function, self._store = function, store

    @property
    def cache_path(self) -> str:
        return str(self._store.folders[0])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # All that finished code needs. Compiling calls refresh(), which numba's own cache does here
        # as well, and which would take as long as all other loading.
        rtsys.initialize(target_context)
        name = self._name(sig, target_context.codegen())
        code = self._store.read(name)
        if code is None:
            self._store.lock(name)
            code = self._store.read(name)  # by whom there was to wait for
        if code is None:
            if self._store.holder == name:  # and not what another one calls
                log.info("compiling %s for this type of processor, once", name.partition("-")[0])
            return None
        self._store.unlock(name)
        return CompileResult._rebuild(target_context, *pickle.loads(code))  # type: ignore[no-untyped-call]

    def save_overload(self, sig: Any, data: Any) -> None:
        name = self._name(sig, data.codegen)
        self._store.keep(name, dumps(data._reduce()))  # type: ignore[no-untyped-call]
        # what it calls was compiled meanwhile, under the same lock
        self._store.unlock(name)

    def _name(self, sig: Any, codegen: Any) -> str:
        """A function, the types that it is called with, and the processor."""
        key = repr((sig, codegen.magic_tuple()))
        digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
        module = self._function.__module__.rpartition(".")[2]
        return f"{module}.{self._function.__qualname__}-{digest}"

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...
