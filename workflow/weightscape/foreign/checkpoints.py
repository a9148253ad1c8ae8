"""Checkpoints: arrays by name from files that others wrote.

A checkpoint is data: nothing in it is run, nothing outside it is read, and no more numbers are
taken from it than it holds. Its first bytes tell its format. A file that can't be used is Refused,
with what is wrong and what to do. Where the machine fails, and not the file, the error is another:
the job ends, since a run that is left out for that would change the study.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.foreign.formats.base import DAMAGED, Checkpoint, Refused, refuse
from weightscape.foreign.formats.hdf5 import open_hdf5
from weightscape.foreign.formats.npz import open_npz
from weightscape.foreign.formats.safetensors import open_safetensors
from weightscape.foreign.formats.torch import open_pickle, open_torch_zip

Tensors = dict[str, np.ndarray]
Opener = Callable[[Path], AbstractContextManager[Checkpoint]]

WRAPPERS = re.compile(r"((module|_orig_mod|model|state_dict|model_state_dict)\.)+")
"""What training tools put before the names of a network's own tensors."""

FOREIGN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file", "run git lfs pull"),
    (b"<", "it is a web page, such as a login or an error", "download the file itself"),
    (b"{", "it is JSON text", "name the file with the weights"),
    (b"\x1f\x8b", "it is compressed by gzip", "unpack it with gunzip"),
    (b"\x93NUMPY", "it is a single array of numpy", "save its arrays by name with numpy.savez"),
)
"""First bytes of files that are no checkpoints: what they are, and what to do."""
EMPTY = ("it is empty", "save it again")
UNKNOWN = (
    "it is damaged, or no safetensors, torch, HDF5 or npz file",
    "save it again in one of these formats",
)

LEFT_OUT = {
    errno.ENOENT: ("there is no such file", "correct the table, or put the file there"),
    errno.ENAMETOOLONG: ("its name is too long for the disk", "give it a shorter name"),
    errno.EACCES: ("it may not be read", "allow it with chmod +r"),
    errno.EPERM: ("it may not be read", "allow it with chmod +r"),
}
"""What the system says of a file that can't be used."""
WELL = "run again when the disk or the network is well"
MACHINE = {
    errno.EMFILE: "allow more with ulimit -n, and run again",
    errno.ENFILE: "close other programs, and run again",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN), WELL
    ),
    **dict.fromkeys((errno.ENODEV, errno.ENXIO, errno.EAGAIN, errno.ENOLCK, errno.EINTR), WELL),
}
"""What it says where the machine fails, and what to do."""


def read_tensors(path: Path, names: Collection[str]) -> Tensors:
    """The arrays `names` of a checkpoint, float32.

    Where they stand behind the prefix of a tool, such as `module.`, this may be left out. Raises
    Refused if the file is missing, damaged, of another format, or lacks an array of floats.
    """
    with told(path), _opener(path)(path) as checkpoint:
        prefix = _prefix(path, checkpoint, names)
        return {name: _read(path, checkpoint, prefix, name) for name in names}


