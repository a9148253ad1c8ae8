"""Judge the claims on all populations, and render the scorecard."""

from pathlib import Path

import pandas as pd

from weightscape import heads
from weightscape.claims.judge import judge
from weightscape.claims.scorecard import render
from weightscape.claims.statements import measure_across
from weightscape.errors import WeightscapeError
from weightscape.messages.logs import job_log, leave
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    params, output = snakemake.params, snakemake.output
    of_study = zip(heads.read_by_claims("study"), snakemake.input.tables, strict=True)
    parts = [read_table(path, "claim_effects") for path in snakemake.input.effects]
    parts.append(measure_across({name: read_table(path, name) for name, path in of_study}))
    if not any(map(len, parts)):
        raise WeightscapeError(
            "the study has no runs to judge, because every checkpoint is bad; tables/imports.csv "
            "says why"
        )
    effects = pd.concat(filter(len, parts), ignore_index=True)
    claims = judge(effects, params.alpha)
    write_table(claims, output.claims)
    Path(output.scorecard).write_text(render(claims, params.study, params.alpha))
    log.info("verdicts on %d statements\n%s", len(claims), claims["verdict"].value_counts())
leave()
