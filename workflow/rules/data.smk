# Output: the data as tensors, standardised by the training set, and a manifest. Studies share them.


rule prepare_data:
    input:
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
        # A function, because Snakemake would look for wildcards in the path.
        images=lambda w: (
            ["--image-folder", study.image_folder.model_dump_json()] if study.image_folder else []
        ),
        state=IMAGES,  # so that a change of the user's own images is noticed
    shell:
        """
        python -m models.data.prepare \
            --dataset {params.dataset} {params.images:q} --out results/data 2>{log}
        """
