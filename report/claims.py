"""Judge each claim by the runs: effect, interval, p-value, verdict.

    python -m report.claims --claims report/claims.yaml --results results/<study>

The verdict compares the 95 % interval with the smallest effect of interest (see claims.yaml), so
data can turn it either way. The exact sign-flip p-value against no effect at all, adjusted by Holm
within a section, is reported beside it; with n seeds it cannot fall below 2 / 2^n.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import dacite
import pandas as pd
import yaml
from statsmodels.stats.multitest import multipletests

from analysis.horse_race import Prediction
from analysis.summary import mean_interval, sign_flip_p_value
from models.files import replacing

PERCENT = 100  # errors are fractions in the tables; effects are percentage points


@dataclass(frozen=True)
class Term:
    variant: str
    depth: Literal["shallow", "deep"]
    weight: int


@dataclass(frozen=True)
class Claim:
    id: str
    section: str
    statement: str
    theory: str
    metric: Literal["train_error", "test_error", "generalisation_gap"]
    contrast: list[Term]
    prediction: Literal["above", "below"]
    smallest_effect: float


@dataclass(frozen=True)
class Claims:
    smallest_effect_reason: str
    claims: list[Claim]
    predictions: list[Prediction]


def read_claims(path: Path) -> list[Claim]:
    """The claims in a YAML file.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type, or an id is given twice.
    """
    try:
        claims = dacite.from_dict(
            Claims, yaml.safe_load(path.read_text()), dacite.Config(strict=True, cast=[float])
        ).claims
    except dacite.DaciteError as error:
        raise ValueError(f"{path}: {error}") from None
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"{path}: claim '{name}' is given twice")
    return claims


def effects(claim: Claim, runs: pd.DataFrame, depths: dict[str, int]) -> pd.Series:
    """The contrast in percentage points, one value a seed.

    Raises:
        ValueError: the study has no runs of a network that the claim names.
    """
    runs = runs.assign(generalisation_gap=runs["test_error"] - runs["train_error"])
    total = 0.0
    for term in claim.contrast:
        depth = depths[term.depth]
        cell = runs[(runs["variant"] == term.variant) & (runs["depth"] == depth)]
        if cell.empty:
            raise ValueError(
                f"claim '{claim.id}': the study runs no '{term.variant}' at depth {depth}"
            )
        total = total + PERCENT * term.weight * cell.set_index("seed")[claim.metric]
    return total.sort_index()


def verdict(prediction: str, low: float, high: float, smallest_effect: float) -> str:
    """On which side of the smallest effect of interest the whole interval lies."""
    if low > smallest_effect:
        return "supported" if prediction == "above" else "contradicted"
    if high < smallest_effect:
        return "supported" if prediction == "below" else "contradicted"
    return "inconclusive"


def formula(claim: Claim) -> str:
    """The contrast in words, such as "+plain_bn deep -plain_bn shallow"."""
    return " ".join(f"{term.weight:+d}·{term.variant}({term.depth})" for term in claim.contrast)


def judge(claim: Claim, runs: pd.DataFrame, depths: dict[str, int]) -> dict:
    """One claim against the runs; its p-value is not adjusted yet."""
    differences = effects(claim, runs, depths)
    mean, low, high, n = mean_interval(differences)
    return {
        "id": claim.id,
        "section": claim.section,
        "statement": claim.statement,
        "theory": claim.theory,
        "prediction": claim.prediction,
        "metric": claim.metric,
        "contrast": formula(claim),
        "effect": mean,
        "ci_low": low,
        "ci_high": high,
        "unit": "percentage points",
        "n": n,
        "p_value": sign_flip_p_value(differences),
        "smallest_effect": claim.smallest_effect,
        "verdict": verdict(claim.prediction, low, high, claim.smallest_effect),
    }


def adjust(judged: list[dict]) -> list[dict]:
    """Add Holm's adjusted p-values, within each section."""
    for section in {claim["section"] for claim in judged}:
        family = [claim for claim in judged if claim["section"] == section]
        adjusted = multipletests([claim["p_value"] for claim in family], method="holm")[1]
        for claim, p_value in zip(family, adjusted, strict=True):
            claim["p_adjusted"] = float(p_value)
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    depths = json.loads((arguments.results / "config.json").read_text())["compare_depths"]
    runs = pd.read_csv(arguments.results / "tables/runs.csv")
    try:
        claims = read_claims(arguments.claims)
        judged = adjust([judge(claim, runs, depths) for claim in claims])
    except ValueError as error:
        sys.exit(f"error: {error}")
    with replacing(arguments.results / "claims.json") as path:
        path.write_text(json.dumps({"claims": judged}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
