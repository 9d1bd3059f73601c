"""The usual ways to train such networks, against which this project is timed.

The usual loop has the field's ResNet in PyTorch's default layout, with Conv1d for signals, a
DataLoader, torch.optim.SGD, a scheduler, and reads the loss at every step. The other contender
gives the same network to Lightning's Trainer. Both start from our weights and see our batches.
"""

import itertools
import logging
import time
import warnings
from collections.abc import Callable

import pytorch_lightning as lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from models.data.prepare import Dataset
from models.network import Network
from models.training.loop import total_steps
from models.training.optimiser import lr_factor
from models.variant import Factors, Run

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # it advertises at every start


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
            out = out + self.shortcut(x, out.shape[1])
        return F.relu(out)

    def shortcut(self, x: Tensor, channels: int) -> Tensor:
        extra = channels - x.shape[1]
        if not extra:
            return x
        halved = x[:, :, ::2] if x.ndim == 3 else x[:, :, ::2, ::2]
        return F.pad(halved, (0, 0) * (x.ndim - 2) + (extra // 2, extra // 2))


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
    usual.to(next(network.parameters()))
    with torch.no_grad():
        for theirs, ours in zip(usual.parameters(), network.parameters(), strict=True):
            theirs.copy_(ours.reshape(theirs.shape))
    return usual


def usual_data(run: Run, data: Dataset) -> tuple[DataLoader, Tensor]:
    """Return a loader of our batches in our order, and the inputs, without a height of one."""
    inputs = data.train_inputs.cpu().contiguous()
    if inputs.shape[2] == 1:
        inputs = inputs.squeeze(2)
    pairs = TensorDataset(inputs, data.train_targets.cpu())
    order = RandomSampler(pairs, generator=torch.Generator().manual_seed(run.seed))
    return DataLoader(pairs, run.train.batch_size, sampler=order, drop_last=True), inputs


def optimisers(
    network: nn.Module, run: Run, data: Dataset
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    spec, total = run.train, total_steps(run, data)
    optimizer = torch.optim.SGD(
        network.parameters(), spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay
    )
    factor = lambda step: lr_factor(step, total, spec)  # noqa: E731
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def loop(
    network: Network, run: Run, data: Dataset, clock: Callable[[], float] = time.process_time
) -> tuple[list[float], list[float]]:
    """Return the losses, and the times at the end of each step, of the usual loop."""
    device = data.train_inputs.device
    loader, inputs = usual_data(run, data)
    model = rival(network, run, inputs, data.classes)
    optimizer, scheduler = optimisers(model, run, data)
    criterion = nn.CrossEntropyLoss()
    losses, times, correct = [], [], 0
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        if run.train.gradient == "clipped":
            nn.utils.clip_grad_norm_(model.parameters(), run.train.gradient_clip)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        correct += (logits.argmax(1) == y).sum().item()
        times.append(clock())
    return losses, times


class Module(lightning.LightningModule):
    def __init__(self, model: ResNet, run: Run, data: Dataset):
        super().__init__()
        self.model, self.run, self.data = model, run, data
        self.losses: list[float] = []
        self.times: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, y = batch
        logits = self.model(x)
        loss = F.cross_entropy(logits, y)
        self.log_dict({"loss": loss, "accuracy": (logits.argmax(1) == y).float().mean()})
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> dict:
        optimizer, scheduler = optimisers(self.model, self.run, self.data)
        each = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": each}

    def on_train_batch_end(self, *_: object) -> None:
        self.times.append(time.process_time())


def trainer(network: Network, run: Run, data: Dataset) -> tuple[list[float], list[float]]:
    """Return the same for Lightning, which writes no files and clips gradients itself."""
    loader, inputs = usual_data(run, data)
    module = Module(rival(network, run, inputs, data.classes), run, data)
    clip = run.train.gradient_clip if run.train.gradient == "clipped" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that workers would help
        lightning.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, gradient_clip_val=clip, logger=False,
            enable_checkpointing=False, enable_model_summary=False,
        ).fit(module, loader)  # fmt: skip
    return module.losses, module.times
