"""Training: the schedule, the order of the data, evaluation, divergence, repeatability."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import command
from test_variant import RUN, SETTINGS, replaced
from torch import nn

from models import tensors
from models.data.prepare import Dataset, load
from models.initialise import build
from models.network import Network
from models.training.evaluate import evaluate, final_metrics, precise_batch_norm
from models.training.loop import batches, train
from models.training.optimiser import layerwise, lr_factor
from models.training.tune import choose
from models.variant import Factors, read_run, to_json

NO_NORM = Factors(norm="none")


@pytest.fixture
def data() -> Dataset:
    """Two classes of short signals, told apart by their sign."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(128) % 2
    inputs = torch.randn(128, 1, 1, 12, generator=generator) + (2 * targets - 1).view(-1, 1, 1, 1)
    return Dataset(inputs[:96], targets[:96], inputs[96:], targets[96:], classes=2)


def test_schedule_is_a_warm_up_then_half_a_cosine_or_the_staircase_of_he_et_al() -> None:
    factors = [lr_factor(step, 12, SETTINGS) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:] == pytest.approx([(1 + math.cos(math.pi * i / 8)) / 2 for i in range(9)])
    spec = replaced(SETTINGS, schedule="staircase", warmup_steps=400)
    factors = {step: lr_factor(step, 64_000, spec) for step in (0, 399, 31_999, 32_000, 48_000)}
    assert factors == pytest.approx({0: 1 / 400, 399: 1, 31_999: 1, 32_000: 0.1, 48_000: 0.01})


def test_batches_partition_an_epoch_and_depend_on_the_seed_alone() -> None:
    run = replaced(RUN, seed=5, train=replaced(SETTINGS, epochs=2))
    drawn = list(batches(run, 100, torch.device("cpu")))
    assert [len(batch) for batch in drawn] == [16] * 12
    assert len(set(torch.cat(drawn[:6]).tolist())) == 96
    assert not torch.equal(drawn[0], drawn[6])
    other = replaced(run, variant="plain", factors=NO_NORM, depth=14)
    assert all(map(torch.equal, drawn, batches(other, 100, torch.device("cpu"))))


@pytest.mark.parametrize("factors", [NO_NORM, Factors(norm="none", branch_scale="fixup")])
def test_one_step_is_sgd_with_momentum_and_weight_decay(factors: Factors, data: Dataset) -> None:
    """Two steps of plain arithmetic on the gradients give the same weights.

    With Fixup, its scalars and the head's bias learn at a tenth of the rate.
    """
    spec = replaced(SETTINGS, epochs=1, warmup_steps=0, batch_size=48)
    run = replaced(RUN, factors=factors, train=spec)
    network = build(run, data)
    twin = copy.deepcopy(network)
    train(network, run, data)
    velocity = [torch.zeros_like(parameter) for parameter in twin.parameters()]
    for step, batch in enumerate(batches(run, 96, torch.device("cpu"))):
        logits = twin(data.train_inputs[batch])
        loss = nn.functional.cross_entropy(logits, data.train_targets[batch])
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        lr = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 2))
        with torch.no_grad():
            for parameter, v, g in zip(twin.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g + 1e-4 * parameter)
                slow = factors.branch_scale == "fixup" and parameter.ndim < 2
                parameter.sub_((0.1 if slow else 1) * lr * v)
    for ours, plain in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gradient", ["clipped", "layerwise"])
def test_the_first_step_has_the_size_that_its_gradient_says(gradient: str, data: Dataset) -> None:
    whole = {"epochs": 1, "warmup_steps": 0, "batch_size": 96, "weight_decay": 0.0}
    run = replaced(RUN, train=replaced(SETTINGS, gradient=gradient, gradient_clip=1e-3, **whole))
    network = build(run, data)
    before = [parameter.clone() for parameter in network.parameters()]
    train(network, run, data)
    steps = [new - old for new, old in zip(network.parameters(), before, strict=True)]
    if gradient == "clipped":
        norm = sum(step.square().sum() for step in steps).sqrt()
        assert norm.item() == pytest.approx(0.05 * 1e-3, rel=1e-3)
        return
    for step, old in zip(steps, before, strict=True):
        size = old.norm().item() if old.ndim > 1 else math.sqrt(old.numel())
        assert step.norm().item() == pytest.approx(0.05 * 0.1 * size, rel=1e-4)


def test_layerwise_steps_survive_a_dead_layer() -> None:
    weight = nn.Parameter(torch.full((50, 50), 9.0))
    weight.grad = torch.zeros(50, 50)
    layerwise([weight])
    assert not weight.grad.any()


