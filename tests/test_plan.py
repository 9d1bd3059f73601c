"""Test what follows from the settings: runs, specifications, figures, limits and code of jobs."""

import json
import re
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch.utils.flop_counter import FlopCounterMode

from models.data.readers import SOURCES
from models.network import Network
from models.training.optimiser import lr_factor
from models.typed import typed
from models.variant import Factors, Run, read_variants
from workflow.config import images, load_study
from workflow.plan import SPEED, START, Plan, gpus, import_closure

VARIANTS = read_variants()


def plan(*names: str, **overrides: object) -> Plan:
    """Return the plan of some of the studies merged, with some keys changed."""
    study = load_study([ROOT / f"workflow/config/{name}.yaml" for name in names], overrides)
    return Plan(study, VARIANTS, images(study))


def run(text: str, lr: float = 0.1) -> Run:
    """Return the run of a specification, which lacks the learning rate."""
    specification = json.loads(text)
    assert specification["train"]["lr"] is None
    specification["train"]["lr"] = lr
    return typed(Run, specification)


DEFAULT = plan()


def test_runs_of_a_small_study_are_counted_by_hand() -> None:
    quick, cells = plan("quick"), DEFAULT.cells()
    assert [depth for name, depth in cells if name == "plain_bn"] == [8, 20, 32, 56]
    assert [depth for name, depth in cells if name == "preact_bn"] == [20, 56]
    assert len(cells) == len(set(cells)) == 4 * 4 + 2 * len(DEFAULT.study.interventions)
    assert len(quick.cells()) == 4 * 2 + 4 * 2
    assert len(set(quick.runs())) == 16 * 2
    assert len(set(quick.tuning_runs())) == 16 * 2
    assert "results/quick/runs/plain_bn/depth14/seed1" in quick.runs()
    assert "results/quick/tuning/residual_fixup/depth8/lr0.03" in quick.tuning_runs()
    # One network grows from the shallower plain network with BatchNorm.
    parent = "results/quick/runs/plain_bn/depth8/seed"
    assert quick.tuning_starts() == [f"{parent}100"]
    files = [f"{parent}1/run.json", f"{parent}1/checkpoint.pt"]
    assert quick.start("plain_bn_constructed", 1) == files
    assert quick.start("residual_fixup", 1) == []
    # Four seeds of which the first three are measured, at two depths.
    measured = plan("quick", seeds=[3, 2, 1, 0]).measured_runs("plain")
    assert [path.split("plain/")[1] for path in measured] == [
        f"depth{depth}/seed{seed}" for depth in (8, 14) for seed in (3, 2, 1)
    ]


def test_a_grid_of_one_rate_is_not_tried_out() -> None:
    one = plan(tuning={"lrs": [0.1]})
    assert (one.rates(), one.tuning_runs()) == ([], [])
    assert "lr_sensitivity" in DEFAULT.figures()
    assert "lr_sensitivity" not in one.figures()


def test_a_run_keeps_the_checkpoints_at_which_it_is_measured() -> None:
    pairs = [f"step{step + more}" for step in (1, 10, 40, 70) for more in (0, 1)]
    assert DEFAULT.checkpoints("plain_bn", 56, 5) == ["init", *pairs, "end"]
    # Internal covariate shift looks one step ahead.
    assert DEFAULT.checkpoints("preact_bn", 20, 7) == ["init", "step1", "end"]
    for unmeasured in (("plain_bn", 8, 5), ("plain_bn", 56, 8), ("preact_bn", 20, 9)):
        assert DEFAULT.checkpoints(*unmeasured) == ["init", "end"]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_specification_is_a_run_of_what_the_variant_says(name: str) -> None:
    variant, settings = VARIANTS[name], DEFAULT.study.training
    found = run(DEFAULT.specification(name, 20, 7))
    assert (found.variant, found.depth, found.seed) == (name, 20, 7)
    assert found.factors == variant.factors
    assert found.train.epochs == settings.epochs * variant.times.epochs
    assert found.width == DEFAULT.study.width * variant.times.width
    usual = "clipped" if variant.factors.norm == "none" else "raw"
    assert found.train.gradient == (variant.gradient or usual)


def test_cifar10_is_the_protocol_of_he_et_al() -> None:
    """64k steps, a tenth of the rate from 32k, a hundredth from 48k, within one part in 500."""
    study = plan("cifar10")
    found = run(study.specification("residual_bn", 110, 0), *study.study.tuning.lrs)
    total = found.train.total_steps(50_000)
    assert total == pytest.approx(64_000, rel=1 / 500)
    rates = [found.train.lr * lr_factor(step, total, found.train) for step in range(total)]
    assert rates[1000] == 0.1
    falls = [next(s for s in range(1000, total) if rates[s] < limit) for limit in (0.05, 0.005)]
    assert falls == [pytest.approx(32_000, rel=1 / 500), pytest.approx(48_000, rel=1 / 500)]
    assert (found.width, found.train.momentum, found.train.weight_decay) == (16, 0.9, 1e-4)
    assert found.train.augmentation == "crop_and_flip"


