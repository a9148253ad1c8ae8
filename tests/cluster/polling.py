"""Snakemake that looks at its Slurm jobs each second, for tests only.

The plugin's own pace is 40 s to 180 s, and its settings reach only the first look.
"""

import sys

import snakemake_executor_plugin_slurm as plugin
from snakemake.cli import main

plugin.Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: 0)
sys.exit(main())
