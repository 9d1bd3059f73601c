"""Train one network, exactly as its specification says.

    python -m models.train --spec run.json --out DIR

DIR receives run.json (the specification), history.csv (a row every so many steps), metrics.json
(the end) and checkpoint.pt (the weights at the moments the specification names). The same
specification gives the same bits on the same processor and number of threads.

A network that grows from a trained one (`start`) takes it from --start, the folder of that run,
or trains it first. A run that is killed goes on where it stopped when it is started again (see
models/resume.py).
"""

import argparse
import csv
import gc
import json
import math
import os
import platform
import resource
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd
from tqdm import tqdm

from models import checkpoint
from models.augment import crop_and_flip
from models.data import FOLDER, Dataset, load
from models.evaluate import evaluate, precise_batch_norm
from models.files import replacing, sweep
from models.gpu import Graphed, claim
from models.initialise import grow, initialise, start_at_identity
from models.network import Network
from models.resume import RESUME, Resume, fingerprint, leave_when_told
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

OUTPUTS = ("run.json", "history.csv", "checkpoint.pt", "metrics.json")  # of a run, in its folder

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
    network: nn.Module,
    run: Run,
    data: Dataset,
    observe: Callable[[int, Callable[[], dict]], None] = lambda step, snapshot: None,
    saved: dict | None = None,
) -> list[Record]:
    """Train in place, and return the history. Stops at the record of a loss that is not finite.

    `observe` is called after each step with the number of steps done and a function that returns
    all that training goes on from, as plain values and tensors on the CPU. Given such a state as
    `saved`, training goes on from it, and ends with the same bits as if it had never stopped.
    """
    spec = run.train
    device = data.train_inputs.device
    groups = [
        (factor, group, [torch.zeros_like(weight) for weight in group])
        for factor, group in rates(network, run)
    ]
    weights = list(network.parameters())
    transform, augment = GRADIENTS[spec.gradient], AUGMENTATIONS[spec.augmentation]
    half = device.type == "cuda" and spec.precision == "bfloat16"
    total = total_steps(run, data)
    steps = total // spec.epochs
    draws = torch.Generator().manual_seed(run.seed)  # of augmentation
    torch.manual_seed(run.seed)  # of noise that is part of the network
    loss_sum, wrong, since = torch.zeros((), device=device), torch.zeros((), device=device), 0
    history: list[Record] = []
    first = 0
    if saved:
        network.load_state_dict(saved["network"])
        for (_, _, momenta), values in zip(groups, saved["momenta"], strict=True):
            momenta[:] = [value.to(device) for value in values]
        draws.set_state(saved["draws"])
        set_noise_state(saved["noise"], device)
        loss_sum, wrong = saved["loss_sum"].to(device), saved["wrong"].to(device)
        history = [Record(**row) for row in saved["history"]]
        since, first = saved["since"], saved["step"]

    def snapshot() -> dict:
        return {
            "network": state(network),
            "momenta": [[value.cpu() for value in momenta] for _, _, momenta in groups],
            "draws": draws.get_state(),
            "noise": noise_state(device),
            "loss_sum": loss_sum.cpu(),
            "wrong": wrong.cpu(),
            "history": [asdict(record) for record in history],
            "since": since,
            "step": done,
        }

    def update(x: Tensor, y: Tensor, lr: float | Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(x)
            loss = F.cross_entropy(logits, y)
        for weight in weights:
            weight.grad = None
        loss.backward()
        transform(weights, spec)
        for factor, group, momenta in groups:
            # The function under torch.optim.SGD, whose class imports the compiler, a second long.
            sgd(
                group, [weight.grad for weight in group], momenta, fused=True,
                lr=factor * lr, momentum=spec.momentum, weight_decay=spec.weight_decay,
                dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip
        # Kept as tensors: reading a number here would stop a GPU at every step.
        loss_sum.add_(loss.detach())
        wrong.add_((logits.detach().argmax(1) != y).sum())

    if device.type == "cuda":
        update = Graphed(update)
    network.train()
    order = islice(batches(run, len(data.train_targets), device), first, None)
    for done, batch in enumerate(
        tqdm(order, f"{run.variant} {run.depth}", total, initial=first), first + 1
    ):
        if history and not math.isfinite(history[-1].train_loss):
            break
        x, y = data.train_inputs[batch], data.train_targets[batch]
        lr = spec.lr * lr_factor(done - 1, total, spec)
        update(augment(x, draws), y, lr)
        since += 1
        if since == spec.record_every or done == total:
            test = evaluate(
                network, data.test_inputs, data.test_targets, spec.evaluation_batch_size
            )
            network.train()
            losses, errors = loss_sum.item() / since, wrong.item() / (since * spec.batch_size)
            history.append(Record((done - 1) // steps + 1, done, lr, losses, errors, *test))
            loss_sum.zero_(), wrong.zero_()
            since = 0
        observe(done, snapshot)
    return history


def noise_state(device: torch.device) -> Tensor:
    """The state of the global generator from which the network's own noise is drawn."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_noise_state(value: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(value, device)
    else:
        torch.set_rng_state(value)


def total_steps(run: Run, data: Dataset) -> int:
    """Steps from the first to the last; the odd examples of an epoch wait for another.

    Raises:
        ValueError: the data are too few for a batch, or the warm-up leaves none.
    """
    total = run.train.epochs * (len(data.train_targets) // run.train.batch_size)
    if total == 0:
        raise ValueError(
            f"train.batch_size: {run.train.batch_size} is more than the {len(data.train_targets)} "
            "training examples"
        )
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
    run: Run,
    data: Dataset,
    folder: Path,
    trained: dict[str, Tensor] | None,
    resume: Resume,
    attempt: int,
) -> dict:
    """Build, train and judge one network; write its folder; return its metrics.

    `trained` is the state dict that it grows from. If there has to be one and it is not given,
    `run.start` is trained first, and leaves no files.
    """
    for path in (*(folder / name for name in OUTPUTS), resume.path, resume.of_start().path):
        sweep(path)
    if run.start is not None and trained is None:
        trained = finished(run.start, data, None, resume.of_start())[1]["end"]
    history, weights, metrics = finished(run, data, trained, resume)
    record = {
        **resume.cost(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "attempt": attempt,
        "resumed_after_step": resume.step,  # zero if it was never stopped
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
        # A run that is short, or diverged, did not come to all of them.
        kept = {name: weights[name] for name in run.checkpoints if name in weights}
        checkpoint.write(folder / "checkpoint.pt", kept)
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps({**metrics, "record": record}, indent=2, allow_nan=False) + "\n")
    return metrics


def finished(
    run: Run, data: Dataset, trained: dict[str, Tensor] | None, resume: Resume
) -> tuple[list[Record], dict[str, dict[str, Tensor]], dict]:
    """History, weights (on the CPU) at init, the end and the moments it keeps, and metrics."""
    network = build(run, data, trained)
    total = total_steps(run, data)
    saved = resume.load()
    weights = saved["weights"] if saved else {"init": state(network)}

    def observe(step: int, snapshot: Callable[[], dict]) -> None:
        if f"step{step}" in run.checkpoints:
            weights[f"step{step}"] = state(network)
        resume.after_step(lambda: {**snapshot(), "weights": weights}, last=step == total)

    with resume.listening():
        history = train(network, run, data, observe, saved)
    metrics = final_metrics(network, run, data, history)
    weights["end"] = state(network)
    return history, weights, metrics


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu().clone() for name, value in network.state_dict().items()}


def end_of(folder: Path) -> dict[str, Tensor]:
    """The weights with which a finished run ended."""
    return checkpoint.read(folder / "checkpoint.pt")["end"]


def prepare(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Options that training and tuning share, and what they set for the whole process."""
    parser.add_argument("--spec", required=True, help="file that holds a run, or its JSON")
    parser.add_argument("--start", type=Path, help="folder of the finished run to grow from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of prepared data sets")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attempt", type=int, default=1, help="recorded, not used")
    parser.add_argument("--save-every", type=float, default=60, metavar="SECONDS")
    arguments = parser.parse_args()
    leave_when_told()
    gc.set_threshold(100_000)  # training leaves next to nothing to collect
    try:
        arguments.device = deterministic(arguments.threads, arguments.device)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    return arguments


def deterministic(threads: int, device: str) -> str:
    """Set what makes this process repeat itself bit by bit; the processor it computes on.

    Raises:
        ValueError: a GPU was asked for, and there is none.
    """
    gc.freeze()  # what is imported stays: to look through it at the end takes a quarter of a second
    torch.set_num_threads(threads)
    # "error" does what use_deterministic_algorithms(True) does, without its import of the
    # compiler, which takes a second. cuBLAS is deterministic only with a workspace of its own.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")
    # Every tensor is written before it is read; filling it with NaN first takes a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32 on a GPU too
    torch.set_flush_denormal(True)  # a dying network is no reason for a slow one
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    device = claim()
    torch.cuda.set_device(device)
    return device


def specification(arguments: argparse.Namespace) -> dict:
    """The run of --spec as plain data, grown from --start if that is given."""
    if arguments.spec.lstrip().startswith("{"):
        spec = read_json("--spec", arguments.spec)
    else:
        spec = read_json(arguments.spec, Path(arguments.spec).read_text())
    if not isinstance(spec.get("train"), dict):
        raise ValueError("--spec: train is missing")
    if arguments.start:
        path = arguments.start / "run.json"
        spec["start"] = read_json(path, path.read_text())
    return spec


def read_json(source: object, text: str) -> dict:
    """Raises ValueError if the text is not an object in JSON; the message names its source."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{source}: an object is expected, in braces")
    return data


def resumable(run: Run, folder: Path, arguments: argparse.Namespace) -> Resume:
    """What a run that writes to `folder` goes on from."""
    key = fingerprint(run, arguments.data / f"{run.dataset}.json", arguments.device)
    return Resume(folder / RESUME, key, arguments.save_every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr-from", type=Path, help="JSON file whose key lr holds the rate")
    arguments = prepare(parser)
    try:
        spec = specification(arguments)
        if arguments.lr_from:
            chosen = read_json(arguments.lr_from, arguments.lr_from.read_text())
            spec["train"]["lr"] = chosen.get("lr")
        run = from_dict(spec)
        data = load(run.dataset, arguments.data).to(arguments.device)
        trained = end_of(arguments.start) if arguments.start else None
        resume = resumable(run, arguments.out, arguments)
        perform(run, data, arguments.out, trained, resume, arguments.attempt)
        resume.forget()
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
