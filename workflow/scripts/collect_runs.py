"""Collect the runs of one population and sort them into groups."""

from pathlib import Path

from weightscape.logs import job_log
from weightscape.runs import collect, group
from weightscape.study import Population
from weightscape.tables import write_table

with job_log(snakemake.log[0]) as log:
    wildcards, params = snakemake.wildcards, snakemake.params
    population = Population(wildcards.model, wildcards.dataset, tuple(params.widths), params.seeds)
    runs, groups = group(
        collect(population, list(snakemake.input.shards)),
        Path(snakemake.input.dataset),
        params.groups,
        params.edges,
    )
    write_table(runs, snakemake.output.runs)
    write_table(groups, snakemake.output.groups)
    log.info("n = %d runs\n%s", len(runs), groups.to_string(index=False))
