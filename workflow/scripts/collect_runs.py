"""Collect the runs of one population and sort them into groups."""

from pathlib import Path

from weightscape.messages.logs import job_log, leave
from weightscape.runs.collecting import collect, group, read_baseline
from weightscape.runs.groups import Baseline
from weightscape.storage.tables import read_table, write_table
from weightscape.study.population import Population

with job_log(snakemake.log[0]) as log:
    wildcards, params = snakemake.wildcards, snakemake.params
    population = Population(wildcards.model, wildcards.dataset, tuple(params.widths), params.seeds)
    if params.baseline:
        baseline = Baseline(*params.baseline, imported=True)
    else:
        baseline = read_baseline(Path(snakemake.input.dataset), params.groups["accuracy"])
    runs = collect(population, list(snakemake.input.shards), has_all=not params.baseline)
    runs, groups = group(runs, baseline, params.groups, params.edges)
    write_table(runs, snakemake.output.runs)
    write_table(groups, snakemake.output.groups)
    for path in snakemake.input.imports:
        files = read_table(path, "imports")
        n_bad = (files["status"] == "bad").sum()
        log.info("%s: %d of %d files are bad; their runs are left out", path, n_bad, len(files))
    log.info("n = %d runs\n%s", len(runs), groups.to_string(index=False))
leave()
