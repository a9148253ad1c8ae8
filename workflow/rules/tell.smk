"""What a user sees of a study: a line or two per stage, in place of Snakemake's lines per job.

Snakemake's own log in .snakemake/log has all of them, or one for each job that is submitted to Slurm.
"""

import functools
import os
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.messages.journal import Journal
from weightscape.messages.stages import Job, Stages
from weightscape.messages.terminal import OWNED, LiveLine
from weightscape.monitor import plan

# the verb that a rule's name begins with -> its stage; another verb is a stage of its own
STAGES = {
    "prepare": "data",
    "train": "training",
    "import": "import",
    "collect": "measures",
    "group": "measures",
    "measure": "measures",
    "judge": "claims",
    "plot": "figures",
    "join": "tables",
    "render": "tables",
}

# rules that answer, and may run beside another snakemake
READING = {get_rule_name("plan"), get_rule_name("status")}

MESSAGES = JobMessages(READING)
HANDLER = None
JOURNALS = []  # for `snakemake status`

if is_main_process():
    HANDLER = watch_messages(MESSAGES)
    MESSAGES.replaces = HANDLER is not None


def begin_stages(jobs):
    """Before the first job."""
    stream = HANDLER.stream if HANDLER else open(os.devnull, "w")
    terminal = LiveLine(stream)
    if HANDLER:
        HANDLER.setStream(terminal)
    if terminal.is_live:
        os.environ[OWNED] = "1"
    known = {job.number: describe(job) for job in jobs if job.makes_files}
    MESSAGES.stages = Stages(config["study"], known, terminal, STAGES.values())
    MESSAGES.stages.begin()
    if jobs:
        path = Path(get_place(study.journal_file(config["study"])))
        JOURNALS.append(Journal(path, MESSAGES.stages.know))


def end_stages():
    """After the last job."""
    if MESSAGES.stages:
        MESSAGES.stages.end()
    for journal in JOURNALS:
        journal.end()


def describe(job):
    verb = job.rule_name.partition("_")[0]
    stage = STAGES.get(verb, verb)
    if verb not in ("train", "import"):
        return Job(stage)
    wildcards = job.wildcards
    seeds = get_population(wildcards).imported_seeds.get(wildcards.width)
    n_runs = len(seeds or study.parse_seeds(wildcards.seeds))
    cost = get_run_cost(wildcards.model, wildcards.dataset)
    return Job(stage, n_runs, cost.job + n_runs * cost.run.get(wildcards.width, 1.0))


@functools.cache
def get_run_cost(model, dataset):
    """What the runs of a population cost; nothing is known of images that can't be read."""
    try:
        return plan.estimate_cost(config, study.find_population(config, model, dataset))
    except WeightscapeError:
        return plan.Cost(0.0, {}, "")
