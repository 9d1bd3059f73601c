"""Judge each claim by the runs and what was measured in them: effect, interval, p-value, verdict.

    python -m report.claims --claims report/claims.yaml --results results/<study>

The verdict compares the 95 % interval with the smallest effect of interest (see claims.yaml), so
data can turn it either way. The p-value is that of the exact sign-flip test against no effect at
all, adjusted by Holm's method within a section.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from analysis.quantity_labels import quantity_labels
from analysis.summary import mean_interval, sign_flip_p_value
from models.files import nearest, read_yaml, replacing
from models.typed import Typed, typed
from models.variant import Checkpoint, Name, read_variants
from report.results import Results

POINTS = "percentage points"  # of errors, which are fractions in the tables
ERRORS = ("train_error", "test_error", "generalisation_gap")
NOT_TESTED = "not tested"


class Term(Typed):
    """One network of a contrast."""

    variant: str
    depth: Literal["shallow", "deep"] = Field(description="one of the study's compare_depths")
    weight: float = Field(description="factor of the metric in the sum")
    checkpoint: Checkpoint = Field("end", description="when the quantity is measured")


class Sentences(Typed):
    """What the text says for each verdict: whole sentences, which may hold queries."""

    supported: str = Field(min_length=1)
    contradicted: str = Field(min_length=1)
    inconclusive: str = Field(min_length=1)


class Claim(Typed):
    """A contrast of networks, and what a theory predicts of it. See the head of claims.yaml."""

    id: Name = Field(description="the claim's name, and its anchor on the page")
    section: str = Field(description="the claims of a section share the adjustment of p-values")
    explanation: str = ""
    statement: str
    theory: str
    prediction: Literal["above", "below"] = Field(description="side of smallest_effect")
    metric: str = Field(description="train_error, test_error, generalisation_gap or a quantity")
    contrast: list[Term] = Field(min_length=1)
    unit: str = POINTS
    smallest_effect: float = Field(description="the least effect of interest, in the unit")
    reason: str = Field(description="why that effect is the least of interest")
    sentences: Sentences


class NotTestedError(Exception):
    """The study lacks what a claim compares; the message says what."""


def read_claims(path: Path) -> list[Claim]:
    """Return the claims of a YAML file; the ValueError of a mistake has file, claim and key."""
    items = read_yaml(path).get("claims")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{path}: claims: expected a list of claims")
    claims: dict[str, Claim] = {}
    variants, metrics = read_variants(), [*ERRORS, *quantity_labels()]
    for item in items:
        where = f"{path}: claim {item.get('id')!r}"
        claim = typed(Claim, item, where)
        if claim.id in claims:
            raise ValueError(f"{where} is given twice")
        claims[claim.id] = claim
        networks = [("contrast", term.variant, variants) for term in claim.contrast]
        for key, name, known in [("metric", claim.metric, metrics), *networks]:
            if name not in known:
                raise ValueError(f"{where}: {key}: {name!r} is not known{nearest(name, known)}")
    return list(claims.values())


def measured(claim: Claim, term: Term, results: Results) -> pd.Series:
    """Return the claim's metric of one network of the contrast, by seed."""
    depth = results.depths[term.depth]
    where = {"variant": term.variant, "depth": depth}
    if claim.metric in ERRORS:
        kind = what = "run"
        rows = results.select("runs", where).set_index("seed")
        rows["generalisation_gap"] = rows["test_error"] - rows["train_error"]
        cells = rows[claim.metric]
    else:
        kind, what = "measurement", f"measurement of {claim.metric} at {term.checkpoint}"
        where |= {"quantity": claim.metric, "checkpoint": term.checkpoint}
        cells = results.select("quantities", where).set_index("seed")["value"]
    if cells.empty:
        source = results.reason(kind, term.variant, depth)
        reason = f" ({source.statistic})" if source else ""
        raise NotTestedError(f"the study has no {what} of {term.variant} at depth {depth}{reason}")
    return cells


def effects(claim: Claim, results: Results) -> pd.Series:
    """Return the contrast in the claim's unit, by seed, where a seed has all its networks."""
    total = sum(term.weight * measured(claim, term, results) for term in claim.contrast)
    paired = total.dropna().sort_index()
    if (n := len(paired)) < 2:
        raise NotTestedError(f"{n} of the seeds have all that is compared; two are needed")
    return paired * (100 if claim.unit == POINTS else 1)


def verdict(prediction: str, low: float, high: float, smallest_effect: float) -> str:
    """Return on which side of the smallest effect of interest the whole interval lies."""
    if low <= smallest_effect <= high:
        return "inconclusive"
    side = "above" if low > smallest_effect else "below"
    return "supported" if side == prediction else "contradicted"


def judge(claim: Claim, results: Results) -> dict:
    """Return a claim with its effect and verdict; its p-value is not adjusted yet."""
    term = "{0.weight:+g}·{0.variant}({0.depth}"
    term += ")" if claim.metric in ERRORS else ", {0.checkpoint})"
    contrast = " ".join(map(term.format, claim.contrast))
    judged = claim.model_dump(exclude={"sentences"}) | {"contrast": contrast}
    judged |= dict.fromkeys(("effect", "ci_low", "ci_high", "p_value", "p_adjusted"))
    try:
        differences = effects(claim, results)
    except NotTestedError as reason:
        return {**judged, "n": 0, "verdict": NOT_TESTED, "not_tested": str(reason)}
    mean, low, high, n = mean_interval(differences)
    decided = verdict(claim.prediction, low, high, claim.smallest_effect)
    judged |= {"effect": mean, "ci_low": low, "ci_high": high, "n": n, "verdict": decided}
    return {**judged, "p_value": sign_flip_p_value(differences), "not_tested": ""}


def adjust(judged: list[dict]) -> list[dict]:
    """Add Holm's adjusted p-values, within each section, over what was tested."""
    from statsmodels.stats.multitest import multipletests  # the text does without this slow import

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
    try:
        results = Results(arguments.results)
        judged = adjust([judge(claim, results) for claim in read_claims(arguments.claims)])
    except ValueError as error:
        sys.exit(f"error: {error}")
    with replacing(arguments.results / "claims.json") as path:
        path.write_text(json.dumps({"claims": judged}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
