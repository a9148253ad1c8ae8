"""Collect the runs of one population."""

from weightscape.messages.logs import job_log, leave
from weightscape.runs.collecting import collect
from weightscape.runs.without import write_header
from weightscape.storage.tables import read_table, write_table
from weightscape.study.population import Population

with job_log(snakemake.log[0]) as log:
    wildcards, params = snakemake.wildcards, snakemake.params
    population = Population(wildcards.model, wildcards.dataset, tuple(params.widths), params.seeds)
    imports = list(snakemake.input.imports)
    runs = collect(population, list(snakemake.input.shards), has_all=not imports)
    if runs is None:
        write_header("runs", snakemake.output.runs)
        log.warning("%s on %s has no runs: every checkpoint is bad", *population[:2])
    else:
        write_table(runs, snakemake.output.runs)
        log.info("n = %d runs", len(runs))
    for path in imports:
        files = read_table(path, "imports")
        n_bad = (files["status"] == "bad").sum()
        log.info("%s: %d of %d files are bad; their runs are left out", path, n_bad, len(files))
leave()
