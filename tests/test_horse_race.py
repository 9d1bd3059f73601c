"""Rank correlations of measured quantities with who degrades."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import kendalltau

from analysis.horse_race import (
    Prediction,
    alike,
    correlate,
    factors_of,
    granulated,
    outcomes,
    overall,
    race,
    read_predictions,
    signs,
)
from analysis.looks import QUANTITIES
from report.values import from_race

RNG = np.random.default_rng(7)


def test_overall_is_kendalls_tau_b() -> None:
    x, y = RNG.integers(6, size=(2, 30)).astype(float)  # with ties
    tau = overall(x, y, np.ones((1, 30)))[0]
    assert tau == pytest.approx(kendalltau(x, y).statistic)


def test_a_weight_is_a_network_so_many_times() -> None:
    x, y = RNG.normal(size=(2, 12))
    counts = RNG.integers(3, size=12)
    tau = overall(x, y, counts[None].astype(float))[0]
    repeated = kendalltau(np.repeat(x, counts), np.repeat(y, counts)).statistic
    assert tau == pytest.approx(repeated)


def test_groups_are_alike_in_all_but_one_factor() -> None:
    networks = [
        {"depth": 20}, {"depth": 56}, {"depth": 20, "norm": "none"}, {"depth": 56, "norm": "none"},
        {"depth": 20, "norm": "none", "init": "dirac"},
    ]  # fmt: skip
    groups = {name: [list(group) for group in found] for name, found in alike(networks).items()}
    assert groups == {"depth": [[0, 1], [2, 3]], "norm": [[0, 2], [1, 3]], "init": [[2, 4]]}


def test_no_single_factor_carries_the_granulated_coefficient() -> None:
    """Between the levels of one factor the quantity goes with the loss, within them against it."""
    factors = [{"norm": norm, "depth": depth} for norm in ("a", "b") for depth in (1, 2, 3)]
    x = np.array([3.0, 2, 1, 13, 12, 11])
    y = np.array([1.0, 2, 3, 11, 12, 13])
    weights = np.ones((1, 6))
    assert overall(x, y, weights)[0] == pytest.approx(kendalltau(x, y).statistic) == 0.2
    # depth: -1 in both groups; norm: +1 in all three.
    assert granulated(x, y, weights, alike(factors))[0] == pytest.approx((-1 + 1) / 2)


def test_a_factor_that_the_quantity_does_not_see_counts_as_zero() -> None:
    factors = [{"budget": 1}, {"budget": 4}]
    x, y = np.array([5.0, 5]), np.array([1.0, 2])
    assert granulated(x, y, np.ones((1, 2)), alike(factors))[0] == 0


def test_a_group_of_which_a_resample_has_one_network_is_left_out() -> None:
    factors = [{"depth": 1}, {"depth": 2}, {"depth": 1, "norm": "b"}, {"depth": 2, "norm": "b"}]
    x, y = np.array([1.0, 2, 1, 2]), np.array([1.0, 2, 2, 1])
    groups = {"depth": alike(factors)["depth"]}
    weights = np.array([[1.0, 1, 1, 1], [2, 2, 1, 0]])
    assert granulated(x, y, weights, groups).tolist() == [0, 1]


def test_factors_of_a_variant_are_flat() -> None:
    entry = {"shortcut": "none", "times": {"epochs": 4}}
    assert factors_of(entry) == {"shortcut": "none", "times.epochs": 4}


VARIANTS = {f"v{i}": {"init": f"i{i}"} for i in range(8)}


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Eight variants at two depths, two seeds each; the quantity m.good is the loss."""
    runs, quantities = [], []
    for i, name in enumerate(VARIANTS):
        for depth in (20, 56):
            for seed in (0, 1):
                who = {"variant": name, "depth": depth, "seed": seed}
                loss = 0.1 * i + (i + 1) * (depth == 56) + 0.001 * seed
                runs.append({**who, "train_loss": loss, "train_error": loss / 10})
                for quantity, value in (("m.good", loss), ("m.bad", -loss), ("m.flat", 1.0)):
                    row = {**who, "checkpoint": "init", "quantity": quantity, "value": value}
                    quantities.append(row)
                    quantities.append({**row, "checkpoint": "end", "value": -value})
    return pd.DataFrame(quantities), pd.DataFrame(runs)


def prediction(quantity: str) -> Prediction:
    return Prediction(quantity, 1, "a theory", "he2016deep")


