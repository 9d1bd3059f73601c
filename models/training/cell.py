"""Train a cell: choose learning rates for a variant and depth, and train all of its runs.

    python -m models.training.cell --spec cell.json --out DIR

The folder of a run (models/folders.py) receives run.json (what was trained), history.csv (rows at
log-spaced steps), metrics.json (the end) and checkpoint.pt (the weights at the checkpoints that the
run keeps). DIR/cells/<variant>/depth<d>.json comes last, with the rates that were tried and chosen.

Runs of one budget train side by side (models/training/lanes.py). A run that is there already, of
the same specification, code and data, is kept. A process that is killed goes on where it stopped.

    python -m models.training.cell --spec run.json --out DIR

trains a run again, side by side with the same runs as before, and writes its files to DIR.
"""

import argparse
import csv
import gc
import json
import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from models import tensors
from models.data.prepare import FOLDER, Dataset, load
from models.files import read_json, replacing, sweep
from models.folders import cell_place, run_folder, tuning_folder
from models.origin import of_files
from models.training.device import deterministic
from models.training.evaluate import Record, final_metrics
from models.training.lanes import Stack, State
from models.training.loop import train
from models.training.state import Resume, leave_when_told
from models.training.tuning import Losses, beyond, ranked
from models.typed import typed
from models.variant import Cell, Lane, Run, Shared, read_run, to_json

LANES = 16  # at most, side by side: more are hardly faster, and take memory
EXTENSIONS = 2  # how often a grid of rates grows at the side on which the best rate lies
OUTPUTS = ("run.json", "history.csv", "checkpoint.pt", "metrics.json")


class Trained(NamedTuple):
    """What is left of a run after training."""

    history: list[Record]
    weights: dict[str, State]  # by checkpoint, the end included
    metrics: dict


def train_stack(
    runs: Sequence[Run], data: Dataset, trained: Sequence[State], resume: Resume, state: dict | None
) -> list[Trained]:
    """Train runs side by side, from a saved state if there is one, and evaluate them."""
    # What a handler raises while a stack is built can be lost in a library.
    with resume.listening():
        stack = Stack(runs, data, trained)
        kept: list[dict[str, State]] = [{"init": weights} for weights in stack.weights()]
        if state:
            stack.restore(state)
            kept = state["kept"]

        def observe() -> None:
            if any(f"step{stack.done}" in run.checkpoints for run in runs):
                for weights, of_lane in zip(kept, stack.weights(), strict=True):
                    weights[f"step{stack.done}"] = of_lane
            last = stack.done == stack.total
            resume.after_step(runs, lambda: {**stack.state(), "kept": kept}, last)

        train(stack, observe)
    metrics = final_metrics(stack.network, data, runs[0].train.evaluation_batch_size)
    results = []
    lanes = zip(stack.histories, kept, stack.weights(), metrics, strict=True)
    for history, weights, end, found in lanes:
        found |= {"epochs": history[-1].epoch, "steps": history[-1].step}
        found["status"] = found["status"] if history[-1].finite() else "diverged"
        results.append(Trained(history, {**weights, "end": end}, found))
    return results


def write_run(folder: Path, run: Run, trained: Trained, record: dict) -> None:
    """Write the folder of a run. Its last file is metrics.json: without it, a run is not there."""
    (folder / "metrics.json").unlink(missing_ok=True)
    for name in OUTPUTS:
        sweep(folder / name)
    with replacing(folder / "run.json") as path:
        path.write_text(to_json(run))
    with replacing(folder / "history.csv") as path, path.open("w", newline="") as file:
        csv.writer(file).writerows([Record._fields, *trained.history])
    if run.checkpoints:
        # A run that is short, or diverges, does not reach all of them.
        kept = {name: trained.weights[name] for name in run.checkpoints if name in trained.weights}
        tensors.write(folder / "checkpoint.pt", kept)
    metrics = {**trained.metrics, "record": record}
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")


def code() -> str:
    """Return a SHA-256 of the project's modules that this process has imported."""
    files = {module.__file__ for name, module in sys.modules.items() if name.startswith("models.")}
    return of_files(sorted({*files, __file__} - {None}))


