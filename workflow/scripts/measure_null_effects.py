"""Measure which features of one population's figures null models of the weights show too."""

from weightscape.claims.analyses.null_effects import Tables, measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    params = snakemake.params
    tables = Tables(*(read_table(snakemake.input[name]) for name in Tables._fields))
    found = measure(tables, params.accuracy, params.alpha)
    write_table(found, snakemake.output[0])
    log.info("measured %d effects on n = %d runs", len(found), len(tables.runs))
