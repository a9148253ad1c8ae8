"""Print and write what the study trains and costs."""

import pandas as pd

from weightscape.messages.logs import job_log
from weightscape.monitor.plan import make_plan, render
from weightscape.storage.tables import write_table

with job_log(snakemake.log[0]):
    rows = make_plan(snakemake.config)
    print(render(snakemake.config, rows))
    write_table(pd.DataFrame(rows), snakemake.params.table)