class CellTrainer:
    """Trains the runs of a cell into the folder of a study's results."""

    def __init__(
        self, cell: Cell, results: Path, data: Dataset, digest: str, resume: Resume, attempt: int
    ):
        self.cell, self.results, self.data = cell, results, data
        self.facts = {"data": digest, "code": code()}
        self.resume, self.attempt = resume, attempt
        self.losses: dict[int, Losses] = {}  # of tuning, by budget and rate

    def run(self, budget: int, seed: int, lr: float) -> Run:
        """Return the specification of a run of this cell."""
        cell = self.cell
        tuning, checkpoints = seed in cell.tuning.seeds, ["end"]
        if tuning and not cell.parent:
            checkpoints = []
        elif budget == max(cell.budgets) and seed in cell.seeds[: cell.measured]:
            checkpoints = cell.checkpoints
        return Run(
            **{key: getattr(cell, key) for key in Shared.model_fields}, **self.facts, budget=budget,
            epochs=budget * cell.times, seed=seed, lr=lr, checkpoints=checkpoints,
            start=self.start(budget, seed),
        )  # fmt: skip

    def folder(self, run: Run) -> Path:
        """Return the folder of a run, of this cell or of the one from which it grows."""
        place = cell_place(run.variant, run.depth)
        if run.seed in self.cell.tuning.seeds:
            return self.results / tuning_folder(place, run.budget, run.seed, run.lr)
        return self.results / run_folder(place, run.budget, run.seed)

    def start(self, budget: int, seed: int) -> Run | None:
        """Return the run from which a run of this cell grows, if it does."""
        if self.cell.start is None:
            return None
        place = cell_place(self.cell.start.variant, self.cell.start.depth)
        folder = run_folder(place, budget, seed)
        if seed in self.cell.tuning.seeds:
            theirs = read_json(self.results / f"cells/{place}.json")
            tried = {float(lr): loss for lr, loss in theirs["tuning"][str(budget)].items()}
            lr = theirs["chosen"].get(str(budget)) or ranked(tried)[0]
            folder = tuning_folder(place, budget, seed, lr)
        return read_run(self.results / folder / "run.json")

    def finish(self, wanted: list[Run]) -> None:
        """Train those of the wanted runs that are not there, and write their folders."""
        while missing := [run for run in wanted if not self.is_there(run)]:
            runs, state = self.resume.begin(wanted) or (missing[:LANES], None)
            starts = [self.folder(run.start) for run in runs if run.start]
            trained = [tensors.read(folder / "checkpoint.pt")["end"] for folder in starts]
            results = train_stack(runs, self.data, trained, self.resume, state)
            record = {
                **{key: seconds / len(runs) for key, seconds in self.resume.cost().items()},
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "threads": torch.get_num_threads(),
                "attempt": self.attempt,
                "resumed_after_step": self.resume.step,  # zero if the stack was never stopped
                "host": platform.node(),
                "device": str(self.data.train_inputs.device),
                "torch": torch.__version__,
            }
            lanes = [Lane(seed=run.seed, lr=run.lr) for run in runs]
            for run, result in zip(runs, results, strict=True):
                write_run(self.folder(run), run.model_copy(update={"lanes": lanes}), result, record)
            self.resume.path.unlink(missing_ok=True)

    def is_there(self, run: Run) -> bool:
        """Return whether a run has been trained, with its data and code."""
        folder = self.folder(run)
        outputs = [name for name in OUTPUTS if run.checkpoints or name != "checkpoint.pt"]
        try:
            found = read_run(folder / "run.json").model_copy(update={"lanes": []})
        except ValueError:  # it is missing, or of an older version of the code
            return False
        return found == run and all((folder / name).exists() for name in outputs)

    def try_rates(self, budget: int, rates: list[float]) -> Losses:
        """Return the mean final training loss at each rate; None if a run diverged."""
        runs = [self.run(budget, seed, lr) for lr in rates for seed in self.cell.tuning.seeds]
        self.finish(runs)
        losses = {lr: [] for lr in rates}
        for run in runs:
            losses[run.lr].append(read_json(self.folder(run) / "metrics.json")["train_loss"])
        return {lr: None if None in each else sum(each) / len(each) for lr, each in losses.items()}

    def try_grid(self, budget: int) -> Losses:
        """Return the losses of the whole grid, which grows while its best rate is at an edge."""
        losses = self.try_rates(budget, sorted(self.cell.tuning.lrs))
        for _ in range(EXTENSIONS):
            if rate := beyond(losses):
                losses |= self.try_rates(budget, [rate])
        return losses

    def tune(self, budget: int) -> float:
        """Return the best learning rate for a budget; a grid of one rate is not tried."""
        tuning = self.cell.tuning
        if len(tuning.lrs) == 1:
            return tuning.lrs[0]
        trial = budget // 4
        if tuning.halving and trial:
            self.losses[trial] = self.try_grid(trial)
            self.losses[budget] = self.try_rates(budget, ranked(self.losses[trial])[:2])
        else:
            self.losses[budget] = self.try_grid(budget)
        return ranked(self.losses[budget])[0]

    def train(self) -> None:
        """Train all runs of the cell, and write its file."""
        cell, chosen = self.cell, {}
        path = self.results / f"cells/{cell_place(cell.variant, cell.depth)}.json"
        for budget in sorted(cell.budgets):
            chosen[budget] = self.tune(budget)
            self.finish([self.run(budget, seed, chosen[budget]) for seed in cell.seeds])
        tuning = {budget: dict(sorted(each.items())) for budget, each in self.losses.items()}
        content = {
            "spec": cell.model_dump(),
            **self.facts,  # so that the file changes with what its runs come from
            "chosen": chosen,
            "tuning": tuning,
        }
        sweep(path)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
        self.resume.path.unlink(missing_ok=True)  # of a stack that was killed as it was written


