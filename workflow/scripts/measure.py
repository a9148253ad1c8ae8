"""Make the tables of one measure, or of one analysis."""

from importlib import import_module

from weightscape import heads
from weightscape.measures.job import Job, make_layers
from weightscape.messages.logs import job_log, leave
from weightscape.runs.without import only_with_runs, write_nothing

with job_log(snakemake.log[0]) as log:
    params, head = snakemake.params, heads.measures()[snakemake.params.measure]
    inputs, outputs = only_with_runs(dict(snakemake.input.items())), dict(snakemake.output.items())
    if inputs is None:
        wildcards = snakemake.wildcards
        write_nothing(head, outputs, wildcards.get("model", ""), wildcards.get("dataset", ""))
        log.info("there are no runs")
    else:
        job = Job(inputs, outputs, params.settings)
        make = import_module(heads.measure_module(params.measure)).make
        if layers := params.get("layers", []):
            make_layers(make, job, layers)
        else:
            make(job)
        if "runs" in inputs:
            log.info("read the tables of %d runs", sum(map(len, job.tables("runs"))))
    log.info("wrote %s", ", ".join([*heads.tables_of(head), *head.files]))
leave()
