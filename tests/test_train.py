"""Training: the schedule, the order of the data, evaluation, divergence, repeatability."""

import math

import pytest
import torch
from test_variant import RUN, SETTINGS, replaced
from torch import nn

from models.data.augment import PADDING, draw_crops
from models.data.prepare import Dataset
from models.initialise import build
from models.network import Network
from models.training.evaluate import evaluate, final_metrics, precise_batch_norm
from models.training.lanes import Stack
from models.training.loop import batches, recorded_steps, train
from models.training.optimiser import ADAMW, MUON, layerwise, lr_factor, muon, orthogonalised
from models.training.tuning import beyond, ranked
from models.variant import Factors, Run

NO_NORM = Factors(norm="none")


@pytest.fixture
def data() -> Dataset:
    """Two classes of short signals, told apart by their sign."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(128) % 2
    inputs = torch.randn(128, 1, 1, 12, generator=generator) + (2 * targets - 1).view(-1, 1, 1, 1)
    return Dataset(inputs[:96], targets[:96], inputs[96:], targets[96:], classes=2)


def trained(run: Run, data: Dataset) -> Stack:
    stack = Stack([run], data)
    train(stack)
    return stack


def test_schedule_is_a_warm_up_then_half_a_cosine_or_the_staircase_of_he_et_al() -> None:
    factors = [lr_factor(step, 12, SETTINGS) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:] == pytest.approx([(1 + math.cos(math.pi * i / 8)) / 2 for i in range(9)])
    spec = replaced(SETTINGS, schedule="staircase", warmup_steps=400)
    factors = {step: lr_factor(step, 64_000, spec) for step in (0, 399, 31_999, 32_000, 48_000)}
    assert factors == pytest.approx({0: 1 / 400, 399: 1, 31_999: 1, 32_000: 0.1, 48_000: 0.01})
    # A warm-up takes at most half of all steps.
    spec = replaced(SETTINGS, schedule="constant", warmup_steps=200)
    assert [lr_factor(step, 8, spec) for step in range(8)] == [0.25, 0.5, 0.75, *[1.0] * 5]
    assert lr_factor(99, 400, spec) == 0.5
    assert lr_factor(0, 1, spec) == 1.0


def test_batches_partition_an_epoch_and_depend_on_the_seed_alone() -> None:
    run = replaced(RUN, seed=5, epochs=2)
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
    spec = replaced(SETTINGS, warmup_steps=0, batch_size=48)
    run = replaced(RUN, factors=factors, epochs=1, train=spec)
    network, twin = trained(run, data).network, build(run, data)
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


def first_step(data: Dataset, **changes: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return each weight, and its first change in training, at a learning rate of 0.05."""
    whole = {"warmup_steps": 0, "batch_size": 96, "weight_decay": 0.0}
    run = replaced(RUN, epochs=1, train=replaced(SETTINGS, **whole, **changes))
    before = [parameter.detach() for parameter in build(run, data).parameters()]
    after = trained(run, data).network.parameters()
    return [(old, new.detach() - old) for new, old in zip(after, before, strict=True)]


def test_a_clipped_gradient_has_the_stated_norm(data: Dataset) -> None:
    steps = [step for _, step in first_step(data, clipped=True, gradient_clip=1e-3)]
    norm = sum(step.square().sum() for step in steps).sqrt()
    assert norm.item() == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_layerwise_steps_are_a_tenth_of_the_weights(data: Dataset) -> None:
    for old, step in first_step(data, optimiser="layerwise"):
        size = old.norm().item() if old.ndim > 1 else math.sqrt(old.numel())
        assert step.norm().item() == pytest.approx(0.05 * 0.1 * size, rel=1e-4)