def repeat(run: Run, data: Dataset, resume: Resume) -> dict[Lane, Trained]:
    """Train the stack of a run again, and that of the runs from which it grew."""
    lanes = run.lanes or [Lane(seed=run.seed, lr=run.lr)]
    runs = [run.model_copy(update={**dict(lane), "lanes": []}) for lane in lanes]
    before = repeat(run.start, data, resume) if run.start else {}
    parents = [Lane(seed=lane.seed, lr=run.start.lr) for lane in lanes] if run.start else []
    trained = [before[lane].weights["end"] for lane in parents]
    _, state = resume.begin(runs) or (runs, None)
    results = train_stack(runs, data, trained, resume, state)
    resume.path.unlink(missing_ok=True)
    return dict(zip(lanes, results, strict=True))


def read_spec(text: str) -> Cell | Run:
    """Return the cell or the run in a JSON text, or in a file of that name."""
    if text.lstrip().startswith("{"):
        try:
            where, spec = "--spec", json.loads(text)
        except ValueError as error:
            raise ValueError(f"--spec: is not JSON: {error}") from None
    else:
        where, spec = text, read_json(Path(text))
    return typed(Run if "lr" in spec else Cell, spec, where)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--spec", required=True, help="a cell or a run: its file, or its JSON")
    parser.add_argument("--out", type=Path, required=True, help="results/<study> or a run's folder")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of prepared data sets")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attempt", type=int, default=1, help="recorded, not used")
    parser.add_argument("--save-every", type=float, default=60, metavar="SECONDS")
    arguments = parser.parse_args()
    leave_when_told()
    gc.set_threshold(100_000)  # training leaves very little to collect
    out, every = arguments.out, arguments.save_every
    try:
        spec = read_spec(arguments.spec)
        device = deterministic(arguments.threads, arguments.device)
        digest = spec.data if isinstance(spec, Run) else ""
        data = load(spec.dataset, arguments.data, digest).to(device)
        if isinstance(spec, Run):
            again = repeat(spec, data, Resume(out / "resume.pt", device, every))
            write_run(out, spec, again[Lane(seed=spec.seed, lr=spec.lr)], {})
        else:
            path = out / f"cells/{cell_place(spec.variant, spec.depth)}.resume.pt"
            digest = read_json(arguments.data / f"{spec.dataset}.json")["sha256"]
            resume = Resume(path, device, every)
            CellTrainer(spec, out, data, digest, resume, arguments.attempt).train()
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
