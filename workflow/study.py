"""From a study's configuration to its runs, and from a module to the code it depends on."""

import difflib
import functools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

import grimp
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from analysis.looks import LOOKS
from models.strict_yaml import read_yaml
from models.variant import Variant

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "workflow/schemas"
VARIANTS = ROOT / "workflow/config/variants.yaml"


DATASETS = {  # those of models/sources.py: images to train on; channels, height, width of one
    "mnist1d": (4000, (1, 1, 40)),
    "digits": (1437, (1, 8, 8)),
    "fashion_mnist": (60_000, (1, 28, 28)),
    "cifar10": (50_000, (3, 32, 32)),
}

# How fast one core with AVX-512, or an H200, trains: seconds to begin a layer, multiply-adds a
# second in it. On a GPU a step is one CUDA graph, and numbers are of single precision.
# A study whose device is `auto` gets no GPU from a cluster, for it has not asked for one.
SPEED = {"cpu": (0.5e-3, 40e9), "auto": (0.5e-3, 40e9), "cuda": (0.05e-3, 3e12)}
BEGIN = 3  # seconds until Python and PyTorch are there

COMPARED = ("plain", "plain_bn", "residual", "residual_bn")  # in claims, figures and text


class StudyError(ValueError):
    """The configuration is wrong; the message says what, where, and what was expected."""


def read_variants(path: Path = VARIANTS) -> dict[str, dict]:
    """What sets each known variant apart, by name.

    Raises:
        ValueError: of the first mistake found.
    """
    variants = read_yaml(path)
    refuse(variants, "variants.schema.yaml", path.name)
    for name, entry in variants.items():
        try:
            Variant(**factors(entry))
        except ValueError as error:
            raise StudyError(f"{path.name}: {name}: {error}") from None
        parent = entry.get("start", name)
        if parent not in variants:
            raise StudyError(f"{path.name}: {name}.start: {unknown(parent, variants)}")
        if factors(variants[parent]) != factors(entry):
            raise StudyError(f"{path.name}: {name}.start: {parent} has other factors")
    return variants


def factors(entry: dict) -> dict:
    """What an entry says of the network itself (models/variant.py)."""
    return {key: entry[key] for key in entry if key not in ("gradient", "times", "start")}


def check(config: dict, variants: Iterable[str]) -> None:
    """Refuse a configuration that could not become a paper.

    Raises:
        StudyError: of the first mistake found.
    """
    refuse(config, "config.schema.yaml", "config")
    if config["dataset"] not in DATASETS and "image_folder" not in config:
        raise StudyError(f"config: dataset: {unknown(config['dataset'], DATASETS)}")
    if config["dataset"] in DATASETS and "image_folder" in config:
        raise StudyError(
            f"config: image_folder: dataset '{config['dataset']}' has its own images; "
            "name yours otherwise"
        )
    for key in ("variants", "interventions"):
        for name in config[key]:
            if name not in variants:
                raise StudyError(f"config: {key}: {unknown(name, variants)}")
            if name not in LOOKS:
                raise StudyError(
                    f"config: {key}: {name!r} has no label; add it to LOOKS in analysis/looks.py"
                )
    if twice := set(config["variants"]) & set(config["interventions"]):
        raise StudyError(f"config: interventions: '{min(twice)}' is among variants too")
    for name in COMPARED:
        if name not in config["variants"]:
            raise StudyError(f"config: variants: {name} is missing; the claims compare it")
    for depth in config["depths"]:
        if depth < 8 or (depth - 2) % 6:
            raise StudyError(f"config: depths: {depth} is not 6n + 2 (8, 14, 20, 26, 32, ...)")
    pair = config["compare_depths"]
    for role, depth in pair.items():
        if depth not in config["depths"]:
            raise StudyError(
                f"config: compare_depths.{role}: {depth} is not among depths {config['depths']}"
            )
    if pair["shallow"] >= pair["deep"]:
        raise StudyError(
            f"config: compare_depths: shallow ({pair['shallow']}) must be less than deep "
            f"({pair['deep']})"
        )
    if config["tuning"]["seed"] in config["seeds"]:
        raise StudyError(
            f"config: tuning.seed: {config['tuning']['seed']} is among seeds {config['seeds']}; "
            "a learning rate must not be chosen on a run it is judged by"
        )
    if config["study"] == "data":
        raise StudyError("config: study: results/data is where data sets go; name it otherwise")
    # How many images a folder has is known when it is read; models/train.py then says the same.
    if config["dataset"] in DATASETS:
        fits(config["training"], config["dataset"])


