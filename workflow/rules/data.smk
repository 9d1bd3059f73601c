# Input: nothing but the data set's generator, a package. Output: its tensors, standardised by the
# training set, and a manifest of what they are. Studies share them.


rule prepare_data:
    input:
        code=CODE["models.data"],
    output:
        tensors="results/data/{dataset}.pt",
        manifest="results/data/{dataset}.json",
    log:
        "results/data/logs/prepare_data/{dataset}.log",
    benchmark:
        "results/data/benchmarks/prepare_data/{dataset}.tsv"
    conda:
        ENVIRONMENT
    shell:
        "python -m models.data --dataset {wildcards.dataset} --out results/data 2> {log}"
