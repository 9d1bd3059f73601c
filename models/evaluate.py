"""Loss and error of a trained network, free of the noise of BatchNorm's running averages."""

from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def evaluate(
    network: nn.Module, inputs: Tensor, targets: Tensor, batch_size: int
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and error (a fraction) in eval mode."""
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

    Each layer's first two moments are pooled over all positions of all batches, so batches of
    unequal means count their spread too (Wu and Johnson 2021, "precise BatchNorm"). In one batch
    these are the statistics that train mode uses; the variance is the unbiased one, as PyTorch
    keeps it. Nothing else of train mode is on, such as noise. Leaves the network in eval mode.
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
    for layer in layers:
        layer.train()
        layer.momentum = 1.0  # the running averages are then those of the last batch
    with ExitStack() as hooks:
        for layer in layers:
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
