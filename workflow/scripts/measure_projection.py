"""Embed one layer of one population, and compare its groups."""

from pathlib import Path

from weightscape.measures.runs.projection import Settings, measure
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table

with job_log(snakemake.log[0]) as log:
    runs = read_table(snakemake.input.runs)
    measure(
        list(snakemake.input.shards),
        runs,
        Path(snakemake.input.orders),
        snakemake.wildcards.layer,
        Settings(**snakemake.params.settings),
        Path(snakemake.output.projection),
        Path(snakemake.output.purity),
    )
    log.info("embedded the layer %s of n = %d runs", snakemake.wildcards.layer, len(runs))
