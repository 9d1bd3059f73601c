"""Test what follows from the settings: cells, runs, figures, limits and code of jobs."""

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
from models.variant import Cell, Factors, read_variants
from workflow.config import load_study
from workflow.plan import LANES, SPEED, START, Plan, gpus, import_closure

VARIANTS = read_variants()


def plan(*names: str, **overrides: object) -> Plan:
    """Return the plan of some of the studies merged, with some keys changed."""
    study = load_study([ROOT / f"workflow/config/{name}.yaml" for name in names], overrides)
    return Plan(study)


FULL = plan("full")  # all networks


def cell(name: str, depth: int, study: Plan = FULL) -> Cell:
    """Return the cell that a job gets as text."""
    return typed(Cell, json.loads(study.cell(name, depth).model_dump_json()))


def test_cells_and_runs_of_a_small_study_are_counted_by_hand() -> None:
    quick, cells = plan("quick"), FULL.cells()
    assert [depth for name, depth in cells if name == "plain_bn"] == FULL.study.depths
    assert [depth for name, depth in cells if name == "preact_bn"] == [20, 56]
    assert len(cells) == len(set(cells)) == 4 * 7 + 2 * len(FULL.study.interventions)
    assert len(quick.cells()) == 4 * 2 + 2 * 2
    # One network grows from the shallower plain network with BatchNorm.
    assert quick.parent("plain_bn_constructed") == ["results/quick/cells/plain_bn/depth8.json"]
    assert quick.parent("residual_bn_orthogonal") == []
    # Four seeds of which the first three are measured, at two depths and the longest budget.
    few = plan("quick", seeds=[3, 2, 1, 0], budgets=[1, 4, 2], measures={"seeds": 3})
    assert few.measured_runs("plain") == [
        f"results/quick/runs/plain/depth{depth}/budget4/seed{seed}"
        for depth in (8, 14)
        for seed in (3, 2, 1)
    ]


def test_a_grid_of_one_rate_is_not_tried_out() -> None:
    assert plan(tuning={"lrs": [0.1]}).rates == []
    assert "lr_sensitivity" in FULL.figures()
    assert "lr_sensitivity" not in plan(tuning={"lrs": [0.1]}).figures()


def test_measured_runs_keep_the_checkpoints_at_which_they_are_measured() -> None:
    pairs = [f"step{step + more}" for step in (1, 10, 40, 70) for more in (0, 1)]
    assert cell("plain_bn", 56).checkpoints == ["init", *pairs, "end"]
    # Internal covariate shift looks one step ahead.
    assert cell("preact_bn", 20).checkpoints == ["init", "step1", "end"]
    assert (cell("plain_bn", 56).measured, cell("preact_bn", 20).measured) == (5, 5)
    assert (cell("plain_bn", 8).measured, cell("plain_bn", 8).checkpoints) == (0, [])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_cell_is_what_the_variant_and_the_study_say(name: str) -> None:
    variant, study = VARIANTS[name], FULL.study
    found = cell(name, 20)
    assert (found.variant, found.depth, found.factors) == (name, 20, variant.factors)
    assert (found.budgets, found.seeds, found.tuning) == (study.budgets, study.seeds, study.tuning)
    assert found.times == variant.times.epochs
    assert found.width == study.width * variant.times.width
    assert (found.growth, found.frozen) == (variant.growth, variant.frozen)
    changes = variant.training.model_dump(exclude_none=True)
    usual = {"optimiser": "sgd", "clipped": variant.factors.norm == "none"}
    assert dict(found.train) == {**dict(study.training), **usual, **changes}


def test_a_grown_network_names_the_cell_that_keeps_what_it_grows_from() -> None:
    for depth in (20, 56):
        start = cell("plain_bn_constructed", depth).start
        assert (start.variant, start.depth) == ("plain_bn", 20)
    parents = [each for each in FULL.cells() if cell(*each).parent]
    assert parents == [("plain_bn", 20)]
    # A parent stays as it is when a network that grows from it comes to the study.
    assert plan("full", interventions=[]).cell("plain_bn", 20) == FULL.cell("plain_bn", 20)


