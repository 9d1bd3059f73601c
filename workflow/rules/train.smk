# Input: the data and each run's specification, from the configuration. Each (variant, depth) is
# first trained once for each learning rate of the grid, on the tuning seed; the rate with the
# lowest final training loss is then used on every evaluation seed. Output: a folder a run.


rule tune:
    input:
        data=f"{DATA}.pt",
        code=CODE["models.train"],
    output:
        run=f"{RESULTS}/tuning/{{variant}}/depth{{depth}}/lr{{lr}}/run.json",
        history=f"{RESULTS}/tuning/{{variant}}/depth{{depth}}/lr{{lr}}/history.csv",
        metrics=f"{RESULTS}/tuning/{{variant}}/depth{{depth}}/lr{{lr}}/metrics.json",
    log:
        f"{RESULTS}/logs/tune/{{variant}}/depth{{depth}}/lr{{lr}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tune/{{variant}}/depth{{depth}}/lr{{lr}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        attempt=lambda wildcards, attempt: attempt,
    params:
        spec=tuning_spec,
        folder=lambda wildcards, output: str(Path(output.run).parent),
    shell:
        """
        exec 2>{log}
        python -m models.variant --spec {params.spec:q} --out {output.run}
        python -m models.train \
            --spec {output.run} \
            --out {params.folder} \
            --data results/data \
            --threads {threads} \
            --attempt {resources.attempt}
        """


rule choose_lr:
    input:
        metrics=lambda wildcards: [f"{run}/metrics.json" for run in tuning_runs(wildcards)],
        runs=lambda wildcards: [f"{run}/run.json" for run in tuning_runs(wildcards)],
        code=CODE["models.tune"],
    output:
        f"{RESULTS}/tuning/{{variant}}/depth{{depth}}/chosen.json",
    log:
        f"{RESULTS}/logs/choose_lr/{{variant}}/depth{{depth}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/choose_lr/{{variant}}/depth{{depth}}.tsv"
    conda:
        ENVIRONMENT
    params:
        runs=tuning_runs,
    shell:
        "python -m models.tune {params.runs} --out {output} 2> {log}"


rule train:
    input:
        data=f"{DATA}.pt",
        lr=f"{RESULTS}/tuning/{{variant}}/depth{{depth}}/chosen.json",
        code=CODE["models.train"],
    output:
        run=f"{RESULTS}/runs/{{variant}}/depth{{depth}}/seed{{seed}}/run.json",
        history=f"{RESULTS}/runs/{{variant}}/depth{{depth}}/seed{{seed}}/history.csv",
        metrics=f"{RESULTS}/runs/{{variant}}/depth{{depth}}/seed{{seed}}/metrics.json",
        checkpoint=f"{RESULTS}/runs/{{variant}}/depth{{depth}}/seed{{seed}}/checkpoint.pt",
    log:
        f"{RESULTS}/logs/train/{{variant}}/depth{{depth}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{variant}}/depth{{depth}}/seed{{seed}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        attempt=lambda wildcards, attempt: attempt,
    params:
        spec=training_spec,
        folder=lambda wildcards, output: str(Path(output.run).parent),
    shell:
        """
        exec 2>{log}
        python -m models.variant --spec {params.spec:q} --lr-from {input.lr} --out {output.run}
        python -m models.train \
            --spec {output.run} \
            --out {params.folder} \
            --data results/data \
            --threads {threads} \
            --attempt {resources.attempt}
        """