def test_baselines_share_shortcut_and_norm_with_their_interventions() -> None:
    baselines = [name for name, variant in VARIANTS.items() if not variant.baseline]
    assert baselines == ["plain", "plain_bn", "residual", "residual_bn"] == DEFAULT.names[:4]
    for name, variant in VARIANTS.items():
        baseline = VARIANTS[variant.baseline or name].factors
        for factor in ("shortcut", "norm"):
            here, there = (getattr(f, factor) == "none" for f in (variant.factors, baseline))
            assert here == there, name


def test_a_study_without_interventions_has_no_figures_of_them() -> None:
    less = DEFAULT.figures().keys() - plan(interventions=[]).figures().keys()
    assert less == {"forest", "interventions"}
    scripts = {path.stem for path in (ROOT / "analysis/figures").glob("[a-z]*.py")}
    assert DEFAULT.figures().keys() == scripts
    assert DEFAULT.measures("plain").keys() <= scripts
    assert DEFAULT.figures()["error_by_depth"] == "runs"


def test_an_import_closure_holds_what_a_module_needs_and_no_more() -> None:
    training = import_closure("models.training.train")
    assert "models/training/loop.py" in training
    assert "models/network.py" in training
    assert not [file for file in training if "tune" in file or not file.startswith("models/")]
    style = ["analysis/figures/error_by_depth.py", "analysis/style.py", "analysis/summary.py"]
    figure = import_closure("analysis.figures.error_by_depth")
    assert set(style) <= set(figure)
    assert not [file for file in figure if "network" in file or "training" in file]
    both = import_closure("models.training.train", "analysis.figures.error_by_depth")
    assert both == sorted({*training, *figure})


def test_imports_point_one_way() -> None:
    for package, folders in {"models": ("models/",), "analysis": ("models/", "analysis/")}.items():
        for path in (ROOT / package).rglob("[a-z]*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert all(file.startswith(folders) for file in import_closure(module)), module


@pytest.mark.parametrize("dataset", ["cifar10", "mnist1d"])
def test_a_time_limit_is_five_times_the_work(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"batch_size": 50, "epochs": 2}
    source, study = SOURCES[dataset], plan(dataset=dataset, width=8, training=small, device="cpu")
    with FlopCounterMode(display=False) as counter:
        network = Network(Factors(), 56, 8, source.shape, 10)
        network(torch.zeros(1, *source.shape)).sum().backward()
    multiply_adds = counter.get_total_flops() / 2
    # At this speed, two epochs take ten minutes.
    monkeypatch.setitem(SPEED, "cpu", (0.0, multiply_adds * source.examples * 2 / 600))

    def works(rule: str, name: str) -> float:
        return pytest.approx((study.minutes(rule, name, 56) - 10) / 50, rel=0.1)

    assert works("train", "residual_bn") == 1
    assert works("tune", "residual_bn") == len(study.rates())
    assert works("train", "plain_bn_budget2") == 2
    assert works("train", "plain_bn_width4") == 16
    # Measuring a network takes as long as 300 steps, whatever the epochs.
    networks, steps = len(study.measured_runs("plain")), 2 * source.examples // 50
    assert works("measure", "plain_bn_budget2") == networks * 300 / steps


def test_a_memory_limit_holds_what_a_step_keeps() -> None:
    shape, kept = SOURCES["cifar10"].shape, {}  # bytes by address

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Network(Factors(), 56, 8, shape, 10)(torch.zeros(100, *shape))
    plans = [plan(dataset="cifar10", width=8, training={"batch_size": size}) for size in (150, 50)]
    large, small = (each.megabytes("train", "residual_bn", 56) for each in plans)
    assert 1 < (large - small) / (sum(kept.values()) / 2**20) < 4


def test_limits_know_the_users_own_images(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}/1.png").touch()
    folder = {"path": str(tmp_path), "size": 1024}
    study = plan(dataset="leaves", image_folder=folder, device="cpu", width=1)
    outputs = study.study.training.batch_size * 8 * 1024 * 1024
    numbers = 2 * 3 * 3 * 1024**2 + 4 * outputs
    assert study.megabytes("train", "residual_bn", 8) == 1500 + 4 * numbers // 2**20


def test_a_forecast_sums_over_all_jobs() -> None:
    study = plan(device="cpu", training={"epochs": 20}, depths=[8, 20, 56])
    cells, seeds = study.cells(), study.study.seeds
    taken = sum(START + study.seconds("tune", *cell) for cell in cells)
    taken += len(seeds) * sum(START + study.seconds("train", *cell) for cell in cells)
    jobs = {"tune": len(cells), "train": len(cells) * len(seeds), "figure": 22, "total": 500}
    found = re.fullmatch(r"jobs: 68 tune, 340 train; about (\d+) core-hours", study.forecast(jobs))
    assert int(found[1]) == pytest.approx(taken / 3600, abs=0.5)
    assert study.forecast({**jobs, "tune": 0, "train": 5}) == ""


def test_visible_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, count in (("", 0), ("0", 1), ("2,GPU-7f", 2)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus.__wrapped__() == count
