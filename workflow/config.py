"""The settings of a study, typed. `python -m workflow.config` explains each key."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from models.data.readers import SOURCES, ImageFolder, count_of, files_of, state_of
from models.files import nearest, read_constant, read_yaml
from models.typed import Typed, kinds_in, typed
from models.variant import (
    Budget,
    Checkpoint,
    Depth,
    Distinct,
    Name,
    Seed,
    TrainingSettings,
    Tuning,
    read_variants,
)

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "workflow/config/default.yaml"
TAKEN = {"data": "data sets", "slurm_logs": "the logs of Slurm"}  # in results/


class At(Typed):
    """The checkpoints at which a measure is taken; those after a run's last step are left out."""

    variants: Distinct[Checkpoint] = Field(min_length=1, description="init, end, or step<n>")
    interventions: Distinct[Checkpoint] = Field(description="likewise; may be an empty list")


def settings_of(path: Path) -> type[Typed]:
    """Return the model of a measure's settings, from the constant SETTINGS of its file."""
    fields = {}
    for name, (kind, least, meaning) in read_constant(path, "SETTINGS").items():
        count, number = Annotated[int, Field(ge=least)], Annotated[float, Field(gt=least)]
        kinds = {
            "count": count,
            "counts": Annotated[Distinct[count], Field(min_length=1)],
            "numbers": Annotated[Distinct[number], Field(min_length=1)],
        }
        fields[name] = (kinds[kind], Field(description=meaning))
    return create_model(path.stem, __base__=Typed, at=(At, ...), **fields)


MEASURES = sorted(path.stem for path in (ROOT / "analysis/measures").glob("[a-z]*.py"))
Measures = create_model(
    "Measures",
    __base__=Typed,
    seeds=(int, Field(ge=1, description="how many of the seeds are measured, the first ones")),
    # None stands for a measure that a study leaves out; no file can give it.
    **{name: (settings_of(ROOT / f"analysis/measures/{name}.py"), None) for name in MEASURES},
)


class CompareDepths(Typed):
    """The two depths that the claims compare."""

    shallow: int = Field(description="the shallower depth")
    deep: int = Field(description="the deeper depth")


