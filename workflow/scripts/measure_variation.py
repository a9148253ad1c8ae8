"""Measure where the variation of one population comes from."""

from weightscape.claims.analyses.variation import CHOSEN, measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    runs = read_table(snakemake.input.runs)
    pooled, by_width = measure(runs, {name: read_table(snakemake.input[name]) for name in CHOSEN})
    write_table(pooled, snakemake.output.pooled)
    write_table(by_width, snakemake.output.by_width)
    log.info("measured %d quantities of n = %d runs", len(pooled), len(runs))
