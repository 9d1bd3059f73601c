# Shared by all files here: the settings of the study, the paths of its runs, and the code that
# each command depends on.

import gc
import json
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness
from snakemake.utils import update_config

# The graph of jobs is many small objects that stay. To look through them for garbage as often as
# Python does takes an eighth of the time until something starts.
gc.freeze()
gc.set_threshold(100_000, 50, 50)

sys.path.insert(0, str(workflow.basedir))

from models.strict_yaml import read_yaml
from workflow.malloc import preload
from workflow.progress import explain_kill, show_progress
from workflow.slurm import outlast_outages
from workflow.study import (
    BEGIN,
    SPEED,
    StudyError,
    cells,
    check,
    checkpoints,
    extent,
    forecast,
    gpus,
    image_folders,
    import_closure,
    measured_seeds,
    measures,
    megabytes,
    minutes,
    read_variants,
    run_spec,
    work,
)
from workflow.warm import start_warm

DEFAULT = "workflow/config/default.yaml"
CIFAR10 = "workflow/config/cifar10.yaml"

preload()
if workflow.is_main_process:
    quiet = Quietness.ALL in (workflow.output_settings.quiet or ())
    show_progress(["tune", "train"], quiet, lambda jobs: forecast(config, VARIANTS, jobs))
    explain_kill()
    outlast_outages()


onstart:
    # Snakemake limits how many jobs may start in a second, and to that end wakes its scheduler once
    # a second for each time that it was woken before. After some hundred jobs that takes half a
    # core. On one machine the cores are limit enough.
    if workflow.local_exec:
        start_warm()
        workflow.scheduler.job_rate_limiter = None
        # Of the jobs that take a GPU, as many run at a time as there are, unless --resources gpu=N
        # asks for more on each.
        if "gpu" not in workflow.global_resources:
            workflow.register_resource("gpu", GPUS)


try:
    # Snakemake takes the last of a key that is given twice, and tells neither file nor line.
    SETTINGS = {path: read_yaml(Path(path)) for path in [DEFAULT, CIFAR10, *workflow.configfiles]}
    VARIANTS = read_variants()
except ValueError as error:
    sys.exit(f"error: {error}")


configfile: DEFAULT


try:
    check(config, VARIANTS)
    IMAGES = config.get("image_folder")
    FOLDERS = image_folders(Path(IMAGES["path"])) if IMAGES else []
except StudyError as error:
    sys.exit(f"error: {error}")

# Slurm tells a job which GPU it got. One that got none takes none that it happens to see.
if workflow.remote_exec:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
GPUS = gpus() if config["device"] != "cpu" else 0

RESULTS = f"results/{config['study']}"
DATA = f"results/data/{config['dataset']}"
CELLS = [f"{variant}/depth{depth}" for variant, depth in cells(config)]
WANTED = [f"{RESULTS}/runs/{cell}/seed{seed}" for cell in CELLS for seed in config["seeds"]]
RATES = config["tuning"]["lrs"]
TRIED = RATES if len(RATES) > 1 else []  # a grid of one rate leaves nothing to try
TRIALS = [f"{RESULTS}/tuning/{cell}/lr{lr}" for cell in CELLS for lr in TRIED]

PAIR = list(config["compare_depths"].values())
EVERY = [*config["variants"], *config["interventions"]]
MEASURES = [name for name in config["measures"] if name != "seeds"]

# Trained for networks of the tuning seed to grow from; in no table.
SHALLOW, TUNER = config["compare_depths"]["shallow"], config["tuning"]["seed"]
STARTS = [VARIANTS[name].get("start") for name in config["interventions"] + config["variants"]]
PARENTS = sorted({f"{RESULTS}/runs/{name}/depth{SHALLOW}/seed{TUNER}" for name in STARTS if name})


def finished(folders, last):
    """All of them; of a partial study only those that have the last of their files."""
    return [folder for folder in folders if not config["partial"] or Path(folder, last).exists()]


