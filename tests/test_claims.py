"""Claims: verdicts against hand-made data, and mistakes in claims.yaml."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, command
from tiny import claim, write_study

from report.claims import ERRORS, POINTS, Claim, adjust, effects, judge, read_claims
from report.results import Results

CLAIMS = {claim.id: claim for claim in read_claims(ROOT / "report/claims.yaml")}
SEEDS = range(5)
DEPTHS = {"shallow": 20, "deep": 56}
MISSING = pd.DataFrame(columns=["kind", "variant", "depth", "seed", "reason"])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of a study, whose tables a test fills."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "config.json").write_text(json.dumps({"compare_depths": DEPTHS}))
    return Results(folder)


def fill(results: Results, claim: Claim, effect: float, spread: float = 1e-3) -> pd.DataFrame:
    """Make runs or quantities on which the claim's contrast is about `effect`, in its unit."""
    effect /= 100 if claim.unit == POINTS else 1
    first = claim.contrast[0]
    rows = []
    for term, seed in itertools.product(claim.contrast, SEEDS):
        x = (effect + spread * (seed - 2)) / first.weight if term is first else 0.0
        gap = claim.metric == "generalisation_gap"
        rows.append({
            "variant": term.variant, "depth": DEPTHS[term.depth], "seed": seed,
            "checkpoint": term.checkpoint, "quantity": claim.metric, "value": x,
            "train_error": 0.0 if gap else x, "test_error": x,
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
        judged = judge(claim, results)
        assert judged["effect"] == pytest.approx(claim.smallest_effect + distance)
        assert (judged["verdict"], judged["n"], judged["not_tested"]) == (expected, 5, "")


@pytest.mark.parametrize("claim", [CLAIMS["slow"], CLAIMS["vanishing"]], ids=["runs", "quantity"])
def test_a_claim_without_data_is_not_tested_and_says_why(claim: Claim, results: Results) -> None:
    gone, depth = claim.contrast[-1].variant, DEPTHS[claim.contrast[-1].depth]
    table = fill(results, claim, 5.0)
    name = "runs" if claim.metric in ERRORS else "quantities"
    results.tables[name] = table[(table["variant"] != gone) | (table["depth"] != depth)]
    judged = judge(claim, results)
    assert (judged["verdict"], judged["effect"], judged["n"]) == ("not tested", None, 0)
    assert judged["not_tested"].endswith(f"of {gone} at depth {depth}")

    mine, other = ("run", "measurement") if name == "runs" else ("measurement", "run")
    rows = [(other, gone, depth, 1, "not this row"), (mine, gone, None, None, "killed")]
    results.tables["missing"] = pd.DataFrame(rows, columns=MISSING.columns)
    assert judge(claim, results)["not_tested"].endswith(f"at depth {depth} (killed)")

    results.tables[name] = table[table["seed"] == 3]
    assert "two are needed" in judge(claim, results)["not_tested"]


def test_effects_are_paired_by_seed_in_percentage_points(results: Results) -> None:
    networks = [("plain_bn_budget4", 56, 0.3), ("plain_bn", 56, 0.8), ("plain_bn", 20, 0.2)]
    rows = [(*network, seed) for network in networks for seed in SEEDS]
    table = pd.DataFrame(rows, columns=["variant", "depth", "train_error", "seed"])
    table["train_error"] += 0.1 * table["seed"]
    partial = table.drop(index=4).sample(frac=1, random_state=0)
    results.tables["runs"] = partial.assign(test_error=0.0)
    found = effects(CLAIMS["slow"], results)
    assert found.index.tolist() == [0, 1, 2, 3]  # seed 4 lacks its partner
    np.testing.assert_allclose(found, -20)  # 30 - 80 / 2 - 20 / 2, whatever the seed adds


def test_holm_adjusts_within_a_section_over_what_was_tested() -> None:
    claims = [
        {"section": section, "p_value": p, "p_adjusted": None, "verdict": verdict}
        for section, p, verdict in [
            ("a", 0.01, "supported"), ("a", None, "not tested"), ("a", 0.04, "contradicted"),
            ("b", 0.04, "inconclusive"),
        ]
    ]  # fmt: skip
    assert [claim["p_adjusted"] for claim in adjust(claims)] == [0.02, None, 0.04, 0.04]


def test_the_command_writes_the_claims_with_their_formulas(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (study / "claims.json").unlink()
    done = command("report.claims", "--claims", tmp_path / "claims.yaml", "--results", study)
    assert (done.returncode, done.stderr) == (0, "")
    deeper, slow, narrow = json.loads((study / "claims.json").read_text())["claims"]
    assert (deeper["verdict"], slow["verdict"]) == ("supported", "inconclusive")
    formula = "+1·plain_bn_budget4(deep) -0.5·plain_bn(deep) -0.5·plain_bn(shallow)"
    assert slow["contrast"] == formula
    assert narrow["not_tested"] == "the study has no run of plain_bn_width4 at depth 20"
    assert "sentences" not in deeper


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
