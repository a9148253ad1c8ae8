"""Find why runs of one population failed."""

from weightscape.claims.analyses.causes import explain
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    names = ("runs", "convergence", "telemetry", "predictions")
    tables = (read_table(snakemake.input[name]) for name in names)
    failures, causes = explain(*tables, snakemake.params.accuracy)
    write_table(failures, snakemake.output.failures)
    write_table(causes, snakemake.output.causes)
    log.info("n = %d runs failed\n%s", len(failures), failures["cause"].value_counts().to_string())
