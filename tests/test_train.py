"""Training: the schedule, the order of the data, evaluation, divergence, repeatability."""

import copy
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import command
from torch import nn

from models import data as datasets
from models.data import Dataset
from models.evaluate import evaluate, precise_batch_norm
from models.network import Network
from models.train import batches, build, final_metrics, layerwise, lr_factor, train
from models.tune import choose
from models.variant import Run, TrainSpec, Variant, from_dict, read_run, to_json

SPEC = TrainSpec(
    epochs=3, batch_size=16, lr=0.05, schedule="cosine", warmup_steps=4, momentum=0.9,
    weight_decay=1e-4, gradient="raw", gradient_clip=1.0, augmentation="none",
    precision="float32", record_every=6, evaluation_batch_size=64,
)  # fmt: skip
RUN = Run(
    dataset="mnist1d", variant="residual_bn", factors=Variant(), depth=8,
    width=4, seed=0, train=SPEC, checkpoints=("init", "end"),
)  # fmt: skip
NO_NORM = Variant(norm="none")


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
    factors = [lr_factor(step, 12, SPEC) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[8] == pytest.approx(0.5)
    assert factors[12] == pytest.approx(0)
    np.testing.assert_allclose(factors[4:], [(1 + math.cos(math.pi * i / 8)) / 2 for i in range(9)])


def test_staircase_is_that_of_he_et_al() -> None:
    spec = dataclasses.replace(SPEC, schedule="staircase", warmup_steps=400)
    factors = {step: lr_factor(step, 64_000, spec) for step in (0, 399, 31_999, 32_000, 48_000)}
    assert factors == pytest.approx({0: 1 / 400, 399: 1, 31_999: 1, 32_000: 0.1, 48_000: 0.01})


def test_batches_partition_an_epoch_and_depend_on_the_seed_alone() -> None:
    run = dataclasses.replace(RUN, seed=5, train=dataclasses.replace(SPEC, epochs=2))
    drawn = list(batches(run, 100, torch.device("cpu")))
    assert [len(batch) for batch in drawn] == [16] * 12
    assert len(set(torch.cat(drawn[:6]).tolist())) == 96
    assert not torch.equal(drawn[0], drawn[6])
    other = dataclasses.replace(run, variant="plain", factors=NO_NORM, depth=14)
    assert all(map(torch.equal, drawn, batches(other, 100, torch.device("cpu"))))


@pytest.mark.parametrize("factors", [NO_NORM, Variant(norm="none", branch_scale="fixup")])
def test_one_step_is_sgd_with_momentum_and_weight_decay(factors: Variant, data: Dataset) -> None:
    """Two steps of plain arithmetic on the gradients give the same weights. Fixup's scalars, and
    the head's bias, learn at a tenth of the rate."""
    spec = dataclasses.replace(SPEC, epochs=1, warmup_steps=0, batch_size=48)
    run = dataclasses.replace(RUN, factors=factors, train=spec)
    network = build(run, data)
    twin = copy.deepcopy(network)
    train(network, run, data)
    velocity = [torch.zeros_like(parameter) for parameter in twin.parameters()]
    for step, batch in enumerate(batches(run, 96, torch.device("cpu"))):
        loss = nn.functional.cross_entropy(
            twin(data.train_inputs[batch]), data.train_targets[batch]
        )
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        lr = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 2))
        with torch.no_grad():
            for parameter, v, g in zip(twin.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g + 1e-4 * parameter)
                slow = factors.branch_scale == "fixup" and parameter.ndim < 2
                parameter.sub_((0.1 if slow else 1) * lr * v)
    for ours, plain in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-7)


def test_clipping_bounds_the_first_step(data: Dataset) -> None:
    spec = dataclasses.replace(
        SPEC, epochs=1, warmup_steps=0, batch_size=96, gradient="clipped", gradient_clip=1e-3,
        weight_decay=0.0,
    )  # fmt: skip
    run = dataclasses.replace(RUN, train=spec)
    network = build(run, data)
    before = [parameter.clone() for parameter in network.parameters()]
    train(network, run, data)
    moved = sum((a - b).square().sum() for a, b in zip(network.parameters(), before, strict=True))
    assert moved.sqrt().item() == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_layerwise_steps_are_a_part_of_each_layers_norm(data: Dataset) -> None:
    spec = dataclasses.replace(
        SPEC, epochs=1, warmup_steps=0, batch_size=96, gradient="layerwise", weight_decay=0.0
    )
    run = dataclasses.replace(RUN, train=spec)
    network = build(run, data)
    before = [parameter.clone() for parameter in network.parameters()]
    train(network, run, data)
    for old, new in zip(before, network.parameters(), strict=True):
        size = old.norm().item() if old.ndim > 1 else math.sqrt(old.numel())
        assert (new - old).norm().item() == pytest.approx(0.05 * 0.1 * size, rel=1e-4)


def test_layerwise_steps_survive_a_dead_layer() -> None:
    weight = nn.Parameter(torch.full((50, 50), 9.0))
    weight.grad = torch.zeros(50, 50)
    layerwise([weight], SPEC)
    assert not weight.grad.any()


def test_noise_in_the_network_is_drawn_from_the_seed(data: Dataset) -> None:
    run = dataclasses.replace(RUN, factors=Variant(norm="noisy_batch"))
    first, again = build(run, data), build(run, data)
    assert train(first, run, data) == train(again, run, data)
    other = dataclasses.replace(run, factors=Variant())
    assert train(build(other, data), other, data) != train(build(run, data), run, data)


