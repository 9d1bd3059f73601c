"""Averages, intervals, tests and verdicts, against SciPy and against hand-made data."""

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats

from analysis.errata import batch_norm, layer_gradient, sigmoid
from analysis.figures import gradient_flow, identity_distance
from analysis.summary import mean_interval, sign_flip_p_value, summarise
from report.claims import ERRORS, POINTS, Claim, adjust, effects, judge, read_claims, verdict
from report.values import count, fixed, listed

X = [0.31, 0.27, 0.42, 0.35, 0.29]
DEPTHS = {"shallow": 20, "deep": 56}


def test_interval_is_students() -> None:
    mean, low, high, n = mean_interval(X)
    expected = stats.ttest_1samp(X, 0).confidence_interval(0.95)
    assert (mean, low, high, n) == pytest.approx((np.mean(X), *expected, 5))


def test_interval_of_equal_values_is_a_point_and_of_one_is_unknown() -> None:
    assert mean_interval([0.0, 0.0, 0.0]) == (0, 0, 0, 3)
    assert mean_interval([1.0]) == pytest.approx((1, math.nan, math.nan, 1), nan_ok=True)
    for bad in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="a mean needs finite values"):
            mean_interval(bad)


def test_summarise_groups() -> None:
    table = pd.DataFrame({"v": list("aabb"), "x": [1.0, 3.0, 5.0, 5.0]})
    rows = summarise(table, ["v"], "x").set_index("v")
    assert rows.loc["a", "mean"] == 2
    assert rows.loc["b", ["low", "high"]].tolist() == [5, 5]
    assert rows["n"].tolist() == [2, 2]


def test_sign_flip_p_value_counts_all_sign_patterns() -> None:
    x = np.array([0.5, 1.2, -0.3, 0.9])
    means = [np.mean(x * signs) for signs in itertools.product((1, -1), repeat=4)]
    upper = np.mean(np.array(means) >= x.mean() - 1e-12)
    assert sign_flip_p_value(x) == pytest.approx(2 * upper)
    assert sign_flip_p_value([1, 2, 3, 4, 5]) == pytest.approx(2 / 2**5)


@pytest.mark.parametrize(
    ("prediction", "low", "high", "expected"),
    [
        ("above", 1.5, 3, "supported"), ("above", -3, 0.5, "contradicted"),
        ("above", 0.5, 3, "inconclusive"), ("below", 1.5, 3, "contradicted"),
        ("below", -3, 0.5, "supported"), ("below", 1, 3, "inconclusive"),
    ],
)  # fmt: skip
def test_verdict_compares_the_interval_with_the_smallest_effect(
    prediction: str, low: float, high: float, expected: str
) -> None:
    assert verdict(prediction, low, high, 1) == expected


CLAIMS = {claim.id: claim for claim in read_claims(ROOT / "report/claims.yaml")}
SEEDS = range(5)


