"""Train one network, exactly as its specification says.

    python -m models.training.train --spec run.json --out DIR

DIR receives run.json (the specification), history.csv (a row every few steps), metrics.json (the
end) and checkpoint.pt (the weights at the checkpoints that the specification names). The same
specification gives the same bits on the same processor and number of threads.

A network that grows from a trained one (`start`) takes its weights from --start, the folder of that
run; without --start that run is trained first. A run that was killed goes on where it stopped.
"""

import argparse
import csv
import gc
import json
import platform
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from models import tensors
from models.data.prepare import FOLDER, Dataset, load
from models.files import read_json, replacing, sweep
from models.initialise import build
from models.training.device import deterministic
from models.training.evaluate import Record, final_metrics
from models.training.loop import total_steps, train, weights_of
from models.training.state import RESUME, RESUME_START, Resume, fingerprint, forget, leave_when_told
from models.typed import typed
from models.variant import Run, to_json

OUTPUTS = ("run.json", "history.csv", "checkpoint.pt", "metrics.json")  # in the folder of a run

Weights = dict[str, Tensor]  # a state dict


def train_and_write(
    run: Run, data: Dataset, folder: Path, trained: Weights | None, resume: Resume, attempt: int
) -> dict:
    """Build, train and evaluate one network, write its folder, and return its metrics.

    If it grows from weights that `trained` does not give, `run.start` is trained first.
    """
    for name in (*OUTPUTS, RESUME, RESUME_START):
        sweep(folder / name)
    if run.start is not None and trained is None:
        before = Resume(folder / RESUME_START, resume.key, resume.every)
        trained = train_to_end(run.start, data, None, before)[1]["end"]
    history, weights, metrics = train_to_end(run, data, trained, resume)
    record = {
        **resume.cost(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "attempt": attempt,
        "resumed_after_step": resume.step,  # zero if the run was never stopped
        "host": platform.node(),
        "device": str(data.train_inputs.device),
        "torch": torch.__version__,
    }
    with replacing(folder / "run.json") as path:
        path.write_text(to_json(run))
    with replacing(folder / "history.csv") as path, path.open("w", newline="") as file:
        csv.writer(file).writerows([Record._fields, *history])
    if run.checkpoints:
        # A run that is short, or diverges, does not reach all of them.
        kept = {name: weights[name] for name in run.checkpoints if name in weights}
        tensors.write(folder / "checkpoint.pt", kept)
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps({**metrics, "record": record}, indent=2, allow_nan=False) + "\n")
    return metrics


def train_to_end(
    run: Run, data: Dataset, trained: Weights | None, resume: Resume
) -> tuple[list[Record], dict[str, Weights], dict]:
    """Return the history, the weights by checkpoint (init and end included), and the metrics."""
    network = build(run, data, trained)
    total = total_steps(run, data)
    saved = resume.load()
    weights = saved["weights"] if saved else {"init": weights_of(network)}

    def observe(step: int, snapshot: Callable[[], dict]) -> None:
        if f"step{step}" in run.checkpoints:
            weights[f"step{step}"] = weights_of(network)
        resume.after_step(lambda: {**snapshot(), "weights": weights}, last=step == total)

    with resume.listening():
        history = train(network, run, data, observe, saved)
    metrics = final_metrics(network, run, data, history)
    weights["end"] = weights_of(network)
    return history, weights, metrics


@contextmanager
def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Namespace]:
    """Yield the options of training or tuning; a mistake in the block gets one line."""
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
    gc.set_threshold(100_000)  # training leaves very little to collect
    try:
        arguments.device = deterministic(arguments.threads, arguments.device)
        yield arguments
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


def read_spec(arguments: argparse.Namespace, **changes: object) -> Run:
    """Return the run of --spec, grown from --start if given; `changes` go to its training."""
    if arguments.spec.lstrip().startswith("{"):
        where = "--spec"
        try:
            spec = json.loads(arguments.spec)
        except ValueError as error:
            raise ValueError(f"--spec: is not JSON: {error}") from None
    else:
        where, spec = arguments.spec, read_json(Path(arguments.spec))
    if arguments.start:
        spec["start"] = read_json(arguments.start / "run.json")
    if isinstance(spec.get("train"), dict):
        spec["train"] |= changes
    return typed(Run, spec, where)


def train_in(folder: Path, run: Run, data: Dataset, arguments: argparse.Namespace) -> dict:
    """Train a run with the options of the command, and return its metrics."""
    start = arguments.start
    trained = tensors.read(start / "checkpoint.pt")["end"] if start else None
    key = fingerprint(run, arguments.data / f"{run.dataset}.json", arguments.device)
    resume = Resume(folder / RESUME, key, arguments.save_every)
    return train_and_write(run, data, folder, trained, resume, arguments.attempt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr-from", type=Path, help="JSON file whose key lr holds the rate")
    with options(parser) as arguments:
        rate = {"lr": read_json(arguments.lr_from).get("lr")} if arguments.lr_from else {}
        run = read_spec(arguments, **rate)
        data = load(run.dataset, arguments.data).to(arguments.device)
        train_in(arguments.out, run, data, arguments)
        forget(arguments.out)


if __name__ == "__main__":
    main()
