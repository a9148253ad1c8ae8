rule judge_claims:
    input:
        effects=get_paths("claim_effects", POPULATIONS),
        tables=[get_path(name) for name in heads.read_by_claims("study")],
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
        columns=get_columns("claims"),
        claims=heads.digest_of_claims(),
        words=heads.digest_of_words(),
        populations=get_populations,
    script:
        "../scripts/judge_claims.py"
