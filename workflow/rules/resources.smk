"""How much memory and time a job asks for."""

import os

from weightscape.monitor import plan, slurm

PARTITIONS = {}  # rule -> partition that its jobs ask for


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
    """Megabytes of a job that imports: one run, and as much again at each attempt."""
    return attempt * plan.import_memory_mb(config, wildcards.model, wildcards.dataset)


def get_import_runtime(wildcards, attempt):
    """Minutes to ask a queue for: a second a run."""
    return extend("import_runs", 10 + get_population(wildcards).n_runs // 60, attempt)


def get_training_key(wildcards):
    return wildcards.model, wildcards.dataset, wildcards.width


def get_measure_mem_mb(wildcards, attempt):
    """Megabytes of a job that streams shards: the largest run many times over."""
    return int(attempt * (1500 + 20 * plan.largest_run_mb(config, get_population(wildcards))))


def get_table_mem_mb(wildcards, input, attempt):
    """Megabytes of a job that holds tables, which take more in memory than as text.

    Of a table that is not there yet Snakemake asks again before the job starts. It has an
    `input.size_mb`, which drops a coroutine, with a warning for each job, while it writes a report.
    """
    # other files are read in blocks
    tables = [file for file in input if file.endswith(".csv") and os.path.exists(file)]
    size_mb = sum(map(os.path.getsize, tables)) / 1e6
    return int(attempt * (1500 + 10 * size_mb))


def get_job_runtime(rule_name, head):
    """Minutes to ask a queue for, by what a measure's time grows with.

    It takes milliseconds a run, and large networks more. For all distances between runs it is four
    times what they take.
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
    if attempt == 1 or not (is_main_process() and get_slurm_executor()):
        return minutes * attempt
    limit = slurm.find_partition(PARTITIONS.get(get_rule_name(rule_name))).minutes
    return int(max(minutes, min(minutes * attempt, limit)))
