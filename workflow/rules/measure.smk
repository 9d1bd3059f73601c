# Input: the cells of a variant at the two compared depths, whose runs are measured. Output: a tidy
# table of each measure, and its quantities.


rule measure:
    input:
        cells=lambda w: [plan.cell_file(w.variant, depth) for depth in plan.pair],
        data="results/data/<dataset>.pt",
        code=plan.measuring,
    output:
        plan.measure_files("{variant}"),
    log:
        "results/<study>/logs/measure/{variant}.log",
    benchmark:
        "results/<study>/benchmarks/measure/{variant}.tsv"
    conda:
        "../../environment.yml"
    resources:
        runtime=lambda w, attempt: attempt * plan.minutes("measure", w.variant, plan.pair[1]),
        mem_mb=lambda w, attempt: attempt * plan.megabytes("measure", w.variant, plan.pair[1]),
        gpu=lambda w: plan.gpus(workflow.local_exec),
    params:
        runs=lambda w: plan.measured_runs(w.variant),
        measures=lambda w: json.dumps(plan.measures(w.variant), sort_keys=True),
        out=subpath(output[0], parent=True),
        origin=lambda w: plan.measurement(w.variant),
        device=study.device,
    shell:
        """
        python -m analysis.measure \
            --runs {params.runs} --measures {params.measures:q} --out {params.out} \
            --origin {params.origin} --device {params.device} --threads {threads} 2>{log}
        """
