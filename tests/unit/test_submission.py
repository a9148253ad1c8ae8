"""What the Slurm plugin makes of resources that docs/cluster.md names for odd sites."""

from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra
from snakemake_interface_common.exceptions import WorkflowError

PARAMS = {
    "run_uuid": "9b2f",
    "slurm_logfile": "x.log",
    "comment_str": "rule_train_runs",
    "account": "",
    "partition": "-p main",
    "workdir": None,
}


class Resources(dict):
    """As Snakemake's: by key and by attribute."""

    __getattr__ = dict.get


def job(**resources):
    return SimpleNamespace(resources=Resources(resources), threads=1)


def command(**resources):
    return get_submit_command(job(**resources), PARAMS)


def test_memory_by_core_takes_the_place_of_memory_by_job():
    assert " --mem 1500" in command(mem_mb=1500)
    asked = command(mem_mb=1500, mem_mb_per_cpu=2000)
    assert " --mem-per-cpu 2000" in asked
    assert "--mem " not in asked


def test_no_memory_is_asked_for_by_zero():
    assert "--mem" not in command(mem_mb=0)


def test_a_gpu_type_with_a_hyphen_is_asked_for_in_words_of_sbatch():
    with pytest.raises(WorkflowError, match="Invalid GRES format"):
        set_gres_string(job(gres="gpu:rtx-2080:1"))
    extra = "--gpus-per-node=rtx-2080:1"
    validate_slurm_extra(job(slurm_extra=extra))
    assert extra in command(slurm_extra=extra)
