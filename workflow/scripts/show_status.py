"""Print how far the study's training is."""

from weightscape.messages.logs import job_log, touch
from weightscape.monitor.status import make_status, render

path = snakemake.log[0]

with job_log(path):
    print(render(snakemake.config, make_status(snakemake.config, now=touch(path))))
