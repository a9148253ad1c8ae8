"""Match the nodes of each run of one population to those of a reference run."""

from pathlib import Path

from weightscape.measures.runs.matching import measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table

with job_log(snakemake.log[0]) as log:
    runs = read_table(snakemake.input.runs)
    table, orders = Path(snakemake.output.table), Path(snakemake.output.orders)
    measure(list(snakemake.input.shards), runs, snakemake.params.accuracy, table, orders)
    log.info("matched n = %d runs", len(runs))
