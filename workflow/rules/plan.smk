rule plan:
    log:
        f"{RESULTS}/logs/plan.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=500,
        runtime=5,
    params:
        table=get_place(f"{RESULTS}/tables/plan.csv"),
    script:
        "../scripts/plan_study.py"


rule status:
    log:
        f"{RESULTS}/logs/status.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=500,
        runtime=5,
    script:
        "../scripts/show_status.py"
