# What degrades deep plain networks? Trains, measures and writes the paper: snakemake --cores 8

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"


# A partial report takes what is there, and knows no way to make it.
if not study.partial:

    include: "workflow/rules/train.smk"
    include: "workflow/rules/measure.smk"


include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    prepare_data,
    tables,
    provenance,
    rank_correlation,
    errata,
    figure,
    claims,
    render,


rule all:
    default_target: True
    input:
        rules.render.output,
