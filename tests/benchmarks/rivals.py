"""The usual way to train such networks, against which this project is timed.

It has the field's ResNet in PyTorch's default layout, with Conv1d for signals, a DataLoader,
torch.optim.SGD, a scheduler, and reads the loss at every step. It starts from our weights and sees
our batches.
"""

import itertools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from models.data.prepare import Dataset
from models.initialise import build
from models.network import Network
from models.streams import generator
from models.training.optimiser import lr_factor
from models.variant import Factors, Run


class Block(nn.Module):
    def __init__(self, conv: type, norm: type, fan_in: int, fan_out: int, residual: bool):
        super().__init__()
        stride = 1 if fan_in == fan_out else 2
        bias = norm is nn.Identity
        self.conv1 = conv(fan_in, fan_out, 3, stride=stride, padding=1, bias=bias)
        self.bn1 = norm(fan_out)
        self.conv2 = conv(fan_out, fan_out, 3, padding=1, bias=bias)
        self.bn2 = norm(fan_out)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.residual:
            extra = out.shape[1] - x.shape[1]
            if extra:
                x = x[:, :, ::2] if x.ndim == 3 else x[:, :, ::2, ::2]
                x = F.pad(x, (0, 0) * (x.ndim - 2) + (extra // 2, extra // 2))
            out = out + x
        return F.relu(out)


class ResNet(nn.Module):
    """The networks of He et al. 2016 for (B, C, L) or (B, C, H, W)."""

    def __init__(self, factors: Factors, depth: int, width: int, shape: torch.Size, classes: int):
        super().__init__()
        conv, norm, self.pool = {
            2: (nn.Conv1d, nn.BatchNorm1d, nn.AdaptiveAvgPool1d(1)),
            3: (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d(1)),
        }[len(shape)]
        if factors.norm == "none":
            norm = nn.Identity
        self.conv1 = conv(shape[0], width, 3, padding=1, bias=norm is nn.Identity)
        self.bn1 = norm(width)
        widths = [width * 2**stage for stage in range(3) for _ in range((depth - 2) // 6)]
        sizes, residual = itertools.pairwise([width, *widths]), factors.shortcut == "identity"
        self.layers = nn.Sequential(*[Block(conv, norm, *size, residual) for size in sizes])
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(self.pool(x).flatten(1))


def rival(network: Network, run: Run, inputs: Tensor, classes: int) -> ResNet:
    """Return the usual network with the weights of ours."""
    usual = ResNet(run.factors, run.depth, run.width, inputs.shape[1:], classes)
    usual.to(next(network.parameters()).device)
    with torch.no_grad():
        for theirs, ours in zip(usual.parameters(), network.parameters(), strict=True):
            theirs.copy_(ours.reshape(theirs.shape))
    return usual


def loop(
    run: Run, data: Dataset, clock: Callable[[], float] = time.process_time
) -> tuple[list[float], list[float]]:
    """Return the losses, and the times at the end of each step, of the usual loop."""
    spec, device = run.train, data.train_inputs.device
    total = spec.total_steps(run.epochs, len(data.train_targets))
    inputs = data.train_inputs.cpu().contiguous()
    if inputs.shape[2] == 1:  # signals
        inputs = inputs.squeeze(2)
    pairs = TensorDataset(inputs, data.train_targets.cpu())
    order = RandomSampler(pairs, generator=generator(run.seed, "order"))
    loader = DataLoader(pairs, spec.batch_size, sampler=order, drop_last=True)
    model = rival(build(run, data), run, inputs, data.classes).train()
    optimizer = torch.optim.SGD(
        model.parameters(), run.lr, momentum=spec.momentum, weight_decay=spec.weight_decay
    )
    scheduler = LambdaLR(optimizer, lambda step: lr_factor(step, total, spec))
    criterion = nn.CrossEntropyLoss()
    losses, times, correct = [], [], 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        if spec.clipped:
            nn.utils.clip_grad_norm_(model.parameters(), spec.gradient_clip)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        correct += (logits.argmax(1) == y).sum().item()
        times.append(clock())
    return losses, times