def sha256(path: Path) -> str:
    """Of a checkpoint, in hexadecimal digits."""
    with told(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays of floats in a checkpoint, by name."""
    found = {}
    with told(path), _opener(path)(path) as checkpoint:
        for name in checkpoint.names():
            with suppress(Refused):
                found[name] = checkpoint.read(name, checkpoint.find(name)).shape
    return found


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a checkpoint is a WeightscapeError."""
    try:
        yield
    except WeightscapeError:
        raise
    except OSError as error:
        raise _system_error(path, error) from error
    except MemoryError as error:
        raise WeightscapeError(
            f"there is not enough memory to read the checkpoint {path}; give the job more"
        ) from error
    # the libraries that read raise nearly anything on damaged bytes
    except Exception as error:
        raise _damaged(path, error) from error


def _system_error(path: Path, error: OSError) -> WeightscapeError:
    told_by_hdf5 = re.search("errno = ([0-9]+)", str(error))
    number = int(told_by_hdf5[1]) if told_by_hdf5 else error.errno
    if number in LEFT_OUT:
        return refuse(path, *LEFT_OUT[number])
    if number in MACHINE:
        return WeightscapeError(
            f"the checkpoint {path} could not be read: {os.strerror(number)}; {MACHINE[number]}"
        )
    return _damaged(path, error)


def _damaged(path: Path, error: Exception) -> Refused:
    return refuse(path, f"{DAMAGED} ({_first_line(error)})", "save it again")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _opener(path: Path) -> Opener:
    """What opens a file whose first bytes are such."""
    if not path.is_file():
        raise refuse(path, *LEFT_OUT[errno.ENOENT])
    with path.open("rb") as file:
        head = file.read(512)
    if head[8:9] == b"{" and b"\0" in head[:8]:  # a length of up to 100 MB, and JSON
        return open_safetensors
    for start, reason, remedy in FOREIGN:
        if head.lstrip().startswith(start):
            raise refuse(path, reason, remedy)
    if head[257:262] == b"ustar":
        raise refuse(path, "it is a tar archive", "unpack it with tar -xf")
    if head.startswith(b"PK"):
        return open_torch_zip if _is_torch(path) else open_npz
    if head.startswith((b"\x80", b"(", b"}", b"]", b"c")):
        return open_pickle
    if head[8:9] == b"{":
        return open_safetensors
    if h5py.is_hdf5(path):
        return open_hdf5
    raise refuse(path, *(UNKNOWN if head else EMPTY))


def _is_torch(path: Path) -> bool:
    with ZipFile(path) as archive:
        return any(not name.endswith(".npy") for name in archive.namelist())


def _prefix(path: Path, checkpoint: Checkpoint, names: Collection[str]) -> str:
    """What stands before all of the names in the file: nothing, or the prefix of a tool.

    Refused if a name is missing, or if there are several prefixes.
    """
    missing = [name for name in names if checkpoint.find(name) is None]
    if not missing:
        return ""
    known = list(checkpoint.names())
    ends = {name: name.replace("/", ".") for name in known}
    heads = {
        name[: len(name) - len(missing[0])]
        for name, dotted in ends.items()
        if dotted.endswith(missing[0]) and WRAPPERS.fullmatch(dotted[: -len(missing[0])])
    }
    found = sorted(h for h in heads if all(checkpoint.find(h + n) is not None for n in names))
    if len(found) == 1:
        return found[0]
    if found:
        places = " and ".join(f"'{head}{missing[0]}'" for head in found)
        raise refuse(
            path, f"'{missing[0]}' may be {places}", "name one of them under layers in the config"
        )
    raise _missing(path, missing[0], known)


def _missing(path: Path, name: str, known: list[str]) -> Refused:
    layer, _, kind = name.rpartition(".")
    sources = (f"{name}_", f"{layer}.parametrizations.{kind}.")  # of a pruned or a normed weight
    computed = [other for other in known if other.startswith(sources)]
    if computed:
        return refuse(
            path,
            f"it has no tensor '{name}', but {computed[0]}, of which it is computed",
            "save it after torch.nn.utils.prune.remove, remove_weight_norm or "
            "parametrize.remove_parametrizations",
        )
    listing = sorted(known)
    shown = ", ".join(listing[:10]) + (", ..." if len(listing) > 10 else "")
    others = f"; it has {shown}" if shown else ", and no other one"
    return refuse(
        path,
        f"it has no tensor '{name}'{others}",
        "name the right one under layers in the config",
    )


def _read(path: Path, checkpoint: Checkpoint, prefix: str, name: str) -> np.ndarray:
    found = checkpoint.find(prefix + name)
    if found is None:
        raise _missing(path, name, list(checkpoint.names()))
    return checkpoint.read(prefix + name, found)
