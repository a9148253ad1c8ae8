"""Join tables, each of several populations or layers."""

from pathlib import Path

from weightscape.messages.logs import job_log
from weightscape.storage.joining import join

with job_log(snakemake.log[0]):
    groupings = list(snakemake.input.get("grouping", []))
    for name, target in snakemake.output.items():
        join(list(snakemake.input[name]), Path(target), groupings)
