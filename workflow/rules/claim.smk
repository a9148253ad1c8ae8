# from tables to what they say of the paper's claims; nothing here reads weights


rule measure_claims:
    input:
        runs=f"{MEASURES}/runs.csv",
        statistics=f"{MEASURES}/statistics.csv",
        strength=f"{MEASURES}/strength.csv",
        purity=f"{MEASURES}/purity.csv",
    output:
        effects=f"{MEASURES}/claim_effects.csv",
        widths=f"{MEASURES}/claim_widths.csv",
        values=f"{MEASURES}/claim_values.csv",
    log:
        f"{RESULTS}/logs/measure_claims/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_claims/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    params:
        claims=lookup("claims", within=config),
    script:
        "../scripts/measure_claims.py"


rule measure_null_effects:
    input:
        runs=f"{MEASURES}/runs.csv",
        statistics=f"{MEASURES}/statistics.csv",
        strength=f"{MEASURES}/strength.csv",
        spectra=f"{MEASURES}/spectra.csv",
        nulls=f"{MEASURES}/nulls.csv",
        purity=f"{MEASURES}/purity.csv",
    output:
        f"{MEASURES}/null_effects.csv",
    log:
        f"{RESULTS}/logs/measure_null_effects/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_null_effects/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    params:
        accuracy=config["claims"]["accuracy"],
        alpha=config["claims"]["alpha"],
    script:
        "../scripts/measure_null_effects.py"


rule judge_claims:
    input:
        effects=collect(
            f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/claim_effects.csv", p=POPULATIONS
        ),
        transfer=f"{RESULTS}/tables/transfer.csv",
    output:
        claims=report(
            f"{RESULTS}/tables/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "all statements"},
        ),
        scorecard=report(
            f"{RESULTS}/tables/scorecard.html",
            caption="../report/scorecard.rst",
            category="Claims",
            labels={"table": "scorecard"},
        ),
    log:
        f"{RESULTS}/logs/judge_claims.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=30,
    params:
        alpha=config["claims"]["alpha"],
        study=config["study"],
    script:
        "../scripts/judge_claims.py"


rule measure_variation:
    input:
        runs=f"{MEASURES}/runs.csv",
        statistics=f"{MEASURES}/statistics.csv",
        strength=f"{MEASURES}/strength.csv",
    output:
        pooled=f"{MEASURES}/variation.csv",
        by_width=f"{MEASURES}/variation_widths.csv",
    log:
        f"{RESULTS}/logs/measure_variation/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_variation/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    script:
        "../scripts/measure_variation.py"


rule explain_failures:
    input:
        runs=f"{MEASURES}/runs.csv",
        convergence=f"{MEASURES}/convergence.csv",
        telemetry=f"{MEASURES}/telemetry.csv",
        predictions=f"{MEASURES}/predictions.csv",
    output:
        failures=f"{MEASURES}/failures.csv",
        causes=f"{MEASURES}/causes.csv",
    log:
        f"{RESULTS}/logs/explain_failures/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/explain_failures/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    params:
        accuracy=config["groups"]["accuracy"],
    script:
        "../scripts/explain_failures.py"


rule predict_accuracy:
    input:
        runs=f"{MEASURES}/runs.csv",
        statistics=f"{MEASURES}/statistics.csv",
        strength=f"{MEASURES}/strength.csv",
        spectra=f"{MEASURES}/spectra.csv",
        nulls=f"{MEASURES}/nulls.csv",
    output:
        prediction=f"{MEASURES}/prediction.csv",
        predicted=f"{MEASURES}/predicted.csv",
    log:
        f"{RESULTS}/logs/predict_accuracy/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict_accuracy/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    params:
        accuracy=config["claims"]["accuracy"],
        resamples=config["claims"]["resamples"],
    script:
        "../scripts/predict_accuracy.py"


rule transfer_accuracy:
    input:
        runs=collect(f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/runs.csv", p=POPULATIONS),
        statistics=collect(
            f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/statistics.csv", p=POPULATIONS
        ),
        strength=collect(
            f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/strength.csv", p=POPULATIONS
        ),
        spectra=collect(f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/spectra.csv", p=POPULATIONS),
    output:
        report(
            f"{RESULTS}/tables/transfer.csv",
            caption="../report/transfer.rst",
            category="Claims",
            labels={"table": "transfer"},
        ),
    log:
        f"{RESULTS}/logs/transfer_accuracy.log",
    benchmark:
        f"{RESULTS}/benchmarks/transfer_accuracy.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    params:
        accuracy=config["claims"]["accuracy"],
        resamples=config["claims"]["resamples"],
        permutations=config["claims"]["permutations"],
    script:
        "../scripts/transfer_accuracy.py"
