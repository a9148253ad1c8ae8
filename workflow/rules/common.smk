import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

# the library lies beside the rules, so it needs no installation: neither on a compute node nor in
# an environment made by --sdm conda
LIBRARY = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(LIBRARY))
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(LIBRARY), os.getenv("PYTHONPATH")])))

from weightscape.study import captions
from weightscape import models, study
from weightscape.monitor import plan, slurm, status
from weightscape.study.config import check
from weightscape.errors import WeightscapeError
from weightscape.monitor.locks import hold

ENVIRONMENT = str(LIBRARY.parent / "envs" / "weightscape.yaml")

try:
    config.update(check(config))
    if workflow.is_main_process and workflow.output_settings.dryrun:
        # stderr, since --dag and --rulegraph own stdout
        print(plan.render(config, plan.make_plan(config)), file=sys.stderr)
except WeightscapeError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['study']}"
MEASURES = f"{RESULTS}/measures/{{model}}/{{dataset}}"
POPULATIONS = study.populations(config)
IMPORTED = [p for p in POPULATIONS if p.imported is not None]
HAS_HEADS = any(
    link.parts for p in POPULATIONS for link in models.links_of(p.model, p.widths[0], p.options)
)
READING = {"plan", "status"}  # rules that may run beside another snakemake
LOCKS = []  # that this snakemake holds: the study's, then those of datasets
PARTITIONS = {}  # rule -> partition that its jobs ask for


def get_population(wildcards):
    return study.find_population(config, wildcards.model, wildcards.dataset)


def get_models(populations):
    """Pattern of the models of some populations, each before one of its own datasets only."""
    return "|".join(f"{p.model}(?=/{p.dataset}/)" for p in populations) or "(?!)"


def get_import(wildcards):
    """What the config says of an import."""
    return study.find_import(config, wildcards.model, wildcards.dataset)


def get_import_table(wildcards):
    return get_import(wildcards)["table"]


def get_checkpoints(wildcards):
    """The checkpoints of a width that are there: one that is missing is told by its job."""
    folder = get_import(wildcards)["folder"]
    rows = study.import_rows(config, wildcards.model, wildcards.dataset, wildcards.width)
    files = {file for row in rows for file in (row.file, row.initial_file) if file}
    return [path for path in sorted(f"{folder}/{file}" for file in files) if Path(path).is_file()]


def get_dataset(wildcards):
    """The images of a population that is trained; nothing for an import."""
    imported = get_population(wildcards).imported is not None
    return [] if imported else f"results/datasets/{wildcards.dataset}.h5"


def get_baseline(wildcards):
    """Classes, and share of the largest, that the config tells of an import."""
    if get_population(wildcards).imported is None:
        return None
    item = get_import(wildcards)
    return [item["classes"], item.get("majority_share", 100 / item["classes"])]


def get_imports(wildcards):
    """The tables of files of an import; nothing for a population that is trained."""
    return study.import_tables(config, get_population(wildcards))


def get_own_file(wildcards):
    """The file of a dataset of the user's; nothing for a built-in one."""
    own = config["datasets"].get(wildcards.dataset)
    return [own["file"]] if own else []


def get_shards(wildcards):
    """All shards of the population of the wildcards."""
    return study.shards(config, get_population(wildcards))


def get_weights(wildcards):
    """All shards of the study."""
    return [shard for population in POPULATIONS for shard in study.shards(config, population)]


def get_measures(wildcards):
    """The tables of all populations that are joined to one."""
    if wildcards.table == "imports":
        return [path for p in IMPORTED for path in study.import_tables(config, p)]
    return get_paths(wildcards.table, POPULATIONS)


def get_layer_tables(wildcards):
    """The tables of all layers of a population that are joined to one."""
    layers = get_layers(get_population(wildcards))
    return [f"{MEASURES}/{{layer_table}}/{layer}.csv" for layer in layers]


def get_layers(population):
    return study.layers(config, population)


def get_figures(wildcards):
    """Every figure of the study, in both formats."""
    several = len(POPULATIONS) > 1
    names = []
    for name, head in FIGURES.items():
        if head.each == "study":
            names += [name] * several
            continue
        names += [f"{f}-{p.model}-{p.dataset}" for f in get_drawn(name, head) for p in POPULATIONS]
        if head.grid and head.grid_of == "study":
            names += [name] * several
    # the paper's grids, where there is more than one panel to stand side by side
    counts = Counter(p.model for p in POPULATIONS)
    names += [f"{grid}-{model}" for grid in GRIDS for model, n in counts.items() if n > 1]
    return [f"{RESULTS}/figures/{name}.{ending}" for name in names for ending in ("svg", "png")]


def get_recipe(wildcards):
    """The recipe as JSON in one spelling, so that it is equal where it means the same."""
    return study.canonical_json(study.recipe(config, get_population(wildcards)))


def get_training_mem_mb(wildcards, attempt):
    """Megabytes that one training job needs, and as much again at each attempt."""
    n_runs = len(study.parse_seeds(wildcards.seeds))
    return attempt * plan.training_memory_mb(config, *get_training_key(wildcards), n_runs)


def get_training_runtime(wildcards, attempt):
    """Minutes to ask a queue for: four times the plan's, since machines and loads differ."""
    n_runs = len(study.parse_seeds(wildcards.seeds))
    seconds = plan.training_seconds(config, *get_training_key(wildcards), n_runs)
    return extend("train_runs", int(10 + 4 * seconds / 60), attempt)


