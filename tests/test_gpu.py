"""Training on a GPU, where there is one."""

import json
from pathlib import Path

import pytest
import torch
from conftest import command
from test_cell import images
from test_resume import NOISY, RUNS, TRAIN, small_cell
from test_variant import replaced

from models import tensors
from models.training.device import Graphed, deterministic
from models.training.lanes import Stack
from models.training.loop import train
from models.variant import Factors, Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

BFLOAT16 = replaced(NOISY, factors=Factors(), train=replaced(TRAIN, precision="bfloat16"))


@pytest.fixture(autouse=True, scope="module")
def repeatable() -> None:
    deterministic(1, "cuda")


def stack_of(run: Run) -> Stack:
    return Stack([run, replaced(run, seed=1, lr=0.02)], images().to("cuda"))


def same(one: Stack, other: Stack) -> bool:
    pairs = zip(one.weights(), other.weights(), strict=True)
    return all(all(map(torch.equal, a.values(), b.values())) for a, b in pairs)


@pytest.mark.parametrize("run", [*RUNS.values(), BFLOAT16], ids=[*RUNS, "bfloat16"])
def test_a_graph_computes_what_its_kernels_do_one_by_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = []
    for calls in (3, 10**9):
        monkeypatch.setattr(Graphed, "WARM", calls)
        stacks.append(stack_of(run))
        train(stacks[-1])
    graphed, one_by_one = stacks
    assert graphed.histories == one_by_one.histories
    assert same(graphed, one_by_one)
    assert not same(graphed, stack_of(run))


@pytest.mark.parametrize("step", [2, 3, 20])
def test_a_stack_goes_on_with_the_same_bits(step: int) -> None:
    whole, saved = stack_of(NOISY), {}
    train(whole, lambda: saved.update({whole.done: whole.state()}))
    again = stack_of(NOISY)
    again.restore(saved[step])
    train(again)
    assert again.histories == whole.histories
    assert same(again, whole)


def test_a_job_on_a_gpu_ends_near_one_on_the_processor(tmp_path: Path) -> None:
    """Only rounding differs, because this cell draws no random numbers on the device."""
    without_noise = {"variant": "plain_bn", "factors": Factors(shortcut="none")}
    *options, _ = small_cell(tmp_path, **without_noise)
    ends = []
    for device in ("cpu", "cuda"):
        done = command("models.training.cell", *options, device, "--out", tmp_path / device)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / device / "runs/plain_bn/depth14/budget4/seed0"
        ends.append(tensors.read(folder / "checkpoint.pt")["end"])
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["record"]["device"].startswith(device)
        assert metrics["train_error"] < 0.75
    assert not all(map(torch.equal, ends[0].values(), ends[1].values()))
