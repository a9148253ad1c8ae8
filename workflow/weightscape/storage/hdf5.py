"""HDF5 files of ours: written whole, and sealed so that damage is found wherever it falls.

HDF5 checks its metadata, and arrays if asked to, but not the heap in which it keeps text; damage
there can send it round for ever. So a seal, a BLAKE2 digest of all that follows, stands in the
user block, the space before the HDF5 data that HDF5 leaves to its users. After it comes a note,
which can be read without HDF5.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from weightscape.errors import WeightscapeError
from weightscape.files import explain, open_unlocked, replace_whole

State = tuple[str, int, int, int]
_sound: set[State] = set()  # of files whose seal was right

USER_BLOCK = 512  # bytes, the smallest that HDF5 knows
MARK = b"weightscape"

# what h5py may raise on a file that is damaged or of another layout
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)


class _Output(io.FileIO):
    """The file that HDF5 writes to; keeps what goes wrong in writing until it is asked.

    HDF5 would write what it holds back when an array is closed, where h5py can't raise: a disk that
    fills up then would go unnoticed, or end the process with a segmentation fault.
    """

    failure: BaseException | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[super().write(left) :]
        except BaseException as error:  # an interrupt too: HDF5 would lose it
            self.failure = self.failure or error
            self.seek(len(left), io.SEEK_CUR)
        return size

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


@contextmanager
def write_file(
    target: Path,
    attributes: dict[str, Any],
    make_note: Callable[[h5py.File], str] = lambda file: "",
) -> Iterator[h5py.File]:
    """A new file with these attributes, open to be filled; `target` appears when it is complete.

    `make_note` makes a short text of the file when it is filled.
    """
    with replace_whole(target) as aside:
        with _Output(aside, "w+") as output:
            try:
                with h5py.File(output, "w", libver="v110", userblock_size=USER_BLOCK) as file:
                    file.attrs.update(attributes)
                    yield file
                    note = make_note(file).encode()
            finally:
                output.raise_failure()
        with aside.open("r+b") as raw:
            raw.write(_seal(aside, note))


@contextmanager
def read_file(path: Path | str, what: str, version: int, remedy: str) -> Iterator[h5py.File]:
    """A file of ours for reading, whole and undamaged.

    Raises WeightscapeError, which names `what`, the path, the reason and the `remedy`, if the file
    is missing, none of ours, of another format_version, or not as it was written. A file without
    a user block was made by other hands and has no seal to check.
    """
    try:
        file = open_unlocked(path)
    except OSError as error:
        raise WeightscapeError(explain(error, what, path, remedy)) from error
    with file:
        try:
            _check(file, Path(path), version)
        except OSError as error:
            raise WeightscapeError(explain(error, what, path, remedy)) from error
        except DAMAGE as error:
            raise WeightscapeError(f"{what} {path} is refused: {error}; {remedy}") from error
        yield file


def _check(file: h5py.File, path: Path, version: int) -> None:
    found = file.attrs.get("format_version")
    if found != version:
        raise ValueError(f"its format_version is {found}, not {version}")
    if file.userblock_size:
        _check_seal(path, state_of(path, file))


def state_of(path: Path, file: h5py.File) -> State:
    """What stays the same as long as an open file does, though another may take its place."""
    status = os.fstat(file.id.get_vfd_handle())
    return str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns


def _check_seal(path: Path, state: State) -> None:
    """Once in a process for a file that stays as it is: a measure may read its shards often."""
    if state in _sound:
        return
    if _read_user_block(path) != _seal(path, read_note(path)):
        raise ValueError("it is damaged, or was changed after it was written")
    _sound.add(state)


def read_note(path: Path) -> bytes:
    """The note of a file, unchecked; nothing where it has none, or is none of ours."""
    head, _, rest = _read_user_block(path).partition(b"\n")
    return rest.rstrip(b"\0").partition(b"\n")[2] if head == MARK else b""


def _read_user_block(path: Path) -> bytes:
    with path.open("rb") as raw:
        return raw.read(USER_BLOCK)


def _seal(path: Path, note: bytes) -> bytes:
    """The user block of a file: what it is, the digest of note and content, and the note."""
    with path.open("rb") as raw:
        raw.seek(USER_BLOCK)
        digest = hashlib.file_digest(raw, lambda: hashlib.blake2b(note)).hexdigest()
    return b"\n".join([MARK, f"blake2b {digest}".encode(), note]).ljust(USER_BLOCK, b"\0")
