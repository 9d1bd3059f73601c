"""The training loop. It knows neither files nor lanes: a stack takes its steps by itself."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from models.data.augment import draw_crops
from models.streams import generator
from models.variant import Run

POINTS = 10  # rows of the history for each tenfold number of steps


class Steps(Protocol):
    """What can be trained step by step (models/training/lanes.py)."""

    name: str  # for the display of progress
    done: int
    total: int

    def step(self) -> None: ...
    def record(self) -> None: ...
    def alive(self) -> bool: ...


def train(stack: Steps, observe: Callable[[], None] = lambda: None) -> None:
    """Take the steps that are left, while records are finite, and call `observe` after each."""
    recorded = recorded_steps(stack.total)
    with tqdm(desc=stack.name, total=stack.total, initial=stack.done) as progress:
        while stack.done < stack.total and stack.alive():
            stack.step()
            if stack.done in recorded:
                stack.record()
            observe()
            progress.update()


def recorded_steps(total: int) -> set[int]:
    """Return the steps with a row in the history: evenly spaced on a log scale, and the end."""
    points = range(POINTS * len(str(total)) + 1)
    return {step for i in points if (step := round(10 ** (i / POINTS))) < total} | {total}


def batches(run: Run, examples: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the indices (batch_size,) of each step's batch.

    The seed gives every epoch a new order, on the CPU, so that all devices see the same batches.
    """
    draws = generator(run.seed, "order")
    for _ in range(run.epochs):
        yield from whole_batches(torch.randperm(examples, generator=draws), run, device)


def crops(run: Run, examples: int, size: torch.Size, device: torch.device) -> Iterator[Tensor]:
    """Yield the draws (batch_size, 3) of augmentation for the images of each step's batch."""
    draws = generator(run.seed, "augmentation")
    for _ in range(run.epochs):
        yield from whole_batches(draw_crops(examples, size, draws), run, device)


def whole_batches(of_epoch: Tensor, run: Run, device: torch.device) -> tuple[Tensor, ...]:
    """Divide what was drawn for an epoch, which goes to the device at once."""
    size = run.train.batch_size
    return of_epoch.to(device)[: len(of_epoch) // size * size].split(size)
