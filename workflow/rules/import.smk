rule import_runs:
    input:
        table=get_import_table,
        checkpoints=get_checkpoints,
    output:
        shard=f"{RESULTS}/weights/{{model}}/{{dataset}}/width-{{width}}/seeds-{{seeds}}.h5",
        files=f"{MEASURES}/imports/width-{{width}}/seeds-{{seeds}}.csv",
    log:
        f"{RESULTS}/logs/import_runs/{{model}}/{{dataset}}/width-{{width}}/seeds-{{seeds}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/import_runs/{{model}}/{{dataset}}/width-{{width}}/seeds-{{seeds}}.jsonl"
    wildcard_constraints:
        model=get_models(IMPORTED),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_import_mem_mb,
        runtime=get_import_runtime,
    params:
        folder=lambda wildcards: get_import(wildcards)["folder"],
        accuracies=lambda wildcards: get_import(wildcards)["accuracies"],
        classes=lambda wildcards: get_import(wildcards)["classes"],
        recipe=get_recipe,
    script:
        "../scripts/import_runs.py"
