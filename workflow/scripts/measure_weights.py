"""Measure the weights, curves and telemetry of one population in one pass."""

from pathlib import Path

from weightscape.measures.runs.weights import Outputs, measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table

with job_log(snakemake.log[0]) as log:
    runs = read_table(snakemake.input.runs)
    outputs = Outputs(**{name: Path(snakemake.output[name]) for name in Outputs._fields})
    measure(list(snakemake.input.shards), runs, snakemake.params.bandwidth, outputs)
    log.info("measured n = %d runs", len(runs))
