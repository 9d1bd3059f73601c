# Input: tables. Output: figures, verdicts, the numbers that the text may print, and the paper.


report: "../report/workflow.rst"


# Each figure draws one table: some of its variants, at some of the depths.
FIGURES = {
    "error_by_depth": ("runs", config["variants"], config["depths"]),
    "interaction": ("runs", config["variants"], PAIR[-1:]),
    "train_against_test": ("runs", config["variants"], config["depths"]),
    "training_curves": ("history", config["variants"], PAIR),
}
FIGURES |= {name: (name, config["variants"], PAIR) for name in MEASURES}
FIGURES["horse_race"] = ("horse_race", [], [])
FIGURES["cost"] = ("cost", [], [])
if config["interventions"]:
    FIGURES["interventions"] = FIGURES["forest"] = ("runs", EVERY, PAIR)
if TRIED:
    FIGURES["lr_sensitivity"] = ("tuning", EVERY, PAIR)
SECTIONS = sorted(str(path) for path in Path("report/sections").glob("*.md"))
FONTS = sorted(str(path) for path in Path("report/fonts").glob("*.[tw]*f*"))
TEMPLATES = sorted(str(path) for path in Path("report/templates").iterdir())


rule figure:
    input:
        table=lambda wildcards: f"{RESULTS}/tables/{FIGURES[wildcards.figure][0]}.csv",
        code=lambda wildcards: CODE[f"analysis.figures.{wildcards.figure}"],
    output:
        picture=report(
            f"{RESULTS}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        data=f"{RESULTS}/figures/{{figure}}.csv.gz",
    log:
        f"{RESULTS}/logs/figure/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/figure/{{figure}}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        variants=lambda wildcards: FIGURES[wildcards.figure][1],
        depths=lambda wildcards: FIGURES[wildcards.figure][2],
    shell:
        """
        python -m analysis.figures.{wildcards.figure} \
            --table {input.table} \
            --variants {params.variants} \
            --depths {params.depths} \
            --out {output.picture} \
            2>{log}
        """


rule claims:
    input:
        claims="report/claims.yaml",
        config=f"{RESULTS}/config.json",
        runs=f"{RESULTS}/tables/runs.csv",
        quantities=f"{RESULTS}/tables/quantities.csv",
        missing=rules.missing.output,
        code=CODE["report.claims"],
    output:
        f"{RESULTS}/claims.json",
    log:
        f"{RESULTS}/logs/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/claims.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m report.claims --claims {input.claims} --results {params.results} 2> {log}"


rule values:
    input:
        tables=[
            rules.collect.output,
            rules.cost.output,
            rules.join.output,
            rules.horse_race.output,
            rules.errata.output,
            rules.missing.output,
        ],
        claims=f"{RESULTS}/claims.json",
        config=f"{RESULTS}/config.json",
        provenance=f"{RESULTS}/provenance.json",
        manifest=f"{DATA}.json",
        code=CODE["report.values"],
    output:
        f"{RESULTS}/values.json",
    log:
        f"{RESULTS}/logs/values.log",
    benchmark:
        f"{RESULTS}/benchmarks/values.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        """
        python -m report.values \
            --results {params.results} \
            --manifest {input.manifest} \
            2>{log}
        """


rule render:
    input:
        values=f"{RESULTS}/values.json",
        claims=f"{RESULTS}/claims.json",
        config=f"{RESULTS}/config.json",
        figures=expand(
            f"{RESULTS}/figures/{{figure}}.{{part}}", figure=FIGURES, part=["svg", "csv.gz"]
        ),
        sections=SECTIONS,
        templates=TEMPLATES,
        fonts=FONTS,
        references="report/references.bib",
        code=CODE["report.render"],
    output:
        html=report(
            f"{RESULTS}/report/index.html",
            caption="../report/paper.rst",
            category="Paper",
            labels={"format": "HTML"},
        ),
        pdf=report(
            f"{RESULTS}/report/report.pdf",
            caption="../report/paper.rst",
            category="Paper",
            labels={"format": "PDF"},
        ),
    log:
        f"{RESULTS}/logs/render.log",
    benchmark:
        f"{RESULTS}/benchmarks/render.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        results=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m report.render --results {params.results} 2> {log}"
