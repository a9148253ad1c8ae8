"""Join the tables of all populations."""

from weightscape.messages.logs import job_log
from weightscape.storage.tables import join_tables

with job_log(snakemake.log[0]):
    join_tables(list(snakemake.input), snakemake.output[0])