class Study(Typed):
    """The settings of a study. Their defaults stand in workflow/config/default.yaml."""

    study: Name = Field(description="name of the study; its results go to results/<study>/")
    dataset: Name = Field(description="one of models/data/readers.py, or any name for your images")
    image_folder: ImageFolder | None = Field(None, description="your own images, in class folders")
    variants: Distinct[str] = Field(description="networks of variants.yaml for all depths")
    interventions: Distinct[str] = Field(description="networks for the two compared depths only")
    depths: Distinct[Depth] = Field(description="numbers of weight layers, 6n + 2")
    compare_depths: CompareDepths = Field(description="the two depths that the claims compare")
    width: int = Field(ge=1, description="channels of the first stage")
    budgets: Distinct[Budget] = Field(
        min_length=1, description="epochs that a run gets; its schedule ends with them"
    )
    seeds: Distinct[Seed] = Field(min_length=2, description="seeds of initial weights and order")
    training: TrainingSettings = Field(description="how every network is trained")
    tuning: Tuning = Field(description="how learning rates are chosen")
    measures: Measures = Field(description="what is measured at the two compared depths")
    partial: bool = Field(description="whether to report what is finished and train nothing more")
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="where to train; auto takes a GPU, but asks no cluster for one"
    )

    @model_validator(mode="after")
    def consistent(self) -> Self:
        """Refuse settings that contradict each other, or that could not become a paper."""
        variants, pair = read_variants(), self.compare_depths
        if what := TAKEN.get(self.study):
            raise ValueError(f"study: results/{self.study} is where {what} go; take another name")
        for key, names, known in (
            ("variants", self.variants, variants),
            ("interventions", self.interventions, variants),
            ("dataset", [] if self.image_folder else [self.dataset], SOURCES),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: {name!r} is not known{nearest(name, known)}")
        if both := set(self.variants) & set(self.interventions):
            raise ValueError(f"interventions: {min(both)!r} is among variants too")
        for name, variant in variants.items():
            if not variant.baseline and name not in self.variants:
                raise ValueError(f"variants: {name} is missing; the claims compare it")
        for role, depth in pair:
            if depth not in self.depths:
                raise ValueError(f"compare_depths.{role}: {depth} is not among {self.depths}")
        if pair.shallow >= pair.deep:
            raise ValueError(f"compare_depths: shallow {pair.shallow} is not below {pair.deep}")
        if both := set(self.tuning.seeds) & set(self.seeds):
            raise ValueError(f"tuning.seeds: {min(both)} is among seeds {self.seeds}; take another")
        if not self.image_folder:  # how many images a folder has is known when they are read
            try:
                self.training.total_steps(1, SOURCES[self.dataset].examples)
            except ValueError as error:
                raise ValueError(f"training.{error} of {self.dataset}") from None
        elif self.dataset in SOURCES:
            raise ValueError(f"image_folder: {self.dataset} has its own images; rename yours")
        return self


def from_command_line(entries: Iterable[str]) -> dict[str, Any]:
    """Return the settings in `--config KEY=VALUE ...`; values are YAML, as in a study's file."""
    settings = {}
    for key, _, text in (entry.partition("=") for entry in entries):
        try:
            settings[key] = YAML(typ="safe", pure=True).load(text)
        except MarkedYAMLError as error:
            raise ValueError(f"config: {key}: {text!r}: {error.problem}") from None
    return settings


def load_study(files: Iterable[Path] = (), overrides: Mapping[str, Any] | None = None) -> Study:
    """Return the study of the default settings, changed by each of `files` and by `overrides`.

    A mistake raises a ValueError of one line, which names the file, or `config`, and the key.
    """
    everything = [read_yaml(DEFAULT), *map(read_yaml, files), overrides or {}]
    study = typed(Study, functools.reduce(merged, everything), "config")
    if (folder := study.image_folder) is None:
        return study
    folder = folder.model_copy(update={"path": os.path.expanduser(folder.path)})
    # The name has a digest, so that the same images at two sizes are two files in results/data/.
    digest = hashlib.sha256(folder.model_dump_json().encode()).hexdigest()[:8]
    name = f"{study.dataset.removesuffix(f'_{digest}')[:55]}_{digest}"  # a Name has at most 64
    return study.model_copy(update={"dataset": name, "image_folder": folder})


def merged(settings: object, changes: object) -> object:
    """Return `settings` with `changes`: mappings merge, and everything else is replaced."""
    if not (isinstance(settings, Mapping) and isinstance(changes, Mapping)):
        return changes
    return {**settings, **{key: merged(settings.get(key), changes[key]) for key in changes}}


def state_of_images(study: Study) -> str:
    """Return a digest of the user's own images, which changes with them; "" if there are none."""
    try:
        return state_of(study.image_folder) if study.image_folder else ""
    except (OSError, ValueError) as error:
        raise ValueError(f"config: {' '.join(str(error).split())}") from None


def images(study: Study) -> tuple[int, tuple[int, int, int]]:
    """Return how many training images there are at most, and the channels, height and width."""
    if folder := study.image_folder:
        return count_of(files_of(folder)[0]), (folder.channels, folder.size, folder.size)
    return SOURCES[study.dataset].examples, SOURCES[study.dataset].shape


def explained(model: type[Typed], defaults: Mapping, path: str = "") -> Iterator[str]:
    """Yield two lines for each key of a model: path and default, then meaning, type and range."""
    schemas = model.model_json_schema()["properties"]
    for key, field in model.model_fields.items():
        if inner := next(kinds_in(field.annotation), None):
            yield from explained(inner, defaults.get(key, {}), f"{path}{key}.")
        else:
            default = f" = {json.dumps(defaults[key])}" if key in defaults else ""
            yield f"{path}{key}{default}\n    {field.description} ({in_words(schemas[key])})"


def in_words(schema: Mapping) -> str:
    """Return the type and the range of a value in words, from its JSON schema."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema["type"] == "array":
        return f"list: {in_words(schema['items'])}"
    kinds = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    words = {"minimum": "from", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    limits = [f"{words[key]} {schema[key]}" for key in words if key in schema]
    return " ".join([kinds.get(schema["type"], schema["type"]), *limits])


if __name__ == "__main__":
    print(*explained(Study, read_yaml(DEFAULT)), sep="\n")
