"""Measure the null models of the weights of one population."""

from pathlib import Path

from weightscape.measures.runs.nulls import measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table

with job_log(snakemake.log[0]) as log:
    runs = read_table(snakemake.input.runs)
    measure(list(snakemake.input.shards), runs, Path(snakemake.output[0]))
    log.info("measured the null models of n = %d runs", len(runs))
