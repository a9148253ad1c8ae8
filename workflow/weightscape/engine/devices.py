"""Where runs train, what makes their bytes the same each time, and what these depend on."""

import os
import platform
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy
from threadpoolctl import threadpool_limits

import weightscape
from weightscape.errors import WeightscapeError
from weightscape.kernels.floats import flush_denormals
from weightscape.kernels.primitives import BLAS
from weightscape.kernels.processor import target

# without any of them there is no GPU, and torch need not be asked, whose import takes seconds
GPU_NODES = [Path("/dev", name) for name in ("nvidiactl", "kfd", "dxg")]


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`."""
    if wanted == "cpu" or (wanted == "auto" and not any(node.exists() for node in GPU_NODES)):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise WeightscapeError(
            "device is cuda, but torch finds no GPU here; set device to auto or cpu"
        )
    return "cpu"


def make_deterministic(device: str, threads: int, with_torch: bool) -> None:
    """Let the same run give the same bytes, on this machine type and thread count."""
    threadpool_limits(threads, user_api="blas")
    flush_denormals(True)
    if not with_torch:
        return
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # of torch's threads, too
    if device == "cuda":  # on the CPU our operations are deterministic as they are
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)  # imports torch's compiler: seconds
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def describe(device: str) -> str:
    """The device with the name of its GPU or processor type."""
    if device == "cpu":
        return f"cpu ({platform.machine()})"
    import torch

    return f"{device} ({torch.cuda.get_device_name()})"


def software(threads: int, with_torch: bool) -> dict[str, Any]:
    """The versions that a shard's bytes may depend on, and what else: processor and threads."""
    compiled_for = target()
    found = {
        "weightscape": weightscape.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": BLAS,
        "numba": compiled_for.numba,
        "libc": " ".join(platform.libc_ver()),  # whose exp and log compiled code calls
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "platform": platform.platform(),
        "processor": compiled_for.processor,
        "instructions": compiled_for.instructions,
        "threads": threads,
    }
    if with_torch:
        import torch

        from weightscape.engine.linear import products

        found["torch"] = torch.__version__
        found["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
        found["products"] = products()
    return found