def get_import_mem_mb(wildcards, attempt):
    """Megabytes of a job that imports: torch and one run, and as much again at each attempt."""
    return attempt * plan.import_memory_mb(config, wildcards.model, wildcards.dataset)


def get_import_runtime(wildcards, attempt):
    """Minutes to ask a queue for: a second a run."""
    return extend("import_runs", 10 + get_population(wildcards).n_runs // 60, attempt)


def get_statistics(wildcards):
    """What tells of the layers of imports, which the config does not."""
    return f"{RESULTS}/tables/statistics.csv" if IMPORTED else []


def get_training_key(wildcards):
    return wildcards.model, wildcards.dataset, wildcards.width


def get_measure_mem_mb(wildcards, attempt):
    """Megabytes of a job that streams shards: the largest run many times over."""
    return int(attempt * (1500 + 20 * plan.largest_run_mb(config, get_population(wildcards))))


def get_table_mem_mb(wildcards, input, attempt):
    """Megabytes of a job that holds tables, which take more in memory than as text."""
    return int(attempt * (1500 + 10 * input.size_mb))


def get_job_runtime(rule_name, head):
    """Minutes to ask a queue for, by what a measure's time grows with.

    It takes milliseconds a run, and large networks more; all distances between runs four times
    what they take.
    """

    def get(wildcards, attempt):
        if head.cost == "tables":
            return 60
        n_runs = get_population(wildcards).n_runs
        of_pairs = 8 * n_runs**2 // 10**7 if head.cost == "pairs" else 0
        return extend(rule_name, 30 + n_runs // 100 + of_pairs, attempt)

    return get


def get_job_mem_mb(head):
    """Megabytes of a measure's job."""
    functions = {"tables": get_table_mem_mb, "shards": get_measure_mem_mb}
    return functions.get(head.cost, get_pairs_mem_mb)


def get_pairs_mem_mb(wildcards, attempt):
    """Megabytes: a block of runs, and the distances between all of them."""
    return attempt * (2000 + get_population(wildcards).n_runs ** 2 * 16 // 10**6)


def extend(rule_name, minutes, attempt):
    """As much time again at each attempt, but not more than the partition gives.

    Slurm takes a job that asks for more, and never starts it.
    """
    if attempt == 1 or not (workflow.is_main_process and get_slurm_executor()):
        return minutes * attempt
    limit = slurm.find_partition(PARTITIONS.get(rule_name)).minutes
    return int(max(minutes, min(minutes * attempt, limit)))


def hold_locks(jobs):
    """The study's lock, and that of each dataset that it prepares, which all studies share."""
    LOCKS.append(hold(Path(RESULTS, ".lock"), f"the study {config['study']}"))
    for dataset in {job.wildcards.dataset for job in jobs if job.rule.name == "prepare_dataset"}:
        path = Path("results/datasets", f".{dataset}.lock")
        LOCKS.append(hold(path, f"the dataset {dataset}"))


def cancel_leftovers():
    """Cancel what a killed snakemake left in the queue: it would write where new jobs write."""
    lock = LOCKS[0]
    # results that came from a cluster may be worked on elsewhere
    if lock.left and shutil.which("squeue"):
        if cancelled := slurm.cancel(lock.left):
            logger.warning(
                f"Cancelled {cancelled} jobs that a killed snakemake had left in the queue."
            )
        lock.settle()


def get_slurm_executor():
    """The executor that submits to Slurm; None elsewhere."""
    executor = workflow.scheduler._executor
    return executor if hasattr(executor, "run_uuid") else None


def check_cluster(executor, jobs):
    """Refuse what would wait for ever, before anything is submitted."""
    LOCKS[0].note_queue_name(executor.run_uuid)
    # the plugin's guess of an account never succeeds, and without sacct it ends each submission
    executor._fallback_account_arg = ""
    if workflow.executor_settings.status_command == "squeue":
        slurm.check_memory_of_queue(workflow.executor_settings.init_seconds_before_status_checks)
    for warning in slurm.check_requests(get_requests(jobs)):
        logger.warning(f"Warning: {warning}.")


def get_requests(jobs):
    """The longest runtime that each rule asks of a partition."""
    longest = {}
    for job in jobs:
        minutes = job.resources.get("runtime")
        if isinstance(minutes, int) and not job.is_local:
            key = job.rule.name, job.resources.get("slurm_partition")
            longest[key] = max(minutes, longest.get(key, 0))
    PARTITIONS.update(longest.keys())
    return [slurm.Request(*key, minutes) for key, minutes in longest.items()]


def end_study(outcome):
    """Let the study go, and tell whom the config names."""
    if not LOCKS:
        return
    for lock in LOCKS:
        lock.release()
    if config["notify"]:
        known = {"WEIGHTSCAPE_STUDY": config["study"], "WEIGHTSCAPE_OUTCOME": outcome}
        done = subprocess.run(
            config["notify"],
            shell=True,
            check=False,
            text=True,
            input=get_status() + "\n",
            env=os.environ | known,
        )
        if done.returncode:
            logger.warning(f"notify: the command ended with exit status {done.returncode}.")


def get_status():
    """What `snakemake status` prints."""
    try:
        return status.render(config, status.make_status(config, time.time()))
    except WeightscapeError as error:
        return str(error)
