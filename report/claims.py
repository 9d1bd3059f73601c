"""Judge each claim by the runs and what was measured in them: effect, interval, p-value, verdict.

    python -m report.claims --claims report/claims.yaml --results results/<study>

The verdict compares the 95 % interval with the smallest effect of interest (see claims.yaml), so
data can turn it either way. A claim whose networks the study has not run, or not measured, is not
tested, and says why. The exact sign-flip p-value against no effect at all, adjusted by Holm within
a section, is reported beside the verdict; with n seeds it cannot fall below 2 / 2^n.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from statsmodels.stats.multitest import multipletests

from analysis.looks import LOOKS, QUANTITIES
from analysis.missing import read_missing
from analysis.summary import mean_interval, sign_flip_p_value
from models.files import replacing
from models.records import build, nearest
from models.strict_yaml import read_yaml
from models.variant import MOMENT

POINTS = "percentage points"  # of errors, which are fractions in the tables
ERRORS = ("train_error", "test_error", "generalisation_gap")
NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Term:
    variant: str
    depth: Literal["shallow", "deep"]
    weight: float
    checkpoint: str = "end"


@dataclass(frozen=True)
class Claim:
    id: str
    section: str
    statement: str
    theory: str
    metric: str  # one of ERRORS, or a quantity
    contrast: list[Term]
    prediction: Literal["above", "below"]
    smallest_effect: float
    reason: str  # for that size
    unit: str = POINTS
    explanation: str = ""


@dataclass(frozen=True)
class Claims:
    """The file; analysis/horse_race.py reads the predictions."""

    sizes: dict[str, str]
    claims: list[dict]
    predictions: list[dict]


class NotTestedError(Exception):
    """The study lacks what a claim compares; the message says what."""


def read_claims(path: Path) -> list[Claim]:
    """The claims in a YAML file.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type, an id is given twice, or a
            variant, a metric or a moment is not known.
    """
    content = read_yaml(path)
    where, claims = str(path), []
    try:
        for item in build(Claims, content).claims:
            where = f"{path}: claim {item.get('id')!r}"
            claims.append(build(Claim, item))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    ids = [claim.id for claim in claims]
    for claim in claims:
        if not re.fullmatch("[a-z][a-z0-9_]*", claim.id):  # it becomes an anchor of the page
            raise ValueError(f"{path}: claim {claim.id!r}: an id has letters, digits and _ only")
        if ids.count(claim.id) > 1:
            raise ValueError(f"{path}: claim '{claim.id}' is given twice")
        if not claim.contrast:
            raise ValueError(f"{path}: claim '{claim.id}': contrast: is empty")
        moments = [term.checkpoint for term in claim.contrast]
        names = {"metric": ([claim.metric], [*ERRORS, *QUANTITIES]),
                 "variant": ([term.variant for term in claim.contrast], LOOKS),
                 "checkpoint": ([moment for moment in moments if not re.fullmatch(MOMENT, moment)],
                                ["init", "end"])}  # fmt: skip
        for key, (given, known) in names.items():
            for name in given:
                if name not in known:
                    raise ValueError(
                        f"{path}: claim '{claim.id}': {key} {name!r} is not known"
                        f"{nearest(name, known)}"
                    )
    return claims


def why(missing: pd.DataFrame | None, variant: str, depth: int, kind: str) -> str:
    """What tables/missing.csv says of a network: the end of a sentence."""
    if missing is None:
        return ""
    here = missing[(missing["variant"] == variant)
                   & (missing["depth"].isna() | (missing["depth"] == depth))]  # fmt: skip
    reasons = [*here[here["kind"] == kind]["reason"], *here["reason"]]
    return f" ({reasons[0]})" if reasons else ""


def effects(
    claim: Claim,
    runs: pd.DataFrame,
    quantities: pd.DataFrame,
    depths: dict[str, int],
    missing: pd.DataFrame | None = None,
) -> pd.Series:
    """The contrast in the claim's unit, one value a seed.

    Raises:
        NotTestedError: the study lacks a network of the claim or its measurement, or fewer than two
            seeds have all of them.
    """
    total = 0.0
    for term in claim.contrast:
        depth = depths[term.depth]
        if claim.metric in ERRORS:
            column, table, kind, what = claim.metric, runs, "run", "run"
        else:
            column, kind = "value", "measurement"
            what = f"measurement of {claim.metric} at {term.checkpoint}"
            table = quantities[(quantities["quantity"] == claim.metric)
                               & (quantities["checkpoint"] == term.checkpoint)]  # fmt: skip
        cell = table[(table["variant"] == term.variant) & (table["depth"] == depth)]
        if cell.empty:
            raise NotTestedError(
                f"the study has no {what} of {term.variant} at depth {depth}"
                + why(missing, term.variant, depth, kind)
            )
        total = total + term.weight * cell.set_index("seed")[column]
    paired = total.dropna().sort_index()
    if len(paired) < 2:
        raise NotTestedError(
            f"{len(paired)} of the seeds have all that is compared; two are needed"
        )
    return paired * (100 if claim.unit == POINTS else 1)


def verdict(prediction: str, low: float, high: float, smallest_effect: float) -> str:
    """On which side of the smallest effect of interest the whole interval lies."""
    if low > smallest_effect:
        return "supported" if prediction == "above" else "contradicted"
    if high < smallest_effect:
        return "supported" if prediction == "below" else "contradicted"
    return "inconclusive"


def formula(claim: Claim) -> str:
    """The contrast in words, such as "+1·plain_bn(deep) -1·plain_bn(shallow)"."""
    moments = {term: "" if claim.metric in ERRORS else f", {term.checkpoint}"
               for term in claim.contrast}  # fmt: skip
    return " ".join(
        f"{term.weight:+g}·{term.variant}({term.depth}{moments[term]})" for term in claim.contrast
    )


def judge(
    claim: Claim,
    runs: pd.DataFrame,
    quantities: pd.DataFrame,
    depths: dict[str, int],
    missing: pd.DataFrame | None = None,
) -> dict:
    """One claim against the tables; its p-value is not adjusted yet."""
    said = {
        "id": claim.id,
        "section": claim.section,
        "explanation": claim.explanation,
        "statement": claim.statement,
        "theory": claim.theory,
        "prediction": claim.prediction,
        "metric": claim.metric,
        "contrast": formula(claim),
        "unit": claim.unit,
        "smallest_effect": claim.smallest_effect,
        "reason": claim.reason,
    }
    try:
        differences = effects(claim, runs, quantities, depths, missing)
    except NotTestedError as reason:
        nothing = dict.fromkeys(("effect", "ci_low", "ci_high", "p_value"))
        return {**said, **nothing, "n": 0, "verdict": NOT_TESTED, "not_tested": str(reason)}
    mean, low, high, n = mean_interval(differences)
    return {
        **said,
        "effect": mean,
        "ci_low": low,
        "ci_high": high,
        "n": n,
        "p_value": sign_flip_p_value(differences),
        "verdict": verdict(claim.prediction, low, high, claim.smallest_effect),
        "not_tested": "",
    }


def adjust(judged: list[dict]) -> list[dict]:
    """Add Holm's adjusted p-values, within each section, over what was tested."""
    for claim in judged:
        claim["p_adjusted"] = None
    tested = [claim for claim in judged if claim["verdict"] != NOT_TESTED]
    for section in {claim["section"] for claim in tested}:
        family = [claim for claim in tested if claim["section"] == section]
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
    runs["generalisation_gap"] = runs["test_error"] - runs["train_error"]
    quantities = pd.read_csv(arguments.results / "tables/quantities.csv")
    missing = read_missing(arguments.results / "tables/missing.csv")
    try:
        claims = read_claims(arguments.claims)
    except ValueError as error:
        sys.exit(f"error: {error}")
    judged = adjust([judge(claim, runs, quantities, depths, missing) for claim in claims])
    with replacing(arguments.results / "claims.json") as path:
        path.write_text(json.dumps({"claims": judged}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
