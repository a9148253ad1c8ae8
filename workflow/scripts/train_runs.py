"""Train the runs of one shard."""

import json
from pathlib import Path

from weightscape.logs import job_log
from weightscape.study import parse_seeds
from weightscape.training import train_shard

with job_log(snakemake.log[0]):
    train_shard(
        dataset=Path(snakemake.input.dataset),
        target=Path(snakemake.output[0]),
        model=snakemake.wildcards.model,
        width=snakemake.wildcards.width,
        seeds=list(parse_seeds(snakemake.wildcards.seeds)),
        recipe=json.loads(snakemake.params.recipe),
        snapshots=list(snakemake.params.snapshots),
        device=snakemake.config["device"],  # no param: moving to a GPU retrains nothing
        threads=snakemake.threads,
    )