def fits(training: dict, dataset: str) -> None:
    """Refuse a batch without enough examples to fill it, and a warm-up without end.

    Raises:
        StudyError: of the first mistake found.
    """
    (examples, _), batch_size = DATASETS[dataset], training["batch_size"]
    if batch_size > examples:
        raise StudyError(
            f"config: training.batch_size: {batch_size} is more than {dataset} has, {examples} "
            "training examples"
        )
    total = training["epochs"] * (examples // batch_size)
    if training["warmup_steps"] >= total:
        raise StudyError(
            f"config: training.warmup_steps: {training['warmup_steps']} leaves none of the "
            f"{total} steps"
        )


def whole(_checker: object, x: object) -> bool:
    """JSON Schema takes 1.0 too, which would name a folder seed1.0."""
    return isinstance(x, int) and not isinstance(x, bool)


def finite(_checker: object, x: object) -> bool:
    """YAML and Python's JSON have numbers that are none."""
    number = isinstance(x, int | float) and not isinstance(x, bool)
    return number and abs(x) <= sys.float_info.max


def matches(_validator: object, pattern: str, x: object, _schema: dict) -> Iterable:
    """For `$` JSON Schema has the end of a text, and Python a newline before it too."""
    if isinstance(x, str) and not re.fullmatch(pattern, x):
        yield ValidationError(f"{x!r} does not match {pattern!r}")


Validator = extend(
    Draft202012Validator,
    validators={"pattern": matches},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": whole, "number": finite}
    ),
)


def image_folders(path: Path) -> list[str]:
    """The folders of one's own images: one is newer when a file comes to it or goes.

    Raises:
        StudyError: there is none, or Snakemake would take the name of one for something else.
    """
    if not path.is_dir():
        raise StudyError(f"config: image_folder.path: {str(path)!r} is not a folder")
    folders = [str(folder) for folder in path.glob("**/")]
    for folder in folders:
        if not folder.isprintable() or set(folder) & set("{}<>"):
            raise StudyError(
                f"config: image_folder: {folder!r}: Snakemake has a meaning for {{ }} < > in a "
                "path, and none for what cannot be printed; name it otherwise"
            )
    return folders


def refuse(data: dict, schema: str, source: str) -> None:
    """Hold data against a schema.

    Raises:
        StudyError: of the first mistake found, which is said to be in `source`.
    """
    errors = sorted(validator(schema).iter_errors(data), key=lambda e: list(e.path))
    if errors:
        raise StudyError(f"{source}: {describe(errors[0])}")


@functools.cache
def validator(schema: str) -> Validator:
    return Validator(read_yaml(SCHEMAS / schema))


def describe(error: ValidationError) -> str:
    """One line: the key, what is wrong with it, what it is for."""
    where = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{where}." if where else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        name = next(key for key in error.instance if key not in known)
        return prefix + unknown(str(name), known)
    if error.validator == "required":
        name = next(key for key in error.validator_value if key not in error.instance)
        meaning = error.schema["properties"][name].get("description")
        return f"{prefix}{name} is missing" + (f": {meaning}" if meaning else "")
    meaning = error.schema.get("description")
    return (f"{where}: " if where else "") + error.message + (f" ({meaning})" if meaning else "")


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that `name` is not known, with the nearest name that is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    return f"{name!r} is not known; {hint}"


def cells(config: dict) -> list[tuple[str, int]]:
    """The study's pairs of variant and depth: interventions have the two depths compared only."""
    pair = list(config["compare_depths"].values())
    return [
        *((variant, depth) for variant in config["variants"] for depth in config["depths"]),
        *((variant, depth) for variant in config["interventions"] for depth in pair),
    ]


