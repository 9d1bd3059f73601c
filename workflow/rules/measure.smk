# Input: the finished runs. Output: tidy tables, and a record of what produced them.


rule write_config:
    output:
        f"{RESULTS}/config.json",
    log:
        f"{RESULTS}/logs/write_config.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_config.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=json.dumps(config, sort_keys=True, indent=2),
    shell:
        "printf '%s\\n' {params.config:q} > {output} 2> {log}"


rule collect:
    input:
        runs=expand("{run}/{file}", run=RUNS, file=["run.json", "metrics.json", "history.csv"]),
        tuning=expand("{run}/{file}", run=TUNING, file=["run.json", "metrics.json"]),
        code=CODE["analysis.collect"],
    output:
        runs=f"{RESULTS}/tables/runs.csv",
        history=f"{RESULTS}/tables/history.csv",
        tuning=f"{RESULTS}/tables/tuning.csv",
    log:
        f"{RESULTS}/logs/collect.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect.tsv"
    conda:
        ENVIRONMENT
    params:
        runs=RUNS,
        tuning=TUNING,
        tables=lambda wildcards, output: str(Path(output.runs).parent),
    shell:
        """
        python -m analysis.collect \
            --runs {params.runs} \
            --tuning {params.tuning} \
            --out {params.tables} \
            2>{log}
        """


rule provenance:
    input:
        config=f"{RESULTS}/config.json",
        metrics=expand("{run}/metrics.json", run=TRAINED),
        tables=rules.collect.output,
        code=CODE["analysis.provenance"],
    output:
        f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/provenance.log",
    benchmark:
        f"{RESULTS}/benchmarks/provenance.tsv"
    conda:
        ENVIRONMENT
    params:
        runs=TRAINED,
        benchmarks=[f"{RESULTS}/benchmarks/{job}.tsv" for job in JOBS],
    shell:
        """
        python -m analysis.provenance \
            --config {input.config} \
            --runs {params.runs} \
            --benchmarks {params.benchmarks} \
            --out {output} \
            2>{log}
        """
