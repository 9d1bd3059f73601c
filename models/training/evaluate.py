"""Loss and error of a network: on the way, and at the end with precise BatchNorm statistics."""

import math
from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.data.prepare import Dataset
from models.network import Network


class Record(NamedTuple):
    """A row of the history: means over the batches since the last row, in train mode.

    The weights move meanwhile. The loss is in nats, the error a fraction.
    """

    epoch: int  # the epoch that has begun, from 1
    step: int  # steps done
    lr: float  # learning rate of the last step
    train_loss: float
    train_error: float

    def finite(self) -> bool:
        return math.isfinite(self.train_loss)


@torch.no_grad()
def evaluate(
    network: Network, inputs: Tensor, targets: Tensor, batch_size: int
) -> list[tuple[float, float]]:
    """Return each lane's mean cross-entropy (nats) and error (a fraction) in eval mode."""
    network.eval()
    sums = torch.zeros(2, network.lanes, device=inputs.device, dtype=torch.double)
    for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        logits = network(x.repeat(1, network.lanes, 1, 1)).unflatten(1, (network.lanes, -1))
        for k, of_lane in enumerate(logits.unbind(1)):
            sums[0, k] += F.cross_entropy(of_lane, y, reduction="sum")
            sums[1, k] += (of_lane.argmax(1) != y).sum()
    losses, errors = (sums / len(targets)).tolist()
    return list(zip(losses, errors, strict=True))


@torch.no_grad()
def precise_batch_norm(network: Network, inputs: Tensor, batch_size: int) -> None:
    """Replace BatchNorm's running averages by the mean and variance over `inputs`.

    Each layer's first two moments are pooled over all positions of all batches, so the spread
    between the means of batches counts too (Wu and Johnson 2021, "precise BatchNorm"). The variance
    is the unbiased one, as PyTorch keeps it. All other layers are in eval mode.
    """
    network.eval()
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers:
        return
    seen = {layer: [] for layer in layers}  # of each batch: positions, mean, mean square

    def observe(layer: nn.BatchNorm2d, arguments: tuple[Tensor], _: Tensor) -> None:
        n = arguments[0].numel() // arguments[0].shape[1]
        mean, variance = layer.running_mean.double(), layer.running_var.double() * (n - 1) / n
        seen[layer].append((n, mean, variance + mean.square()))

    usual = {layer: layer.momentum for layer in layers}
    with ExitStack() as hooks:
        for layer in layers:
            layer.train()
            layer.momentum = 1.0  # the running averages are then those of the last batch
            hooks.enter_context(layer.register_forward_hook(observe))
        for x in inputs.split(batch_size):
            network(x.repeat(1, network.lanes, 1, 1))
    for layer, batches in seen.items():
        n = sum(count for count, _, _ in batches)
        mean = sum(count * mean for count, mean, _ in batches) / n
        square = sum(count * square for count, _, square in batches) / n
        layer.running_mean.copy_(mean)
        layer.running_var.copy_((square - mean.square()).clamp(min=0) * n / (n - 1))
        layer.momentum = usual[layer]
        layer.eval()


def final_metrics(network: Network, data: Dataset, batch_size: int) -> list[dict]:
    """Return each lane's sizes, losses and errors with precise BatchNorm statistics, which stay.

    A loss that is not finite is None, and its error is that of a guess among equal classes.
    """
    precise_batch_norm(network, data.train_inputs, batch_size)
    size = sum(parameter.numel() for parameter in network.parameters()) // network.lanes
    metrics = [{"status": "finished", "parameters": size} for _ in range(network.lanes)]
    for split in ("train", "test"):
        parts = getattr(data, f"{split}_inputs"), getattr(data, f"{split}_targets")
        for own, (loss, error) in zip(metrics, evaluate(network, *parts, batch_size), strict=True):
            finite = math.isfinite(loss)
            own[f"{split}_loss"] = loss if finite else None
            own[f"{split}_error"] = error if finite else 1 - 1 / data.classes
            own["status"] = own["status"] if finite else "diverged"
    return metrics
