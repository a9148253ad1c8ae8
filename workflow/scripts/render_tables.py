"""Write Table 1, and render Tables 1 and 2 beside the paper's."""

from pathlib import Path

from weightscape.messages.logs import job_log, leave
from weightscape.runs.paper_tables import render_groups, render_settings, settings
from weightscape.storage.tables import read_tables, write_table

with job_log(snakemake.log[0]):
    imported = list(snakemake.input.statistics)
    table = settings(snakemake.config, read_tables(imported, "statistics") if imported else None)
    write_table(table, snakemake.output.settings)
    Path(snakemake.output.table1).write_text(render_settings(table))
    Path(snakemake.output.table2).write_text(
        render_groups(read_tables(snakemake.input.groups, "groups"))
    )
leave()
