"""Train the runs of one shard."""

import json
from pathlib import Path

from weightscape.engine.training import TrainingJob, train_shard
from weightscape.messages.logs import job_log, leave
from weightscape.storage.shards import is_made_otherwise
from weightscape.study.paths import on_disk, parse_seeds, unfinished_folder
from weightscape.study.population import find_population
from weightscape.study.recipes import wanted_digest

target = Path(snakemake.output[0])
device = snakemake.config["device"]  # no param: moving to a GPU retrains nothing
wildcards = snakemake.wildcards
unfinished = unfinished_folder(
    snakemake.config["study"], wildcards.model, wildcards.dataset, wildcards.width
)

# Snakemake removes old output, but for a shard that was made since the job was submitted
# (rules/adapter.smk): Slurm took the job twice, or starts it again after it had done its work
if target.exists():
    population = find_population(snakemake.config, wildcards.model, wildcards.dataset)
    if not is_made_otherwise(target, wanted_digest(snakemake.config, population)):
        leave()

with job_log(snakemake.log[0]):
    train_shard(
        TrainingJob(
            dataset=Path(snakemake.input.dataset),
            target=target,
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
