"""What a study asks for: its cells, its runs, its figures, and limits for its jobs."""

import functools
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from statistics import mean

import grimp

from models.files import nearest, read_constant
from models.folders import cell_place, run_folder
from models.origin import of_files, of_json
from models.variant import Cell, Start, Training, read_variants
from workflow.config import MEASURES, ROOT, Study, images

# What a core with AVX-512 and an H200 take for each of five runs side by side: seconds to begin a
# layer, and multiply-adds a second. A study with `device: auto` asks a cluster for no GPU, so its
# limits are those of a core.
SPEED = {"cpu": (0.25e-3, 40e9), "auto": (0.25e-3, 40e9), "cuda": (0.02e-3, 3e12)}
START = 3  # seconds until Python and PyTorch are loaded
MEASURING = 600  # training steps of a run that take as long as measuring one network
LANES = read_constant(ROOT / "models/training/cell.py", "LANES")  # runs side by side, at most
TABLES = ("runs", "history", "tuning", "steps_to_fit", "growth", "cost", "missing", "quantities")
GRAPH = grimp.build_graph("models", "analysis", "report", cache_dir=None)  # of their imports


class Plan:
    """The runs, figures and limits of a study. Its paths are relative to the project."""

    def __init__(self, study: Study):
        self.study = study
        self.variants = read_variants()
        self.results = f"results/{study.study}"
        self.names = [*study.variants, *study.interventions]
        self.pair = [study.compare_depths.shallow, study.compare_depths.deep]
        self.examples, self.shape = images(study)  # for training; channels, height, width
        self.measured = [name for name in MEASURES if getattr(study.measures, name)]
        self.tables = sorted([*TABLES, *self.measured])
        modules = [f"analysis.measures.{name}" for name in self.measured]
        self.measuring = import_closure("analysis.measure", *modules)
        self.measured_seeds = study.seeds[: study.measures.seeds]
        lrs = study.tuning.lrs
        self.rates = lrs if len(lrs) > 1 else []  # to try; a grid of one leaves nothing to try

    def cells(self) -> list[tuple[str, int]]:
        """Return the pairs of variant and depth; interventions have the compared depths only."""
        cells = [(name, depth) for name in self.study.variants for depth in self.study.depths]
        return cells + [(name, depth) for name in self.study.interventions for depth in self.pair]

    def cell_file(self, name: str, depth: int) -> str:
        """Return the file that says that a cell is trained."""
        return f"{self.results}/cells/{cell_place(name, depth)}.json"

    def run(self, name: str, depth: int, budget: int, seed: int) -> str:
        """Return the folder of a run."""
        return f"{self.results}/{run_folder(cell_place(name, depth), budget, seed)}"

    def parent(self, name: str) -> list[str]:
        """Return the file of the cell from whose runs a network grows; none if it does not."""
        start = self.variants[name].start
        return [self.cell_file(start, self.pair[0])] if start else []

    def is_parent(self, name: str, depth: int) -> bool:
        """Return whether networks may grow from a cell."""
        # Any known network counts, so that runs stay as they are when a study adds one.
        starts = {variant.start for variant in self.variants.values()}
        return depth == self.pair[0] and name in starts

    def measures(self, name: str) -> dict[str, dict]:
        """Return the settings of each measure of a network; `at` is a list of checkpoints."""
        kind = "variants" if name in self.study.variants else "interventions"
        measures = self.study.measures.model_dump(exclude_none=True, exclude={"seeds"})
        return {key: {**value, "at": value["at"][kind]} for key, value in measures.items()}

    def measure_files(self, name: str) -> list[str]:
        """Return the files that the measurement of a network writes, the last one last."""
        files = [f"{table}.csv" for table in (*self.measured, "quantities")]
        return [f"{self.results}/measures/{name}/{file}" for file in (*files, "measured.json")]

    def measurement(self, name: str) -> str:
        """Return a digest of what a network's measurement is, and of the code that measures."""
        return of_json([self.measures(name), self.measured_runs(name), of_files(self.measuring)])

    def measured_runs(self, name: str) -> list[str]:
        """Return the folders of the measured runs of a network, which have the longest budget."""
        longest = max(self.study.budgets)
        return [self.run(name, d, longest, s) for d in self.pair for s in self.measured_seeds]

    def checkpoints(self, name: str) -> list[str]:
        """Return the checkpoints that measured runs keep: those of the measures, and both ends."""
        steps = set()
        for measure, settings in self.measures(name).items():
            done = {0 if at == "init" else int(at[4:]) for at in settings["at"] if at != "end"}
            # Internal covariate shift compares a checkpoint with the one a step later.
            steps |= done | {step + 1 for step in done if measure == "ics"}
        return ["init", *[f"step{step}" for step in sorted(steps - {0})], "end"]

    def finished(self, paths: list[str]) -> list[str]:
        """Return all files; of a partial study, only those that are there."""
        return [path for path in paths if not self.study.partial or Path(path).exists()]

    def width(self, name: str) -> int:
        """Return the channels of the first stage of a network."""
        return self.study.width * self.variants[name].times.width

    def cell(self, name: str, depth: int) -> Cell:
        """Return a cell. Its job depends on nothing else, so an edit reruns what it changes."""
        variant, study = self.variants[name], self.study
        training = {**dict(study.training), "clipped": variant.factors.norm == "none"}
        training |= variant.training.model_dump(exclude_none=True)
        measured = depth in self.pair
        return Cell(
            dataset=study.dataset,
            variant=name,
            factors=variant.factors,
            depth=depth,
            width=self.width(name),
            budgets=study.budgets,
            times=variant.times.epochs,
            seeds=study.seeds,
            train=Training(**training),
            growth=variant.growth,
            frozen=variant.frozen,
            tuning=study.tuning,
            measured=len(self.measured_seeds) if measured else 0,
            checkpoints=self.checkpoints(name) if measured else [],
            start=Start(variant=variant.start, depth=self.pair[0]) if variant.start else None,
            parent=self.is_parent(name, depth),
        )

    def figures(self) -> dict[str, tuple[str, ...]]:
        """Return the figures of the study, each with the tables that it draws."""
        there = {*self.tables, "rank_correlation"} - (set() if self.rates else {"tuning"})
        figures = {}
        for path in sorted((ROOT / "analysis/figures").glob("[a-z]*.py")):
            tables = read_constant(path, "TABLES")
            for table in set(tables) - {*TABLES, *MEASURES, "rank_correlation"}:
                raise ValueError(f"{path}: TABLES: {table!r} is not known{nearest(table, there)}")
            if there.issuperset(tables):
                figures[path.stem] = tables
        return figures

    def trained_epochs(self, name: str) -> int:
        """Return the epochs of all runs of a cell, without those that a grid of rates grows by."""
        study, rates = self.study, len(self.rates)
        tried: dict[int, int] = {}  # rates by budget
        for budget in sorted(study.budgets):
            trial = budget // 4 if study.tuning.halving else 0
            if trial:
                tried.setdefault(trial, rates)
            tried[budget] = min(2, rates) if trial else rates
        tuning = len(study.tuning.seeds) * sum(epochs * n for epochs, n in tried.items())
        return self.variants[name].times.epochs * (len(study.seeds) * sum(study.budgets) + tuning)

    def seconds(self, rule: str, name: str, depth: int) -> float:
        """Return the seconds in which a job trains or measures its networks, by SPEED."""
        size, width = self.study.training.batch_size, self.width(name)
        long = [side for side in self.shape[1:] if side > 1]
        # A stage doubles the channels and halves each side.
        stages = [(width * 2**i) ** 2 * math.prod(long) / 2 ** (i * len(long)) for i in range(3)]
        layer = 3 ** len(long) * mean(stages)
        steps = self.trained_epochs(name) * (self.examples // size)
        if rule == "measure":
            steps = MEASURING * len(self.measured_runs(name))
        begin, rate = SPEED[self.study.device]
        # A backward pass costs as much as two forward ones.
        return steps * depth * (begin + 3 * size * layer / rate)

    def priority(self, name: str, depth: int) -> float:
        """Return a cell's priority: parents, then long ones, so that none is left at the end."""
        return self.seconds("cell", name, depth) * (1000 if self.is_parent(name, depth) else 1)

    def minutes(self, rule: str, name: str, depth: int) -> int:
        """Return the time limit of a job: five times its work, and ten minutes for slow disks."""
        return 10 + math.ceil(5 * self.seconds(rule, name, depth) / 60)

    def megabytes(self, rule: str, name: str, depth: int) -> int:
        """Return the memory limit: programs, images twice, a batch's layer outputs four times."""
        settings, tuning = self.study.training, self.study.tuning
        lanes = min(LANES, max(len(self.study.seeds), len(self.rates) * len(tuning.seeds)))
        # While a cell is evaluated, the outputs of one layer are there at a time.
        kept = lanes * max(settings.batch_size * depth, settings.evaluation_batch_size)
        if rule == "measure":
            kept = 1000 * depth  # at most, at once
        outputs = kept * self.width(name) * math.prod(self.shape[1:])
        programs = 6000 if self.study.device == "cuda" else 1500
        return programs + 4 * (2 * self.examples * math.prod(self.shape) + 4 * outputs) // 2**20

    def gpus(self, local: bool) -> int:
        """Return how many GPUs a job asks for; `device: auto` asks no cluster for one."""
        own = local and self.study.device == "auto" and gpus() > 0
        return int(own or self.study.device == "cuda")

    def forecast(self, jobs: dict[str, int]) -> str:
        """Return a line about the hours that the planned jobs take; "" for less than two hours."""
        deep = [(name, self.pair[1]) for name in self.names]
        planned, hours = [], 0.0
        for rule, cells in {"cell": self.cells(), "measure": deep}.items():
            if jobs.get(rule):
                planned.append(f"{jobs[rule]} {rule}")
                each = START + mean(self.seconds(rule, *cell) for cell in cells)
                hours += jobs[rule] * each / 3600
        if hours < 2:
            return ""
        unit = "GPU" if self.study.device == "cuda" else "core"
        return f"jobs: {', '.join(planned)}; about {hours:.0f} {unit}-hours"


@functools.cache
def gpus() -> int:
    """Return how many GPUs this process may use, without the seconds that PyTorch takes to tell."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    numbers = re.findall(r"^GPU (\d+)", listed, re.MULTILINE)
    known = [*numbers, *re.findall(r"UUID: ([^)]+)", listed)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(numbers)).split(",")
    for count, name in enumerate(map(str.strip, visible)):
        # As CUDA does, stop at the first name that is no GPU, such as -1. An identity may be short.
        if not name or not any(each.startswith(name) for each in known):
            return count
    return len(visible)


def code() -> list[str]:
    """Return all files of the project that can change a result."""
    places = [
        "Snakefile", "pyproject.toml", "models/**/*.py", "analysis/**/*.py", "report/*",
        "report/sections/*", "report/templates/*", "report/fonts/*", "workflow/*.py",
        "workflow/rules/*", "workflow/config/variants.yaml", "workflow/envs/*",
    ]  # fmt: skip
    paths = {path for place in places for path in ROOT.glob(place) if path.is_file()}
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def import_closure(*modules: str) -> list[str]:
    """Return the project's own files that some modules depend on, themselves included, sorted."""
    names = {name for module in modules for name in GRAPH.find_upstream_modules(module)}
    files = {f"{name.replace('.', '/')}.py" for name in names.union(modules)}
    return sorted(file for file in files if (ROOT / file).exists())  # packages here are empty
