"""Files that are there whole or not at all, and what an error of the file system means."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from weightscape.errors import WeightscapeError

if TYPE_CHECKING:
    import h5py

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replace_whole(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to, renamed to it when the block ends without an error.

    The name carries host and process, so that two writers of one file do not meet; what a killed
    process of this host left behind is removed. A full disk is a WeightscapeError that names
    `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    aside = target.with_name(f".{target.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise WeightscapeError(
            f"{target} can't be written: the disk or your quota is full ({error.strerror}). Free "
            "some space and run again; finished runs are kept"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def open_unlocked(path: Path | str) -> h5py.File:
    """An HDF5 file for reading, without a lock: some file systems have none."""
    import h5py  # which not all that write files need

    try:
        return h5py.File(path, driver="sec2", locking=False)  # whatever HDF5_DRIVER says
    except OSError as error:
        if "locking flag" not in str(error):  # it is open with a lock in this very process
            raise
        return h5py.File(path)


def explain(error: OSError, what: str, path: Path | str, remedy: str) -> str:
    """Why a file could not be read: `what` it is; and the `remedy` where it is damaged.

    Damage has no number of an error: what the system refused says nothing against the file.
    """
    match error.errno:
        case None:
            return f"{what} {path} is refused: {error}; {remedy}"
        case errno.ENOENT | errno.ENOTDIR:
            return (
                f"{what} {path} is not there; if the results were moved, run from the folder that "
                "they are in now, else run again to make it"
            )
        case errno.EACCES | errno.EPERM:
            return f"{what} {path} can't be read: you may not read it; change its permissions"
        case number:
            return (
                f"{what} {path} can't be read: {os.strerror(number)}. That is no damage to the "
                "file: see to the file system and run again"
            )


def _sweep(target: Path) -> None:
    pattern = re.compile(
        rf"\.{re.escape(target.name)}\.{re.escape(socket.gethostname())}-(\d+)\.part"
    )
    for name in os.listdir(target.parent):
        match = pattern.fullmatch(name)
        if match and not _is_alive(int(match[1])):
            (target.parent / name).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
