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
    localrule: True
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


rule cost:
    input:
        runs=expand("{run}/{file}", run=RUNS, file=["run.json", "metrics.json"]),
        tuning=expand("{run}/{file}", run=TUNING, file=["run.json", "metrics.json"]),
        code=CODE["analysis.cost"],
    output:
        cost=f"{RESULTS}/tables/cost.csv",
        forecast=f"{RESULTS}/tables/forecast.csv",
    log:
        f"{RESULTS}/logs/cost.log",
    benchmark:
        f"{RESULTS}/benchmarks/cost.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        runs=RUNS,
        tuning=TUNING,
        extents=json.dumps(EXTENTS, sort_keys=True),
        tables=lambda wildcards, output: str(Path(output.cost).parent),
    shell:
        """
        python -m analysis.cost \
            --runs {params.runs} \
            --tuning {params.tuning} \
            --extents {params.extents:q} \
            --out {params.tables} \
            2>{log}
        """


rule measure:
    input:
        runs=lambda wildcards: expand(
            "{run}/{file}", run=measured(wildcards), file=["run.json", "checkpoint.pt"]
        ),
        data=f"{DATA}.pt",
        code=sorted(
            {
                *CODE["analysis.measure"],
                *[file for name in MEASURES for file in CODE[f"analysis.measures.{name}"]],
            }
        ),
    output:
        expand(f"{RESULTS}/measures/{{{{variant}}}}/{{table}}.csv", table=[*MEASURES, "quantities"]),
    log:
        f"{RESULTS}/logs/measure/{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{variant}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: (
            attempt * minutes(*size(wildcards), measured=len(measured(wildcards)))
        ),
        mem_mb=lambda wildcards, attempt: attempt * megabytes(*size(wildcards), measured=True),
        gpu=gpu,
    params:
        runs=lambda wildcards: measured(wildcards),
        measures=lambda wildcards: json.dumps(measures(config, wildcards.variant), sort_keys=True),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        device=config["device"],
    shell:
        """
        python -m analysis.measure \
            --runs {params.runs} \
            --measures {params.measures:q} \
            --data results/data \
            --device {params.device} \
            --threads {threads} \
            --out {params.folder} \
            2>{log}
        """


rule join:
    input:
        parts=expand(
            "{folder}/{table}.csv",
            folder=MEASURED,
            table=[*MEASURES, "quantities"],
        ),
        code=CODE["analysis.join"],
    output:
        expand(f"{RESULTS}/tables/{{table}}.csv", table=[*MEASURES, "quantities"]),
    log:
        f"{RESULTS}/logs/join.log",
    benchmark:
        f"{RESULTS}/benchmarks/join.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        folders=MEASURED,
        tables=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "python -m analysis.join --parts {params.folders} --out {params.tables} 2> {log}"


rule horse_race:
    input:
        claims="report/claims.yaml",
        variants="workflow/config/variants.yaml",
        config=f"{RESULTS}/config.json",
        runs=f"{RESULTS}/tables/runs.csv",
        quantities=f"{RESULTS}/tables/quantities.csv",
        code=CODE["analysis.horse_race"],
    output:
        f"{RESULTS}/tables/horse_race.csv",
    log:
        f"{RESULTS}/logs/horse_race.log",
    benchmark:
        f"{RESULTS}/benchmarks/horse_race.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        """
        python -m analysis.horse_race \
            --claims {input.claims} \
            --variants {input.variants} \
            --results {params.results} \
            --out {output} \
            2>{log}
        """


rule errata:
    input:
        code=CODE["analysis.errata"],
    output:
        f"{RESULTS}/tables/errata.csv",
    log:
        f"{RESULTS}/logs/errata.log",
    benchmark:
        f"{RESULTS}/benchmarks/errata.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        "python -m analysis.errata --out {output} 2> {log}"


rule missing:
    input:
        code=CODE["analysis.missing"],
    output:
        f"{RESULTS}/tables/missing.csv",
    log:
        f"{RESULTS}/logs/missing.log",
    benchmark:
        f"{RESULTS}/benchmarks/missing.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        runs=[run for run in WANTED if run not in RUNS],
        measures=[folder for folder in MEASURABLE if folder not in MEASURED],
        logs=f"{RESULTS}/logs",
    shell:
        """
        python -m analysis.missing \
            --runs {params.runs} \
            --measures {params.measures} \
            --logs {params.logs} \
            --out {output} \
            2>{log}
        """


rule provenance:
    input:
        config=f"{RESULTS}/config.json",
        metrics=expand("{run}/metrics.json", run=TRAINED),
        tables=[rules.collect.output, rules.join.output],
        code=CODE["analysis.provenance"],
    output:
        f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/provenance.log",
    benchmark:
        f"{RESULTS}/benchmarks/provenance.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        runs=TRAINED,
        benchmarks=[path for path in BENCHMARKS if not config["partial"] or Path(path).exists()],
    shell:
        """
        python -m analysis.provenance \
            --config {input.config} \
            --runs {params.runs} \
            --benchmarks {params.benchmarks} \
            --out {output} \
            2>{log}
        """
