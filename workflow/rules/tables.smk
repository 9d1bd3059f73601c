# Output: tidy tables of the finished runs and measurements, the settings, and their provenance.


rule tables:
    input:
        cells=plan.finished([plan.cell_file(*cell) for cell in plan.cells()]),
        measures=plan.finished([file for name in plan.names for file in plan.measure_files(name)]),
        manifest="results/data/<dataset>.json",
        code=import_closure("analysis.tables"),
    output:
        config="results/<study>/config.json",
        tables=expand("results/<study>/tables/{table}.csv", table=plan.tables),
    log:
        "results/<study>/logs/tables.log",
    conda:
        "../../environment.yml"
    params:
        settings=json.dumps(study.model_dump(exclude_none=True), sort_keys=True),
        cells=[f"{cell_place(*cell)}={specification(plan.cell(*cell))}" for cell in plan.cells()],
        measurements=[f"{name}={plan.measurement(name)}" for name in plan.names],
        training=of_files(import_closure("models.training.cell")),
    shell:
        """
        python -m analysis.tables \
            --results $(dirname {output.config}) --settings {params.settings:q} \
            --data {input.manifest} --code {params.training} \
            --cells {params.cells} --measurements {params.measurements} 2>{log}
        """


rule provenance:
    input:
        runs="results/<study>/tables/runs.csv",
        tuning="results/<study>/tables/tuning.csv",
        config="results/<study>/config.json",
        code=code(),
    output:
        "results/<study>/provenance.json",
    log:
        "results/<study>/logs/provenance.log",
    conda:
        "../../environment.yml"
    shell:
        """
        python -m analysis.provenance \
            --results $(dirname {input.config}) --code {input.code} 2>{log}
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
