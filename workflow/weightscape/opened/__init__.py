"""A study as a notebook sees it: its tables, its runs and their weights, from any folder.

`weightscape.open` opens one. Nothing here needs Snakemake, and torch only where networks are built.
"""

from weightscape.opened.run import Run
from weightscape.opened.study import Study

__all__ = ["Run", "Study"]
