"""What a run is: the factors of its network, how it is trained, and from which seed.

A run is a value. Written to `run.json` it is enough to repeat the run alone:

    python -m models.train --spec run.json --out DIR
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import dacite

from models.files import replacing


@dataclass(frozen=True)
class Variant:
    """The factors that tell the networks apart (He et al. 2016 is `identity` with `batch`)."""

    shortcut: Literal["none", "identity"]
    norm: Literal["none", "batch"]


@dataclass(frozen=True)
class TrainSpec:
    """Stochastic gradient descent: linear warm-up, then cosine decay to zero, step by step."""

    epochs: int
    batch_size: int
    lr: float  # the peak, reached at the end of the warm-up
    warmup_epochs: int
    momentum: float
    weight_decay: float  # on every parameter, as in He et al. 2016
    gradient_clip: float | None  # largest norm of the whole gradient; None: not clipped
    evaluation_batch_size: int

    def __post_init__(self) -> None:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"train.warmup_epochs: {self.warmup_epochs} leaves none of {self.epochs} epochs"
            )


@dataclass(frozen=True)
class Run:
    """One network, trained once."""

    dataset: str
    variant: str  # the name of `factors` in the study
    factors: Variant
    depth: int  # weight layers, 6n + 2
    width: int  # channels of the first stage
    seed: int  # of the initial weights and of the data order
    train: TrainSpec
    checkpoints: tuple[Literal["init", "end"], ...]  # the moments whose weights are kept


def read_run(path: Path) -> Run:
    """The run written in `path`.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type; the message names it.
    """
    try:
        return from_dict(json.loads(path.read_text()))
    except (json.JSONDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def from_dict(data: dict) -> Run:
    """A run from plain data, as JSON holds it.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type; the message names it.
    """
    try:
        return dacite.from_dict(Run, data, dacite.Config(strict=True, cast=[tuple]))
    except dacite.DaciteError as error:
        raise ValueError(str(error)) from None


def to_json(run: Run) -> str:
    return json.dumps(asdict(run), indent=2) + "\n"


def main() -> None:
    """Complete a specification with the learning rate that tuning chose."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--spec", required=True, help="the run as JSON; train.lr may be null")
    parser.add_argument("--lr-from", type=Path, help="JSON file whose key lr holds the rate")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    spec = json.loads(arguments.spec)
    if arguments.lr_from:
        spec["train"]["lr"] = json.loads(arguments.lr_from.read_text())["lr"]
    try:
        text = to_json(from_dict(spec))
    except ValueError as error:
        sys.exit(f"error: --spec: {error}")
    with replacing(arguments.out) as path:
        path.write_text(text)


if __name__ == "__main__":
    main()
