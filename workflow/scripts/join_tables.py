"""Join the tables of all populations."""

from weightscape.logs import job_log
from weightscape.tables import join_tables

with job_log(snakemake.log[0]):
    join_tables(list(snakemake.input), snakemake.output[0])
