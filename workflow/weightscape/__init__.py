"""weightscape: populations of small networks, every weight kept, and what separates the runs.

The library holds no Snakemake; the workflow's scripts are thin callers of it. In the order of the
data flow: `datasets` -> `training` (with `models`), or `importing` -> `shards` -> `runs` (with
`groups`) -> `measures` -> `claims` -> `figures`; beside them `config`, `study` and `plan`, which
import nothing heavy.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("weightscape")
except PackageNotFoundError:  # imported from its folder: a compute node, `--sdm conda`
    __version__ = "unknown"
