"""From a study's configuration to its runs, and from a module to the code it depends on."""

import difflib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import grimp
import yaml
from jsonschema import Draft202012Validator, ValidationError

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
VARIANTS = ROOT / "workflow/config/variants.yaml"


class StudyError(ValueError):
    """The configuration is wrong; the message says what, where, and what was expected."""


def read_variants() -> dict[str, dict[str, str]]:
    """Factors of every known variant, by name."""
    return yaml.safe_load(VARIANTS.read_text())


def check(config: dict, variants: Iterable[str]) -> None:
    """Refuse a configuration that could not become a paper.

    Raises:
        StudyError: of the first mistake found.
    """
    schema = yaml.safe_load(SCHEMA.read_text())
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: list(e.path))
    if errors:
        raise StudyError(describe(errors[0]))
    for name in config["variants"]:
        if name not in variants:
            raise StudyError(f"config: variants: {unknown(name, variants)}")
    for depth in config["depths"]:
        if depth < 8 or (depth - 2) % 6:
            raise StudyError(f"config: depths: {depth} is not 6n + 2 (8, 14, 20, 26, 32, ...)")
    pair = config["compare_depths"]
    for role, depth in pair.items():
        if depth not in config["depths"]:
            raise StudyError(
                f"config: compare_depths.{role}: {depth} is not among depths {config['depths']}"
            )
    if pair["shallow"] >= pair["deep"]:
        raise StudyError(
            f"config: compare_depths: shallow ({pair['shallow']}) must be less than deep "
            f"({pair['deep']})"
        )
    if config["tuning"]["seed"] in config["seeds"]:
        raise StudyError(
            f"config: tuning.seed: {config['tuning']['seed']} is among seeds {config['seeds']}; "
            "a learning rate must not be chosen on a run it is judged by"
        )
    training = config["training"]
    if training["warmup_epochs"] >= training["epochs"]:
        raise StudyError(
            f"config: training.warmup_epochs: {training['warmup_epochs']} must be less than "
            f"training.epochs ({training['epochs']})"
        )


def describe(error: ValidationError) -> str:
    """One line: the key, what is wrong with it, what it is for."""
    where = ".".join(str(part) for part in error.absolute_path)
    prefix = f"config: {where}." if where else "config: "
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        name = next(key for key in error.instance if key not in known)
        return prefix + unknown(str(name), known)
    if error.validator == "required":
        name = next(key for key in error.validator_value if key not in error.instance)
        return f"{prefix}{name} is missing: {error.schema['properties'][name]['description']}"
    meaning = error.schema.get("description")
    return f"config: {where}: {error.message}" + (f" ({meaning})" if meaning else "")


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that `name` is not known, with the nearest name that is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    return f"'{name}' is not known; {hint}"


def run_spec(
    config: dict, factors: dict[str, str], variant: str, depth: int, seed: int, lr: float | None,
    checkpoints: list[str],
) -> str:  # fmt: skip
    """The run as canonical JSON (see models/variant.py); its lr may be left open as None.

    The text is all that a training job depends on, so that editing the configuration reruns
    the runs it changes and no others.
    """
    settings = dict(config["training"])
    clip = settings.pop("gradient_clip_without_norm")
    settings["gradient_clip"] = clip if factors["norm"] == "none" else None
    spec = {
        "dataset": config["dataset"],
        "variant": variant,
        "factors": factors,
        "depth": depth,
        "width": config["width"],
        "seed": seed,
        "train": {**settings, "lr": lr},
        "checkpoints": checkpoints,
    }
    return json.dumps(spec, sort_keys=True)


def import_closure(modules: Iterable[str]) -> dict[str, list[str]]:
    """The project's own files that each module depends on, itself included, sorted."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("models", "analysis", "report", cache_dir=None)
    sys.path.pop(0)
    return {
        module: sorted(
            f"{name.replace('.', '/')}.py"
            for name in {module, *graph.find_upstream_modules(module)}
            if (ROOT / f"{name.replace('.', '/')}.py").exists()  # packages here are empty
        )
        for module in modules
    }
