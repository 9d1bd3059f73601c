"""Training on a GPU, where there is one."""

import json
from pathlib import Path

import pytest
import torch
from conftest import command
from test_resume import LONGER, NOISY, RUNS, SETTINGS, TRAIN, images, small_run
from test_variant import replaced

from models import tensors
from models.initialise import build
from models.training.device import Graphed, deterministic
from models.training.loop import train, weights_of
from models.variant import Factors, Run, to_json

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

BFLOAT16 = replaced(NOISY, factors=Factors(), train=replaced(SETTINGS, precision="bfloat16"))


@pytest.fixture(autouse=True, scope="module")
def repeatable() -> None:
    deterministic(1, "cuda")


def same(one: dict, other: dict) -> bool:
    return all(map(torch.equal, one.values(), other.values()))


@pytest.mark.parametrize("run", [*RUNS.values(), BFLOAT16], ids=[*RUNS, "bfloat16"])
def test_a_graph_computes_what_its_kernels_do_one_by_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images().to("cuda")
    ends = []
    for calls in (3, 10**9):
        monkeypatch.setattr(Graphed, "WARM", calls)
        network = build(run, data)
        ends.append((train(network, run, data), weights_of(network)))
    (history, weights), (other, others) = ends
    assert history == other
    assert same(weights, others)
    assert not same(weights, weights_of(build(run, data)))


@pytest.mark.parametrize("step", [2, 3, 20])
def test_a_run_goes_on_with_the_same_bits(step: int) -> None:
    data, saved = images().to("cuda"), {}
    network = build(LONGER, data)
    whole = train(network, LONGER, data, lambda done, now: saved.update({done: now()}))
    again = build(LONGER, data)
    assert train(again, LONGER, data, saved=saved[step]) == whole
    assert same(weights_of(again), weights_of(network))


def test_a_job_on_a_gpu_ends_near_one_on_the_processor(tmp_path: Path) -> None:
    """Only rounding differs, because this run draws no random numbers on the device."""
    run, (*options, _) = small_run(tmp_path)
    run = replaced(run, variant="plain_bn", factors=Factors(shortcut="none"))
    ends = []
    for device in ("cpu", "cuda"):
        done = command(TRAIN, "--spec", to_json(run), "--out", tmp_path / device, *options, device)
        assert done.returncode == 0, done.stderr
        ends.append(tensors.read(tmp_path / device / "checkpoint.pt")["end"])
        metrics = json.loads((tmp_path / device / "metrics.json").read_text())
        assert metrics["record"]["device"].startswith(device)
        assert metrics["train_error"] < 0.75
    assert not same(*ends)
