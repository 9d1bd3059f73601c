# Output: tidy tables of the finished runs and measurements, the settings, and their provenance.


rule tables:
    input:
        cells=plan.finished([plan.cell_file(*cell) for cell in plan.cells()]),
        measures=expand(
            "{folder}/{table}.csv",
            folder=plan.finished(
                [f"{plan.results}/measures/{name}" for name in plan.names], "quantities.csv"
            ),
            table=plan.measure_tables(),
        ),
        code=import_closure("analysis.tables"),
    output:
        config="results/<study>/config.json",
        provenance="results/<study>/provenance.json",
        tables=expand(
            "results/<study>/tables/{table}.csv",
            table=[
                "runs",
                "history",
                "tuning",
                "steps_to_fit",
                "growth",
                "cost",
                "missing",
                *plan.measure_tables(),
            ],
        ),
    log:
        "results/<study>/logs/tables.log",
    conda:
        "../../environment.yml"
    params:
        settings=json.dumps(study.model_dump(exclude_none=True), sort_keys=True),
        cells=[f"{variant}/depth{depth}" for variant, depth in plan.cells()],
    shell:
        """
        python -m analysis.tables \
            --results $(dirname {output.config}) --settings {params.settings:q} \
            --cells {params.cells} 2>{log}
        """


rule rank_correlation:
    input:
        claims="report/claims.yaml",
        variants="workflow/config/variants.yaml",
        config="results/<study>/config.json",
        runs="results/<study>/tables/runs.csv",
        quantities="results/<study>/tables/quantities.csv",
        code=import_closure("analysis.rank_correlation"),
    output:
        "results/<study>/tables/rank_correlation.csv",
    log:
        "results/<study>/logs/rank_correlation.log",
    conda:
        "../../environment.yml"
    shell:
        """
        python -m analysis.rank_correlation \
            --claims {input.claims} --results $(dirname {input.config}) --out {output} 2>{log}
        """


rule errata:
    input:
        code=import_closure("analysis.errata"),
    output:
        "results/<study>/tables/errata.csv",
    log:
        "results/<study>/logs/errata.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m analysis.errata --out {output} 2> {log}"
