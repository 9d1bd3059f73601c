"""A cell trains what is missing, and nothing else; its runs are what its specification says."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import command
from test_variant import SETTINGS, replaced
from tiny import rewrite

from models import tensors
from models.data.prepare import Dataset
from models.initialise import initialise
from models.network import Network
from models.training.cell import CellTrainer
from models.training.state import Resume
from models.variant import Cell, Factors, Lane, Tuning, read_run

TRAIN = replaced(SETTINGS, batch_size=8, augmentation="crop_and_flip")
CELL = Cell(
    dataset="made", variant="plain_bn", factors=Factors(shortcut="none"), depth=8, width=4,
    budgets=[1, 2], seeds=[0, 1], train=TRAIN, measured=1, checkpoints=["init", "step3", "end"],
    tuning=Tuning(seeds=[9], lrs=[0.01, 0.03, 0.1], halving=False),
)  # fmt: skip
CELL_FILE = "cells/plain_bn/depth8.json"


def images() -> Dataset:
    """Two classes of small pictures, one brighter than the other."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(64) % 2
    inputs = torch.randn(64, 1, 8, 8, generator=generator) + targets[:, None, None, None]
    return Dataset(inputs[:48], targets[:48], inputs[48:], targets[48:], classes=2)


def train_cell(cell: Cell, folder: Path, data: str = "digest", every: float = math.inf) -> None:
    path = folder / f"cells/{cell.variant}/depth{cell.depth}.resume.pt"
    CellTrainer(cell, folder, images(), data, Resume(path, "cpu", every), 1).train()


def ends(folder: Path) -> dict[str, int]:
    """Return when each run of a folder was written."""
    files = folder.rglob("metrics.json")
    return {str(file.parent.relative_to(folder)): file.stat().st_mtime_ns for file in files}


