rule prepare_dataset:
    input:
        get_own_file,
    output:
        "results/datasets/{dataset}.h5",
    log:
        "results/datasets/logs/{dataset}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        own=lookup("datasets/{dataset}", within=config, default=None),
        downloads=get_place("results/datasets/downloads"),
    script:
        "../scripts/prepare_dataset.py"
