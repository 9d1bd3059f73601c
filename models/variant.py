"""What a run is: the factors of its network, how it is trained, and from which seed.

A run is a value. Written to `run.json` it is enough to repeat the run alone:

    python -m models.train --spec run.json --out DIR
"""

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from models.records import build

MOMENT = r"init|end|step[1-9]\d{0,8}"  # of a run: as many steps done


@dataclass(frozen=True)
class Variant:
    """A point in the space of networks. What is not said is as in He et al. 2016 (CVPR)."""

    # What is added to a block's branch: nothing, the input, or a fixed linear map of it.
    shortcut: Literal["none", "identity", "orthogonal", "permutation", "gaussian", "scaled"] = (
        "identity"
    )
    span: Literal[1, 2] = 2  # convolutions of a block, which its shortcut passes by
    norm: Literal["none", "batch", "batch_no_affine", "noisy_batch"] = "batch"
    norm_position: Literal["before", "after"] = "before"  # the activation
    activation: Literal["relu", "crelu", "tanh", "tailored_relu"] = "relu"
    block: Literal["post_activation", "pre_activation"] = "post_activation"
    branch_scale: Literal["one", "skipinit", "fixup"] = "one"
    init: Literal["he", "dirac", "dirac_noise", "looks_linear", "delta_orthogonal"] = "he"

    def __post_init__(self) -> None:
        for wrong, message in (
            (
                self.activation == "crelu" and self.shortcut != "none",
                "activation: crelu doubles the channels, so shortcut must be none",
            ),
            (
                self.init == "looks_linear" and self.activation != "crelu",
                "init: looks_linear mirrors weights, so activation must be crelu",
            ),
            (
                self.init.startswith("dirac") and not self.can_be_identity(),
                f"init: {self.init} makes an identity only of plain blocks with ReLU last, "
                "norm none or batch",
            ),
        ):
            if wrong:
                raise ValueError(f"factors.{message}")

    def can_be_identity(self) -> bool:
        """Whether a block of identity convolutions can be the identity."""
        order = (self.shortcut, self.activation, self.block, self.norm_position)
        plain = order == ("none", "relu", "post_activation", "before")
        return plain and self.norm in ("none", "batch")


@dataclass(frozen=True)
class TrainSpec:
    """Stochastic gradient descent: linear warm-up, then a decay, step by step."""

    epochs: int
    batch_size: int
    lr: float  # the peak, reached at the end of the warm-up
    schedule: Literal["cosine", "staircase"]  # see DECAYS in models/train.py
    warmup_steps: int
    momentum: float
    weight_decay: float  # on every parameter, as in He et al. 2016
    gradient: Literal["raw", "clipped", "layerwise"]  # see GRADIENTS in models/train.py
    gradient_clip: float  # largest norm of the whole gradient, where it is clipped
    augmentation: Literal["none", "crop_and_flip"]
    precision: Literal["float32", "bfloat16"]  # bfloat16: autocast where the device is a GPU
    record_every: int  # steps between two rows of the history
    evaluation_batch_size: int

    def __post_init__(self) -> None:
        for key, least, most in (
            ("epochs", 1, math.inf),
            ("batch_size", 1, math.inf),
            ("lr", 0, math.inf),
            ("warmup_steps", 0, math.inf),
            ("momentum", 0, 1),
            ("weight_decay", 0, math.inf),
            ("gradient_clip", 0, math.inf),
            ("record_every", 1, math.inf),
            ("evaluation_batch_size", 1, math.inf),
        ):
            refuse_outside(f"train.{key}", getattr(self, key), least, most)


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
    checkpoints: tuple[str, ...]  # the moments whose weights are kept: init, step<n>, end
    start: "Run | None" = None  # trained first; this network is grown from its end

    def __post_init__(self) -> None:
        refuse_outside("depth", self.depth, 8, math.inf)
        refuse_outside("width", self.width, 1, math.inf)
        refuse_outside("seed", self.seed, 0, 2**32)
        for moment in self.checkpoints:
            if not re.fullmatch(MOMENT, moment):
                raise ValueError(f"checkpoints: {moment!r} is not init, end, or step1, step2, ...")
        if self.start is None:
            return
        if self.factors != self.start.factors or self.width != self.start.width:
            raise ValueError("start: a network grows from one of its own factors and width")
        if self.start.depth > self.depth:
            raise ValueError(f"start.depth: {self.start.depth} is more than depth: {self.depth}")
        if self.start.start is not None or not self.factors.can_be_identity():
            raise ValueError("start: only plain networks with ReLU grow, and only once")


def refuse_outside(key: str, x: float, least: float, most: float) -> None:
    """Raises ValueError unless `x` is a number from `least` up to, but not including, `most`."""
    if isinstance(x, bool) or not least <= x < most:
        raise ValueError(f"{key}: {x} is not a number from {least} up to {most}")


def moments(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(moment, str) for moment in given):
        raise ValueError(f"checkpoints: {given!r} is not a list of moments")
    return tuple(given)


def read_run(path: Path) -> Run:
    """The run written in `path`.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type; the message names it.
    """
    try:
        return from_dict(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_dict(data: dict) -> Run:
    """A run from plain data, as JSON holds it.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type; the message names it.
    """
    return build(Run, data, {tuple[str, ...]: moments})


def to_json(run: Run) -> str:
    return json.dumps(asdict(run), indent=2) + "\n"