def tables(claim: Claim, effect: float, spread: float = 1e-3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and quantities on which the claim's contrast is `effect`, give or take, in its unit."""
    effect /= 100 if claim.unit == POINTS else 1
    first = claim.contrast[0]
    rows = []
    for term, seed in itertools.product(claim.contrast, SEEDS):
        noise = spread * (seed - 2)
        x = (effect + noise) / first.weight if term is first else 0.0
        rows.append({
            "variant": term.variant, "depth": DEPTHS[term.depth], "seed": seed,
            "checkpoint": term.checkpoint, "quantity": claim.metric, "value": x,
            "train_error": x, "test_error": x, "generalisation_gap": x,
        })  # fmt: skip
    table = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return (table, table.iloc[:0]) if claim.metric in ERRORS else (table.iloc[:0], table)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_data_turn_every_verdict_every_way(claim: Claim) -> None:
    sign = 1 if claim.prediction == "above" else -1
    size = claim.smallest_effect
    for distance, spread, expected in [
        (sign * 0.5, 1e-4, "supported"), (-sign * 0.5, 1e-4, "contradicted"),
        (sign * 0.5, 1.0, "inconclusive"),
    ]:  # fmt: skip
        judged = judge(claim, *tables(claim, size + distance, spread), DEPTHS)
        assert judged["effect"] == pytest.approx(size + distance)
        assert (judged["verdict"], judged["n"], judged["not_tested"]) == (expected, 5, "")


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_without_its_data_is_not_tested_and_says_why(claim: Claim) -> None:
    gone = claim.contrast[-1]
    there = tables(claim, 5.0)
    lacking = [
        t[(t["variant"] != gone.variant) | (t["depth"] != DEPTHS[gone.depth])] for t in there
    ]
    judged = judge(claim, *lacking, DEPTHS)
    assert (judged["verdict"], judged["effect"], judged["n"]) == ("not tested", None, 0)
    assert f"of {gone.variant} at depth {DEPTHS[gone.depth]}" in judged["not_tested"]
    one_seed = [t[t["seed"] == 3] for t in there]
    assert "two are needed" in judge(claim, *one_seed, DEPTHS)["not_tested"]


def test_effects_are_paired_by_seed_in_percentage_points() -> None:
    claim = CLAIMS["slow"]
    error = {("plain_bn_budget4", 56): 0.3, ("plain_bn", 56): 0.8, ("plain_bn", 20): 0.2}
    rows = [
        {"variant": variant, "depth": depth, "seed": seed, "train_error": x + 0.1 * seed}
        for (variant, depth), x in error.items()
        for seed in SEEDS
        if (variant, seed) != ("plain_bn_budget4", 4)
    ]
    found = effects(claim, pd.DataFrame(rows).sample(frac=1, random_state=0), None, DEPTHS)
    assert found.index.tolist() == [0, 1, 2, 3]  # seed 4 lacks its partner
    np.testing.assert_allclose(found, -20)  # 30 - 80 / 2 - 20 / 2, whatever the seed adds


def test_holm_adjusts_within_a_section_over_what_was_tested() -> None:
    claims = [
        {"section": s, "p_value": p, "verdict": "not tested" if p is None else "supported"}
        for s, p in [("a", 0.01), ("a", None), ("a", 0.04), ("b", 0.04)]
    ]
    assert [claim["p_adjusted"] for claim in adjust(claims)] == [0.02, None, 0.04, 0.04]


def test_numbers_as_printed() -> None:
    assert fixed(-1.26, 1) == "\u22121.3"
    assert fixed(-0.04, 1) == "0.0"
    assert count(12345) == "12\u202f345"
    assert listed([8, 20, 56]) == "8, 20 and 56"
    assert listed([0.1]) == "0.1"


def test_contract_of_the_tables(quick_study: Path) -> None:
    table = pd.read_csv(quick_study / "tables/runs.csv")
    assert list(table) == [
        "dataset",
        "variant",
        "depth",
        "seed",
        "lr",
        "width",
        "epochs",
        "steps",
        "batch_size",
        "parameters",
        "status",
        "train_loss",
        "train_error",
        "test_loss",
        "test_error",
        "train_seconds",
    ]
    assert len(table) == 8 * 2 * 2
    assert set(table["status"]) <= {"finished", "diverged"}
    assert table[["train_error", "test_error"]].stack().between(0, 1).all()
    pairs = table.pivot_table(index=["depth", "seed"], columns="variant", values="parameters")
    assert (pairs["plain_bn"] == pairs["residual_bn"]).all()
    assert (pairs["plain"] == pairs["residual"]).all()

    tuning = pd.read_csv(quick_study / "tables/tuning.csv")
    assert list(tuning) == (
        ["dataset", "variant", "depth", "lr", "seed", "train_loss", "train_error", "status"]
    )
    assert len(tuning) == 8 * 2 * 2
    assert set(tuning["seed"]) == {100}
    best = tuning.loc[tuning.groupby(["variant", "depth"])["train_loss"].idxmin()]
    chosen = table.groupby(["variant", "depth"])["lr"].unique()
    for row in best.itertuples():
        assert chosen[row.variant, row.depth].tolist() == [row.lr]

    history = pd.read_csv(quick_study / "tables/history.csv")
    assert len(history) == 3 * len(table)  # 80 steps, a row every 28 and at the end


def test_contract_of_a_run(quick_study: Path) -> None:
    for folder in quick_study.glob("runs/*/depth*/seed*"):
        names = {path.name for path in folder.iterdir()}
        assert names == {"run.json", "history.csv", "metrics.json", "checkpoint.pt"}
    assert len(list(quick_study.glob("runs/*/depth*/seed*"))) == 8 * 2 * 2 + 1  # a parent
    names = "error_by_depth training_curves train_against_test interaction interventions"
    for name in (*names.split(), "lr_sensitivity"):
        assert (quick_study / f"figures/{name}.svg").read_text().startswith("<?xml")


def test_contract_of_claims_values_and_provenance(quick_study: Path) -> None:
    claims = json.loads((quick_study / "claims.json").read_text())["claims"]
    fields = [
        "id",
        "section",
        "statement",
        "prediction",
        "metric",
        "contrast",
        "effect",
        "ci_low",
        "ci_high",
        "unit",
        "n",
        "p_value",
        "p_adjusted",
        "smallest_effect",
        "verdict",
    ]
    table = pd.read_csv(quick_study / "tables/runs.csv")
    errors = 100 * table.pivot_table(
        index=["variant", "depth"], columns="seed", values="train_error"
    )
    for claim in claims:
        assert set(fields) <= claim.keys()
        assert claim["n"] == (0 if claim["verdict"] == "not tested" else 2)
    reasons = {claim["id"]: claim["not_tested"] for claim in claims}
    assert reasons["plain_bn_degrades"] == ""
    assert reasons["slow"] == "the study has no run of plain_bn_budget4 at depth 14"
    effect = (errors.loc["plain_bn", 14] - errors.loc["plain_bn", 8]).mean()
    assert claims[0]["effect"] == pytest.approx(effect)

    values = json.loads((quick_study / "values.json").read_text())["values"]
    by_key = {value["key"]: value for value in values}
    assert len(by_key) == len(values)
    mean = errors.loc["residual_bn", 14].mean()
    value = by_key["train_error.residual_bn.14.mean"]
    assert value["value"] == pytest.approx(mean)
    assert value["text"] == f"{mean:.1f}"
    assert value["source"] == {
        "file": "tables/runs.csv", "filter": {"variant": "residual_bn", "depth": 14},
        "column": "train_error", "statistic": "mean over seeds",
    }  # fmt: skip

    change = errors.loc["residual_bn_orthogonal", 14] - errors.loc["residual_bn", 14]
    ends = [
        by_key[f"change.residual_bn_orthogonal.{end}"]["value"] for end in ("mean", "low", "high")
    ]
    assert ends == pytest.approx(mean_interval(change)[:3])
    assert by_key["host.residual_bn_orthogonal"]["text"] == "residual + BN"
    sides = {
        kind: [by_key[f"interventions.{kind}.{side}"]["value"] for side in ("n", "lower", "higher")]
        for kind in ("plain", "residual")
    }
    assert (sides["plain"][0], sides["residual"][0]) == (2, 2)
    for total, lower, higher in sides.values():
        assert lower + higher <= total
    for name in ("lower", "higher"):
        source = by_key[f"interventions.residual.{name}"]["source"]["filter"]["variant"]
        end = {"lower": ends[2] < 0, "higher": ends[1] > 0}[name]
        assert ("residual_bn_orthogonal" in source) == end

    record = json.loads((quick_study / "provenance.json").read_text())
    assert record["rules"]["train"]["jobs"] == 33
    assert record["rules"]["train"]["peak_memory_mb"] > 50
    assert record["packages"]["torch"].startswith("2.13.0")
    assert "models/train.py" in record["code"]
    assert record["attempts"] == 1
    assert record["resumed"] is False


def test_a_run_is_repeated_from_its_own_json_alone(quick_project: Path, tmp_path: Path) -> None:
    folder = quick_project / "results/quick/runs/residual_bn/depth8/seed1"
    subprocess.run(
        [sys.executable, "-m", "models.train", "--spec", folder / "run.json", "--out", tmp_path],
        cwd=quick_project, check=True, capture_output=True,
    )  # fmt: skip
    for name in ("run.json", "history.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_errata_are_what_calculus_says() -> None:
    found = dict([*sigmoid(), *batch_norm(), *layer_gradient()])
    assert found["sigmoid.at_zero"] == 0.5
    assert found["sigmoid.slope"] == 0.25
    assert found["sigmoid.from_identity"] == pytest.approx(1 + 1 / (1 + math.e))  # at -1
    assert found["sigmoid.from_tangent"] == pytest.approx(0.75 - 1 / (1 + math.exp(-1)))  # at 1
    assert found["tanh.shortfall"] == pytest.approx(0.2384, abs=1e-4)
    assert found["bn.skewness.before"] == pytest.approx(2, abs=0.1)  # of an exponential
    assert found["bn.skewness.after"] == pytest.approx(found["bn.skewness.before"])
    assert found["bn.mean.after"] == pytest.approx(0, abs=1e-9)
    assert found["bn.variance.after"] == pytest.approx(1, abs=1e-4)
    assert found["gradient.correct"] < 1e-12
    assert found["gradient.diary"] > 0.1


@pytest.mark.parametrize(
    ("draw", "x", "columns", "moments"),
    [
        (gradient_flow.draw, "layer", ["relative_gradient"], ["init", "step10", "end"]),
        (identity_distance.draw, "block", ["identity_distance", "residual_ratio"], ["init", "end"]),
    ],
)
def test_every_panel_of_a_figure_takes_the_same_mean(
    draw: Callable, x: str, columns: list[str], moments: list[str]
) -> None:
    """seaborn averages logarithms on an axis that is logarithmic already, as a shared one is."""
    rows = [
        {"variant": "plain", "depth": 56, "seed": seed, "checkpoint": moment, x: place}
        | dict.fromkeys(columns, value)
        for seed, value in enumerate([1.0, 100.0])
        for moment in moments
        for place in (1, 2)
    ]
    figure = draw(pd.DataFrame(rows))
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == len(columns) * len(moments)
    for axes in panels:
        assert axes.get_yscale() == "log"
        assert axes.lines[0].get_ydata().tolist() == pytest.approx([50.5, 50.5])
    plt.close(figure)
