"""What a network, a run and a cell are: typed values, written to JSON and read from it."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from models.files import nearest, read_json, read_yaml
from models.typed import Typed, typed

VARIANTS = Path(__file__).resolve().parent.parent / "workflow/config/variants.yaml"


def six_n_plus_two(depth: int) -> int:
    """Return a number of weight layers that three equal stages of two-layer blocks can have."""
    if depth < 8 or (depth - 2) % 6:
        below = max(8, (depth - 2) // 6 * 6 + 2)
        raise ValueError(f"{depth} is not 6n + 2; the nearest are {below} and {below + 6}")
    return depth


def matching(pattern: str, words: str) -> AfterValidator:
    """Refuse a text that does not match `pattern`, which `words` describe to the user."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not {words}")
        return text

    return AfterValidator(check)


def distinct(items: list) -> list:
    for i, item in enumerate(items):
        if item in items[:i]:
            raise ValueError(f"{item!r} is given twice")
    return items


T = TypeVar("T")
Distinct = Annotated[list[T], AfterValidator(distinct)]
NAME = "[a-z][a-z0-9_]{0,63}"
A_NAME = "a name of at most 64 lower-case letters, digits and _, with a letter first"
Shortcut = Literal[
    "none", "identity", "orthogonal", "permutation", "gaussian", "scaled", "doubly_stochastic"
]
Rule = Literal["sgd", "adamw", "muon", "layerwise"]
Schedule = Literal["cosine", "staircase", "constant"]
Growth = Literal["identity", "random"]
Depth = Annotated[int, AfterValidator(six_n_plus_two)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, matching(NAME, A_NAME)]
Rate = Annotated[float, Field(gt=0)]
Budget = Annotated[int, Field(ge=1)]
# The state of a run after a number of steps
Checkpoint = Annotated[str, matching(r"init|end|step[1-9]\d{0,8}", "init, end, or step1, step2, …")]


class Factors(Typed):
    """A network, as a point in a small space. The defaults are He et al. 2016 (CVPR)."""

    # What is added to a block's branch
    shortcut: Shortcut = "identity"
    convolutions_per_block: Literal[1, 2] = 2
    # Normalisation of each convolution's output, before or after the activation
    norm: Literal["none", "batch", "batch_no_affine", "noisy_batch"] = "batch"
    norm_position: Literal["before", "after"] = "before"
    activation: Literal["relu", "crelu", "tanh", "tailored_relu"] = "relu"
    # Whether the activation follows the addition or precedes the convolutions
    block: Literal["post_activation", "pre_activation"] = "post_activation"
    # Negative slope of the ReLU; one makes it linear
    slope: float = Field(0.0, ge=0, le=1)
    # Scalars of a branch: learned, or 1 / sqrt(L) for a network of L blocks
    branch_scale: Literal["one", "skipinit", "fixup", "inverse_sqrt"] = "one"
    init: Literal["he", "dirac", "dirac_noise", "looks_linear", "delta_orthogonal"] = "he"
    # Multiplies the initial weights of all convolutions
    gain: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def combination(self) -> Self:
        if self.activation == "crelu" and self.shortcut != "none":
            raise ValueError("activation: crelu doubles the channels, so shortcut must be none")
        if self.init == "looks_linear" and self.activation != "crelu":
            raise ValueError("init: looks_linear mirrors weights, so activation must be crelu")
        if self.slope and self.activation != "relu":
            raise ValueError("slope: it is that of a ReLU, so activation must be relu")
        if self.init.startswith("dirac") and not (self.can_be_identity() and self.gain == 1):
            needs = "plain blocks, ReLU last with slope 0, norm none or batch, gain 1"
            raise ValueError(f"init: {self.init} needs {needs}")
        return self

    def can_be_identity(self) -> bool:
        """Return whether a block of identity convolutions can be the identity."""
        order = (self.shortcut, self.activation, self.slope, self.block, self.norm_position)
        plain = order == ("none", "relu", 0, "post_activation", "before")
        return plain and self.norm in ("none", "batch")


class Times(Typed):
    """Multiples of what the study gives to every network."""

    epochs: int = Field(1, ge=1)  # of the budget
    width: int = Field(1, ge=1)


class TrainingChanges(Typed):
    """What a variant changes in the study's training. None leaves it as it is."""

    optimiser: Rule | None = None
    clipped: bool | None = None
    schedule: Schedule | None = None
    warmup_steps: int | None = Field(None, ge=0)


class Variant(Typed):
    """An entry of variants.yaml, whose first lines tell the meaning of each key."""

    label: str = Field(min_length=1)
    baseline: str | None = None
    explanation: str | None = None
    factors: Factors = Factors()
    training: TrainingChanges = TrainingChanges()
    times: Times = Times()
    start: str | None = None
    growth: Growth = "identity"
    frozen: bool = False

    @model_validator(mode="after")
    def grows(self) -> Self:
        if self.start is None and (self.frozen or self.growth != "identity"):
            raise ValueError("start is missing: growth and frozen are of a network that grows")
        return self


