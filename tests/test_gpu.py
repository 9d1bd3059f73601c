"""Training on a GPU, where there is one."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest import command
from test_resume import LONGER, NOISY, SPEC, images, small_run

from models.gpu import Graphed
from models.train import build, deterministic, end_of, state, train
from models.variant import Run, Variant, to_json

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

RUNS = [
    NOISY,
    dataclasses.replace(NOISY, factors=Variant("none", norm="none", branch_scale="fixup"),
                        train=dataclasses.replace(SPEC, gradient="clipped")),
    dataclasses.replace(NOISY, factors=Variant("identity"),
                        train=dataclasses.replace(SPEC, gradient="layerwise")),
    dataclasses.replace(NOISY, factors=Variant("identity"),
                        train=dataclasses.replace(SPEC, precision="bfloat16")),
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def repeatable() -> None:
    deterministic(1, "cuda")


def same(one: dict, other: dict) -> bool:
    return all(map(torch.equal, one.values(), other.values()))


@pytest.mark.parametrize("run", RUNS, ids=["noisy", "fixup clipped", "layerwise", "bfloat16"])
def test_a_graph_computes_what_its_kernels_do_one_by_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = images().to("cuda")
    ends = []
    for calls in (3, 10**9):
        monkeypatch.setattr(Graphed, "WARM", calls)
        network = build(run, data)
        ends.append((train(network, run, data), state(network)))
    (history, weights), (other, others) = ends
    assert history == other
    assert same(weights, others)
    assert not same(weights, state(build(run, data)))


@pytest.mark.parametrize("step", [2, 3, 20])
def test_a_run_goes_on_with_the_same_bits(step: int) -> None:
    data, saved = images().to("cuda"), {}
    network = build(LONGER, data)
    whole = train(network, LONGER, data, lambda done, now: saved.update({done: now()}))
    again = build(LONGER, data)
    assert train(again, LONGER, data, saved=saved[step]) == whole
    assert same(state(again), state(network))


def test_a_job_on_a_gpu_ends_near_one_on_the_processor(tmp_path: Path) -> None:
    """Rounding differs; so do random numbers, and there are none here."""
    run, (*options, _) = small_run(tmp_path)
    run = dataclasses.replace(run, variant="plain_bn", factors=Variant("none"))
    ends = []
    for device in ("cpu", "cuda"):
        done = command(
            "models.train", "--spec", to_json(run), "--out", tmp_path / device, *options, device
        )
        assert done.returncode == 0, done.stderr
        ends.append(end_of(tmp_path / device))
        metrics = json.loads((tmp_path / device / "metrics.json").read_text())
        assert metrics["record"]["device"].startswith(device)
        assert metrics["train_error"] < 0.75
    assert not same(*ends)
