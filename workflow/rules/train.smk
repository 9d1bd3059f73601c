# Input: the data, and what is to be trained. Output: the file of a cell, beside the folders of its
# runs. A cell is a variant of a depth: one job chooses its learning rates, and trains every budget
# and seed. Runs that are there already are kept, which is why the rule declares the cell's file
# alone, and updates it. Networks that grow wait for the cell that they grow from.


# Keep the claims as they are before the first training (see report/claims.yaml).
rule register:
    input:
        ancient("report/claims.yaml"),
    output:
        update("results/<study>/registered_claims.yaml"),
    log:
        "results/<study>/logs/register.log",
    localrule: True
    conda:
        "../../environment.yml"
    shell:
        "test -e {output} || cp {input} {output} 2> {log}"


rule cell:
    input:
        registered=ancient("results/<study>/registered_claims.yaml"),
        parent=lambda w: plan.parent(w.variant),
        data=["results/data/<dataset>.pt", "results/data/<dataset>.json"],
        code=import_closure("models.training.cell"),
    output:
        update("results/<study>/cells/{variant}/depth{depth}.json"),
    log:
        "results/<study>/logs/cell/{variant}/depth{depth}.log",
    benchmark:
        "results/<study>/benchmarks/cell/{variant}/depth{depth}.tsv"
    priority: lambda w: plan.priority(w.variant, int(w.depth))
    conda:
        "../../environment.yml"
    resources:
        attempt=lambda w, attempt: attempt,
        runtime=lambda w, attempt: attempt * plan.minutes("cell", w.variant, int(w.depth)),
        mem_mb=lambda w, attempt: attempt * plan.megabytes("cell", w.variant, int(w.depth)),
        gpu=lambda w: plan.gpus(workflow.local_exec),
    params:
        spec=lambda w: json.dumps(plan.cell(w.variant, int(w.depth)).model_dump(), sort_keys=True),
        out=lambda w: plan.results,
        device=study.device,
    shell:
        """
        python -m models.training.cell \
            --spec {params.spec:q} --out {params.out} \
            --device {params.device} --threads {threads} --attempt {resources.attempt} 2>{log}
        """
