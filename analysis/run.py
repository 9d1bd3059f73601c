"""A finished run, loaded to be measured: its network at a moment, and what it is measured on."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from models import checkpoint
from models.data import Dataset
from models.evaluate import precise_batch_norm
from models.network import Block, Network
from models.train import batches
from models.variant import Run, read_run

State = dict[str, Tensor]

OFFSET = 1_000_000  # from the seed of a run to that of its measurements


@dataclass(frozen=True, eq=False)
class Subject:
    """What a measurement sees. The network is in eval mode, with precise BatchNorm statistics."""

    run: Run
    moment: str  # init, step<n> or end
    network: Network
    inputs: Tensor  # training images (N, C, H, W)
    targets: Tensor  # (N,)
    batch: tuple[Tensor, Tensor] | None = None  # of the step that the run takes next, if any
    after: State | None = None  # the weights after that step, if the run kept them
    other: State | None = None  # the weights of another seed at the same moment

    def sample(self, examples: int) -> "Subject":
        """The same on some of its images, evenly spaced over the set."""
        inputs, targets = evenly(self.inputs, examples), evenly(self.targets, examples)
        return replace(self, inputs=inputs, targets=targets)

    def generator(self) -> torch.Generator:
        """For random draws of a measurement: the same for every variant and moment of a seed, and
        not those of the initial weights, which would make a random direction one of them."""
        return torch.Generator().manual_seed(OFFSET + self.run.seed)


@dataclass(frozen=True, eq=False)
class Finished:
    """A run that has been trained: its specification, its data and the weights that it kept."""

    run: Run
    data: Dataset
    weights: dict[str, State]  # by moment: init, step<n>, end

    def network(self, moment: str) -> Network:
        """The network at a moment, in eval mode.

        BatchNorm's statistics are those of the training set at the end, as training left them, and
        of an evaluation batch of evenly spaced training images at other moments.
        """
        run, data = self.run, self.data
        shape, size = data.train_inputs.shape[1:], run.train.evaluation_batch_size
        network = Network(run.factors, run.depth, run.width, shape, data.classes)
        network.load_state_dict(self.weights[moment])
        network.to(data.train_inputs.device, memory_format=torch.channels_last).eval()
        if moment != "end":
            precise_batch_norm(network, evenly(data.train_inputs, size), size)
        return network

    def subject(self, moment: str, other: "Finished | None" = None) -> Subject:
        """The run at a moment, beside the same moment of another seed, and all training images."""
        data, step = self.data, step_of(moment)
        batch, after = None, None
        if step is not None:
            order = batches(self.run, len(data.train_targets), data.train_inputs.device)
            indices = next(islice(order, step, None))
            batch = data.train_inputs[indices], data.train_targets[indices]
            after = self.weights.get(f"step{step + 1}")
        return Subject(
            run=self.run,
            moment=moment,
            network=self.network(moment),
            inputs=data.train_inputs,
            targets=data.train_targets,
            batch=batch,
            after=after,
            other=other.weights.get(moment) if other else None,
        )


def read(folder: Path, data: Dataset) -> Finished:
    """The run in a folder. Loads weights only: a hostile file runs nothing."""
    return Finished(read_run(folder / "run.json"), data, checkpoint.read(folder / "checkpoint.pt"))


def step_of(moment: str) -> int | None:
    """Steps done at a moment; None at the end."""
    if moment == "end":
        return None
    return 0 if moment == "init" else int(moment.removeprefix("step"))


def evenly(items: Tensor, n: int) -> Tensor:
    """`n` items, or all if there are fewer, evenly spaced: data may be sorted by class."""
    n = min(n, len(items))
    return items[torch.arange(n, device=items.device) * len(items) // n]


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """Leave weights, buffers, mode and random numbers as they are before the block."""
    state = copy.deepcopy(network.state_dict())
    modes = [(module, module.training) for module in network.modules()]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            network.load_state_dict(state)
            for module, mode in modes:
                module.training = mode


def weighted(network: Network) -> dict[str, nn.Module]:
    """The weight layers by name, from the input to the output."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def blocks(network: Network) -> dict[str, Block]:
    """The blocks by name, from the input to the output."""
    return {name: layer for name, layer in network.layers.items() if isinstance(layer, Block)}


def gradient(network: nn.Module, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """The gradient of the mean cross-entropy in each parameter, in the network's mode."""
    loss = F.cross_entropy(network(inputs), targets)
    return list(torch.autograd.grad(loss, list(network.parameters())))


def per_example(
    network: nn.Module, inputs: Tensor, targets: Tensor, of: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The gradient in all parameters, (N, parameters), of `of(logits, target)` for each example."""
    buffers = dict(network.named_buffers())

    def one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = functional_call(network, {**parameters, **buffers}, (x[None],))
        return of(logits, y[None])

    parameters = {name: weight.detach() for name, weight in network.named_parameters()}
    gradients = vmap(grad(one), in_dims=(None, 0, 0))(parameters, inputs, targets)
    return torch.cat([part.reshape(len(inputs), -1) for part in gradients.values()], 1)


def flat(tensors: list[Tensor]) -> Tensor:
    """All entries of some tensors as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
