import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from weightscape.errors import WeightscapeError
from weightscape.heads.checks import check as check_heads
from weightscape.monitor import plan
from weightscape.study.config import check
from weightscape.study.reading import check_file


def check_config_files(files):
    # not again in each job
    for file in files if is_main_process() else ():
        try:
            check_file(Path(file))
        except WeightscapeError as error:
            raise WorkflowError(str(error)) from None


def get_origin():
    """Where the config comes from, for messages."""
    return " and ".join([*map(str, get_config_files()), *["--config"] * is_config_changed()])


if is_config_given():
    check_config_files(get_config_files())
else:
    # before Snakemake reads it, which ends in a traceback where that fails
    check_config_files(["config/config.yaml"])

    # a config given by --configfile stands alone: its populations do not mix with the quick ones
    configfile: "config/config.yaml"


try:
    check_heads()
    # a copy, since an outer workflow may give the same config to others
    config = check(config, get_origin()) | {"prefix": get_prefix()}
    # an outer workflow has this file read for each of its `use rule`
    if is_main_process() and is_dry_run() and is_used("plan"):
        plan.try_models(config)
        # stderr, since --dag and --rulegraph own stdout
        print(plan.render(config, plan.make_plan(config)), file=sys.stderr)
except WeightscapeError as error:
    raise WorkflowError(str(error)) from None
