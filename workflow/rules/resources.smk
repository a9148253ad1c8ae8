"""How much memory and time a job asks for: more at each attempt, as far as the cluster gives it."""

import os

from weightscape.monitor import plan, slurm

PARTITIONS = {}  # rule -> partition that its jobs ask for


def get_training_mem_mb(wildcards, attempt, rulename):
    """Megabytes that one training job needs."""
    n_runs = len(study.parse_seeds(wildcards.seeds))
    megabytes = plan.training_memory_mb(config, *get_training_key(wildcards), n_runs)
    return extend_memory(rulename, megabytes, attempt)


def get_training_runtime(wildcards, attempt, rulename):
    """Minutes to ask a queue for: four times the plan's, since machines and loads differ."""
    n_runs = len(study.parse_seeds(wildcards.seeds))
    seconds = plan.training_seconds(config, *get_training_key(wildcards), n_runs)
    return extend_time(rulename, int(10 + 4 * seconds / 60), attempt)


def get_import_mem_mb(wildcards, attempt, rulename):
    """Megabytes of a job that imports: one run."""
    megabytes = plan.import_memory_mb(config, wildcards.model, wildcards.dataset)
    return extend_memory(rulename, megabytes, attempt)


def get_import_runtime(wildcards, attempt, rulename):
    """Minutes to ask a queue for: a second a run."""
    return extend_time(rulename, 10 + get_population(wildcards).n_runs // 60, attempt)


def get_training_key(wildcards):
    return wildcards.model, wildcards.dataset, wildcards.width


def get_measure_mem_mb(wildcards, attempt, rulename):
    """Megabytes of a job that streams shards: the largest run many times over."""
    megabytes = 1500 + 20 * plan.largest_run_mb(config, get_population(wildcards))
    return extend_memory(rulename, megabytes, attempt)


def get_table_mem_mb(wildcards, input, attempt, rulename):
    """Megabytes of a job that holds tables, which take more in memory than as text.

    Of a table that is not there yet Snakemake asks again before the job starts. It has an
    `input.size_mb`, which drops a coroutine, with a warning for each job, while it writes a report.
    """
    # other files are read in blocks
    tables = [file for file in input if file.endswith(".csv") and os.path.exists(file)]
    size_mb = sum(map(os.path.getsize, tables)) / 1e6
    return extend_memory(rulename, 1500 + 10 * size_mb, attempt)


def get_job_runtime(head):
    """Minutes to ask a queue for, by what a measure's time grows with.

    It takes milliseconds a run, and large networks more. For all distances between runs it is four
    times what they take.
    """

    def get(wildcards, attempt, rulename):
        if head.cost == "tables":
            return 60
        n_runs = get_population(wildcards).n_runs
        of_pairs = 8 * n_runs**2 // 10**7 if head.cost == "pairs" else 0
        return extend_time(rulename, 30 + n_runs // 100 + of_pairs, attempt)

    return get


def get_job_mem_mb(head):
    """Megabytes of a measure's job."""
    functions = {"tables": get_table_mem_mb, "shards": get_measure_mem_mb}
    return functions.get(head.cost, get_pairs_mem_mb)


def get_pairs_mem_mb(wildcards, attempt, rulename):
    """Megabytes: a block of runs, and the distances between all of them."""
    megabytes = 2000 + get_population(wildcards).n_runs ** 2 * 16 // 10**6
    return extend_memory(rulename, megabytes, attempt)


def extend_time(rule_name, minutes, attempt):
    """As much time again at each attempt, but not more than the partition gives."""
    return extend(minutes, attempt, lambda: slurm.find_partition(PARTITIONS.get(rule_name)).minutes)


def extend_memory(rule_name, megabytes, attempt):
    """As much memory again at each attempt, but not more than a node of the partition gives."""
    return extend(megabytes, attempt, lambda: slurm.most_megabytes(PARTITIONS.get(rule_name)))


def extend(first, attempt, get_limit):
    """What an attempt asks for, as a whole number.

    Slurm takes a job that asks for more than the limit, and never starts it, or refuses it.
    """
    if attempt == 1 or not (is_main_process() and get_slurm_executor()):
        return int(attempt * first)
    return int(max(first, min(attempt * first, get_limit())))
