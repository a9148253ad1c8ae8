"""Train the runs of one shard."""

import json
from pathlib import Path

from weightscape.engine.training import TrainingJob, train_shard
from weightscape.messages.logs import job_log, leave
from weightscape.study.paths import on_disk, parse_seeds, unfinished_folder

device = snakemake.config["device"]  # no param: moving to a GPU retrains nothing
wildcards = snakemake.wildcards
unfinished = unfinished_folder(
    snakemake.config["study"], wildcards.model, wildcards.dataset, wildcards.width
)

with job_log(snakemake.log[0]):
    train_shard(
        TrainingJob(
            dataset=Path(snakemake.input.dataset),
            target=Path(snakemake.output[0]),
            model=wildcards.model,
            width=wildcards.width,
            seeds=list(parse_seeds(wildcards.seeds)),
            recipe=json.loads(snakemake.params.recipe),
            snapshot_epochs=list(snakemake.params.snapshots),
            device=device,
            threads=snakemake.threads,
            unfinished=on_disk(snakemake.config, unfinished),
            # what the plan asked for is meant for a GPU's stacks only where one is asked for
            memory_mb=snakemake.resources.get("mem_mb") if device == "cuda" else None,
        )
    )
leave()
