"""weightscape: populations of small networks, every weight kept, and what separates the runs.

The library holds no Snakemake; the workflow's scripts are thin callers of it. A room for each stage
of the data's way: `study` says what is wanted; `preparing` takes what comes from elsewhere, whose
files `foreign` reads; `engine` (with `models` and `kernels`) trains; `storage` keeps; `runs`
collects and groups; `measures`, `claims` and `figures` tell what was found; `exploring` makes the
page in which runs are looked at, and `opened` hands a study to a notebook. Beside them `monitor`,
`messages` and `drawing`.

`heads` reads what each measure, claim and figure says of itself, and `pages` makes docs of it.
`publishing` keeps the tables of trained populations, for others to ask.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from weightscape.opened import Study

try:
    __version__ = version("weightscape")
except PackageNotFoundError:  # imported from its folder: a compute node, `--sdm conda`
    __version__ = "unknown"


def open(folder: Path | str) -> Study:
    """The study whose results are in `folder`, as `results/mnist`: its tables and its weights.

    Raises WeightscapeError if there is none.
    """
    from weightscape.opened import Study  # which jobs never need

    return Study(folder)
