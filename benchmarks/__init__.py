"""Measurements of speed: `make bench`, and `make bench-gpu` where there is a GPU."""

import os

# read when the libraries are loaded, which is later: one thread for each of them
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
