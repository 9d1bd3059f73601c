# Input: nothing but where the data come from (models/sources.py), or a folder of images. Output:
# tensors, standardised by the training set, and a manifest of what they are. Studies share them.


rule prepare_data:
    input:
        folders=FOLDERS,
        code=CODE["models.data"],
    output:
        tensors="results/data/{dataset}.pt",
        manifest="results/data/{dataset}.json",
    log:
        "results/data/logs/prepare_data/{dataset}.log",
    benchmark:
        "results/data/benchmarks/prepare_data/{dataset}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        images=["--image-folder", json.dumps(IMAGES, sort_keys=True)] if IMAGES else [],
    shell:
        "python -m models.data --dataset {wildcards.dataset} {params.images:q} --out results/data 2> {log}"
