rule prepare_dataset:
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
        folder=config["data_folder"],
        downloads="results/datasets/downloads",
    script:
        "../scripts/prepare_dataset.py"