def measures(config: dict, variant: str) -> dict[str, dict]:
    """The settings of each measure as `variant` is measured, with the moments it is measured at."""
    kind = "variants" if variant in config["variants"] else "interventions"
    return {
        name: {**settings, "at": settings["at"][kind]}
        for name, settings in config["measures"].items()
        if name != "seeds"
    }


def measured_seeds(config: dict) -> list[int]:
    """The seeds whose networks are measured: the first few of the study's."""
    return config["seeds"][: config["measures"]["seeds"]]


def checkpoints(config: dict, variant: str, depth: int, seed: int) -> list[str]:
    """The moments whose weights a run keeps: the ends, and those at which it is measured.

    Covariate shift looks at the weights after one more step too.
    """
    steps = set()
    if depth in config["compare_depths"].values() and seed in measured_seeds(config):
        for name, settings in measures(config, variant).items():
            done = [0 if at == "init" else int(at[4:]) for at in settings["at"] if at != "end"]
            steps |= {step + (name == "ics") for step in done} | set(done)
    return ["init", *[f"step{step}" for step in sorted(steps) if step], "end"]


def run_spec(
    config: dict, entry: dict, variant: str, depth: int, seed: int, checkpoints: list[str]
) -> str:
    """The run as canonical JSON (see models/variant.py), but for what other runs will tell: its
    learning rate, and the network it grows from.

    The text is all that a training job depends on, so that editing the configuration reruns
    the runs it changes and no others.
    """
    times = {"epochs": 1, "width": 1, **entry.get("times", {})}
    training = dict(config["training"])
    training["epochs"] *= times["epochs"]
    training["gradient_clip"] = training.pop("gradient_clip_without_norm")
    usual = "clipped" if entry.get("norm") == "none" else "raw"
    training["gradient"] = entry.get("gradient", usual)
    spec = {
        "dataset": config["dataset"],
        "variant": variant,
        "factors": factors(entry),
        "depth": depth,
        "width": config["width"] * times["width"],
        "seed": seed,
        "train": {**training, "lr": None},
        "checkpoints": checkpoints,
    }
    return json.dumps(spec, sort_keys=True)


def images(config: dict) -> tuple[int, tuple[int, int, int]]:
    """How many images there are to train on, at most, and channels, height and width of one."""
    if folder := config.get("image_folder"):
        files = sum(len(names) for _, _, names in os.walk(folder["path"]))
        return files, (folder.get("channels", 3), folder["size"], folder["size"])
    return DATASETS[config["dataset"]]