def test_training_learns(data: Dataset) -> None:
    network = build(RUN, data)
    history = train(network, RUN, data)
    metrics = final_metrics(network, RUN, data, history)
    assert [(row.epoch, row.step) for row in history] == [(1, 6), (2, 12), (3, 18)]
    assert metrics["status"] == "finished"
    assert metrics["train_error"] < 0.1
    assert metrics["train_loss"] < history[0].train_loss


def test_divergence_is_recorded_and_stops_the_run(data: Dataset) -> None:
    run = dataclasses.replace(
        RUN, factors=Variant("none", norm="none"), train=dataclasses.replace(SPEC, lr=1e20)
    )
    network = build(run, data)
    history = train(network, run, data)
    metrics = final_metrics(network, run, data, history)
    assert len(history) < 3
    assert metrics["status"] == "diverged"
    assert metrics["train_loss"] is None
    assert metrics["train_error"] == 0.5
    json.dumps(metrics, allow_nan=False)


def test_precise_batch_norm_equals_full_batch_statistics() -> None:
    network = Network(Variant(), 8, 4, (1, 1, 20), 3)
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


def test_choose_takes_the_lowest_loss() -> None:
    assert choose({0.1: 0.5, 0.01: 0.7, 1.0: None})["lr"] == 0.1
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
        ({"start": {**good, "depth": 14}}, "start.depth: 14 is more than depth: 8"),
        ({"start": {**good, "width": 8}}, "one of its own factors and width"),
        ({"start": good}, "only plain networks with ReLU grow, and only once"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_dict({**good, **edit})


def test_command_line_repeats_bit_for_bit_and_refuses_a_typo(tmp_path: Path) -> None:
    run = dataclasses.replace(RUN, train=dataclasses.replace(SPEC, epochs=2, batch_size=500))
    (tmp_path / "run.json").write_text(to_json(run))
    data = ("--data", tmp_path / "data")
    for spec, out in ((tmp_path / "run.json", "a"), (to_json(run), "b")):
        finished = command("models.train", "--spec", spec, "--out", tmp_path / out, *data)
        assert finished.returncode == 0, finished.stderr
    for name in ("history.csv", "run.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    a, b = (torch.load(tmp_path / x / "checkpoint.pt", weights_only=True) for x in "ab")
    assert list(a) == ["init", "end"]
    for moment in a:
        for name in a[moment]:
            assert torch.equal(a[moment][name], b[moment][name]), name
    stem = "layers.stem.conv.weight"
    assert not torch.equal(a["init"][stem], a["end"][stem])

    (tmp_path / "bad.json").write_text(to_json(run).replace("depth", "depht"))
    refused = command(
        "models.train", "--spec", tmp_path / "bad.json", "--out", tmp_path / "c", *data
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_a_grown_network_needs_no_more_than_its_run_json(tmp_path: Path) -> None:
    """From its parent's folder or from the specification alone: the same bits."""
    spec = dataclasses.replace(SPEC, epochs=2, batch_size=500, evaluation_batch_size=4000)
    small = dataclasses.replace(RUN, factors=Variant(shortcut="none"), train=spec)
    large = dataclasses.replace(small, depth=14)
    data = ("--data", tmp_path / "data")
    given = ("--start", tmp_path / "small")
    alone = ("--spec", tmp_path / "large/run.json")
    for arguments in (
        ("--spec", to_json(small), "--out", tmp_path / "small"),
        ("--spec", to_json(large), *given, "--out", tmp_path / "large"),
        (*alone, "--out", tmp_path / "again"),
    ):
        finished = command("models.train", *arguments, *data)
        assert finished.returncode == 0, finished.stderr
    assert read_run(tmp_path / "large/run.json").start == small
    weights = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("large", "again")
    ]
    for name, value in weights[0]["end"].items():
        assert torch.equal(value, weights[1]["end"][name]), name
    # What it starts from computes what its parent ended with.
    mnist1d = datasets.load("mnist1d", tmp_path / "data")
    networks = []
    for run, state in (
        (small, torch.load(tmp_path / "small/checkpoint.pt", weights_only=True)["end"]),
        (large, weights[0]["init"]),
    ):
        network = Network(run.factors, run.depth, run.width, (1, 1, 40), 10).eval()
        network.load_state_dict(state)
        networks.append(network(mnist1d.test_inputs))
    torch.testing.assert_close(*networks, rtol=1e-4, atol=1e-4)


def test_tuning_tries_each_rate_and_chooses_by_training_loss(tmp_path: Path) -> None:
    spec = to_json(dataclasses.replace(RUN, train=dataclasses.replace(SPEC, batch_size=500)))
    tried = command(
        "models.tune", "--spec", spec.replace("0.05", "null"), "--lrs", "1e-5", "0.1",
        "--out", tmp_path / "cell", "--data", tmp_path / "data",
    )  # fmt: skip
    assert tried.returncode == 0, tried.stderr
    losses = {
        read_run(folder / "run.json").train.lr: json.loads((folder / "metrics.json").read_text())[
            "train_loss"
        ]
        for folder in (tmp_path / "cell/lr1e-5", tmp_path / "cell/lr0.1")
    }
    chosen = json.loads((tmp_path / "cell/chosen.json").read_text())
    assert chosen["lr"] == 0.1 == min(losses, key=losses.get)
    assert chosen["train_loss"] == losses[0.1]

    alone = command("models.tune", "--spec", spec, "--lrs", "0.1", "--out", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["chosen.json"]
    assert json.loads((tmp_path / "alone/chosen.json").read_text())["lr"] == 0.1
