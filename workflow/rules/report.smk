# Input: the tables. Output: figures, the verdicts on the claims, and the paper.


report: "../report/workflow.rst"


PAPER = {"caption": "../report/paper.rst", "category": "Paper"}


rule figure:
    input:
        tables=lambda w: [f"results/<study>/tables/{name}.csv" for name in FIGURES[w.figure]],
        config="results/<study>/config.json",
        variants="workflow/config/variants.yaml",
        code=lambda w: import_closure("analysis.figure", f"analysis.figures.{w.figure}"),
    output:
        picture=report(
            "results/<study>/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        data="results/<study>/figures/{figure}.csv.gz",
    log:
        "results/<study>/logs/figure/{figure}.log",
    conda:
        "../../environment.yml"
    shell:
        """
        python -m analysis.figure {wildcards.figure} \
            --results $(dirname {input.config}) --out {output.picture} 2>{log}
        """


rule claims:
    input:
        claims="report/claims.yaml",
        registered="results/<study>/registered_claims.yaml",
        variants="workflow/config/variants.yaml",
        config="results/<study>/config.json",
        runs="results/<study>/tables/runs.csv",
        quantities="results/<study>/tables/quantities.csv",
        missing="results/<study>/tables/missing.csv",
        manifest="results/data/<dataset>.json",
        code=import_closure("report.claims"),
    output:
        "results/<study>/claims.json",
    log:
        "results/<study>/logs/claims.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m report.claims --claims {input.claims} --results $(dirname {input.config}) 2> {log}"


rule render:
    input:
        tables=[rules.tables.output, rules.rank_correlation.output, rules.errata.output],
        provenance="results/<study>/provenance.json",
        claims="results/<study>/claims.json",
        sentences="report/claims.yaml",
        variants="workflow/config/variants.yaml",
        manifest="results/data/<dataset>.json",
        figures=expand("results/<study>/figures/{name}.{end}", name=FIGURES, end=["svg", "csv.gz"]),
        text=[*Path("report/sections").iterdir(), *Path("report/templates").iterdir()],
        fonts=Path("report/fonts").iterdir(),
        references="report/references.bib",
        evidence=sorted(path for path in Path("report/evidence").rglob("*") if path.is_file()),
        code=import_closure("report.render"),
    output:
        html=report("results/<study>/report/index.html", **PAPER, labels={"format": "HTML"}),
        pdf=report("results/<study>/report/report.pdf", **PAPER, labels={"format": "PDF"}),
        values="results/<study>/values.json",
    log:
        "results/<study>/logs/render.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m report.render --results $(dirname {input.claims}) 2> {log}"
