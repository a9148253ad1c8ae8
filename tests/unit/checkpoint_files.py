"""Checkpoints as others write them."""

import json
from pathlib import Path

import h5py
import numpy as np
import torch

Tensors = dict[str, np.ndarray]


def write_torch(path: Path, tensors: Tensors) -> Path:
    torch.save({name: torch.from_numpy(np.array(t)) for name, t in tensors.items()}, path)
    return path


def write_hdf5(path: Path, tensors: Tensors) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in tensors.items():
            file[name.replace(".", "/")] = values
    return path


def write_safetensors(path: Path, tensors: Tensors) -> Path:
    names = {"f2": "F16", "f4": "F32", "f8": "F64", "i8": "I64"}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        header[name] = entry(names[values.dtype.str[1:]], values.shape, len(data), len(raw))
        data += raw
    return write_raw(path, header, data)


def entry(dtype, shape, start, length):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + length]}


def write_raw(path: Path, header: object, data: bytes) -> Path:
    """A safetensors file of any header, which a JSON text may stand for."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


WRITERS = {".pt": write_torch, ".h5": write_hdf5, ".safetensors": write_safetensors}
