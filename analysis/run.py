"""Load a trained run to measure it: its network at a checkpoint, and the data around it."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from models import tensors
from models.data.prepare import Dataset
from models.network import Block, Network
from models.streams import generator
from models.training.evaluate import precise_batch_norm
from models.training.loop import batches
from models.variant import Run, read_run

State = dict[str, Tensor]  # weights, or their gradients, by name
Rows = Iterator[dict]  # what a measure yields: the columns of its table by name

LARGEST = 1e30  # a loss that overflows counts as this


@dataclass(frozen=True, eq=False)
class Subject:
    """What a measure sees. The network is in eval mode, with precise BatchNorm statistics."""

    run: Run
    network: Network
    inputs: Tensor  # training images (N, C, H, W)
    targets: Tensor  # the classes of these images (N,)
    batch: tuple[Tensor, Tensor] | None = None  # images and classes of the next step, if any
    after: State | None = None  # the weights after the next step, if the run kept them

    def sample(self, examples: int) -> "Subject":
        """Return this subject with at most `examples` of its images."""
        inputs, targets = evenly(self.inputs, examples), evenly(self.targets, examples)
        return replace(self, inputs=inputs, targets=targets)

    def generator(self) -> torch.Generator:
        """Return a generator that is the same for every variant and checkpoint of a seed."""
        return generator(self.run.seed, "measuring")


@dataclass(frozen=True, eq=False)
class TrainedRun:
    run: Run
    data: Dataset
    weights: dict[str, State]  # by checkpoint, of those that the run kept

    def subject(self, checkpoint: str) -> Subject:
        """Return the run at a checkpoint, with all training images.

        BatchNorm has the training set's statistics at the end, and those of an evaluation batch of
        evenly spaced training images at other checkpoints.
        """
        run, inputs, targets = self.run, self.data.train_inputs, self.data.train_targets
        network = Network(run.factors, run.depth, run.width, inputs.shape[1:], self.data.classes)
        network.load_state_dict(self.weights[checkpoint])
        network.to(inputs.device, memory_format=torch.channels_last).eval()
        batch = after = None
        if checkpoint != "end":
            size = run.train.evaluation_batch_size
            precise_batch_norm(network, evenly(inputs, size), size)
            done = 0 if checkpoint == "init" else int(checkpoint.removeprefix("step"))
            order = batches(run, len(targets), inputs.device)
            for indices in islice(order, done, done + 1):
                batch = inputs[indices], targets[indices]
            after = self.weights.get(f"step{done + 1}")
        return Subject(run, network, inputs, targets, batch, after)


def read(folder: Path, data: Dataset) -> TrainedRun:
    """Return the run in a folder. Only tensors are loaded: a hostile file runs no code."""
    return TrainedRun(read_run(folder / "run.json"), data, tensors.read(folder / "checkpoint.pt"))


def evenly(items: Tensor, n: int) -> Tensor:
    """Return at most `n` items, evenly spaced, because data may be sorted by class."""
    n = min(n, len(items))
    return items[torch.arange(n, device=items.device) * len(items) // n]


def spaced(first: int, last: int, n: int) -> list[int]:
    """Return at most `n` whole numbers from `first` to `last`, evenly spaced, with both ends."""
    n = min(n, last - first + 1)
    return sorted({round(first + (last - first) * i / max(n - 1, 1)) for i in range(n)})


def weighted(network: nn.Module) -> dict[str, nn.Module]:
    """Return the weight layers by name, from the input to the output."""
    modules = network.named_modules()
    return {name: module for name, module in modules if isinstance(module, nn.Conv2d | nn.Linear)}


def blocks(network: Network) -> dict[str, Block]:
    """Return the blocks by name, from the input to the output."""
    return {name: layer for name, layer in network.layers.items() if isinstance(layer, Block)}


def loss_and_gradient(network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, State]:
    """Return the mean cross-entropy, in the network's mode, and its gradient in each parameter."""
    loss = F.cross_entropy(network(inputs), targets)
    names, parameters = zip(*network.named_parameters(), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def per_example(network: nn.Module, inputs: Tensor, targets: Tensor, of: Callable) -> Tensor:
    """Return the gradients (N, parameters) of `of(logits, target)` of each example alone."""

    def one(parameters: State, x: Tensor, y: Tensor) -> Tensor:
        return of(functional_call(network, parameters, (x[None],)), y[None])

    parameters = {name: weight.detach() for name, weight in network.named_parameters()}
    gradients = vmap(grad(one), in_dims=(None, 0, 0))(parameters, inputs, targets)
    return torch.cat([part.reshape(len(inputs), -1) for part in gradients.values()], 1)


def flat(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def log10(x: float) -> float:
    """Return the decimal logarithm, or NaN where it is not a finite number."""
    return math.log10(x) if 0 < x < math.inf else math.nan


def bounded(loss: float) -> float:
    """Return a loss, or LARGEST where it is larger or not a number."""
    return min(loss, LARGEST) if math.isfinite(loss) else LARGEST
