# Input: the data, and the specification of each run. Output: a folder for each run. A variant of a
# depth is first trained with each learning rate of the grid, on the tuning seed. The rate with the
# lowest final training loss is used on every seed. A network that grows waits for its start.


rule tune:
    input:
        start=lambda w: plan.start(w.variant, study.tuning.seed),
        data="results/data/<dataset>.pt",
        code=import_closure("models.training.tune"),
    output:
        runs=expand(
            "results/<study>/tuning/{{variant}}/depth{{depth}}/lr{lr}/{file}",
            lr=plan.rates(),
            file=["run.json", "metrics.json", "history.csv"],
        ),
        chosen="results/<study>/tuning/{variant}/depth{depth}/chosen.json",
    log:
        "results/<study>/logs/tune/{variant}/depth{depth}.log",
    benchmark:
        "results/<study>/benchmarks/tune/{variant}/depth{depth}.tsv"
    conda:
        "../../environment.yml"
    resources:
        attempt=lambda w, attempt: attempt,
        runtime=lambda w, attempt: attempt * plan.minutes("tune", w.variant, int(w.depth)),
        mem_mb=lambda w, attempt: attempt * plan.megabytes("tune", w.variant, int(w.depth)),
        gpu=lambda w: plan.gpus(workflow.local_exec),
    params:
        spec=lambda w: plan.specification(w.variant, int(w.depth), study.tuning.seed, kept=False),
        start=lambda w, input: f"--start {Path(input.start[0]).parent}" if input.start else "",
        lrs=study.tuning.lrs,
        out=subpath(output.chosen, parent=True),
        device=study.device,
    shell:
        """
        python -m models.training.tune \
            --spec {params.spec:q} {params.start} --lrs {params.lrs} --out {params.out} \
            --device {params.device} --threads {threads} --attempt {resources.attempt} 2>{log}
        """


rule train:
    input:
        start=lambda w: plan.start(w.variant, w.seed),
        data="results/data/<dataset>.pt",
        lr="results/<study>/tuning/{variant}/depth{depth}/chosen.json",
        code=import_closure("models.training.train"),
    output:
        expand(
            "results/<study>/runs/{{variant}}/depth{{depth}}/seed{{seed}}/{file}",
            file=["run.json", "history.csv", "metrics.json", "checkpoint.pt"],
        ),
    log:
        "results/<study>/logs/train/{variant}/depth{depth}/seed{seed}.log",
    benchmark:
        "results/<study>/benchmarks/train/{variant}/depth{depth}/seed{seed}.tsv"
    conda:
        "../../environment.yml"
    resources:
        attempt=lambda w, attempt: attempt,
        runtime=lambda w, attempt: attempt * plan.minutes("train", w.variant, int(w.depth)),
        mem_mb=lambda w, attempt: attempt * plan.megabytes("train", w.variant, int(w.depth)),
        gpu=lambda w: plan.gpus(workflow.local_exec),
    params:
        spec=lambda w: plan.specification(w.variant, int(w.depth), int(w.seed)),
        start=lambda w, input: f"--start {Path(input.start[0]).parent}" if input.start else "",
        out=subpath(output[0], parent=True),
        device=study.device,
    shell:
        """
        python -m models.training.train \
            --spec {params.spec:q} {params.start} --lr-from {input.lr} --out {params.out} \
            --device {params.device} --threads {threads} --attempt {resources.attempt} 2>{log}
        """
