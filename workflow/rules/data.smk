# Output: the data as tensors, standardised by the training set, and a manifest. Studies share them.


rule prepare_data:
    input:
        folders=FOLDERS,
        code=import_closure("models.data.prepare"),
    output:
        tensors="results/data/<dataset>.pt",
        manifest="results/data/<dataset>.json",
    log:
        "results/data/logs/<dataset>.log",
    conda:
        "../../environment.yml"
    params:
        dataset=study.dataset,
        images=["--image-folder", study.image_folder.model_dump_json()] if FOLDERS else [],
    shell:
        """
        python -m models.data.prepare \
            --dataset {params.dataset} {params.images:q} --out results/data 2>{log}
        """
