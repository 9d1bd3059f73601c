"""The training loop. It knows neither files nor processes: `observe` is told of each step."""

import math
from collections.abc import Callable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from models.data.augment import crop_and_flip
from models.data.prepare import Dataset
from models.training.device import Graphed
from models.training.evaluate import Record, evaluate
from models.training.optimiser import Optimiser, lr_factor
from models.variant import Run


def train(
    network: nn.Module,
    run: Run,
    data: Dataset,
    observe: Callable[[int, Callable[[], dict]], None] = lambda step, snapshot: None,
    saved: dict | None = None,
) -> list[Record]:
    """Train a network in place, until a recorded loss is not finite, and return the history.

    `observe` is called after each step with the number of steps done and a function that returns
    the whole state of training, on the CPU. Given such a state as `saved`, training goes on from
    it, and ends with the same bits as if it had never stopped.
    """
    settings = run.train
    device = data.train_inputs.device
    optimiser = Optimiser(network, run)
    bfloat16 = device.type == "cuda" and settings.precision == "bfloat16"
    total = total_steps(run, data)
    draws = torch.Generator().manual_seed(run.seed)  # of augmentation
    torch.manual_seed(run.seed)  # of noise that is part of the network
    noise = torch.cuda if device.type == "cuda" else torch  # whose global generator draws it
    # Sums since the last record. They are tensors, because reading a number stops a GPU.
    loss_sum, wrong = torch.zeros((), device=device), torch.zeros((), device=device)
    first = 0  # steps done before this call
    history: list[Record] = []
    if saved:
        network.load_state_dict(saved["network"])
        for momentum, value in zip(optimiser.momenta.values(), saved["momenta"], strict=True):
            momentum.copy_(value)
        draws.set_state(saved["draws"])
        noise.set_rng_state(saved["noise"])
        loss_sum, wrong = saved["loss_sum"].to(device), saved["wrong"].to(device)
        history = [Record(*row) for row in saved["history"]]
        first = saved["step"]

    def snapshot() -> dict:
        return {
            "network": weights_of(network),
            "momenta": [momentum.cpu() for momentum in optimiser.momenta.values()],
            "draws": draws.get_state(),
            "noise": noise.get_rng_state(),
            "loss_sum": loss_sum.cpu(),
            "wrong": wrong.cpu(),
            "history": [list(record) for record in history],
            "step": done,
        }

    def update(x: Tensor, y: Tensor, lr: float | Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits = network(x)
            loss = F.cross_entropy(logits, y)
        loss.backward()
        optimiser.step(lr)
        loss_sum.add_(loss.detach())
        wrong.add_((logits.detach().argmax(1) != y).sum())

    if device.type == "cuda":
        update = Graphed(update)
    network.train()
    order = islice(batches(run, len(data.train_targets), device), first, None)
    progress = tqdm(order, f"{run.variant} {run.depth}", total, initial=first)
    for done, batch in enumerate(progress, first + 1):
        if history and not math.isfinite(history[-1].train_loss):
            break
        x, y = data.train_inputs[batch], data.train_targets[batch]
        lr = settings.lr * lr_factor(done - 1, total, settings)
        if settings.augmentation == "crop_and_flip":
            x = crop_and_flip(x, draws)
        update(x, y, lr)
        if done % settings.record_every == 0 or done == total:
            size = settings.evaluation_batch_size
            test = evaluate(network, data.test_inputs, data.test_targets, size)
            network.train()
            since = (done - 1) % settings.record_every + 1  # steps since the last record
            epoch = (done - 1) // (total // settings.epochs) + 1
            loss, error = loss_sum.item() / since, wrong.item() / (since * settings.batch_size)
            history.append(Record(epoch, done, lr, loss, error, *test))
            loss_sum.zero_(), wrong.zero_()
        observe(done, snapshot)
    return history


def total_steps(run: Run, data: Dataset) -> int:
    """Return the number of steps of a whole run; a ValueError says why there would be none."""
    try:
        return run.train.total_steps(len(data.train_targets))
    except ValueError as error:
        raise ValueError(f"train.{error}") from None


def batches(run: Run, examples: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the indices of each step's batch; all batches have the same size.

    The seed gives every epoch a new order, on the CPU, so that all devices see the same batches.
    """
    order = torch.Generator().manual_seed(run.seed)
    size = run.train.batch_size
    for _ in range(run.train.epochs):
        indices = torch.randperm(examples, generator=order).to(device)
        yield from indices[: examples // size * size].split(size)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's state dict on the CPU."""
    return {name: value.cpu().clone() for name, value in network.state_dict().items()}
