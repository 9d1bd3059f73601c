"""Runs side by side are the runs alone, and nothing of a lane reaches another."""

import math

import pytest
import torch
from test_variant import RUN, SETTINGS, replaced

from models.data.prepare import Dataset
from models.initialise import build
from models.network import Network
from models.training.evaluate import evaluate
from models.training.lanes import Stack, State, join, split
from models.variant import Run, read_variants
from tests.benchmarks.rivals import loop

VARIANTS = read_variants()
STEPS = 3


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(96, 2, 1, 20, generator=generator, dtype=torch.float64)
    targets = torch.arange(96) % 4
    return Dataset(inputs, targets, inputs[:16], targets[:16], 4)


@pytest.fixture(scope="module")
def single(data: Dataset) -> Dataset:
    """Return the data in single precision, for which other kernels compute."""
    inputs, targets, *test, classes = vars(data).values()
    return Dataset(inputs.float(), targets, *test, classes)


@pytest.fixture
def double() -> None:
    """Let networks be made in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def runs_of(name: str, *lanes: tuple[int, float]) -> list[Run]:
    """Return runs of a variant with the given seeds and learning rates."""
    variant = VARIANTS[name]
    usual = {"clipped": variant.factors.norm == "none", "gradient_clip": 0.5}
    changes = usual | variant.training.model_dump(exclude_none=True)
    train = replaced(SETTINGS, augmentation="crop_and_flip", **changes)
    own = {key: getattr(variant, key) for key in ("factors", "growth", "frozen")}
    own |= {"variant": name, "depth": 14, "train": train}
    return [replaced(RUN, **own, seed=seed, lr=lr) for seed, lr in lanes]


def begun(runs: list[Run], data: Dataset) -> Stack:
    """Return a stack before its first step; networks that grow do so from depth 8."""
    grows = VARIANTS[runs[0].variant].start
    starts = [build(replaced(run, depth=8), data) for run in runs] if grows else []
    return Stack(runs, data, [network.state_dict() for network in starts])


def after(steps: int, runs: list[Run], data: Dataset) -> Stack:
    stack = begun(runs, data)
    for _ in range(steps):
        stack.step()
    return stack


def apart(one: State, other: State) -> float:
    """Return the largest difference of two states, as a share of the largest entry of a tensor."""
    assert one.keys() == other.keys()
    pairs = [(one[name].double(), other[name].double()) for name in one]
    return max(((a - b).abs().max() / a.abs().max().clamp(min=1e-12)).item() for a, b in pairs)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", VARIANTS)
def test_lanes_are_single_networks(name: str, data: Dataset) -> None:
    runs = runs_of(name, (0, 0.1), (1, 0.02), (2, 0.2))
    stack = after(STEPS, runs, data)
    for k, run in enumerate(runs):
        alone = after(STEPS, [run], data)
        assert apart(alone.weights()[0], stack.weights()[k]) < 1e-5
        assert alone.losses[0].item() == pytest.approx(stack.losses[k].item(), rel=1e-5)
        assert apart(begun([run], data).weights()[0], alone.weights()[0]) > 1e-3  # it has learned


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["plain", "plain_bn", "residual", "residual_bn"])
def test_a_lane_is_what_the_usual_way_to_train_in_pytorch_makes(name: str, data: Dataset) -> None:
    """The benchmarks time that way: Conv1d, a DataLoader, torch.optim.SGD and a scheduler."""
    runs = runs_of(name, (0, 0.1), (1, 0.2))
    train = replaced(runs[0].train, augmentation="none")
    stack = begun([replaced(run, train=train, epochs=1) for run in runs], data)
    while stack.done < stack.total:
        stack.step()
        stack.record()
    losses = [row.train_loss for row in stack.histories[0]]
    assert losses == pytest.approx(loop(stack.runs[0], data)[0], rel=1e-6)


@pytest.mark.parametrize("name", ["plain_bn", "residual_bn", "preact_bn", "residual_bn_orthogonal"])
@pytest.mark.parametrize("size", [(1, 20), (8, 8)])
def test_every_layer_keeps_the_channels_last(name: str, size: tuple[int, int]) -> None:
    """Convolutions and norms are faster so, and a sum of two formats is slower than both."""
    network = Network(VARIANTS[name].factors, 14, 4, (2, *size), 3, lanes=2)
    outputs = []
    for module in network.modules():
        module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    network(torch.randn(5, 4, *size).contiguous(memory_format=torch.channels_last))
    images = [output for output in outputs if output.ndim == 4]
    assert len(images) > 20
    assert all(image.is_contiguous(memory_format=torch.channels_last) for image in images)


@pytest.mark.parametrize("name", ["plain", "residual_bn", "residual_fixup", "plain_bn_noisy"])
def test_a_lane_that_diverges_or_is_not_a_number_leaves_the_others_alone(
    name: str, single: Dataset
) -> None:
    lanes = (0, 0.1), (1, 0.1), (2, 0.1)
    usual = after(STEPS, runs_of(name, *lanes), single).weights()
    wild = after(STEPS, runs_of(name, lanes[0], (1, 1e30), lanes[2]), single).weights()
    poisoned = Stack(runs_of(name, *lanes), single)
    with torch.no_grad():
        for weight in poisoned.parameters:
            weight.chunk(3)[1].fill_(math.nan)
    for _ in range(STEPS):
        poisoned.step()
    for other in (wild, poisoned.weights()):
        for k in (0, 2):
            assert all(map(torch.equal, usual[k].values(), other[k].values()))
        assert not all(map(torch.equal, usual[1].values(), other[1].values()))


def test_an_evaluation_is_that_of_each_network() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 1, 1, 20, generator=generator), torch.arange(30) % 3
    networks = [Network(RUN.factors, 8, 4, (1, 1, 20), 3) for _ in range(3)]
    side_by_side = Network(RUN.factors, 8, 4, (1, 1, 20), 3, lanes=3)
    side_by_side.load_state_dict(join([network.state_dict() for network in networks]))
    found = evaluate(side_by_side, x, y, 7)
    for network, pair in zip(networks, found, strict=True):
        assert pair == pytest.approx(evaluate(network, x, y, 30)[0], rel=1e-4)
    for network, state in zip(networks, split(side_by_side.state_dict(), 3), strict=True):
        assert all(map(torch.equal, network.state_dict().values(), state.values()))


def test_a_history_ends_where_its_loss_is_not_finite(single: Dataset) -> None:
    stack = Stack(runs_of("plain", (0, 0.05), (1, 1e30)), single)
    for _ in range(STEPS):
        assert stack.alive()  # the first lane is
        stack.step()
        stack.record()
    first, second = stack.histories
    assert [row.step for row in first] == list(range(1, STEPS + 1))
    assert not math.isfinite(second[-1].train_loss)
    assert len(second) < STEPS
    assert all(math.isfinite(row.train_loss) for row in (*first, *second[:-1]))
