"""Where runs train, what makes their bytes the same each time, and what these depend on."""

import os
import platform
from typing import Any

import h5py
import numba
import numpy as np
import scipy
import torch
from threadpoolctl import threadpool_limits

import weightscape
from weightscape.errors import WeightscapeError
from weightscape.kernels.primitives import BLAS


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise WeightscapeError(
            "device is cuda, but torch finds no GPU here; set device to auto or cpu"
        )
    return torch.device(wanted)


def make_deterministic(device: torch.device, threads: int) -> None:
    """Let the same run give the same bytes, on this machine type and thread count."""
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    # Adam's moments of dead units decay into denormal numbers, on which processors crawl
    torch.set_flush_denormal(True)
    if device.type == "cuda":  # on the CPU our operations are deterministic as they are
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)  # imports torch's compiler: seconds
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def describe(device: torch.device) -> str:
    """The device with the name of its GPU or processor type."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device.type} ({name})"


def software(threads: int) -> dict[str, Any]:
    """The versions that a shard's bytes may depend on."""
    return {
        "weightscape": weightscape.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": BLAS,
        "numba": numba.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "platform": platform.platform(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
    }
