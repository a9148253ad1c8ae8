"""Measure the statistics of one population."""

from weightscape.logs import job_log
from weightscape.statistics import measure
from weightscape.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    table = measure(list(snakemake.input.shards), read_table(snakemake.input.runs))
    write_table(table, snakemake.output[0])
    log.info("wrote %d rows to %s", len(table), snakemake.output[0])
