"""Import the runs of one width from checkpoints."""

import json
from pathlib import Path

from weightscape.foreign import sources
from weightscape.messages.logs import job_log, leave
from weightscape.preparing.importing import Source, import_runs

with job_log(snakemake.log[0]):
    wildcards, params = snakemake.wildcards, snakemake.params
    item = json.loads(params.item)
    rows = sources.listing(item).rows
    import_runs(
        Source(
            Path(item["folder"]),
            wildcards.model,
            wildcards.dataset,
            wildcards.width,
            item["classes"],
            json.loads(params.recipe),
        ),
        [row for row in rows if row.width == wildcards.width],
        Path(snakemake.output.shard),
        Path(snakemake.output.files),
    )
leave()
