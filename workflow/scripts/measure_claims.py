"""Measure the paper's claims on one population."""

from weightscape.claims.effects import Draws
from weightscape.claims.statements import Tables, measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    claims = snakemake.params.claims
    tables = Tables(*(read_table(snakemake.input[name]) for name in Tables._fields))
    draws = Draws(claims["resamples"], claims["permutations"])
    found = measure(tables, claims["accuracy"], draws)
    for name, table in found._asdict().items():
        write_table(table, snakemake.output[name])
    log.info("measured %d statements on n = %d runs", len(found.effects), len(tables.runs))
