"""Claims: verdicts against hand-made data, and mistakes in claims.yaml."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, in_process
from tiny import claim, write_study

import report.claims
from report.claims import (
    ERRORS,
    NO_WIDTH,
    POINTS,
    Claim,
    adjust,
    effects,
    judge,
    pattern,
    read_claims,
)
from report.results import Results

CLAIMS = {claim.id: claim for claim in read_claims(ROOT / "report/claims.yaml")}
SEEDS = range(5)
DEPTHS = {"shallow": 20, "deep": 56}
MISSING = pd.DataFrame(columns=["kind", "variant", "depth", "runs", "reason"])
STUDY = {"compare_depths": DEPTHS, "budgets": [16, 2], "dataset": "signals"}
HALVES = [1, -0.5, -0.5]  # the weights of a claim about half of a gap


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of a study, whose tables a test fills."""
    folder = tmp_path_factory.mktemp("results")
    for name, content in {"claims/config": STUDY, "data/signals": {"classes": 10}}.items():
        (folder / name).parent.mkdir()
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Results(folder / "claims")


def fill(
    results: Results, claim: Claim, effect: float, spread: float = 1e-3, gap: float = 20.0
) -> pd.DataFrame:
    """Make runs or quantities on which the claim's contrast is about `effect`, in its unit.

    A claim about half of a gap gets a `gap` in percentage points. The longest budget is 16.
    """
    effect /= 100 if claim.unit == POINTS else 1
    first = claim.contrast[0]
    rows = []
    for term, seed in itertools.product(claim.contrast, SEEDS):
        x = (effect + spread * (seed - 2)) / first.weight if term is first else 0.0
        if [term.weight for term in claim.contrast] == HALVES and term is not first:
            x = gap / 200 if term is claim.contrast[1] else -gap / 200
        rows.append({
            "variant": term.variant, "depth": DEPTHS[term.depth], "seed": seed, "budget": 16,
            "checkpoint": term.checkpoint, "quantity": claim.metric, "value": x,
            "train_error": 0.4 + x * (claim.metric != "generalisation_gap"), "test_error": 0.4 + x,
        })  # fmt: skip
    table = pd.DataFrame(rows).sample(frac=1, random_state=0)
    name = "runs" if claim.metric in ERRORS else "quantities"
    results.tables = {name: table, "missing": MISSING}
    return table


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_data_turn_every_verdict_every_way(claim: Claim, results: Results) -> None:
    half = 0.5 if claim.prediction == "above" else -0.5
    for distance, spread, expected in [
        (half, 1e-4, "supported"), (-half, 1e-4, "contradicted"), (half, 1.0, "inconclusive"),
    ]:  # fmt: skip
        fill(results, claim, claim.smallest_effect + distance, spread)
        judged = judge(claim, results, 16)
        assert judged["effect"] == pytest.approx(claim.smallest_effect + distance)
        assert (judged["verdict"], judged["n"], judged["not_tested"]) == (expected, 5, "")


@pytest.mark.parametrize("claim", [CLAIMS["narrow"], CLAIMS["vanishing"]], ids=["runs", "quantity"])
def test_a_claim_without_data_is_not_tested_and_says_why(claim: Claim, results: Results) -> None:
    gone, depth = claim.contrast[-1].variant, DEPTHS[claim.contrast[-1].depth]
    table = fill(results, claim, 5.0)
    name = "runs" if claim.metric in ERRORS else "quantities"
    results.tables[name] = table[(table["variant"] != gone) | (table["depth"] != depth)]
    judged = judge(claim, results, 16)
    assert (judged["verdict"], judged["effect"], judged["n"]) == ("not tested", None, 0)
    assert judged["not_tested"].endswith(f"of {gone} at depth {depth}")

    mine, other = ("run", "measurement") if name == "runs" else ("measurement", "run")
    rows = [(other, gone, depth, 1, "not this row"), (mine, gone, None, None, "killed")]
    results.tables["missing"] = pd.DataFrame(rows, columns=MISSING.columns)
    assert judge(claim, results, 16)["not_tested"].endswith(f"at depth {depth} (killed)")

    results.tables[name] = table[table["seed"] == 3]
    assert "two are needed" in judge(claim, results, 16)["not_tested"]


def test_networks_at_chance_have_learned_nothing(results: Results) -> None:
    table = fill(results, CLAIMS["plain_bn_degrades"], 0.0)
    table["train_error"] = 0.851  # of ten classes, a guess has an error of 0.9
    judged = judge(CLAIMS["plain_bn_degrades"], results, 16)
    assert (judged["verdict"], judged["not_tested"]) == ("not tested", "nothing has learned yet")
    table.loc[table["depth"] == 20, "train_error"] = 0.849  # a single network is enough
    judged = judge(CLAIMS["plain_bn_degrades"], results, 16)
    assert (judged["verdict"], judged["flags"]) == ("contradicted", [NO_WIDTH])  # 0.2 for each seed
    assert judged["ci_low"] == pytest.approx(judged["ci_high"]) == pytest.approx(0.2)


@pytest.mark.parametrize(("gap", "verdict"), [(1.2, "supported"), (0.8, "not tested")])
def test_half_of_a_gap_is_asked_for_where_there_is_one(
    results: Results, gap: float, verdict: str
) -> None:
    fill(results, CLAIMS["narrow"], -5.0, spread=0.0, gap=gap)
    assert judge(CLAIMS["narrow"], results, 16)["verdict"] == verdict


