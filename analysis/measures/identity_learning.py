"""Teach fresh blocks the identity, and measure how far they get.

Zhang et al. 2020 ("Identity Crisis") ask whether convolutional networks can learn it. A stack of k
blocks, as the network's first stage has them, starts from fresh weights. Its inputs h are the
network's own features: the output of the stem in eval mode. Adam minimises the mean squared error
of the stack's outputs f(h) from h, in train mode, on batches as large as those of training.

    relative_error  ||f(h) - h|| / ||h|| on the whole sample, in eval mode with the sample's
                    BatchNorm statistics

Each stack learns at each of `rates`, and its row is that of the best. A network whose features are
all zero, or overflow, has no rows. Where k blocks are more than the first stage of the network has,
they are those of a deeper network.
Rows: blocks (k), rate. Quantities: log10 of the error of the shortest stack and of the longest, at
least 1e-4. An error that overflows counts as 1e30.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Rows, Subject, bounded
from models.initialise import initialise
from models.network import Network
from models.streams import number
from models.training.evaluate import precise_batch_norm

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "lengths": ("counts", 1, "numbers of blocks that learn the identity"),
    "steps": ("count", 1, "steps of learning"),
    "rates": ("numbers", 0, "learning rates of Adam, of which the best counts"),
}
QUANTITIES = {
    "log_error_one": "distance from the identity that the fewest blocks learn",
    "log_error_many": "distance from the identity that the most blocks learn",
}

SMALLEST = 1e-4


def measure(subject: Subject, lengths: list[int], steps: int, rates: list[float]) -> Rows:
    with torch.no_grad():
        h = subject.network.layers["stem"](subject.inputs)
    if not 0 < h.norm().item() < math.inf:
        return
    for k in lengths:
        errors = {rate: learned(subject, h, k, steps, rate) for rate in rates}
        best = min(errors, key=errors.get)
        yield {"blocks": k, "rate": best, "relative_error": errors[best]}


def fresh_blocks(subject: Subject, k: int) -> Network:
    """Return a network that is k blocks of the first stage alone, with their initial weights."""
    run, shape = subject.run, subject.inputs.shape[1:]
    network = Network(run.factors, max(run.depth, 6 * k + 2), run.width, shape, classes=1)
    initialise(network, run.factors, number(run.seed, "measuring"))
    names = [f"stage1_block{i}" for i in range(1, k + 1)]
    network.layers = nn.ModuleDict({name: network.layers[name] for name in names})
    return network.to(subject.inputs.device, memory_format=torch.channels_last)


def learned(subject: Subject, h: Tensor, k: int, steps: int, rate: float) -> float:
    """Return the error of a stack of k blocks that has learned from h at a rate."""
    stack = fresh_blocks(subject, k)
    generator, size = subject.generator(), min(subject.run.train.batch_size, len(h))
    adam = torch.optim.Adam(stack.parameters(), rate)
    stack.train()
    for _ in range(steps):
        batch = h[torch.randperm(len(h), generator=generator)[:size]]
        adam.zero_grad()
        F.mse_loss(stack(batch), batch).backward()
        adam.step()
    return relative_error(stack, h)


@torch.no_grad()
def relative_error(stack: Network, h: Tensor) -> float:
    precise_batch_norm(stack, h, len(h))
    return bounded(((stack(h) - h).norm() / h.norm()).item())


def quantities(rows: list[dict]) -> dict[str, float]:
    errors = {row["blocks"]: max(row["relative_error"], SMALLEST) for row in rows}
    return {
        "log_error_one": math.log10(errors[min(errors)]),
        "log_error_many": math.log10(errors[max(errors)]),
    }