def test_cifar10_is_the_protocol_of_he_et_al() -> None:
    """64k steps, a tenth of the rate from 32k, a hundredth from 48k, within one part in 500."""
    study = plan("cifar10")
    found, (lr,) = cell("residual_bn", 110, study), study.study.tuning.lrs
    total = found.train.total_steps(max(found.budgets), 50_000)
    assert total == pytest.approx(64_000, rel=1 / 500)
    rates = [lr * lr_factor(step, total, found.train) for step in range(total)]
    assert rates[1000] == 0.1
    falls = [next(s for s in range(1000, total) if rates[s] < limit) for limit in (0.05, 0.005)]
    assert falls == [pytest.approx(32_000, rel=1 / 500), pytest.approx(48_000, rel=1 / 500)]
    assert (found.width, found.train.momentum, found.train.weight_decay) == (16, 0.9, 1e-4)
    assert found.train.augmentation == "crop_and_flip"


def test_baselines_share_shortcut_and_norm_with_their_interventions() -> None:
    baselines = [name for name, variant in VARIANTS.items() if not variant.baseline]
    assert baselines == ["plain", "plain_bn", "residual", "residual_bn"] == FULL.names[:4]
    for name, variant in VARIANTS.items():
        baseline = VARIANTS[variant.baseline or name].factors
        for factor in ("shortcut", "norm"):
            here, there = (getattr(f, factor) == "none" for f in (variant.factors, baseline))
            assert here == there, name


def test_every_figure_draws_a_table_of_the_study() -> None:
    scripts = {path.stem for path in (ROOT / "analysis/figures").glob("[a-z]*.py")}
    assert FULL.figures().keys() == scripts
    assert FULL.figures()["steps_to_fit"] == ("steps_to_fit", "runs")


def test_an_import_closure_holds_what_a_module_needs_and_no_more() -> None:
    training = import_closure("models.training.cell")
    assert "models/training/loop.py" in training
    assert "models/network.py" in training
    assert not [file for file in training if not file.startswith("models/")]
    assert "models/import_checkpoint.py" not in training
    style = ["analysis/figures/steps_to_fit.py", "analysis/style.py", "analysis/summary.py"]
    figure = import_closure("analysis.figures.steps_to_fit")
    assert set(style) <= set(figure)
    assert not [file for file in figure if "network" in file or "training" in file]
    both = import_closure("models.training.cell", "analysis.figures.steps_to_fit")
    assert both == sorted({*training, *figure})


