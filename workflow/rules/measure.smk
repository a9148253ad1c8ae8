# a rule for each measure of a population, each analysis of its tables, and its claims
for measure, head in JOBS.items():

    rule:
        name:
            f"measure_{measure}"
        input:
            **get_job_inputs(head),
        output:
            **get_job_outputs(head),
        log:
            f"{RESULTS}/logs/{get_log(measure, head)}.log",
        benchmark:
            f"{RESULTS}/benchmarks/{get_log(measure, head)}.jsonl"
        conda:
            ENVIRONMENT
        resources:
            mem_mb=get_job_mem_mb(head),
            runtime=get_job_runtime(head),
        params:
            **get_job_layers(head),
            measure=measure,
            settings=get_settings(head),
            columns=get_columns(*heads.tables_of(head)),
            others=get_others(measure, head),
            captions=get_table_captions if head.each == "study" else "",
        script:
            "../scripts/measure.py"


for measure, head in BY_LAYER.items():

    rule:
        name:
            f"join_layers_{measure}"
        input:
            **get_layer_parts(head),
        output:
            **{name: get_path(name) for name in head.tables},
        log:
            f"{RESULTS}/logs/join_layers_{measure}/{{model}}/{{dataset}}.log",
        # a cluster's job would cost more than to copy lines of text
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=60,
        script:
            "../scripts/join_tables.py"