@cache
def read_variants(path: Path = VARIANTS) -> dict[str, Variant]:
    """Return every known variant by its name, in the order of the file."""
    variants = {}
    for name, entry in read_yaml(path).items():
        if not re.fullmatch(NAME, str(name)):
            raise ValueError(f"{path.name}: {name!r} is not {A_NAME}")
        variants[name] = typed(Variant, entry, f"{path.name}: {name}")
    for name, variant in variants.items():
        where = f"{path.name}: {name}"
        for key in ("baseline", "start"):
            other = getattr(variant, key)
            if other is not None and other not in variants:
                raise ValueError(f"{where}.{key}: {other!r} is not known{nearest(other, variants)}")
        if variant.baseline and variants[variant.baseline].baseline:
            raise ValueError(f"{where}.baseline: {variant.baseline} has a baseline itself")
        if variant.start and variants[variant.start].factors != variant.factors:
            raise ValueError(f"{where}.start: {variant.start} has other factors")
    return variants


class TrainingSettings(Typed):
    """How every network is trained: a linear warm-up, then a schedule, step by step."""

    batch_size: int = Field(ge=2, description="examples a step")
    momentum: float = Field(ge=0, lt=1, description="momentum of sgd and of layerwise steps")
    weight_decay: float = Field(ge=0, description="L2 penalty on every parameter")
    schedule: Schedule = Field(description="how the rate falls; staircase is that of He et al.")
    warmup_steps: int = Field(ge=0, description="steps until the peak rate; at most half of all")
    gradient_clip: float = Field(gt=0, description="largest norm of a gradient that is clipped")
    augmentation: Literal["none", "crop_and_flip"] = Field(description="of images, as in He et al.")
    precision: Literal["float32", "bfloat16"] = Field(description="of products on a GPU")
    evaluation_batch_size: int = Field(ge=2, description="examples that are evaluated at once")

    def total_steps(self, epochs: int, examples: int) -> int:
        """Return the number of steps; what does not fill a batch waits for the next epoch."""
        if self.batch_size > examples:
            size = self.batch_size
            raise ValueError(f"batch_size: {size} is more than the {examples} training examples")
        return epochs * (examples // self.batch_size)


class Training(TrainingSettings):
    """How the runs of a cell are trained."""

    optimiser: Rule = Field("sgd", description="how a step is made of a gradient")
    clipped: bool = Field(description="whether the gradient is clipped; usual without BatchNorm")


class Tuning(Typed):
    """The choice of a learning rate for each variant, depth and budget."""

    seeds: Distinct[Seed] = Field(
        min_length=1, description="seeds of the tuning runs, which are not among the seeds"
    )
    lrs: Distinct[Rate] = Field(min_length=1, description="peak learning rates; one needs no trial")
    halving: bool = Field(
        description="whether only the two rates that are best at a quarter of a budget get it whole"
    )


class Lane(Typed):
    """The seed and the learning rate of one of the runs that are trained side by side."""

    seed: Seed
    lr: Rate


class Shared(Typed):
    """What all runs of a cell have in common."""

    dataset: str = Field(description="name of the data set")
    variant: str = Field(description="name of the network in variants.yaml")
    factors: Factors = Field(description="what the network is")
    depth: Depth = Field(description="weight layers, 6n + 2")
    width: int = Field(ge=1, description="channels of the first stage")
    train: Training = Field(description="how the networks are trained")
    growth: Growth = Field("identity", description="how the blocks begin that a start lacks")
    frozen: bool = Field(False, description="whether what comes from the start is not trained")


class Run(Shared):
    """One network, trained once. Its `run.json` is enough to repeat it."""

    budget: int = Field(ge=1, description="epochs that the study gives to the run")
    epochs: int = Field(ge=1, description="passes over the training set, warm-up included")
    seed: Seed = Field(description="seed of the initial weights and of the data order")
    lr: Rate = Field(description="peak learning rate, reached at the end of the warm-up")
    checkpoints: list[Checkpoint] = Field(description="the checkpoints whose weights are kept")
    start: "Run | None" = Field(None, description="the run from whose end this network grows")
    data: str = Field("", description="SHA-256 of the data set")
    code: str = Field("", description="SHA-256 of the code that trained it")
    lanes: list[Lane] = Field([], description="the runs that were trained side by side, itself too")

    @model_validator(mode="after")
    def grows(self) -> Self:
        if self.start is None:
            return self
        if self.factors != self.start.factors or self.width != self.start.width:
            raise ValueError("start: a network grows from one of its own factors and width")
        if self.start.depth > self.depth:
            raise ValueError(f"start.depth: {self.start.depth} is more than depth: {self.depth}")
        if self.start.start is not None or not self.factors.can_be_identity():
            raise ValueError("start: only plain networks with ReLU grow, and only once")
        return self


class Cell(Shared):
    """All runs of a variant and depth, those that choose their learning rates included."""

    budgets: Distinct[Budget] = Field(min_length=1, description="epochs that a run gets")
    times: int = Field(1, ge=1, description="epochs of the variant for each epoch of the budget")
    seeds: Distinct[Seed] = Field(min_length=1, description="seeds of the runs")
    tuning: Tuning = Field(description="how the learning rates are chosen")
    measured: int = Field(0, ge=0, description="seeds whose longest runs are measured")
    checkpoints: list[Checkpoint] = Field([], description="the checkpoints that measured runs keep")
    start: "Start | None" = Field(None, description="the cell from whose runs the networks grow")
    parent: bool = Field(False, description="whether networks of other cells grow from its runs")


class Start(Typed):
    """The cell of the same results from whose runs a network grows."""

    variant: str
    depth: Depth


def read_run(path: Path) -> Run:
    """Return the run in a file; a ValueError names the file and the key."""
    return typed(Run, read_json(path), str(path))


def to_json(run: Run) -> str:
    """Return a run as the text of its `run.json`."""
    return run.model_dump_json(indent=2) + "\n"
