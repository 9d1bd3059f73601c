# Input: the data and each run's specification, from the configuration. Each (variant, depth) is
# first trained once for each learning rate of the grid, on the tuning seed; the rate with the
# lowest final training loss is then used on every evaluation seed. A network that grows from a
# trained one waits for the run of its seed. Output: a folder a run.


rule tune:
    input:
        unpack(lambda wildcards: start(wildcards, config["tuning"]["seed"])),
        data=f"{DATA}.pt",
        code=CODE["models.tune"],
    output:
        runs=expand(
            f"{RESULTS}/tuning/{{{{variant}}}}/depth{{{{depth}}}}/lr{{lr}}/{{file}}.json",
            lr=TRIED,
            file=["run", "metrics"],
        ),
        histories=expand(
            f"{RESULTS}/tuning/{{{{variant}}}}/depth{{{{depth}}}}/lr{{lr}}/history.csv", lr=TRIED
        ),
        chosen=f"{RESULTS}/tuning/{{variant}}/depth{{depth}}/chosen.json",
    log:
        f"{RESULTS}/logs/tune/{{variant}}/depth{{depth}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tune/{{variant}}/depth{{depth}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        attempt=lambda wildcards, attempt: attempt,
        runtime=lambda wildcards, attempt: attempt * minutes(*size(wildcards), trained=len(TRIED)),
        mem_mb=lambda wildcards, attempt: attempt * megabytes(*size(wildcards), batch=BATCH),
        gpu=GPU,
    params:
        spec=lambda wildcards: spec(wildcards, config["tuning"]["seed"], []),
        start=start_option,
        lrs=RATES,
        folder=lambda wildcards, output: str(Path(output.chosen).parent),
        device=config["device"],
    shell:
        """
        python -m models.tune \
            --spec {params.spec:q} {params.start} \
            --lrs {params.lrs} \
            --out {params.folder} \
            --data results/data \
            --device {params.device} \
            --threads {threads} \
            --attempt {resources.attempt} \
            2>{log}
        """


rule train:
    input:
        unpack(lambda wildcards: start(wildcards, wildcards.seed)),
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
        runtime=lambda wildcards, attempt: attempt * minutes(*size(wildcards), trained=1),
        mem_mb=lambda wildcards, attempt: attempt * megabytes(*size(wildcards), batch=BATCH),
        gpu=GPU,
    params:
        spec=lambda wildcards: spec(wildcards, wildcards.seed, kept(wildcards)),
        start=start_option,
        folder=lambda wildcards, output: str(Path(output.run).parent),
        device=config["device"],
    shell:
        """
        python -m models.train \
            --spec {params.spec:q} {params.start} \
            --lr-from {input.lr} \
            --out {params.folder} \
            --data results/data \
            --device {params.device} \
            --threads {threads} \
            --attempt {resources.attempt} \
            2>{log}
        """
