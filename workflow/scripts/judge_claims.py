"""Judge the claims on all populations, and render the scorecard."""

from pathlib import Path

import pandas as pd

from weightscape.claims.judge import judge
from weightscape.claims.scorecard import render
from weightscape.logs import job_log
from weightscape.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    params, output = snakemake.params, snakemake.output
    effects = pd.concat(map(read_table, snakemake.input.effects), ignore_index=True)
    claims = judge(effects, params.alpha)
    write_table(claims, output.claims)
    Path(output.scorecard).write_text(render(claims, params.study, params.alpha))
    log.info("verdicts on %d statements\n%s", len(claims), claims["verdict"].value_counts())
