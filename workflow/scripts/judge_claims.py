"""Judge the claims on all populations, answer whether they hold, and render the scorecard."""

from pathlib import Path

import pandas as pd

from weightscape import heads
from weightscape.claims.answers import answer
from weightscape.claims.families import compare
from weightscape.claims.judge import judge, judge_ways
from weightscape.claims.scorecard import render
from weightscape.claims.statements import measure_across
from weightscape.errors import WeightscapeError
from weightscape.messages.logs import job_log, leave
from weightscape.storage.tables import read_table, write_table

with job_log(snakemake.log[0]) as log:
    given, params, output = snakemake.input, snakemake.params, snakemake.output
    of_study = zip(heads.read_by_claims("study"), given.tables, strict=True)
    across = {name: read_table(path, name) for name, path in of_study}
    limits = params.alpha, params.smallest_effect
    parts = [read_table(path, "claim_effects") for path in given.effects]
    parts.append(measure_across(across, params.smallest_effect))
    if not any(map(len, parts)):
        raise WeightscapeError(
            "the study has no runs to judge, because every checkpoint is bad; tables/imports.csv "
            "says why"
        )
    effects = pd.concat(filter(len, parts), ignore_index=True)
    ways = pd.concat([read_table(path, "claim_ways") for path in given.ways], ignore_index=True)
    claims, multiverse = judge_ways(judge(effects, *limits), params.way, ways, *limits)
    tables = {
        "claims": claims,
        "multiverse": multiverse,
        "families": compare(claims, *limits),
        "answers": answer(claims, params.smallest_effect),
    }
    for name, table in tables.items():
        write_table(table, output[name])
    reliability = pd.concat([read_table(path, "reliability") for path in given.reliability])
    page = render(tables, reliability, params.study, params.alpha)
    Path(output.scorecard).write_text(page)
    log.info("verdicts on %d statements\n%s", len(claims), claims["verdict"].value_counts())
    log.info("answers\n%s", "\n".join(tables["answers"]["sentence"]))
leave()