def test_training_learns(data: Dataset) -> None:
    network = build(RUN, data)
    history = train(network, RUN, data)
    metrics = final_metrics(network, RUN, data, history)
    assert [(row.epoch, row.step) for row in history] == [(1, 6), (2, 12), (3, 18)]
    assert metrics["status"] == "finished"
    assert metrics["train_error"] < 0.1
    assert metrics["train_loss"] < history[0].train_loss


def test_precise_batch_norm_equals_full_batch_statistics() -> None:
    network = Network(Factors(), 8, 4, (1, 1, 20), 3)
    x = torch.randn(60, 1, 1, 20, generator=torch.Generator().manual_seed(1)) * 3 + 2
    x[25:] += 5  # batches have different means
    convolution, norm, _ = network.layers["stem"]
    first = convolution(x)
    for size in (25, 60):
        precise_batch_norm(network, x, size)
        torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)))
        torch.testing.assert_close(norm.running_var, first.var((0, 2, 3), unbiased=True))
    # With one batch, eval mode computes what train mode does, except for n / (n - 1).
    torch.testing.assert_close(network(x), network.train()(x), rtol=5e-3, atol=5e-3)


def test_evaluate_does_not_depend_on_the_batch_size(data: Dataset) -> None:
    network = build(RUN, data)
    one = evaluate(network, data.train_inputs, data.train_targets, 96)
    many = evaluate(network, data.train_inputs, data.train_targets, 7)
    assert many == pytest.approx(one)
    logits, targets = network.eval()(data.train_inputs), data.train_targets
    error = (logits.argmax(1) != targets).double().mean().item()
    expected = (nn.functional.cross_entropy(logits, targets).item(), error)
    assert one == pytest.approx(expected, rel=1e-5)


def test_choose_takes_the_lowest_loss() -> None:
    assert choose({0.1: 0.5, 0.01: 0.7, 1.0: None})["lr"] == 0.1
    assert choose({0.1: None, 0.01: None})["lr"] == 0.01


def test_a_grown_network_needs_no_more_than_its_run_json(tmp_path: Path) -> None:
    """Its start's folder and the specification alone give the same bits."""
    spec = replaced(SETTINGS, epochs=2, batch_size=500, evaluation_batch_size=4000)
    small = replaced(RUN, factors=Factors(shortcut="none"), train=spec)
    large = replaced(small, depth=20)
    for name, *arguments in (
        ("small", "--spec", to_json(small)),
        ("large", "--spec", to_json(large), "--start", tmp_path / "small"),
        ("again", "--spec", tmp_path / "large/run.json"),
    ):
        options = ("--out", tmp_path / name, "--data", tmp_path / "data")
        finished = command("models.training.train", *arguments, *options)
        assert finished.returncode == 0, finished.stderr
    assert read_run(tmp_path / "large/run.json").start == small
    names = ("small", "large", "again")
    before, after, again = (tensors.read(tmp_path / name / "checkpoint.pt") for name in names)
    assert list(after) == ["init", "end"]
    for name, value in after["end"].items():
        assert torch.equal(value, again["end"][name]), name
    stem = "layers.stem.conv.weight"
    assert not torch.equal(after["init"][stem], after["end"][stem])
    # It starts with the logits with which the smaller network ended.
    logits = []
    for run, state in ((small, before["end"]), (large, after["init"])):
        network = Network(run.factors, run.depth, run.width, (1, 1, 40), 10).eval()
        network.load_state_dict(state)
        logits.append(network(load("mnist1d", tmp_path / "data").test_inputs))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_tuning_tries_each_rate_and_chooses_by_training_loss(tmp_path: Path) -> None:
    spec = to_json(replaced(RUN, train=replaced(SETTINGS, batch_size=500))).replace("0.05", "null")
    for lrs, folder in ((("0.1",), tmp_path / "alone"), (("1e-5", "0.1"), tmp_path / "cell")):
        options = ("--lrs", *lrs, "--out", folder, "--data", tmp_path / "data")
        tried = command("models.training.tune", "--spec", spec, *options)
        assert tried.returncode == 0, tried.stderr
        chosen = json.loads((folder / "chosen.json").read_text())
        assert chosen["lr"] == 0.1
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["chosen.json"]
    losses = {}
    for name in ("lr1e-5", "lr0.1"):
        metrics = json.loads((folder / name / "metrics.json").read_text())
        losses[read_run(folder / name / "run.json").train.lr] = metrics["train_loss"]
    assert chosen["lr"] == min(losses, key=losses.get)
    assert chosen["train_loss"] == losses[0.1]
