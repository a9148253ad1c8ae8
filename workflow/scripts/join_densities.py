"""Join the densities of all populations."""

from pathlib import Path

from weightscape.measures.runs.weights import join_densities
from weightscape.messages.logs import job_log

with job_log(snakemake.log[0]):
    join_densities([Path(part) for part in snakemake.input], Path(snakemake.output[0]))