def run_race(quantities: pd.DataFrame, runs: pd.DataFrame, *names: str) -> pd.DataFrame:
    predictions = [prediction(name) for name in names]
    table = race(quantities, runs, predictions, VARIANTS, 20, 56)
    return table.set_index(["quantity", "target", "method"])


def test_a_quantity_that_is_the_loss_wins_and_its_negative_loses() -> None:
    table = run_race(*tables(), "m.good", "m.bad")
    for target in ("train_loss", "gap"):
        for method in ("overall", "granulated"):
            good, bad = (table.loc[(name, target, method)] for name in ("m.good", "m.bad"))
            assert (good["tau"], good["low"], good["high"]) == (1, 1, 1)
            assert bad["tau"] == -1
    assert set(table.loc["m.good"]["n"]) == {16, 8}  # networks; variants


def test_a_quantity_that_never_changes_has_no_rank_correlation() -> None:
    table = run_race(*tables(), "m.flat")
    assert ("m.flat", "train_loss", "overall") not in table.index
    assert table.loc[("m.flat", "train_loss", "granulated"), "tau"] == 0


def test_a_network_without_the_quantity_is_left_out() -> None:
    quantities, runs = tables()
    gone = (quantities["variant"] == "v3") & (quantities["seed"] == 1)
    quantities.loc[gone, "value"] = np.nan
    table = run_race(quantities, runs, "m.good")
    assert table.loc[("m.good", "train_loss", "overall"), "n"] == 14
    assert table.loc[("m.good", "gap", "overall"), "n"] == 7


def test_a_diverged_run_has_the_largest_loss() -> None:
    quantities, runs = tables()
    runs.loc[(runs["variant"] == "v7") & (runs["depth"] == 56), "train_loss"] = np.nan
    ends = outcomes(runs, 20, 56)
    assert np.isinf(ends["train_loss"]).sum() == 1
    assert run_race(quantities, runs, "m.good").loc[("m.good", "train_loss", "overall"), "tau"] == 1


def test_a_quantity_that_was_not_measured_has_rows_without_a_coefficient() -> None:
    table = run_race(*tables(), "m.god").reset_index()
    assert table["target"].tolist() == ["train_loss", "gap"]
    assert table["n"].tolist() == [0, 0]
    assert table["tau"].isna().all()


def test_intervals_hold_a_correlation_of_zero_most_of_the_time() -> None:
    """Bootstrap intervals of noise: near the nominal 95 % in a hundred draws."""
    names = [f"v{i}" for i in range(20)]
    held = 0
    for _ in range(40):
        networks = pd.DataFrame(
            {"variant": names, "x": RNG.normal(size=20), "gap": RNG.normal(size=20)}
        )
        _, low, high = correlate(networks, "gap", [{"name": name} for name in names])["overall"]
        held += low <= 0 <= high
    assert 33 <= held <= 40


def test_signs_are_antisymmetric() -> None:
    matrix = signs(np.array([1.0, 3, 3]))
    assert matrix.tolist() == [[0, -1, -1], [1, 0, 0], [1, 0, 0]]


def test_every_prediction_is_named_in_figures_and_measured(quick_study: Path) -> None:
    predictions = read_predictions(ROOT / "report/claims.yaml")
    names = [prediction.quantity for prediction in predictions]
    assert set(names) <= set(QUANTITIES)
    measured = set(pd.read_csv(quick_study / "tables/quantities.csv")["quantity"])
    assert set(names) <= measured
    references = (ROOT / "report/references.bib").read_text()
    assert all(f"{{{prediction.source}," in references for prediction in predictions)


def test_predictions_are_counted_by_where_their_intervals_lie() -> None:
    rows = [
        ("hessian.log_top", 1, 0.5, 0.2, 0.8), ("ntk.log_condition", -1, -0.5, -0.8, -0.2),
        ("ics.cosine", -1, 0.5, 0.2, 0.8), ("lesion.one", 1, 0.1, -0.2, 0.4),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["quantity", "sign", "tau", "low", "high"])
    table = table.assign(theory="t", target="gap", method="overall", n=32)
    values = {value.key: value for value in from_race(table)}
    assert values["race.gap.overall.as_predicted"].value == 2
    assert values["race.gap.overall.opposite"].value == 1
    assert values["race.gap.granulated.as_predicted"].value == 0
    assert values["race.ics.cosine.gap.overall.low"].text == "0.20"
    assert values["race.ics.cosine.gap.granulated.low"].text == "–"
    assert values["race.ics.cosine.sign"].text == "−"
