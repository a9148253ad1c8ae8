"""Join the densities of all populations."""

from pathlib import Path

from weightscape.logs import job_log
from weightscape.measures.weights import join_densities

with job_log(snakemake.log[0]):
    join_densities([Path(part) for part in snakemake.input], Path(snakemake.output[0]))