def test_only_initial_networks_are_measured_at_every_budget(results: Results) -> None:
    grown = CLAIMS["vanishing"].contrast[0].model_copy(update={"variant": "plain_bn_constructed"})
    for about, same in [
        (CLAIMS["vanishing"], True), (CLAIMS["refinement"], False),
        (CLAIMS["vanishing"].model_copy(update={"contrast": [grown]}), False),  # from a trained one
    ]:  # fmt: skip
        fill(results, about, 5.0)
        short, longest = (judge(about, results, budget) for budget in (2, 16))
        assert longest["effect"] == pytest.approx(5)
        assert short == longest | {"budget": 2} if same else "longest budget" in short["not_tested"]


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        ("s s", "robust"), ("c i c", "robust"), ("i s", "late only"), ("n c", "late only"),
        ("s i", "early only"), ("s c", "reversed"), ("c s i", "reversed"), ("i n", "open"),
        ("s", "open"), ("i s i", "open"),
    ],
)  # fmt: skip
def test_a_pattern_says_how_verdicts_go_together(verdicts: str, word: str) -> None:
    words = {"s": "supported", "c": "contradicted", "i": "inconclusive", "n": "not tested"}
    assert pattern([words[letter] for letter in verdicts.split()]) == word


def test_effects_are_paired_by_seed_in_percentage_points(results: Results) -> None:
    networks = [("plain_bn_width4", 56, 0.3), ("plain_bn", 56, 0.8), ("plain_bn", 20, 0.2)]
    rows = [(*network, seed) for network in networks for seed in SEEDS]
    table = pd.DataFrame(rows, columns=["variant", "depth", "train_error", "seed"])
    table["train_error"] += 0.1 * table["seed"]
    partial = table.drop(index=4).sample(frac=1, random_state=0)
    results.tables["runs"] = partial.assign(test_error=0.0, budget=16)
    found = effects(CLAIMS["narrow"], HALVES, results, 16)
    assert found.index.tolist() == [0, 1, 2, 3]  # seed 4 lacks its partner
    np.testing.assert_allclose(found, -20)  # 30 - 80 / 2 - 20 / 2, whatever the seed adds


def test_holm_adjusts_within_a_section_and_budget_over_what_was_tested() -> None:
    entries = [
        {"section": section, "budget": budget, "p_value": p, "p_adjusted": None, "verdict": verdict}
        for section, budget, p, verdict in [
            ("a", 2, 0.01, "supported"), ("a", 2, None, "not tested"), ("a", 2, 0.04, "open"),
            ("a", 16, 0.04, "supported"), ("b", 2, 0.04, "inconclusive"),
        ]
    ]  # fmt: skip
    adjust([{"section": entry["section"], "judged": [entry]} for entry in entries])
    assert [entry["p_adjusted"] for entry in entries] == [0.02, None, 0.04, 0.04, 0.04]


def test_the_command_writes_the_claims_with_their_formulas(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (study / "claims.json").unlink()
    in_process(report.claims, "--claims", tmp_path / "claims.yaml", "--results", study)
    claims = json.loads((study / "claims.json").read_text())["claims"]
    slow = claims[1]
    verdicts = [[each["verdict"] for each in claim["judged"]] for claim in claims]
    assert verdicts == [
        ["not tested", "supported"], ["not tested", "inconclusive"], ["not tested"] * 2,
        ["contradicted", "supported"],
    ]  # fmt: skip
    assert [each["budget"] for each in slow["judged"]] == [2, 16]
    for each in claims:  # the fields of the longest budget are those of the claim
        assert each | each["judged"][-1] == each
        assert each["registered"] == (each["id"] == "deeper")  # the others were changed or added
    formula = "+1·plain_bn_twice(deep) -0.5·plain_bn(deep) -0.5·plain_bn(shallow)"
    assert slow["contrast"] == formula
    # 90 - 86, 90 - 88 and 90 - 90; then 50 - 90, 60 - 90 and 40 - 90
    assert slow["judged"][0]["not_tested"] == (
        "the gap, 2.0 (−3.0 to 7.0), is not surely above 1; "
        "the difference from plain_bn is −40.0 (−64.8 to −15.2) percentage points"
    )
    assert "sentences" not in slow


MISTAKES = [  # what is wrong in the claim "deeper", and a part of the one line that comes
    ({"metric": "train_eror"}, "deeper': metric: 'train_eror' is not known; did you mean train_er"),
    ({"id": "a b"}, "claim 'a b': id: 'a b'"),
    ({"id": "slow"}, "claim 'slow' is given twice"),
    ({"sentences": {"suported": "x"}}, "'sentences.suported' is not known; did you mean supported"),
    ({"contrast": [{"variant": "plain_bm", "depth": "deep", "weight": 1}]}, "contrast: 'plain_bm'"),
]


@pytest.mark.parametrize(("wrong", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_in_a_claim_is_one_line_with_its_place(
    wrong: dict, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(json.dumps({"claims": [claim("slow"), claim("deeper") | wrong]}))
    line = f"^{re.escape(str(path))}: .*{re.escape(message)}.*$"  # the dot excludes line breaks
    with pytest.raises(ValueError, match=line):
        read_claims(path)
