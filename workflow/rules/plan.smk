rule plan:
    localrule: True
    log:
        f"{RESULTS}/logs/plan.log",
    conda:
        ENVIRONMENT
    params:
        table=f"{RESULTS}/tables/plan.csv",
    resources:
        mem_mb=500,
        runtime=5,
    script:
        "../scripts/plan_study.py"
