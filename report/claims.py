"""Judge each claim by the runs and what was measured in them: effect, interval, p-value, verdict.

    python -m report.claims --claims report/claims.yaml --results results/<study>

The head of claims.yaml says how. The p-value is that of the exact sign-flip test against no effect
at all, adjusted by Holm's method within a section at each budget.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from analysis.quantity_labels import quantity_labels
from analysis.summary import Interval, mean_interval, sign_flip_p_value
from models.files import nearest, read_yaml, replacing
from models.typed import Typed, typed
from models.variant import Checkpoint, Name, read_variants
from report.printing import UnansweredError, number
from report.results import Results

POINTS = "percentage points"  # of errors, which are fractions in the tables
ERRORS = ("train_error", "test_error", "generalisation_gap")
NOT_TESTED = "not tested"
NO_WIDTH = "its interval has no width"
LEARNED = 0.05  # a network whose error is no further below that of a guess has learned nothing
OPEN = "inconclusive"
ASKED = ("id", "metric", "unit", "contrast", "prediction", "smallest_effect")  # keys that decide
LEAST_GAP = 1  # percentage points; half of a gap is asked for where the gap is surely larger


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
    primary: bool = Field(False, description="whether the answer of the paper rests on it")
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


def measured(claim: Claim, term: Term, results: Results, budget: int) -> pd.Series:
    """Return the claim's metric of one network of the contrast, by seed."""
    variant, depth = term.variant, results.depths[term.depth]
    if claim.metric == "generalisation_gap":
        test = results.of_runs("test_error", variant, depth, budget)
        return test - results.of_runs("train_error", variant, depth, budget)
    if claim.metric in ERRORS:
        return results.of_runs(claim.metric, variant, depth, budget)
    # A network is the same at every budget before its first step, unless it grows.
    initial = term.checkpoint == "init" and results.variants[variant].start is None
    if budget != results.budgets[-1] and not initial:
        raise UnansweredError("only the networks of the longest budget are measured")
    return results.of_quantity(claim.metric, variant, depth, term.checkpoint)


def effects(claim: Claim, weights: list[float], results: Results, budget: int) -> pd.Series:
    """Return a weighted sum over the claim's networks, in its unit, by seed.

    A seed counts if it has every network whose weight is not zero.
    """
    total = sum(
        weight * measured(claim, term, results, budget)
        for weight, term in zip(weights, claim.contrast, strict=True)
        if weight
    )
    paired = total.dropna().sort_index()
    if (n := len(paired)) < 2:
        raise UnansweredError(f"{n} of the seeds have all that is compared; two are needed")
    return paired * (100 if claim.unit == POINTS else 1)


def check_errors(claim: Claim, results: Results, budget: int) -> None:
    """Refuse a question about errors that has no sense at this budget."""
    guess = 1 - 1 / results.manifest["classes"]
    terms = [term for term in claim.contrast if term.weight]
    networks = [(term.variant, results.depths[term.depth]) for term in terms]
    errors = [results.of_runs("train_error", *network, budget).mean() for network in networks]
    if min(errors) > guess - LEARNED:
        raise UnansweredError("nothing has learned yet")
    if [term.weight for term in claim.contrast] != [1, -0.5, -0.5]:
        return
    gap, change = (
        mean_interval(effects(claim, weights, results, budget))
        for weights in ([0, 1, -1], [1, -1, 0])
    )
    if gap.low <= LEAST_GAP:
        raise UnansweredError(
            f"the gap, {in_words(gap)}, is not surely above {LEAST_GAP}; the difference from "
            f"{claim.contrast[1].variant} is {in_words(change)} {POINTS}"
        )


def in_words(interval: Interval) -> str:
    mean, low, high = (number(x, "z.1f") for x in interval[:3])
    return f"{mean} ({low} to {high})"


def judge(claim: Claim, results: Results, budget: int) -> dict:
    """Return the effect and the verdict at a budget; the p-value is not adjusted yet."""
    judged = {"budget": budget, "n": 0, "verdict": NOT_TESTED, "not_tested": "", "flags": []}
    judged |= dict.fromkeys(("effect", "ci_low", "ci_high", "p_value", "p_adjusted"))
    weights = [term.weight for term in claim.contrast]
    try:
        differences = effects(claim, weights, results, budget)
        if claim.metric in ERRORS:
            check_errors(claim, results, budget)
    except UnansweredError as reason:
        return {**judged, "not_tested": str(reason)}
    mean, low, high, n = mean_interval(differences)
    judged |= {"effect": mean, "ci_low": low, "ci_high": high, "n": n, "verdict": OPEN}
    if not low <= claim.smallest_effect <= high:
        side = "above" if low > claim.smallest_effect else "below"
        judged["verdict"] = "supported" if side == claim.prediction else "contradicted"
    judged["flags"] = [NO_WIDTH] if math.isclose(low, high, abs_tol=1e-9) else []
    return {**judged, "p_value": sign_flip_p_value(differences)}


def pattern(verdicts: list[str]) -> str:
    """Return in a word how the verdicts, from the shortest budget to the longest, go together."""
    settled = [each not in (OPEN, NOT_TESTED) for each in verdicts]
    if {"supported", "contradicted"} <= set(verdicts):
        return "reversed"
    if len(verdicts) < 2 or not (settled[0] or settled[-1]):
        return "open"
    return "robust" if settled[0] and settled[-1] else "late only" if settled[-1] else "early only"


def registered_claims(claims: Path, registered: Path) -> set[str]:
    """Return the claims that ask the same in the copy from before a study's first training."""
    now, then = (
        [{key: each.get(key) for key in ASKED} for each in read_yaml(path)["claims"]]
        for path in (claims, registered)
    )
    return {each["id"] for each in now if each in then}


def judge_all(claims: list[Claim], results: Results, registered: set[str]) -> list[dict]:
    """Return each claim with what is judged at every budget, and again at the longest."""
    judged = []
    for claim in claims:
        term = "{0.weight:+g}·{0.variant}({0.depth}"
        term += ")" if claim.metric in ERRORS else ", {0.checkpoint})"
        content = claim.model_dump(exclude={"sentences"})
        content["contrast"] = " ".join(map(term.format, claim.contrast))
        content["registered"] = claim.id in registered
        content["judged"] = [judge(claim, results, budget) for budget in results.budgets]
        verdicts = [each["verdict"] for each in content["judged"]]
        # Quantities are measured at the longest budget alone, and have no pattern.
        content["pattern"] = pattern(verdicts) if claim.metric in ERRORS else ""
        judged.append(content)
    adjust(judged)
    return [{**claim, **claim["judged"][-1]} for claim in judged]


def adjust(claims: list[dict]) -> None:
    """Add Holm's adjusted p-values, within each section and budget, over what was tested."""
    from statsmodels.stats.multitest import multipletests  # the text does without this slow import

    families = defaultdict(list)
    for claim in claims:
        for each in claim["judged"]:
            if each["verdict"] != NOT_TESTED:
                families[claim["section"], each["budget"]].append(each)
    for family in families.values():
        adjusted = multipletests([each["p_value"] for each in family], method="holm")[1]
        for each, p_value in zip(family, adjusted, strict=True):
            each["p_adjusted"] = float(p_value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    claims, results = arguments.claims, arguments.results
    try:
        registered = registered_claims(claims, results / "registered_claims.yaml")
        judged = judge_all(read_claims(claims), Results(results), registered)
    except ValueError as error:
        sys.exit(f"error: {error}")
    with replacing(results / "claims.json") as path:
        path.write_text(json.dumps({"claims": judged}, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
