"""Train one network, exactly as its specification says.

    python -m models.train --spec run.json --out DIR

DIR receives run.json (the specification), history.csv (a row every so many steps), metrics.json
(the end) and checkpoint.pt (the weights at the moments the specification names). The same
specification gives the same bits on the same processor and number of threads.

A network that grows from a trained one (`start`) takes it from --start, the folder of that run,
or trains it first.
"""

import argparse
import csv
import json
import math
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd
from tqdm import tqdm

from models.augment import crop_and_flip
from models.data import FOLDER, Dataset, load
from models.evaluate import evaluate, precise_batch_norm
from models.files import replacing
from models.initialise import grow, initialise, start_at_identity
from models.network import Network
from models.variant import Run, TrainSpec, from_dict, to_json

# Learning rate as a fraction of the peak, at `step` of `total`.
DECAYS = {
    # Half a cosine, from the end of the warm-up (Loshchilov and Hutter 2017).
    "cosine": lambda step, warmup, total: (
        0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    ),
    # A tenth from half of all steps on, a hundredth from three quarters (He et al. 2016).
    "staircase": lambda step, warmup, total: 0.1 ** ((step >= total / 2) + (step >= 3 * total / 4)),
}

TRUST = 0.1  # of a layerwise step: what part of a weight's norm it is, at a learning rate of one


@dataclass(frozen=True)
class Record:
    """A row of the history. Training columns are means over the batches since the row before, in
    train mode, while the weights move; test columns are in eval mode, with BatchNorm's running
    averages."""

    epoch: int  # begun
    step: int  # done
    lr: float  # of that step
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float