def test_adamw_is_that_of_pytorch(data: Dataset) -> None:
    changes = {"optimiser": "adamw", "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.1}
    run = replaced(RUN, lr=0.1, train=replaced(SETTINGS, **changes))
    network, twin, init = trained(run, data).network, build(run, data), build(run, data)
    theirs = torch.optim.AdamW(twin.parameters(), lr=ADAMW * 0.1, weight_decay=0.1)
    for batch in batches(run, 96, torch.device("cpu")):
        theirs.zero_grad()
        logits = twin(data.train_inputs[batch])
        nn.functional.cross_entropy(logits, data.train_targets[batch]).backward()
        theirs.step()
    weights = [network.parameters(), twin.parameters(), init.parameters()]
    for ours, usual, start in zip(*weights, strict=True):
        torch.testing.assert_close(ours, usual, rtol=1e-3, atol=1e-4)
        assert (usual - start).abs().max() > 0.01


@pytest.mark.parametrize("shape", [(24, 24), (8, 72), (32, 12)])
def test_newton_schulz_is_near_the_polar_factor(shape: tuple[int, int]) -> None:
    """Its singular vectors are those of the matrix, and its singular values are near one."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, *shape, generator=generator)
    matrices *= torch.tensor([1e-3, 1, 1e3])[:, None, None]
    for matrix, found in zip(matrices, orthogonalised(matrices), strict=True):
        u, values, v = torch.linalg.svd(matrix, full_matrices=False)
        inside = u.mT @ found @ v.mT
        large = values > 0.02 * values.norm()  # smaller ones need more steps
        assert large.sum() >= 0.9 * len(large)
        assert ((inside.diagonal() > 0.65) & (inside.diagonal() < 1.25))[large].all()
        torch.testing.assert_close(inside, inside.diagonal().diag(), rtol=0, atol=1e-3)


def test_muon_makes_steps_of_kernels_orthogonal_and_leaves_the_rest_to_adamw(data: Dataset) -> None:
    steps = [step / 0.05 for _, step in first_step(data, optimiser="muon")]
    kernels = [step.flatten(1) for step in steps if step.ndim == 4]
    assert {len(step) > step.shape[1] for step in kernels} == {True, False}
    for step in kernels:
        values = torch.linalg.svdvals(step) / MUON / max(1, len(step) / step.shape[1]) ** 0.5
        assert values.max() < 1.25
        assert values.median() > 0.65
    for step in [step for step in steps if step.ndim < 4]:  # Adam begins with the gradient's sign
        moved = step[step.abs() > 0.01 * ADAMW].abs()
        torch.testing.assert_close(moved, torch.full_like(moved, ADAMW), rtol=0.01, atol=0)


def test_muon_has_nesterovs_momentum_and_decoupled_decay() -> None:
    """A matrix of one row is orthogonalised by its norm, up to what five steps leave."""
    generator = torch.Generator().manual_seed(0)
    first, second, kernel = torch.randn(3, 1, 2, 1, 3, generator=generator)
    weight, momentum, by_hand = kernel.clone(), torch.zeros_like(kernel), kernel
    for gradient in (first, second):
        muon([weight], [gradient.clone()], [momentum], 0.1, 0.5)
    for direction in (first, second + 0.95 * (second + 0.95 * first)):
        size = orthogonalised(direction.flatten(1)[None]).norm()
        by_hand = by_hand * (1 - 0.1 * 0.5) - 0.1 * size * direction / direction.norm()
    torch.testing.assert_close(weight, by_hand)


def test_layerwise_steps_survive_a_dead_layer() -> None:
    gradient = torch.zeros(50, 50)
    layerwise([torch.full((50, 50), 9.0)], [gradient])
    assert not gradient.any()


def test_training_learns(data: Dataset) -> None:
    stack = trained(RUN, data)
    (history,), (metrics,) = stack.histories, final_metrics(stack.network, data, 64)
    steps = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 18]
    assert [(row.epoch, row.step) for row in history] == [(-(-step // 6), step) for step in steps]
    assert metrics["status"] == "finished"
    assert metrics["train_error"] < 0.1
    assert metrics["train_loss"] < history[0].train_loss


def test_the_history_is_dense_at_first_and_evenly_spaced_on_a_log_scale() -> None:
    steps = sorted(recorded_steps(10_000))
    assert steps[:10] == [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]
    assert [step for step in steps if step >= 1000][:4] == [1000, 1259, 1585, 1995]
    assert steps[-1] == 10_000
    assert sorted(recorded_steps(7)) == [1, 2, 3, 4, 5, 6, 7]


def test_crops_are_drawn_evenly_and_leave_an_axis_of_length_one() -> None:
    drawn = draw_crops(9000, (1, 40), torch.Generator().manual_seed(0))
    assert not drawn[:, 0].any()
    counts = drawn[:, 1].bincount()
    assert len(counts) == 2 * PADDING + 1
    assert (counts - 1000).abs().max() < 150
    assert drawn[:, 2].double().mean().item() == pytest.approx(0.5, abs=0.03)


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
    network, targets = build(RUN, data), data.train_targets
    logits = network.eval()(data.train_inputs)
    error = (logits.argmax(1) != targets).double().mean().item()
    expected = (nn.functional.cross_entropy(logits, targets).item(), error)
    for size in (7, 96):
        found = evaluate(network, data.train_inputs, targets, size)
        assert found == [pytest.approx(expected, rel=1e-5)]


def test_the_lowest_loss_is_first_and_a_grid_grows_at_its_edge() -> None:
    assert ranked({0.1: 0.5, 0.01: 0.7, 1.0: None}) == [0.1, 0.01, 1.0]
    assert ranked({0.1: None, 0.01: None}) == [0.01, 0.1]
    assert beyond({0.01: 0.9, 0.03: 0.7, 0.1: 0.8}) is None
    assert beyond({0.01: 0.9, 0.03: 0.8, 0.1: 0.7}) == 0.33
    assert beyond({0.01: 0.7, 0.03: 0.8, 0.1: 0.9}) == 0.0033
    assert beyond({0.01: None, 0.03: None}) == 0.0033
