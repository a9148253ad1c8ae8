"""Compare what the runs of one population predict, and how close their weights are."""

from pathlib import Path

from weightscape.measures.runs.function import Outputs, measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table

with job_log(snakemake.log[0]) as log:
    inputs = snakemake.input
    runs = read_table(inputs.runs)
    outputs = Outputs(**{name: Path(snakemake.output[name]) for name in Outputs._fields})
    dataset = Path(inputs.dataset) if inputs.dataset else None
    measure(list(inputs.shards), runs, dataset, Path(inputs.orders), outputs)
    log.info("compared the predictions of n = %d runs", len(runs))
