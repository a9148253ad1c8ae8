"""Sort the runs of one population into groups."""

from pathlib import Path

from weightscape.messages.logs import job_log, leave
from weightscape.runs.collecting import group, read_baseline
from weightscape.runs.groups import Baseline
from weightscape.runs.without import write_header
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    params, runs = snakemake.params, read_table(snakemake.input.runs, "runs")
    if params.baseline:
        baseline = Baseline(*params.baseline, imported=True)
    else:
        baseline = read_baseline(Path(snakemake.input.dataset), params.groups["accuracy"])
    if len(runs):
        grouping, groups = group(runs, baseline, params.groups, params.edges)
        write_table(grouping, snakemake.output.grouping)
        write_table(groups, snakemake.output.groups)
        log.info("n = %d runs\n%s", len(runs), groups.to_string(index=False))
    else:
        for name, path in snakemake.output.items():
            write_header(name, path)
leave()
