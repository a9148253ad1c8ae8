rule train_runs:
    input:
        dataset="results/datasets/{dataset}.h5",
    output:
        f"{RESULTS}/weights/{{model}}/{{dataset}}/width-{{width}}/seeds-{{seeds}}.h5",
    log:
        f"{RESULTS}/logs/train_runs/{{model}}/{{dataset}}/width-{{width}}/seeds-{{seeds}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_runs/{{model}}/{{dataset}}/width-{{width}}/seeds-{{seeds}}.jsonl"
    wildcard_constraints:
        model=get_models(p for p in POPULATIONS if p not in IMPORTED),
    conda:
        ENVIRONMENT
    threads: config["training"]["threads"]
    resources:
        mem_mb=get_training_mem_mb,
        runtime=get_training_runtime,
    params:
        recipe=get_recipe,
        snapshots=study.snapshot_epochs(config),
    script:
        "../scripts/train_runs.py"


rule weights:
    input:
        get_weights,