RUNS = finished(WANTED, "metrics.json")
TUNING = finished(TRIALS, "metrics.json")
PARENTS = finished(PARENTS, "metrics.json")
MEASURABLE = [f"{RESULTS}/measures/{name}" for name in EVERY]
MEASURED = finished(MEASURABLE, "quantities.csv")
if not RUNS or not MEASURED:
    raise WorkflowError("partial: nothing to report yet; no network is trained and measured")

# For the forecasts of cost: how large each run is, this study, and that of He et al.
PUBLISHED = SETTINGS[DEFAULT]
update_config(PUBLISHED, SETTINGS[CIFAR10])
try:
    check(PUBLISHED, VARIANTS)
except StudyError as error:
    sys.exit(f"error: {CIFAR10}: {error}")
START, RATE = SPEED["cuda"]
EXTENTS = {
    "work": {
        f"{variant}/depth{depth}": work(config, VARIANTS[variant], depth, trained=1)
        for variant, depth in cells(config)
    },
    "studies": {study["study"]: extent(study, VARIANTS) for study in (config, PUBLISHED)},
    "gpu": [START, 1 / RATE],
    "begin": BEGIN,
}

# The jobs that the paper accounts for, by the paths of their logs and benchmarks.
JOBS = [
    *[f"tune/{cell}" for cell in CELLS],
    *[f"train/{cell}/seed{seed}" for cell in CELLS for seed in config["seeds"]],
    *[parent.replace(f"{RESULTS}/runs", "train") for parent in PARENTS],
    *[f"measure/{variant}" for variant in EVERY],
    "collect",
]
BENCHMARKS = [f"{RESULTS}/benchmarks/{job}.tsv" for job in JOBS]
TRAINED = [*RUNS, *TUNING, *PARENTS]

ENVIRONMENT = f"{workflow.basedir}/environment.yml"


wildcard_constraints:
    dataset=config["dataset"],
    variant="|".join(VARIANTS),
    depth=r"\d+",
    seed=r"\d+",
    figure=r"[a-z0-9_]+",


CODE = import_closure(
    [
        "models.data",
        "models.variant",
        "models.tune",
        "models.train",
        "analysis.collect",
        "analysis.cost",
        "analysis.measure",
        "analysis.join",
        "analysis.errata",
        "analysis.missing",
        "analysis.horse_race",
        *[f"analysis.measures.{name}" for name in MEASURES],
        "analysis.provenance",
        "report.claims",
        "report.values",
        "report.render",
        *[f"analysis.figures.{path.stem}" for path in Path("analysis/figures").glob("[a-z]*.py")],
    ]
)


def spec(wildcards, seed, kept):
    entry = VARIANTS[wildcards.variant]
    return run_spec(config, entry, wildcards.variant, int(wildcards.depth), int(seed), kept)


def kept(wildcards):
    return checkpoints(config, wildcards.variant, int(wildcards.depth), int(wildcards.seed))


def measured(wildcards):
    """The finished runs of a variant that are measured."""
    return [
        f"{RESULTS}/runs/{wildcards.variant}/depth{depth}/seed{seed}"
        for depth in PAIR
        for seed in measured_seeds(config)
    ]


def gpu(wildcards):
    """GPUs that a job asks for. A study for any device takes one where Snakemake starts on a machine
    that has some, but does not wait for one of a cluster's."""
    return int(config["device"] == "cuda" or (GPUS > 0 and workflow.local_exec))


def size(wildcards):
    """What decides how long a job takes: study, variant, and depth, the deeper if it has two."""
    return config, VARIANTS[wildcards.variant], int(wildcards.get("depth", PAIR[-1]))


def start(wildcards, seed):
    """The finished run that a network grows from, if it does: the shallower one of its seed."""
    if parent := VARIANTS[wildcards.variant].get("start"):
        run = f"{RESULTS}/runs/{parent}/depth{SHALLOW}/seed{seed}"
        return {"start": [f"{run}/run.json", f"{run}/checkpoint.pt"]}
    return {}


def start_option(wildcards, input):
    return f"--start {Path(input.start[0]).parent}" if "start" in input.keys() else ""
