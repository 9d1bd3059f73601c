# What all rules share: the settings, the plan that follows from them, Snakemake's own set-up.

import gc
import json
import os
import sys
from pathlib import Path

from snakemake.logging import logger

sys.path.insert(0, str(workflow.basedir))

from models.folders import cell_place
from models.origin import of_files, specification
from workflow.config import ROOT, from_command_line, load_study, state_of_images
from workflow.malloc import preload
from workflow.plan import Plan, code, gpus, import_closure
from workflow.progress import Progress
from workflow.slurm import outlast_outages

if not ROOT.samefile(os.curdir):
    sys.exit(f"error: start Snakemake in the project's folder, {ROOT}")

# Collecting garbage among the jobs of the graph takes a fifth of the time until the first starts.
gc.set_threshold(100_000, 50, 50)

# There is no `configfile:`, because Snakemake reads YAML 1.1, in which `no` is not a name. In what
# follows --config, it takes no lists of numbers, and no `true`.
try:
    settings = from_command_line(workflow.config_settings.config_args)
    study = load_study(workflow.configfiles, settings)
    IMAGES = state_of_images(study)
    plan = Plan(study)
    FIGURES = plan.figures()
    if study.partial and not any(Path(plan.results).glob("measures/*/quantities.csv")):
        raise ValueError(f"{plan.results}: no network has been trained and measured yet")
except ValueError as error:
    sys.exit(f"error: {error}")
config.update(study.model_dump(exclude_none=True))  # for the captions in workflow/report/


pathvars:
    study=study.study,
    dataset=study.dataset,


wildcard_constraints:
    variant="|".join(plan.variants),


# Jobs run this Python, also where nobody activated its environment, and it imports the project.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
for variable in ("PYTHONSAFEPATH", "PYTHONOPTIMIZE"):  # the latter would drop the commands' help
    os.environ.pop(variable, None)
preload()
if workflow.is_main_process:
    progress = Progress(workflow.output_settings.quiet, plan.forecast)
    logger.addFilter(progress.make_room)
    logger.addHandler(progress)
    outlast_outages()
if workflow.remote_exec:  # a job to which Slurm gave no GPU must not use one that it sees
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# A GPU runs one job at a time, unless --resources gpu=N asks for more.
if workflow.local_exec and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", max(1, gpus()))