def test_imports_point_one_way() -> None:
    for package, folders in {"models": ("models/",), "analysis": ("models/", "analysis/")}.items():
        for path in (ROOT / package).rglob("[a-z]*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert all(file.startswith(folders) for file in import_closure(module)), module


@pytest.mark.parametrize("dataset", ["cifar10", "mnist1d"])
def test_a_time_limit_is_five_times_the_work(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES[dataset]
    tuning = {"seeds": [100], "lrs": [0.1, 0.2, 0.4, 0.8], "halving": False}
    small = {
        "width": 8, "device": "cpu", "dataset": dataset, "training": {"batch_size": 50},
        "seeds": [0, 1], "budgets": [2, 8],
    }  # fmt: skip
    with FlopCounterMode(display=False) as counter:
        network = Network(Factors(), 56, 8, source.shape, 10)
        network(torch.zeros(1, *source.shape)).sum().backward()
    multiply_adds = counter.get_total_flops() / 2
    # At this speed, an epoch takes ten minutes.
    monkeypatch.setitem(SPEED, "cpu", (0.0, multiply_adds * source.examples / 600))

    def epochs(rule: str, name: str, **tuned: object) -> float:
        study = plan(**small, tuning={**tuning, **tuned})
        return pytest.approx((study.minutes(rule, name, 56) - 10) / 50, rel=0.1)

    # Two seeds and four rates, of each budget.
    assert epochs("cell", "residual_bn") == (2 + 4) * (2 + 8)
    assert epochs("cell", "plain_bn_twice") == 2 * (2 + 4) * (2 + 8)
    assert epochs("cell", "plain_bn_width4") == 16 * (2 + 4) * (2 + 8)
    assert epochs("cell", "residual_bn", lrs=[0.1]) == 2 * (2 + 8)
    assert epochs("cell", "residual_bn", seeds=[100, 101]) == (2 + 8) * (2 + 8)
    # The trial of the longer budget is the shorter one, and the best two go on.
    assert epochs("cell", "residual_bn", halving=True) == 2 * (2 + 8) + 4 * 2 + 2 * 8
    # Measuring a network takes as long as 600 steps, whatever the budgets.
    steps = source.examples // 50
    assert epochs("measure", "plain_bn_twice") == 2 * 2 * 600 / steps


def test_long_cells_and_those_that_others_grow_from_start_first() -> None:
    cells = sorted(FULL.cells(), key=lambda cell: FULL.priority(*cell), reverse=True)
    assert cells[0] == ("plain_bn", 20)
    depths = [depth for name, depth in cells[1:] if name == "residual_bn"]
    assert depths == sorted(FULL.study.depths, reverse=True)


def test_a_memory_limit_holds_what_a_step_keeps() -> None:
    shape, kept = SOURCES["cifar10"].shape, {}  # bytes by address

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Network(Factors(), 56, 8, shape, 10, lanes=3)(torch.zeros(20, 3 * shape[0], *shape[1:]))
    usual = {"dataset": "cifar10", "width": 8, "seeds": [1, 2, 3], "tuning": {"lrs": [0.1]}}
    plans = [plan(**usual, training={"batch_size": size}) for size in (130, 110)]
    large, small = (each.megabytes("cell", "residual_bn", 56) for each in plans)
    assert 1 < (large - small) / (sum(kept.values()) / 2**20) < 4


def test_limits_know_the_users_own_images(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}/1.png").touch()
    folder = {"path": str(tmp_path), "size": 1024}
    study = plan(dataset="leaves", image_folder=folder, device="cpu", width=1, seeds=[*range(20)])
    outputs = LANES * study.study.training.evaluation_batch_size * 1024 * 1024
    numbers = 2 * 3 * 3 * 1024**2 + 4 * outputs
    assert study.megabytes("cell", "residual_bn", 8) == 1500 + 4 * numbers // 2**20


def test_a_forecast_sums_over_all_jobs() -> None:
    study = plan(device="cpu", budgets=[20, 100], depths=[8, 20, 56])
    cells = study.cells()
    taken = sum(START + study.seconds("cell", *each) for each in cells)
    jobs = {"cell": len(cells), "figure": 22, "total": 500}
    found = re.fullmatch(rf"jobs: {len(cells)} cell; about (\d+) core-hours", study.forecast(jobs))
    assert int(found[1]) == pytest.approx(taken / 3600, abs=0.5)
    assert study.forecast({**jobs, "cell": 1}) == ""


def test_visible_gpus_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA stops at the first name that is no GPU."""
    listed = "".join(f"echo 'GPU {i}: H100 (UUID: GPU-7f{i})'\n" for i in range(3))
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{listed}echo '  MIG 1g (UUID: MIG-5a)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.__wrapped__() == 3
    # A study for any device takes a GPU of its own machine, and asks no cluster for one.
    monkeypatch.setattr("workflow.plan.gpus", gpus.__wrapped__)
    for device, asked in {"cpu": (0, 0), "auto": (1, 0), "cuda": (1, 1)}.items():
        study = plan(device=device)
        assert (study.gpus(local=True), study.gpus(local=False)) == asked
    for visible, count in {
        "": 0, "0": 1, "2,GPU-7f1": 2, "GPU-7": 1, "MIG-5a": 1, "0, 1": 2,
        "-1": 0, "3": 0, "nonsense": 0, "0,-1,1": 1, "0,,1": 1,
    }.items():  # fmt: skip
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus.__wrapped__() == count, visible
    program.unlink()
    assert gpus.__wrapped__() == 0
