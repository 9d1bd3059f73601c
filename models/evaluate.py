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
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {layer: [0, 0.0, 0.0] for layer in layers}  # positions, sum, sum of squares

    def accumulate(layer: nn.Module, arguments: tuple[Tensor]) -> None:
        x = arguments[0].double()
        sums[layer][0] += x.numel() // x.shape[1]
        sums[layer][1] += x.sum((0, 2, 3))
        sums[layer][2] += x.square().sum((0, 2, 3))

    network.eval()
    for layer in layers:
        layer.train()
    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(accumulate))
        for x in inputs.split(batch_size):
            network(x)
    for layer, (n, total, squares) in sums.items():
        mean = total / n
        layer.running_mean.copy_(mean)
        layer.running_var.copy_((squares / n - mean.square()).clamp(min=0) * n / (n - 1))
        layer.eval()
