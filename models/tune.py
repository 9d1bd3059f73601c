"""Try every learning rate of a grid, and choose the one that ends with the lowest training loss.

    python -m models.tune --spec run.json --lrs 0.01 0.1 --out DIR

Each rate's run goes to DIR/lr<rate>/, the choice to DIR/chosen.json. One process tries them all,
because starting one takes as long as a short run. A grid of one rate is taken as it is.
"""

import argparse
import json
import math
import sys

from models.data import load
from models.files import replacing
from models.train import end_of, perform, prepare, resumable, specification
from models.variant import from_dict


def choose(losses: dict[float, float | None]) -> dict:
    """The best of the grid `{lr: final training loss}`; a diverged run's loss is None.

    If every run diverged, the smallest rate is taken.
    """
    lr = min(losses, key=lambda lr: (math.inf if losses[lr] is None else losses[lr], lr))
    return {
        "lr": lr,
        "train_loss": losses[lr],
        "grid": sorted(losses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lrs", nargs="+", required=True, help="the grid")
    arguments = prepare(parser)
    # A grid of one rate leaves nothing to try.
    losses: dict[float, float | None] = dict.fromkeys(map(float, arguments.lrs))
    tried = arguments.lrs if len(losses) > 1 else []
    resumes = []
    try:
        spec = specification(arguments)
        # Only the end counts; testing on the way would take a tenth of the time.
        settings = {**spec["train"], "record_every": sys.maxsize}
        runs = [from_dict({**spec, "train": {**settings, "lr": float(lr)}}) for lr in tried]
        data = load(runs[0].dataset, arguments.data).to(arguments.device) if runs else None
        trained = end_of(arguments.start) if arguments.start else None
        for lr, run in zip(tried, runs, strict=True):
            folder = arguments.out / f"lr{lr}"
            resumes.append(resumable(run, folder, arguments))
            metrics = perform(run, data, folder, trained, resumes[-1], arguments.attempt)
            losses[float(lr)] = metrics["train_loss"]
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    with replacing(arguments.out / "chosen.json") as path:
        path.write_text(json.dumps(choose(losses), indent=2) + "\n")
    for resume in resumes:  # not before: a job that is killed loses the rates it has done
        resume.forget()


if __name__ == "__main__":
    main()
