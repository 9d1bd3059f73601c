"""Train one network, exactly as its specification says.

    python -m models.train --spec run.json --out DIR

DIR receives run.json (the specification), history.csv (one row an epoch), metrics.json (the end)
and checkpoint.pt (the weights at the moments the specification names). The same specification
gives the same bits on the same processor and number of threads.
"""

import argparse
import csv
import json
import math
import platform
import resource
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd
from tqdm import tqdm

from models.data import FOLDER, Dataset, load
from models.evaluate import evaluate, precise_batch_norm
from models.files import replacing
from models.initialise import he_normal
from models.network import Network
from models.variant import Run, TrainSpec, read_run, to_json


@dataclass(frozen=True)
class Epoch:
    """A row of the history. Training columns are means over the epoch's batches, in train mode,
    while the weights move; test columns are in eval mode, with BatchNorm's running averages."""

    epoch: int
    step: int
    lr: float  # at the epoch's last step
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float


def build(run: Run, data: Dataset) -> Network:
    """The run's network with its initial weights."""
    network = Network(run.factors, run.depth, run.width, data.train_inputs.shape[1:], data.classes)
    he_normal(network, run.seed)
    return network.to(memory_format=torch.channels_last)


def train(network: nn.Module, run: Run, data: Dataset) -> list[Epoch]:
    """Train in place, and return the history. Stops after an epoch whose loss is not finite."""
    spec = run.train
    weights = list(network.parameters())
    momenta: list[Tensor | None] = [None] * len(weights)
    steps = len(data.train_targets) // spec.batch_size  # the odd examples wait for another epoch
    order = torch.Generator().manual_seed(run.seed)
    history = []
    for epoch in tqdm(range(1, spec.epochs + 1), desc=f"{run.variant} {run.depth}", unit="epoch"):
        network.train()
        loss_sum, wrong = torch.zeros(()), torch.zeros(())
        for step, batch in enumerate(batches(len(data.train_targets), spec.batch_size, order)):
            x, y = data.train_inputs[batch], data.train_targets[batch]
            logits = network(x)
            loss = F.cross_entropy(logits, y)
            network.zero_grad()
            loss.backward()
            if spec.gradient_clip is not None:
                nn.utils.clip_grad_norm_(weights, spec.gradient_clip)
            lr = spec.lr * lr_factor((epoch - 1) * steps + step, steps, spec)
            # The function under torch.optim.SGD, whose class imports the compiler, a second long.
            sgd(
                weights, [weight.grad for weight in weights], momenta, fused=True, lr=lr,
                momentum=spec.momentum, weight_decay=spec.weight_decay, dampening=0.0,
                nesterov=False, maximize=False,
            )  # fmt: skip
            # Kept as tensors: reading a number here would stop a GPU at every step.
            loss_sum += loss.detach()
            wrong += (logits.detach().argmax(1) != y).sum()
        test = evaluate(network, data.test_inputs, data.test_targets, spec.evaluation_batch_size)
        seen = steps * spec.batch_size
        history.append(
            Epoch(epoch, epoch * steps, lr, loss_sum.item() / steps, wrong.item() / seen, *test)
        )
        if not math.isfinite(history[-1].train_loss):
            break
    return history


def lr_factor(step: int, steps: int, spec: TrainSpec) -> float:
    """The learning rate of `step` (from 0) as a fraction of the peak: linear warm-up, then the
    half cosine of Loshchilov and Hutter 2017; `steps` is the number in an epoch."""
    warmup, total = spec.warmup_epochs * steps, spec.epochs * steps
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def batches(examples: int, batch_size: int, order: torch.Generator) -> list[Tensor]:
    """One epoch's batches of indices, all of the same size, in an order drawn from `order`."""
    indices = torch.randperm(examples, generator=order)
    return list(indices[: examples // batch_size * batch_size].split(batch_size))


def final_metrics(network: nn.Module, run: Run, data: Dataset, history: list[Epoch]) -> dict:
    """Loss and error on clean data at the end, in eval mode with precise BatchNorm statistics.

    A loss that is not finite is None, and its error that of a guess among equal classes.
    """
    size = run.train.evaluation_batch_size
    precise_batch_norm(network, data.train_inputs, size)
    metrics = {
        "status": "finished",
        "epochs": len(history),
        "steps": history[-1].step,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    for split in ("train", "test"):
        inputs = getattr(data, f"{split}_inputs")
        loss, error = evaluate(network, inputs, getattr(data, f"{split}_targets"), size)
        finite = math.isfinite(loss)
        metrics[f"{split}_loss"] = loss if finite else None
        metrics[f"{split}_error"] = error if finite else 1 - 1 / data.classes
        if not finite:
            metrics["status"] = "diverged"
    if not math.isfinite(history[-1].train_loss):
        metrics["status"] = "diverged"
    return metrics


def write_history(history: list[Epoch], path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in history)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of prepared data sets")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attempt", type=int, default=1, help="recorded, not used")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # "error" does what use_deterministic_algorithms(True) does, without its import of the
    # compiler, which takes a second.
    torch.set_deterministic_debug_mode("error")
    torch.set_flush_denormal(True)  # a dying network is no reason for a slow one

    try:
        run = read_run(arguments.spec)
        data = load(run.dataset, arguments.data)
        network = build(run, data)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    weights = {"init": {name: value.clone() for name, value in network.state_dict().items()}}
    start = time.perf_counter()
    history = train(network, run, data)
    seconds = time.perf_counter() - start
    metrics = final_metrics(network, run, data, history)
    weights["end"] = network.state_dict()
    record = {
        "train_seconds": seconds,
        "cpu_seconds": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": arguments.threads,
        "attempt": arguments.attempt,
        "host": platform.node(),
        "torch": torch.__version__,
    }

    with replacing(arguments.out / "run.json") as path:
        path.write_text(to_json(run))
    write_history(history, arguments.out / "history.csv")
    if run.checkpoints:
        with replacing(arguments.out / "checkpoint.pt") as path:
            torch.save({name: weights[name] for name in run.checkpoints}, path)
    with replacing(arguments.out / "metrics.json") as path:
        path.write_text(json.dumps({**metrics, "record": record}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
