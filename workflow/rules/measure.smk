rule measure_weights:
    input:
        runs=f"{MEASURES}/runs.csv",
        shards=get_shards,
    output:
        statistics=f"{MEASURES}/statistics.csv",
        strength=f"{MEASURES}/strength.csv",
        strength_heads=f"{MEASURES}/strength_heads.csv",
        spectra=f"{MEASURES}/spectra.csv",
        convergence=f"{MEASURES}/convergence.csv",
        telemetry=f"{MEASURES}/telemetry.csv",
        densities=f"{MEASURES}/densities.h5",
    log:
        f"{RESULTS}/logs/measure_weights/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_weights/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_measure_mem_mb,
        runtime=get_measure_runtime,
    params:
        bandwidth=config["density"]["bandwidth"],
    script:
        "../scripts/measure_weights.py"


rule measure_nulls:
    input:
        runs=f"{MEASURES}/runs.csv",
        shards=get_shards,
    output:
        f"{MEASURES}/nulls.csv",
    log:
        f"{RESULTS}/logs/measure_nulls/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_nulls/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_measure_mem_mb,
        runtime=get_measure_runtime,
    script:
        "../scripts/measure_nulls.py"


rule match_nodes:
    input:
        runs=f"{MEASURES}/runs.csv",
        shards=get_shards,
    output:
        table=f"{MEASURES}/matching.csv",
        orders=f"{MEASURES}/matching.h5",
    log:
        f"{RESULTS}/logs/match_nodes/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/match_nodes/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_measure_mem_mb,
        runtime=get_measure_runtime,
    params:
        accuracy=config["groups"]["accuracy"],
    script:
        "../scripts/match_nodes.py"


rule measure_projection:
    input:
        runs=f"{MEASURES}/runs.csv",
        orders=f"{MEASURES}/matching.h5",
        shards=get_shards,
    output:
        projection=f"{MEASURES}/projection/{{layer}}.csv",
        purity=f"{MEASURES}/purity/{{layer}}.csv",
    log:
        f"{RESULTS}/logs/measure_projection/{{model}}/{{dataset}}/{{layer}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_projection/{{model}}/{{dataset}}/{{layer}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_projection_mem_mb,
        runtime=get_projection_runtime,
    params:
        settings=config["projection"],
    script:
        "../scripts/measure_projection.py"


rule measure_function:
    input:
        runs=f"{MEASURES}/runs.csv",
        orders=f"{MEASURES}/matching.h5",
        dataset=get_dataset,
        shards=get_shards,
    output:
        predictions=f"{MEASURES}/predictions.csv",
        disagreement=f"{MEASURES}/disagreement.csv",
        weight_function=f"{MEASURES}/weight_function.csv",
        pairs=f"{MEASURES}/function_pairs.csv",
    log:
        f"{RESULTS}/logs/measure_function/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_function/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_projection_mem_mb,
        runtime=get_projection_runtime,
    script:
        "../scripts/measure_function.py"


rule join_layers:
    input:
        get_layer_tables,
    output:
        f"{MEASURES}/{{layer_table}}.csv",
    log:
        f"{RESULTS}/logs/join_layers/{{model}}/{{dataset}}/{{layer_table}}.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    script:
        "../scripts/join_tables.py"