def kernels(config: dict, entry: dict) -> list[tuple[int, int]]:
    """Of a layer of each stage: numbers in its kernel, and positions at which it is applied."""
    sides = [side for side in images(config)[1][1:] if side > 1]
    width = config["width"] * entry.get("times", {}).get("width", 1)
    return [
        (3 ** len(sides) * (width * 2**stage) ** 2, math.prod(sides) // 2 ** (stage * len(sides)))
        for stage in range(3)
    ]


def work(
    config: dict, entry: dict, depth: int, trained: int = 0, measured: int = 0
) -> tuple[float, float]:
    """How often a layer is gone through, and multiply-adds, to train, or to measure, so many
    networks of a depth.

    To measure a network takes as long as some 300 steps, however many it was trained for.
    """
    batch = config["training"]["batch_size"]
    epochs = config["training"]["epochs"] * entry.get("times", {}).get("epochs", 1)
    steps = trained * epochs * (images(config)[0] // batch) + 300 * measured
    products = mean(numbers * positions for numbers, positions in kernels(config, entry))
    return steps * depth, steps * depth * 3 * batch * products  # forwards, and twice backwards


def seconds(config: dict, entry: dict, depth: int, trained: int = 0, measured: int = 0) -> float:
    """What that takes, at SPEED."""
    layers, products = work(config, entry, depth, trained, measured)
    start, rate = SPEED[config["device"]]
    return layers * start + products / rate


def minutes(config: dict, entry: dict, depth: int, trained: int = 0, measured: int = 0) -> int:
    """Time limit of a job that does so: five times as long, and ten minutes for slow disks."""
    return 10 + math.ceil(5 * seconds(config, entry, depth, trained, measured) / 60)


def megabytes(config: dict, entry: dict, depth: int, measured: bool = False) -> int:
    """Memory limit of a job that keeps the layers' outputs for a batch, to go back through them;
    measuring, for some 1000 images.

    Twice what Python, PyTorch and Snakemake take; the images, twice; each output, four times.
    """
    batch = 1000 if measured else config["training"]["batch_size"]
    count, (channels, height, width) = images(config)
    programs = 6000 if config["device"] == "cuda" else 1500
    widened = config["width"] * entry.get("times", {}).get("width", 1)
    numbers = 2 * count * channels * height * width + 4 * batch * depth * widened * height * width
    return programs + 4 * numbers // 2**20


def gpus() -> int:
    """How many GPUs of this machine this process may use, without the seconds that PyTorch takes
    to tell."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name])
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(
        ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False
    )
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def extent(config: dict, variants: dict[str, dict]) -> dict:
    """How much a whole study is: of each rule the jobs, and the work of them all; gigabytes of
    weights."""
    rates, pair = config["tuning"]["lrs"], config["compare_depths"].values()
    tried, runs = len(rates) if len(rates) > 1 else 0, len(config["seeds"])
    jobs: dict[str, list[tuple[float, float]]] = {"tune": [], "train": [], "measure": []}
    left = 0.0  # bytes
    for variant, depth in cells(config):
        entry = variants[variant]
        jobs["tune"].append(work(config, entry, depth, trained=tried))
        jobs["train"] += runs * [work(config, entry, depth, trained=1)]
        weights = depth * mean(numbers for numbers, _ in kernels(config, entry))
        kept = sum(len(checkpoints(config, variant, depth, seed)) for seed in config["seeds"])
        left += 4 * weights * kept
    networks = len(measured_seeds(config))
    for variant in [*config["variants"], *config["interventions"]]:
        each = [work(config, variants[variant], depth, measured=networks) for depth in pair]
        jobs["measure"].append((sum(layers for layers, _ in each), sum(p for _, p in each)))
    return {
        "rules": {
            rule: {
                "jobs": len(these),
                "layers": sum(layers for layers, _ in these),
                "products": sum(products for _, products in these),
            }
            for rule, these in jobs.items()
        },
        "gigabytes": left / 1e9,
    }


def forecast(config: dict, variants: dict[str, dict], jobs: dict[str, int]) -> str:
    """What so many jobs of each rule will take, in a line; nothing if that is hardly an hour.

    Each is reckoned as the mean of its rule over the whole study.
    """
    whole, (start, rate) = extent(config, variants), SPEED[config["device"]]
    jobs = {rule: jobs[rule] for rule in whole["rules"] if jobs.get(rule)}
    hours = 0.0
    for rule, n in jobs.items():
        every = whole["rules"][rule]
        taken = every["layers"] * start + every["products"] / rate
        hours += n * (BEGIN + taken / every["jobs"]) / 3600
    if hours < 2:
        return ""
    counts = ", ".join(f"{n} {rule}" for rule, n in jobs.items())
    unit = "GPU" if config["device"] == "cuda" else "core"
    gigabytes = whole["gigabytes"] * jobs.get("train", 0) / whole["rules"]["train"]["jobs"]
    return f"jobs: {counts}; about {hours:.0f} {unit}-hours, and {gigabytes:.1f} GB of weights"


def import_closure(modules: Iterable[str]) -> dict[str, list[str]]:
    """The project's own files that each module depends on, itself included, sorted."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("models", "analysis", "report", cache_dir=None)
    sys.path.pop(0)
    return {
        module: sorted(
            f"{name.replace('.', '/')}.py"
            for name in {module, *graph.find_upstream_modules(module)}
            if (ROOT / f"{name.replace('.', '/')}.py").exists()  # packages here are empty
        )
        for module in modules
    }
