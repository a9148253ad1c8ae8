"""Import the runs of one width from checkpoints."""

import json
from pathlib import Path

from weightscape.foreign.importing import Source, import_runs
from weightscape.messages.logs import job_log, leave
from weightscape.study.listing import read_listing

with job_log(snakemake.log[0]):
    wildcards, params = snakemake.wildcards, snakemake.params
    rows = read_listing(snakemake.input.table, params.accuracies).rows
    import_runs(
        Source(
            Path(params.folder),
            wildcards.model,
            wildcards.dataset,
            wildcards.width,
            params.classes,
            json.loads(params.recipe),
        ),
        [row for row in rows if row.width == wildcards.width],
        Path(snakemake.output.shard),
        Path(snakemake.output.files),
    )
leave()
