"""Training: the schedule, the order of the data, evaluation, divergence, repeatability."""

import copy
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import data as datasets
from models.data import Dataset
from models.evaluate import evaluate, precise_batch_norm
from models.network import Network
from models.train import batches, build, final_metrics, lr_factor, train
from models.tune import choose
from models.variant import Run, TrainSpec, Variant, from_dict, read_run, to_json

SPEC = TrainSpec(
    epochs=3, batch_size=16, lr=0.05, warmup_epochs=1, momentum=0.9, weight_decay=1e-4,
    gradient_clip=None, evaluation_batch_size=64,
)  # fmt: skip
RUN = Run(
    dataset="mnist1d", variant="residual_bn", factors=Variant("identity", "batch"), depth=8,
    width=4, seed=0, train=SPEC, checkpoints=("init", "end"),
)  # fmt: skip


@pytest.fixture
def data() -> Dataset:
    """Two classes of short signals, told apart by their sign."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(128) % 2
    inputs = (
        torch.randn(128, 1, 1, 12, generator=generator) + (2 * targets - 1)[:, None, None, None]
    )
    return Dataset(inputs[:96], targets[:96], inputs[96:], targets[96:], classes=2)


def test_schedule_is_linear_warm_up_then_half_a_cosine() -> None:
    factors = [lr_factor(step, 4, SPEC) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[8] == pytest.approx(0.5)
    assert factors[12] == pytest.approx(0)
    np.testing.assert_allclose(factors[4:], [(1 + math.cos(math.pi * i / 8)) / 2 for i in range(9)])


def test_batches_partition_an_epoch_and_depend_on_the_seed_alone() -> None:
    order = torch.Generator().manual_seed(5)
    first, second = batches(100, 16, order), batches(100, 16, order)
    assert [len(batch) for batch in first] == [16] * 6
    assert len(set(torch.cat(first).tolist())) == 96
    assert not torch.equal(first[0], second[0])
    again = batches(100, 16, torch.Generator().manual_seed(5))
    assert all(map(torch.equal, first, again))


def test_one_step_is_sgd_with_momentum_and_weight_decay(data: Dataset) -> None:
    """Two steps of plain arithmetic on the gradients give the same weights."""
    spec = dataclasses.replace(SPEC, epochs=1, warmup_epochs=0, batch_size=48)
    run = dataclasses.replace(RUN, factors=Variant("identity", "none"), train=spec)
    network = build(run, data)
    twin = copy.deepcopy(network)
    train(network, run, data)
    velocity = [torch.zeros_like(parameter) for parameter in twin.parameters()]
    order = torch.Generator().manual_seed(run.seed)
    for step, batch in enumerate(batches(96, 48, order)):
        loss = nn.functional.cross_entropy(
            twin(data.train_inputs[batch]), data.train_targets[batch]
        )
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        lr = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 2))
        with torch.no_grad():
            for parameter, v, g in zip(twin.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g + 1e-4 * parameter)
                parameter.sub_(lr * v)
    for ours, plain in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-7)


def test_clipping_bounds_the_first_step(data: Dataset) -> None:
    spec = dataclasses.replace(
        SPEC, epochs=1, warmup_epochs=0, batch_size=96, gradient_clip=1e-3, weight_decay=0.0
    )
    run = dataclasses.replace(RUN, train=spec)
    network = build(run, data)
    before = [parameter.clone() for parameter in network.parameters()]
    train(network, run, data)
    moved = sum((a - b).square().sum() for a, b in zip(network.parameters(), before, strict=True))
    assert moved.sqrt().item() == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_training_learns(data: Dataset) -> None:
    network = build(RUN, data)
    history = train(network, RUN, data)
    metrics = final_metrics(network, RUN, data, history)
    assert [epoch.step for epoch in history] == [6, 12, 18]
    assert metrics["status"] == "finished"
    assert metrics["train_error"] < 0.1 < history[0].train_error + 0.1
    assert metrics["train_loss"] < history[0].train_loss


def test_divergence_is_recorded_and_stops_the_run(data: Dataset) -> None:
    run = dataclasses.replace(
        RUN, factors=Variant("none", "none"), train=dataclasses.replace(SPEC, lr=1e20)
    )
    network = build(run, data)
    history = train(network, run, data)
    metrics = final_metrics(network, run, data, history)
    assert len(history) < SPEC.epochs
    assert metrics["status"] == "diverged"
    assert metrics["train_loss"] is None
    assert metrics["train_error"] == 0.5
    json.dumps(metrics, allow_nan=False)


def test_precise_batch_norm_equals_full_batch_statistics() -> None:
    network = Network(Variant("identity", "batch"), 8, 4, (1, 1, 20), 3)
    x = torch.randn(60, 1, 1, 20, generator=torch.Generator().manual_seed(1)) * 3 + 2
    precise_batch_norm(network, x, 60)
    first = network.layers["stem"][0](x)
    norm = network.layers["stem"][1]
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, first.var((0, 2, 3), unbiased=True))
    # One batch: eval mode then computes what train mode does, but for n / (n - 1).
    network.train()
    trained = network(x)
    network.eval()
    torch.testing.assert_close(network(x), trained, rtol=5e-3, atol=5e-3)


def test_precise_batch_norm_pools_batches_of_different_means() -> None:
    norm = nn.Sequential(nn.BatchNorm2d(1))
    x = torch.cat([torch.zeros(4, 1, 1, 2), torch.ones(2, 1, 1, 2)])
    precise_batch_norm(norm, x, 4)
    torch.testing.assert_close(norm[0].running_mean, torch.tensor([1 / 3]))
    torch.testing.assert_close(norm[0].running_var, x.var().reshape(1))


def test_evaluate_does_not_depend_on_the_batch_size(data: Dataset) -> None:
    network = build(RUN, data)
    one = evaluate(network, data.train_inputs, data.train_targets, 96)
    many = evaluate(network, data.train_inputs, data.train_targets, 7)
    assert many == pytest.approx(one)
    network.eval()
    logits = network(data.train_inputs)
    assert one[0] == pytest.approx(
        nn.functional.cross_entropy(logits, data.train_targets).item(), rel=1e-5
    )
    assert one[1] == pytest.approx((logits.argmax(1) != data.train_targets).double().mean().item())


def test_choose_takes_the_lowest_loss_and_flags_the_edge() -> None:
    assert choose({0.1: 0.5, 0.01: 0.7, 1.0: None})["lr"] == 0.1
    assert not choose({0.1: 0.5, 0.01: 0.7, 1.0: None})["at_edge"]
    assert choose({0.1: 0.5, 0.01: 0.4, 1.0: 0.6})["at_edge"]
    assert choose({0.1: 0.5, 0.01: 0.6, 1.0: 0.4})["at_edge"]
    assert choose({0.1: None, 0.01: None})["lr"] == 0.01


def test_run_round_trips_and_refuses_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(to_json(RUN))
    assert read_run(path) == RUN
    good = json.loads(to_json(RUN))
    for edit, message in [
        ({"depht": 8}, "depht"),
        ({"width": "wide"}, "width"),
        ({"factors": {"shortcut": "identitty", "norm": "batch"}}, "factors.shortcut"),
        ({"train": {**good["train"], "warmup_epochs": 3}}, "warmup_epochs: 3 leaves none of 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_dict({**good, **edit})


def test_mnist1d_is_the_canonical_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist1d = datasets.load("mnist1d", tmp_path)
    assert mnist1d.train_inputs.shape == (4000, 1, 1, 40)
    assert mnist1d.test_inputs.shape == (1000, 1, 1, 40)
    assert mnist1d.train_inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert mnist1d.train_inputs.std().item() == pytest.approx(1, abs=1e-3)
    manifest = json.loads((tmp_path / "mnist1d.json").read_text())
    assert manifest["sha256"] == datasets.MNIST1D_SHA256

    arrays = {key: np.zeros(3) for key in ("x", "y", "x_test", "y_test")}
    monkeypatch.setattr(datasets, "generate_mnist1d", lambda: arrays)
    with pytest.raises(ValueError, match="content hash"):
        datasets.prepare("mnist1d", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_command_line_repeats_bit_for_bit_and_refuses_a_typo(tmp_path: Path) -> None:
    run = dataclasses.replace(RUN, train=dataclasses.replace(SPEC, epochs=2, batch_size=500))
    (tmp_path / "run.json").write_text(to_json(run))

    def command(spec: str, out: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "models.train", "--spec", spec, "--out", out,
             "--data", str(tmp_path / "data")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    for out in ("a", "b"):
        finished = command(str(tmp_path / "run.json"), str(tmp_path / out))
        assert finished.returncode == 0, finished.stderr
    for name in ("history.csv", "run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    a, b = (torch.load(tmp_path / x / "checkpoint.pt", weights_only=True) for x in "ab")
    assert list(a) == ["init", "end"]
    for moment in a:
        for name in a[moment]:
            assert torch.equal(a[moment][name], b[moment][name]), name
    assert not torch.equal(a["init"]["layers.stem.0.weight"], a["end"]["layers.stem.0.weight"])

    (tmp_path / "bad.json").write_text(to_json(run).replace("depth", "depht"))
    refused = command(str(tmp_path / "bad.json"), str(tmp_path / "c"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()