def build(run: Run, data: Dataset, trained: dict[str, Tensor] | None = None) -> Network:
    """The run's network with its initial weights.

    `trained` is the state dict at the end of `run.start`, if the network grows from one.
    """
    network = Network(run.factors, run.depth, run.width, data.train_inputs.shape[1:], data.classes)
    initialise(network, run.factors, run.seed)  # on the CPU: the same on every device
    network.to(data.train_inputs.device)
    size = run.train.evaluation_batch_size
    sample = data.train_inputs[:: -(-len(data.train_inputs) // size)]  # of all classes
    if trained is not None:
        grow(network, trained, sample)
    elif run.factors.init.startswith("dirac"):
        start_at_identity(network, sample)
    return network.to(memory_format=torch.channels_last)


def train(
    network: nn.Module, run: Run, data: Dataset, observe: Callable[[int], None] = lambda step: None
) -> list[Record]:
    """Train in place, and return the history. Stops at the record of a loss that is not finite.

    `observe` is called with the number of steps done, after each.
    """
    spec = run.train
    device = data.train_inputs.device
    groups = [(factor, weights, [None] * len(weights)) for factor, weights in rates(network, run)]
    weights = list(network.parameters())
    transform, augment = GRADIENTS[spec.gradient], AUGMENTATIONS[spec.augmentation]
    half = device.type == "cuda" and spec.precision == "bfloat16"
    total = total_steps(run, data)
    steps = total // spec.epochs
    draws = torch.Generator().manual_seed(run.seed)  # of augmentation
    torch.manual_seed(run.seed)  # of noise that is part of the network
    loss_sum, wrong, since = torch.zeros((), device=device), torch.zeros((), device=device), 0
    history = []
    network.train()
    for step, batch in enumerate(
        tqdm(batches(run, len(data.train_targets), device), f"{run.variant} {run.depth}", total)
    ):
        x, y = data.train_inputs[batch], data.train_targets[batch]
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(augment(x, draws))
            loss = F.cross_entropy(logits, y)
        for weight in weights:
            weight.grad = None
        loss.backward()
        transform(weights, spec)
        lr = spec.lr * lr_factor(step, total, spec)
        for factor, group, momenta in groups:
            # The function under torch.optim.SGD, whose class imports the compiler, a second long.
            sgd(
                group, [weight.grad for weight in group], momenta, fused=True,
                lr=factor * lr, momentum=spec.momentum, weight_decay=spec.weight_decay,
                dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip
        # Kept as tensors: reading a number here would stop a GPU at every step.
        loss_sum += loss.detach()
        wrong += (logits.detach().argmax(1) != y).sum()
        since += 1
        observe(step + 1)
        if since == spec.record_every or step + 1 == total:
            test = evaluate(
                network, data.test_inputs, data.test_targets, spec.evaluation_batch_size
            )
            network.train()
            losses, errors = loss_sum.item() / since, wrong.item() / (since * spec.batch_size)
            history.append(Record(step // steps + 1, step + 1, lr, losses, errors, *test))
            if not math.isfinite(losses):
                break
            loss_sum.zero_(), wrong.zero_()
            since = 0
    return history


def total_steps(run: Run, data: Dataset) -> int:
    """Steps from the first to the last; the odd examples of an epoch wait for another.

    Raises:
        ValueError: the warm-up leaves none.
    """
    total = run.train.epochs * (len(data.train_targets) // run.train.batch_size)
    if run.train.warmup_steps >= total:
        raise ValueError(
            f"train.warmup_steps: {run.train.warmup_steps} leaves none of {total} steps"
        )
    return total


def rates(network: nn.Module, run: Run) -> list[tuple[float, list[nn.Parameter]]]:
    """Parameters by the factor of their learning rate: a tenth for Fixup's scalars and the head's
    bias (Zhang et al. 2019), one for all others."""
    slow = run.factors.branch_scale == "fixup"
    groups: dict[float, list[nn.Parameter]] = {}
    for weight in network.parameters():
        groups.setdefault(0.1 if slow and weight.ndim < 2 else 1.0, []).append(weight)
    return list(groups.items())


def raw(weights: list[nn.Parameter], spec: TrainSpec) -> None:
    """The gradient as it is."""


def clipped(weights: list[nn.Parameter], spec: TrainSpec) -> None:
    """The whole gradient's norm is at most `spec.gradient_clip` (Pascanu et al. 2013)."""
    nn.utils.clip_grad_norm_(weights, spec.gradient_clip)


def layerwise(weights: list[nn.Parameter], spec: TrainSpec) -> None:
    """Each parameter's gradient gets TRUST times the norm of its weights, as in LARS (You et al.
    2017), but without weight decay in the norm. Scales, shifts and biases, which may be zero, count
    as if they were ones: their gradients explode with the others'."""
    for weight in weights:
        size = weight.detach().norm() if weight.ndim > 1 else math.sqrt(weight.numel())
        weight.grad.mul_(TRUST * size / weight.grad.norm().clamp(min=1e-12))


GRADIENTS = {"raw": raw, "clipped": clipped, "layerwise": layerwise}
AUGMENTATIONS = {"none": lambda images, generator: images, "crop_and_flip": crop_and_flip}


def lr_factor(step: int, total: int, spec: TrainSpec) -> float:
    """The learning rate of `step` (from 0, of `total`) as a fraction of the peak: linear warm-up,
    then the decay."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    return DECAYS[spec.schedule](step, spec.warmup_steps, total)


def batches(run: Run, examples: int, device: torch.device) -> Iterator[Tensor]:
    """Indices of each step's batch, all of one size; every epoch in a new order, drawn from the
    run's seed on the CPU, so that all devices see the same."""
    order = torch.Generator().manual_seed(run.seed)
    size = run.train.batch_size
    for _ in range(run.train.epochs):
        indices = torch.randperm(examples, generator=order).to(device)
        yield from indices[: examples // size * size].split(size)


def final_metrics(network: nn.Module, run: Run, data: Dataset, history: list[Record]) -> dict:
    """Loss and error on clean data at the end, in eval mode with precise BatchNorm statistics.

    A loss that is not finite is None, and its error that of a guess among equal classes.
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
        if not finite:
            metrics["status"] = "diverged"
    if not math.isfinite(history[-1].train_loss):
        metrics["status"] = "diverged"
    return metrics


def perform(
    run: Run, data: Dataset, folder: Path, trained: dict[str, Tensor] | None, attempt: int
) -> dict:
    """Build, train and judge one network; write its folder; return its metrics.

    `trained` is the state dict that it grows from. If there has to be one and it is not given,
    `run.start` is trained first, and leaves no files.
    """
    cpu_start = time.process_time()
    if run.start is not None and trained is None:
        trained = finished(run.start, data, None)[1]["end"]
    start = time.perf_counter()
    history, weights, metrics = finished(run, data, trained)
    record = {
        "train_seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "attempt": attempt,
        "host": platform.node(),
        "device": str(data.train_inputs.device),
        "torch": torch.__version__,
    }
    with replacing(folder / "run.json") as path:
        path.write_text(to_json(run))
    with replacing(folder / "history.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Record)])
        writer.writeheader()
        writer.writerows(asdict(record) for record in history)
    if run.checkpoints:
        with replacing(folder / "checkpoint.pt") as path:
            # A run that is short, or diverged, did not come to all of them.
            kept = {name: weights[name] for name in run.checkpoints if name in weights}
            torch.save(kept, path)
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps({**metrics, "record": record}, indent=2, allow_nan=False) + "\n")
    return metrics


def finished(
    run: Run, data: Dataset, trained: dict[str, Tensor] | None
) -> tuple[list[Record], dict[str, dict[str, Tensor]], dict]:
    """History, weights (on the CPU) at init, the end and the moments it keeps, and metrics."""
    network = build(run, data, trained)
    weights = {"init": state(network)}

    def keep(step: int) -> None:
        if f"step{step}" in run.checkpoints:
            weights[f"step{step}"] = state(network)

    history = train(network, run, data, keep)
    metrics = final_metrics(network, run, data, history)
    weights["end"] = state(network)
    return history, weights, metrics


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu().clone() for name, value in network.state_dict().items()}


def end_of(folder: Path) -> dict[str, Tensor]:
    """The weights with which a finished run ended."""
    return torch.load(folder / "checkpoint.pt", weights_only=True)["end"]


def prepare(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Options that training and tuning share, and what they set for the whole process."""
    parser.add_argument("--spec", required=True, help="file that holds a run, or its JSON")
    parser.add_argument("--start", type=Path, help="folder of the finished run to grow from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of prepared data sets")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attempt", type=int, default=1, help="recorded, not used")
    arguments = parser.parse_args()
    arguments.device = deterministic(arguments.threads, arguments.device)
    return arguments


def deterministic(threads: int, device: str) -> str:
    """Set what makes this process repeat itself bit by bit; the device that `auto` stands for."""
    torch.set_num_threads(threads)
    # "error" does what use_deterministic_algorithms(True) does, without its import of the
    # compiler, which takes a second. cuBLAS is deterministic only with a workspace of its own.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")
    # Every tensor is written before it is read; filling it with NaN first takes a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32 on a GPU too
    torch.set_flush_denormal(True)  # a dying network is no reason for a slow one
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def specification(arguments: argparse.Namespace) -> dict:
    """The run of --spec as plain data, grown from --start if that is given."""
    inline = arguments.spec.lstrip().startswith("{")
    spec = json.loads(arguments.spec if inline else Path(arguments.spec).read_text())
    if arguments.start:
        spec["start"] = json.loads((arguments.start / "run.json").read_text())
    return spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr-from", type=Path, help="JSON file whose key lr holds the rate")
    arguments = prepare(parser)
    try:
        spec = specification(arguments)
        if arguments.lr_from:
            spec["train"]["lr"] = json.loads(arguments.lr_from.read_text())["lr"]
        run = from_dict(spec)
        data = load(run.dataset, arguments.data).to(arguments.device)
        trained = end_of(arguments.start) if arguments.start else None
        perform(run, data, arguments.out, trained, arguments.attempt)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
