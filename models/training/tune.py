"""Try every learning rate of a grid, and choose the one that ends with the lowest training loss.

    python -m models.training.tune --spec run.json --lrs 0.01 0.1 --out DIR

The run of each rate goes to DIR/lr<rate>/, and the choice to DIR/chosen.json. One process tries all
rates, because its start takes as long as a short run. A grid of one rate is not tried.
"""

import argparse
import json
import math
import sys

from models.data.prepare import load
from models.files import replacing
from models.training.state import forget
from models.training.train import options, read_spec, train_in


def choose(losses: dict[float, float | None]) -> dict:
    """Return the best rate of the grid `{lr: final training loss}`, its loss, and the grid.

    The loss of a diverged run is None. If every run diverged, the smallest rate is chosen.
    """
    lr = min(losses, key=lambda lr: (math.inf if losses[lr] is None else losses[lr], lr))
    return {"lr": lr, "train_loss": losses[lr], "grid": sorted(losses)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lrs", nargs="+", required=True, help="the grid")
    with options(parser) as arguments:
        losses: dict[float, float | None] = dict.fromkeys(map(float, arguments.lrs))
        tried = arguments.lrs if len(losses) > 1 else []
        # Only the end counts here. Tests on the way would take a tenth of the time.
        runs = {lr: read_spec(arguments, lr=float(lr), record_every=sys.maxsize) for lr in tried}
        if tried:  # all runs have the same data
            data = load(runs[tried[0]].dataset, arguments.data).to(arguments.device)
        for lr, run in runs.items():
            folder = arguments.out / f"lr{lr}"
            metrics = train_in(folder, run, data, arguments)
            losses[float(lr)] = metrics["train_loss"]
        with replacing(arguments.out / "chosen.json") as path:
            path.write_text(json.dumps(choose(losses), indent=2) + "\n")
        # A job that is killed before this point keeps the rates that it has tried.
        for lr in runs:
            forget(arguments.out / f"lr{lr}")


if __name__ == "__main__":
    main()
