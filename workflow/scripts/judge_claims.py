"""Judge the claims on all populations, answer whether they hold, and render the scorecard."""

from pathlib import Path

from weightscape import heads
from weightscape.claims.scorecard import render
from weightscape.claims.study import judge_study
from weightscape.messages.logs import job_log, leave
from weightscape.storage.tables import read_table, read_tables, write_table

with job_log(snakemake.log[0]) as log:
    given, params, output = snakemake.input, snakemake.params, snakemake.output
    of_study = zip(heads.read_by_claims("study"), given.tables, strict=True)
    across = {name: read_table(path, name) for name, path in of_study}
    effects, ways = (
        read_tables(paths, name)
        for paths, name in ((given.effects, "claim_effects"), (given.ways, "claim_ways"))
    )
    tables = judge_study(effects, ways, across, params.way, params.alpha, params.smallest_effect)
    for name, table in tables.items():
        write_table(table, output[name])
    reliability = read_tables(given.reliability, "reliability")
    page = render(tables, reliability, params.study, params.alpha)
    Path(output.scorecard).write_text(page)
    verdicts = tables["claims"]["verdict"]
    log.info("verdicts on %d statements\n%s", len(verdicts), verdicts.value_counts())
    log.info("answers\n%s", "\n".join(tables["answers"]["sentence"]))
leave()
