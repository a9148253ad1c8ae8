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
            runtime=get_job_runtime(f"measure_{measure}", head),
        params:
            measure=measure,
            settings=get_settings(head),
            columns=get_columns(*heads.tables_of(head)),
            others=get_others(measure, head),
            caption=get_table_caption if head.each == "study" else "",
        script:
            "../scripts/measure.py"


rule join_layers:
    input:
        get_layer_tables,
    output:
        f"{MEASURES}/{{layer_table}}.csv",
    log:
        f"{RESULTS}/logs/join_layers/{{model}}/{{dataset}}/{{layer_table}}.log",
    # a cluster's job would cost more than to copy lines of text
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    script:
        "../scripts/join_tables.py"
