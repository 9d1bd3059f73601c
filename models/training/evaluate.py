"""Loss and error of a network: on the way, and at the end with precise BatchNorm statistics."""

import math
from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.data.prepare import Dataset
from models.variant import Run


class Record(NamedTuple):
    """A row of the history. Losses are in nats, errors are fractions.

    Training columns are means over the batches since the last row, in train mode, while the weights
    move. Test columns are in eval mode, with BatchNorm's running averages.
    """

    epoch: int  # the epoch that has begun, from 1
    step: int  # steps done
    lr: float  # learning rate of the last step
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float


@torch.no_grad()
def evaluate(
    network: nn.Module, inputs: Tensor, targets: Tensor, batch_size: int
) -> tuple[float, float]:
    """Return the mean cross-entropy (nats) and the error (a fraction) in eval mode."""
    network.eval()
    loss, wrong = inputs.new_zeros(()), inputs.new_zeros(())
    for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        logits = network(x)
        loss += F.cross_entropy(logits, y, reduction="sum")
        wrong += (logits.argmax(1) != y).sum()
    return loss.item() / len(targets), wrong.item() / len(targets)


@torch.no_grad()
def precise_batch_norm(network: nn.Module, inputs: Tensor, batch_size: int) -> None:
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
            network(x)
    for layer, batches in seen.items():
        n = sum(count for count, _, _ in batches)
        mean = sum(count * mean for count, mean, _ in batches) / n
        square = sum(count * square for count, _, square in batches) / n
        layer.running_mean.copy_(mean)
        layer.running_var.copy_((square - mean.square()).clamp(min=0) * n / (n - 1))
        layer.momentum = usual[layer]
        layer.eval()


def final_metrics(network: nn.Module, run: Run, data: Dataset, history: list[Record]) -> dict:
    """Return status, sizes, and loss and error with precise BatchNorm statistics, which stay set.

    A loss that is not finite is None, and its error is that of a guess among equal classes.
    """
    size = run.train.evaluation_batch_size
    precise_batch_norm(network, data.train_inputs, size)
    metrics = {
        "status": "finished",
        "epochs": history[-1].epoch,
        "steps": history[-1].step,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    for split in ("train", "test"):
        inputs = getattr(data, f"{split}_inputs")
        loss, error = evaluate(network, inputs, getattr(data, f"{split}_targets"), size)
        finite = math.isfinite(loss)
        metrics[f"{split}_loss"] = loss if finite else None
        metrics[f"{split}_error"] = error if finite else 1 - 1 / data.classes
        if not finite or not math.isfinite(history[-1].train_loss):
            metrics["status"] = "diverged"
    return metrics
