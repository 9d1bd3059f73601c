# Shared by all files here: the settings of the study, the paths of its runs, and the code that
# each command depends on.

import json
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness

sys.path.insert(0, str(workflow.basedir))

from workflow.progress import show_progress
from workflow.study import StudyError, check, import_closure, read_variants, run_spec

if workflow.is_main_process:
    quiet = Quietness.ALL in (workflow.output_settings.quiet or ())
    show_progress(rules=["tune", "train"], errors=quiet)

FACTORS = read_variants()
try:
    check(config, FACTORS)
except StudyError as error:
    raise WorkflowError(str(error))

RESULTS = f"results/{config['study']}"
DATA = f"results/data/{config['dataset']}"
CELLS = [f"{variant}/depth{depth}" for variant in config["variants"] for depth in config["depths"]]
RUNS = [f"{RESULTS}/runs/{cell}/seed{seed}" for cell in CELLS for seed in config["seeds"]]
TUNING = [f"{RESULTS}/tuning/{cell}/lr{lr}" for cell in CELLS for lr in config["tuning"]["lrs"]]

# The jobs that the paper accounts for, by the paths of their logs and benchmarks.
JOBS = [
    *[f"tune/{cell}/lr{lr}" for cell in CELLS for lr in config["tuning"]["lrs"]],
    *[f"choose_lr/{cell}" for cell in CELLS],
    *[f"train/{cell}/seed{seed}" for cell in CELLS for seed in config["seeds"]],
    "collect",
]

ENVIRONMENT = f"{workflow.basedir}/environment.yml"


wildcard_constraints:
    variant="|".join(config["variants"]),
    depth=r"\d+",
    seed=r"\d+",
    lr=r"[0-9.e-]+",
    figure=r"[a-z0-9_]+",


CODE = import_closure(
    [
        "models.data",
        "models.variant",
        "models.tune",
        "models.train",
        "analysis.collect",
        "analysis.provenance",
        "report.claims",
        "report.values",
        "report.render",
        *[f"analysis.figures.{path.stem}" for path in Path("analysis/figures").glob("[a-z]*.py")],
    ]
)


def spec(variant, depth, seed, lr, checkpoints):
    return run_spec(config, FACTORS[variant], variant, int(depth), int(seed), lr, checkpoints)


def tuning_spec(wildcards):
    lr = float(wildcards.lr)
    return spec(wildcards.variant, wildcards.depth, config["tuning"]["seed"], lr, [])


def training_spec(wildcards):
    return spec(wildcards.variant, wildcards.depth, wildcards.seed, None, ["init", "end"])


def tuning_runs(wildcards):
    cell = f"{RESULTS}/tuning/{wildcards.variant}/depth{wildcards.depth}"
    return [f"{cell}/lr{lr}" for lr in config["tuning"]["lrs"]]
