"""Choose a learning rate: the one whose run ended with the lowest training loss.

python -m models.tune RUN_FOLDER ... --out chosen.json
"""

import argparse
import json
import math
from pathlib import Path

from models.files import replacing


def choose(losses: dict[float, float | None]) -> dict:
    """The best of the grid `{lr: final training loss}`; a diverged run's loss is None.

    A best value at the grid's edge is flagged: a better one may lie outside. If every run
    diverged, the smallest rate is taken.
    """
    lr = min(losses, key=lambda lr: (math.inf if losses[lr] is None else losses[lr], lr))
    return {
        "lr": lr,
        "train_loss": losses[lr],
        "at_edge": lr in (min(losses), max(losses)),
        "grid": sorted(losses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    losses = {}
    for folder in arguments.runs:
        lr = json.loads((folder / "run.json").read_text())["train"]["lr"]
        losses[lr] = json.loads((folder / "metrics.json").read_text())["train_loss"]
    with replacing(arguments.out) as path:
        path.write_text(json.dumps(choose(losses), indent=2) + "\n")


if __name__ == "__main__":
    main()