def results(folder: Path) -> dict[str, bytes]:
    """Return the bytes that runs left, except for their cost, by file."""
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for path in [path for path in files if path.name == "metrics.json"]:
        metrics = json.loads(files[path])
        metrics.pop("record")
        files[path] = json.dumps(metrics).encode()
    return {str(path.relative_to(folder)): content for path, content in files.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cell")
    train_cell(CELL, folder)
    return folder


def test_a_cell_chooses_a_rate_for_each_budget_and_trains_all_seeds(trained: Path) -> None:
    cell = json.loads((trained / CELL_FILE).read_text())
    for budget in (1, 2):
        tried = {float(lr): loss for lr, loss in cell["tuning"][str(budget)].items()}
        place = trained / f"tuning/plain_bn/depth8/budget{budget}/seed9"
        assert {path.name for path in place.iterdir()} == {f"lr{lr:g}" for lr in tried}
        for lr, loss in tried.items():
            assert json.loads((place / f"lr{lr:g}/metrics.json").read_text())["train_loss"] == loss
            assert not (place / f"lr{lr:g}/checkpoint.pt").exists()
        best = min(tried, key=tried.get)
        assert cell["chosen"][str(budget)] == best
        for seed in (0, 1):
            folder = trained / f"runs/plain_bn/depth8/budget{budget}/seed{seed}"
            run = read_run(folder / "run.json")
            assert (run.seed, run.lr, run.budget, run.epochs) == (seed, best, budget, budget)
            assert run.lanes == [Lane(seed=0, lr=best), Lane(seed=1, lr=best)]
            assert (folder / "history.csv").read_text().splitlines()[-1].split(",")[:2] == [
                str(budget), str(6 * budget)
            ]  # fmt: skip
            measured = (budget, seed) == (2, 0)
            kept = tensors.read(folder / "checkpoint.pt")
            assert list(kept) == (["init", "step3", "end"] if measured else ["end"])
    assert not list(trained.rglob("*resume.pt"))


def newly_trained(folder: Path, data: str = "digest", **changes: object) -> set[str]:
    """Train the cell with some changes, and return the runs that this writes."""
    before = ends(folder)
    train_cell(replaced(CELL, **changes), folder, data)
    return {name for name, when in ends(folder).items() if before.get(name) != when}


def test_what_is_there_is_kept(trained: Path, tmp_path: Path) -> None:
    folder, of = shutil.copytree(trained, tmp_path / "cell"), "plain_bn/depth8/budget"
    assert newly_trained(folder) == set()
    seeds = newly_trained(folder, seeds=[0, 1, 2])
    assert seeds == {f"runs/{of}1/seed2", f"runs/{of}2/seed2"}
    rates = newly_trained(folder, tuning=replaced(CELL.tuning, lrs=[1e-5, *CELL.tuning.lrs]))
    assert rates == {f"tuning/{of}{budget}/seed9/lr1e-05" for budget in (1, 2)}


def test_a_new_budget_is_the_only_one_that_is_trained(tmp_path: Path) -> None:
    """Runs of the longest budget keep checkpoints for measuring, so a longer one changes those."""
    train_cell(replaced(CELL, budgets=[1, 3]), tmp_path)
    new = newly_trained(tmp_path, budgets=[1, 2, 3])
    assert len(new) >= 5
    assert all("/budget2/" in name for name in new)


@pytest.mark.parametrize(("data", "changes"), [("digest", {"width": 5}), ("other", {})])
def test_other_specifications_and_data_are_trained_again(
    data: str, changes: dict, trained: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained, tmp_path / "cell")
    old = ends(folder).keys() - newly_trained(folder, data, **changes)
    assert all(name.startswith("tuning/") for name in old)  # rates that are no longer tried


def test_a_grid_grows_twice_at_its_edge(tmp_path: Path) -> None:
    too_small = replaced(CELL.tuning, lrs=[1e-6, 1e-5])
    train_cell(replaced(CELL, budgets=[2], tuning=too_small), tmp_path)
    tried = json.loads((tmp_path / CELL_FILE).read_text())["tuning"]["2"]
    assert [float(lr) for lr in tried] == [1e-6, 1e-5, 1e-4, 1e-3]


def test_successive_halving_gives_the_whole_budget_to_the_best_two(tmp_path: Path) -> None:
    tuning = replaced(CELL.tuning, lrs=[0.001, 0.01, 0.1, 0.3], halving=True)
    train_cell(replaced(CELL, budgets=[1, 4], tuning=tuning), tmp_path)
    tried = json.loads((tmp_path / CELL_FILE).read_text())["tuning"]
    trial = {float(lr): loss for lr, loss in tried["1"].items()}  # budget 1 is a quarter of 4
    assert len(trial) >= 4
    assert {float(lr) for lr in tried["4"]} == set(sorted(trial, key=trial.get)[:2])
    assert list(tried) == ["1", "4"]


def test_one_rate_is_not_tried(tmp_path: Path) -> None:
    train_cell(replaced(CELL, tuning=replaced(CELL.tuning, lrs=[0.05])), tmp_path)
    cell = json.loads((tmp_path / CELL_FILE).read_text())
    assert (cell["chosen"], cell["tuning"]) == ({"1": 0.05, "2": 0.05}, {})
    assert not (tmp_path / "tuning").exists()


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of a cell from whose runs networks grow."""
    folder = tmp_path_factory.mktemp("shallow")
    train_cell(replaced(CELL, parent=True), folder)
    return folder


START = {"variant": "plain_bn", "depth": 8}


@pytest.mark.parametrize("depth", [8, 14])
def test_only_what_is_inserted_into_a_frozen_network_is_trained(depth: int, shallow: Path) -> None:
    """Random blocks start like all others. A network as deep as its parent has no random blocks."""
    growth = {"start": START, "growth": "random", "frozen": True, "depth": depth}
    train_cell(replaced(CELL, variant="frozen", **growth, budgets=[2]), shallow)
    place, kept = "budget2/seed0/checkpoint.pt", CELL.checkpoints
    parent = tensors.read(shallow / f"runs/plain_bn/depth8/{place}")["end"]
    states = tensors.read(shallow / f"runs/frozen/depth{depth}/{place}")
    network = Network(CELL.factors, depth, CELL.width, (1, 8, 8), 2)
    initialise(network, CELL.factors, 0)
    for name, weight in network.named_parameters():
        init, *later = (states[checkpoint][name] for checkpoint in kept)
        assert torch.equal(init, parent.get(name, weight)), name
        assert all(torch.equal(init, each) == (name in parent) for each in later), name
    for name, value in states["end"].items() if depth == 8 else ():
        if "running" in name:  # the last statistics are those of the training set, as always
            torch.testing.assert_close(value, parent[name])


def test_a_network_grows_from_the_run_of_its_seed_and_budget(shallow: Path) -> None:
    """It starts with the logits with which the shallower one ended, in tuning too."""
    train_cell(replaced(CELL, variant="grown", depth=14, start=START, measured=2), shallow)
    x = images().train_inputs
    for seed in (0, 1):
        folder = shallow / f"runs/grown/depth14/budget2/seed{seed}"
        parent = shallow / f"runs/plain_bn/depth8/budget2/seed{seed}"
        run = read_run(folder / "run.json")
        assert run.start == read_run(parent / "run.json")
        logits = []
        for each, depth, checkpoint in ((parent, 8, "end"), (folder, 14, "init")):
            network = Network(run.factors, depth, run.width, (1, 8, 8), 2).eval()
            network.load_state_dict(tensors.read(each / "checkpoint.pt")[checkpoint])
            logits.append(network(x))
        torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    chosen = json.loads((shallow / CELL_FILE).read_text())["chosen"]["2"]
    (tried, *_) = (shallow / "tuning/grown/depth14/budget2/seed9").iterdir()
    assert read_run(tried / "run.json").start.lr == chosen


@pytest.mark.parametrize("run", ["runs/plain_bn/depth14/budget1/seed1", "tuning/*/budget1/*/lr0.1"])
def test_a_run_is_repeated_from_its_own_json_alone(
    run: str, repeated: Path, tmp_path: Path
) -> None:
    (folder,) = repeated.glob(run.replace("tuning/*", "tuning/plain_bn/depth14"))
    options = ("--out", tmp_path, "--data", repeated / "data")
    again = command("models.training.cell", "--spec", folder / "run.json", *options)
    assert again.returncode == 0, again.stderr
    assert results(tmp_path) == results(folder)


def test_a_run_is_not_repeated_or_measured_on_other_data(repeated: Path, tmp_path: Path) -> None:
    folder = repeated / "runs/plain_bn/depth8/budget1/seed1"
    data, out = shutil.copytree(repeated / "data", tmp_path / "data"), tmp_path / "out"
    rewrite(data / "mnist1d.json", lambda manifest: manifest.update(sha256="0"))
    trained_on = read_run(folder / "run.json").data
    for module, *options in (
        ("models.training.cell", "--spec", folder / "run.json"),
        ("analysis.measure", "--measures", "{}", "--runs", folder),
    ):
        refused = command(module, *options, "--data", data, "--out", out)
        assert refused.returncode == 1
        line = f"error: {data}/mnist1d.json: sha256 is 0, and the run was trained on {trained_on}\n"
        assert refused.stderr == line
        assert not out.exists()


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the command for a cell of MNIST-1D that grows from another."""
    folder = tmp_path_factory.mktemp("cells")
    settings = replaced(TRAIN, batch_size=500, evaluation_batch_size=4000)
    small = replaced(CELL, dataset="mnist1d", budgets=[1], train=settings, parent=True)
    for cell in (small, replaced(small, depth=14, start=START, parent=False)):
        spec = folder / f"{cell.depth}.json"
        spec.write_text(cell.model_dump_json())
        options = ("--out", folder, "--data", folder / "data")
        done = command("models.training.cell", "--spec", spec, *options)
        assert done.returncode == 0, done.stderr
    return folder
