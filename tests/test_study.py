"""The configuration: what is refused, with which words, and what a run depends on."""

import copy
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import yaml
from conftest import QUICK, ROOT, copy_project, snakemake
from snakemake.utils import update_config
from torch.utils.flop_counter import FlopCounterMode

from analysis.looks import LOOKS
from models.network import Network
from models.sources import SOURCES
from models.train import lr_factor
from models.variant import Variant, from_dict
from workflow.study import (
    COMPARED,
    DATASETS,
    SPEED,
    StudyError,
    cells,
    check,
    checkpoints,
    factors,
    forecast,
    import_closure,
    measures,
    megabytes,
    minutes,
    read_variants,
    run_spec,
    seconds,
)

DEFAULT = yaml.safe_load((ROOT / "workflow/config/default.yaml").read_text())
VARIANTS = read_variants()


def test_every_variant_has_a_look() -> None:
    assert list(LOOKS) == list(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_host_has_shortcuts_and_norms_if_its_intervention_has(name: str) -> None:
    host = LOOKS[name].host
    assert host in COMPARED
    assert LOOKS[host].host == host
    for factor in ("shortcut", "norm"):
        here, there = (VARIANTS[variant].get(factor) == "none" for variant in (name, host))
        assert here == there


def test_a_variant_without_a_look_is_refused_before_anything_is_trained() -> None:
    config = {**copy.deepcopy(DEFAULT), "interventions": ["residual_third"]}
    with pytest.raises(StudyError, match="'residual_third' has no label; add it to LOOKS"):
        check(config, {**VARIANTS, "residual_third": {}})


def test_the_default_study_is_accepted() -> None:
    check(DEFAULT, VARIANTS)


@pytest.mark.parametrize("name", ["quick", "fashion_mnist", "cifar10"])
def test_the_other_studies_are_accepted(name: str) -> None:
    config = copy.deepcopy(DEFAULT)
    update_config(config, yaml.safe_load((ROOT / f"workflow/config/{name}.yaml").read_text()))
    check(config, VARIANTS)
    assert config["study"] == name


def test_cifar10_is_the_protocol_of_he_et_al() -> None:
    """64k steps, a tenth of the rate from 32k, a hundredth from 48k, within one part in 500."""
    config = copy.deepcopy(DEFAULT)
    update_config(config, yaml.safe_load((ROOT / "workflow/config/cifar10.yaml").read_text()))
    spec = json.loads(run_spec(config, VARIANTS["residual_bn"], "residual_bn", 110, 0, []))
    spec["train"]["lr"] = config["tuning"]["lrs"][0]
    run = from_dict(spec)
    total = run.train.epochs * (50_000 // run.train.batch_size)
    assert total == pytest.approx(64_000, rel=1 / 500)
    rates = [run.train.lr * lr_factor(step, total, run.train) for step in range(total)]
    assert rates[1000] == 0.1
    first = next(step for step in range(1000, total) if rates[step] < 0.05)
    second = next(step for step in range(1000, total) if rates[step] < 0.005)
    assert (first, second) == (
        pytest.approx(32_000, rel=1 / 500),
        pytest.approx(48_000, rel=1 / 500),
    )
    assert (run.width, run.depth, run.train.momentum, run.train.weight_decay) == (
        16,
        110,
        0.9,
        1e-4,
    )
    assert run.train.augmentation == "crop_and_flip"


def test_data_sets_are_those_that_can_be_read() -> None:
    assert list(DATASETS) == list(SOURCES)
    for name in ("mnist1d", "digits"):
        images = SOURCES[name][1]()["x"]
        assert DATASETS[name] == (len(images), images.shape[1:])


def study(dataset: str, **settings: object) -> dict:
    training = {**DEFAULT["training"], "batch_size": 50, "epochs": 2}
    return {**DEFAULT, "dataset": dataset, "width": 8, "training": training, **settings}


@pytest.mark.parametrize("dataset", ["cifar10", "mnist1d"])
def test_a_time_limit_is_five_times_the_work(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, (count, shape) = study(dataset, device="cpu"), DATASETS[dataset]
    with FlopCounterMode(display=False) as counter:
        network = Network(Variant(), 56, 8, shape, 10)
        network(torch.zeros(1, *shape)).sum().backward()
    products = counter.get_total_flops() / 2
    monkeypatch.setitem(SPEED, "cpu", (0.0, products * count * 2))  # two epochs take a second
    assert minutes(config, {}, 56, trained=200) == pytest.approx(10 + 5 * 200 / 60, abs=1.5)
    times = {"times": {"epochs": 2, "width": 2}}
    assert minutes(config, times, 56, trained=25) == pytest.approx(10 + 5 * 200 / 60, abs=1.5)
    # Measuring a network is as much, however long it was trained.
    steps = 2 * count // 50
    assert minutes(config, {}, 56, measured=200 * steps // 300) == pytest.approx(
        10 + 5 * 200 / 60, abs=1.5
    )


def test_a_forecast_sums_over_all_jobs_and_weighs_what_they_keep() -> None:
    config = copy.deepcopy(DEFAULT)
    update_config(config, {"device": "cpu", "training": {"epochs": 20}, "depths": [8, 20, 56]})
    every, seeds = cells(config), config["seeds"]
    taken, weights = 0.0, 0
    for variant, depth in every:
        times = VARIANTS[variant].get("times", {})
        taken += 3 + seconds(config, VARIANTS[variant], depth, trained=4)
        taken += len(seeds) * (3 + seconds(config, VARIANTS[variant], depth, trained=1))
        width = 8 * times.get("width", 1)
        network = Network(Variant(**factors(VARIANTS[variant])), depth, width, (1, 1, 40), 10)
        numbers = sum(value.numel() for value in network.state_dict().values())
        weights += sum(
            4 * numbers * len(checkpoints(config, variant, depth, seed)) for seed in seeds
        )
    jobs = {"tune": len(every), "train": len(every) * len(seeds), "figure": 22, "total": 500}
    line = forecast(config, VARIANTS, jobs)
    found = re.fullmatch(r"jobs: 68 tune, 340 train; about (\d+) core-hours, and (.+) GB .+", line)
    assert int(found[1]) == pytest.approx(taken / 3600, abs=0.5)
    assert float(found[2]) == pytest.approx(weights / 1e9, rel=0.2)


def test_a_dry_run_of_a_long_study_tells_its_forecast(tmp_path: Path) -> None:
    long = ("--configfile", "workflow/config/cifar10.yaml", "--config", "device=cuda")
    dry = snakemake(copy_project(tmp_path), "--cores", "2", *long, "--dry-run", "--quiet", "all")
    assert re.search(r"^jobs: 20 tune, 100 train, 4 measure; about \d+ GPU-hours", dry.stderr, re.M)


def test_little_work_is_not_forecast() -> None:
    assert (
        forecast(DEFAULT, VARIANTS, {"tune": 72, "train": 360, "measure": 32, "figure": 22}) == ""
    )


def test_a_memory_limit_holds_what_a_step_keeps() -> None:
    _, shape = DATASETS["cifar10"]
    kept: dict[int, int] = {}  # bytes, by address

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Network(Variant(), 56, 8, shape, 10)(torch.zeros(50, *shape))
    empty = {**DEFAULT["training"], "batch_size": 0}
    limit = megabytes(study("cifar10", device="cpu"), {}, 56)
    limit -= megabytes(study("cifar10", device="cpu", training=empty), {}, 56)
    assert 1 < limit / (sum(kept.values()) / 2**20) < 4


def test_limits_know_ones_own_images(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = {"path": str(tmp_path), "size": 1024}
    empty = {**DEFAULT["training"], "batch_size": 0}
    config = study("leaves", device="cpu", image_folder=folder, training=empty)
    assert megabytes(config, {}, 8) == 1500 + 2 * 3 * 3 * 4


def test_only_a_study_for_gpus_waits_for_one(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for device, gpu in (("cpu", "gpu=0"), ("cuda", "gpu=1")):
        planned = snakemake(project, *QUICK, "--dry-run", f"--config=device={device}").stdout
        limited = [line for line in planned.splitlines() if "runtime=" in line]
        assert len(limited) == 16 + 33 + 8  # tuned, trained, measured
        assert all(f"{gpu}," in line for line in limited)


def test_own_images_are_a_data_set_by_any_name() -> None:
    config = {**copy.deepcopy(DEFAULT), "dataset": "leaves"}
    with pytest.raises(StudyError, match="config: dataset: 'leaves' is not known"):
        check(config, VARIANTS)
    check({**config, "image_folder": {"path": "photos", "size": 32}}, VARIANTS)


def test_schema_of_variants_knows_the_factors_and_their_levels() -> None:
    schema = yaml.safe_load((ROOT / "workflow/schemas/variants.schema.yaml").read_text())
    keys = schema["$defs"]["variant"]["properties"]
    levels = {
        key: keys[key].get("enum") for key in keys if key not in ("gradient", "times", "start")
    }
    hints = get_type_hints(Variant)
    assert levels == {field.name: list(get_args(hints[field.name])) for field in fields(Variant)}


def test_spec_says_what_a_variant_asks_for() -> None:
    training = DEFAULT["training"]
    for name, entry in VARIANTS.items():
        spec = json.loads(run_spec(DEFAULT, entry, name, 20, 1, ["end"]))
        assert spec["train"]["lr"] is None
        spec["train"]["lr"] = 0.1
        run = from_dict(spec)
        assert run.variant == name
        times = entry.get("times", {})
        assert run.train.epochs == training["epochs"] * times.get("epochs", 1)
        assert run.width == DEFAULT["width"] * times.get("width", 1)
        expected = "clipped" if run.factors.norm == "none" else "raw"
        assert run.train.gradient == entry.get("gradient", expected)


def test_spec_is_canonical_text() -> None:
    entry = VARIANTS["plain"]
    turned = dict(reversed(DEFAULT.items()))
    arguments = ("plain", 20, 1, ["end"])
    assert run_spec(DEFAULT, entry, *arguments) == run_spec(turned, entry, *arguments)


def test_interventions_have_the_compared_depths_only() -> None:
    pairs = cells(DEFAULT)
    assert [depth for variant, depth in pairs if variant == "plain_bn"] == DEFAULT["depths"]
    assert [depth for variant, depth in pairs if variant == "preact_bn"] == [20, 56]
    assert len(pairs) == len(set(pairs)) == 4 * 4 + 2 * len(DEFAULT["interventions"])
    assert {variant for variant, _ in pairs} == VARIANTS.keys()


def test_a_run_keeps_the_moments_at_which_it_is_measured() -> None:
    late = checkpoints(DEFAULT, "plain_bn", 56, 5)
    pairs = [f"step{step + more}" for step in (1, 10, 40, 70) for more in (0, 1)]
    assert late == ["init", *pairs, "end"]
    # Covariate shift looks one step ahead.
    assert checkpoints(DEFAULT, "preact_bn", 20, 7) == ["init", "step1", "end"]
    for unmeasured in (("plain_bn", 8, 5), ("plain_bn", 56, 8), ("preact_bn", 20, 9)):
        assert checkpoints(DEFAULT, *unmeasured) == ["init", "end"]


def test_every_measure_is_a_file_and_has_a_figure_of_its_name() -> None:
    names = list(measures(DEFAULT, "plain"))
    for folder in ("measures", "figures"):
        files = {path.stem for path in (ROOT / "analysis" / folder).glob("[a-z]*.py")}
        assert set(names) <= files, folder
    assert len(names) == 13


def test_import_closure_holds_what_a_module_needs_and_no_more() -> None:
    closure = import_closure(["models.train", "analysis.figures.error_by_depth"])
    modules = (
        "augment checkpoint data evaluate files gpu initialise network records resume sources "
        "tailored train variant"
    )
    assert closure["models.train"] == [f"models/{name}.py" for name in modules.split()]
    assert closure["analysis.figures.error_by_depth"] == [
        "analysis/figures/error_by_depth.py",
        "analysis/looks.py",
        "analysis/style.py",
        "analysis/summary.py",
        "models/files.py",
    ]


def test_imports_point_one_way() -> None:
    modules = [
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for package in ("models", "analysis")
        for path in (ROOT / package).rglob("[a-z]*.py")
    ]
    for module, files in import_closure(modules).items():
        allowed = ("models/",) if module.startswith("models.") else ("models/", "analysis/")
        assert all(file.startswith(allowed) for file in files), module


def planned(folder: Path) -> dict[str, int]:
    """How many jobs of each rule a rerun of the quick study would start."""
    dry = snakemake(folder, *QUICK, "--dry-run", "--quiet", "rules")
    assert dry.returncode == 0, dry.stderr
    if "Nothing to be done" in dry.stdout + dry.stderr:
        return {}
    rows = [line.split() for line in (dry.stdout + dry.stderr).splitlines()]
    table = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return {rule: n for rule, n in table.items() if rule not in ("total", "all")}


@pytest.fixture(scope="module")
def finished(quick_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished quick study to edit; an edit is undone by its test."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(quick_project, folder, copy_function=shutil.copy2)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


WRITING = {"values": 1, "render": 1}
RACE = {"horse_race": 1, "figure": 1, **WRITING}
MEASURED = {"join": 1, "provenance": 1, "claims": 1, **RACE, "figure": 14}
TABLES = {"collect": 1, "provenance": 1, "claims": 1, **RACE, "figure": 8}
ALL = {**MEASURED, **TABLES, "cost": 1, "figure": 22}


@pytest.mark.parametrize(
    ("file", "old", "new", "jobs"),
    [
        ("report/sections/limitations.md", "One data set", "A data set", {"render": 1}),
        ("report/values.py", "thousands set", "thousands put", WRITING),
        ("report/claims.yaml", "smallest_effect: 1", "smallest_effect: 2", {"claims": 1, **RACE}),
        ("analysis/figures/interaction.py", "size=3", "size=4", {"figure": 1, "render": 1}),
        ("analysis/collect.py", "Gather finished", "Collect finished", TABLES),
        (
            "models/evaluate.py", "in eval mode", "in evaluation mode",
            {"tune": 16, "train": 33, "measure": 8, **ALL},
        ),
        (
            "workflow/config/quick.yaml", "seeds: [0, 1]", "seeds: [0, 1, 2]",
            {"train": 16, "measure": 8, "write_config": 1, **ALL},  # the third is measured as well
        ),
        (
            "workflow/config/variants.yaml", "plain: {shortcut: none", "plain: {shortcut: identity",
            {"tune": 2, "train": 4, "measure": 1, **ALL},
        ),
        ("analysis/measures/ntk.py", "in which small", "in which tiny", {"measure": 8, **MEASURED}),
        (
            "workflow/config/default.yaml", "vectors: 1", "vectors: 2",
            {"measure": 8, "write_config": 1, **MEASURED},
        ),
    ],
)  # fmt: skip
def test_an_edit_reruns_what_depends_on_it_and_no_more(
    finished: Path, file: str, old: str, new: str, jobs: dict[str, int]
) -> None:
    path = finished / file
    before = path.read_text()
    assert planned(finished) == {}
    edit(path, old, new)
    try:
        assert planned(finished) == jobs
    finally:
        path.write_text(before)


def test_an_added_variant_runs_alone(finished: Path) -> None:
    """One entry in variants.yaml, one in looks.py and its name in the study: only its own runs."""
    edited = {
        "workflow/config/variants.yaml": (
            "plain: {", "residual_half_one: {shortcut: scaled, span: 1}\nplain: {"
        ),
        "workflow/config/default.yaml": ("residual_bn]", "residual_bn, residual_half_one]"),
        "analysis/looks.py": (
            "LOOKS = {", 'LOOKS = {\n    "residual_half_one": Look("half, one", "residual_bn"),'
        ),
    }  # fmt: skip
    before = {file: (finished / file).read_text() for file in edited}
    for file, (old, new) in edited.items():
        edit(finished / file, old, new)
    try:
        jobs = planned(finished)
    finally:
        for file, text in before.items():
            (finished / file).write_text(text)
    runs = {"tune": 2, "train": 4, "measure": 1}
    assert jobs == {**runs, "write_config": 1, **ALL}


def test_a_failing_job_is_told_with_its_log_even_when_quiet(finished: Path) -> None:
    edit(finished / "report/claims.yaml", "variant: plain_bn", "variant: plain_nb")
    failed = snakemake(finished, *QUICK, "--quiet", "all")
    assert failed.returncode == 1
    assert "results/quick/logs/claims.log" in failed.stderr
    assert "Traceback" not in failed.stderr
    log = (finished / "results/quick/logs/claims.log").read_text()
    assert log == (
        "error: report/claims.yaml: claim 'plain_bn_degrades': variant 'plain_nb' is not known; "
        "did you mean plain_bn?\n"
    )
