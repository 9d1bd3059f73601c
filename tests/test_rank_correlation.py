"""Rank correlations of measured quantities with degradation."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import kendalltau

from analysis import rank_correlation as ranks
from models.variant import read_variants

TRAINING = {"schedule": "cosine", "warmup_steps": 20}
RNG = np.random.default_rng(7)


def test_overall_is_kendalls_tau_b_and_a_weight_repeats_a_network() -> None:
    x, y = RNG.integers(6, size=(2, 30)).astype(float)  # with ties
    for counts in (np.ones(30, int), RNG.integers(3, size=30)):
        repeated = kendalltau(np.repeat(x, counts), np.repeat(y, counts)).statistic
        assert ranks.overall(x, y, counts[None].astype(float))[0] == pytest.approx(repeated)


def test_a_group_differs_in_one_factor_only() -> None:
    levels = [(1, "a", "x"), (2, "a", "x"), (1, "b", "x"), (2, "b", "x"), (1, "b", "y")]
    networks = [{"depth": depth, "norm": norm, "init": init} for depth, norm, init in levels]
    groups = {name: [list(each) for each in found] for name, found in ranks.group(networks).items()}
    assert groups == {"depth": [[0, 1], [2, 3]], "norm": [[0, 2], [1, 3]], "init": [[2, 4]]}


def test_all_networks_differ_in_some_factor() -> None:
    """A pair without a difference would be a group of every factor."""
    variants = read_variants().values()
    networks = [ranks.levels(each, depth, TRAINING) for each in variants for depth in (8, 14)]
    assert len({tuple(each.values()) for each in networks}) == len(networks)
    groups = ranks.group(networks)
    assert len(groups["depth"]) == len(networks) / 2
    assert {"epochs", "width", "optimiser", "clipped", "start", "frozen"} <= groups.keys()
    assert {"slope", "gain", "convolutions_per_block"} <= groups.keys()


def test_a_default_that_is_written_out_is_no_other_level(tmp_path: Path) -> None:
    path = tmp_path / "variants.yaml"
    path.write_text(
        "short: {label: a, factors: {shortcut: none}}\n"
        "long: {label: b, factors: {shortcut: none, norm: batch, init: he}, times: {epochs: 1},\n"
        "       training: {optimiser: sgd, schedule: cosine, warmup_steps: 20, clipped: false}}\n"
    )
    variants = read_variants(path).values()
    short, long = (ranks.levels(variant, 8, TRAINING) for variant in variants)
    assert short == long


def test_no_single_factor_decides_the_granulated_coefficient() -> None:
    """The quantity goes with the loss between the levels of one factor, and against it within."""
    networks = [{"norm": norm, "depth": depth} for norm in ("a", "b") for depth in (1, 2, 3)]
    x = np.array([3.0, 2, 1, 13, 12, 11])
    y = np.array([1.0, 2, 3, 11, 12, 13])
    weights = np.ones((1, 6))
    assert ranks.overall(x, y, weights)[0] == pytest.approx(kendalltau(x, y).statistic) == 0.2
    # The coefficient is -1 in both groups of depth, and +1 in all three of norm.
    assert ranks.granulated(x, y, weights, ranks.group(networks))[0] == pytest.approx((-1 + 1) / 2)
    # A factor that leaves the quantity unchanged counts as zero.
    groups = ranks.group([{"epochs": 1}, {"epochs": 4}])
    assert ranks.granulated(np.array([5.0, 5]), np.array([1.0, 2]), weights[:, :2], groups) == [0]


def test_a_resample_leaves_out_a_group_of_which_it_has_one_network() -> None:
    networks = [{"depth": depth, "norm": norm} for norm in ("a", "b") for depth in (1, 2)]
    x, y = np.array([1.0, 2, 1, 2]), np.array([1.0, 2, 2, 1])
    groups = {"depth": ranks.group(networks)["depth"]}
    weights = np.array([[1.0, 1, 1, 1], [2, 2, 1, 0]])
    assert ranks.granulated(x, y, weights, groups).tolist() == [0, 1]


VARIANTS = list(read_variants())[:8]


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return quantities and runs of eight variants, two depths, two seeds; m.good is the loss."""
    runs, quantities = [], []
    for i, name in enumerate(VARIANTS):
        for depth in (20, 56):
            for seed in (0, 1):
                loss = 0.1 * i + (i + 1) * (depth == 56) + 0.001 * seed
                key = {"variant": name, "depth": depth, "seed": seed, "checkpoint": "init"}
                runs.append({**key, "train_loss": loss, "train_error": loss / 10})
                for quantity, value in (("m.good", loss), ("m.bad", -loss), ("m.flat", 1.0)):
                    row = {**key, "quantity": quantity, "value": value}
                    quantities += [row, {**row, "checkpoint": "end", "value": -value}]
    return pd.DataFrame(quantities), pd.DataFrame(runs)


def correlations(quantities: pd.DataFrame, runs: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return the table for predictions of the quantities `names`."""
    predictions = [SimpleNamespace(quantity=name, sign=1, theory="a theory") for name in names]
    table = ranks.rank_correlations(quantities, ranks.outcomes(runs, 20, 56), predictions, TRAINING)
    return table.set_index(["quantity", "target", "method"])


def test_a_quantity_that_is_the_loss_has_one_and_a_flat_one_has_no_rank_correlation() -> None:
    table = correlations(*tables(), "m.good", "m.bad", "m.flat")
    for target in ("train_loss", "gap"):
        for method in ("overall", "granulated"):
            good, bad = (table.loc[(name, target, method)] for name in ("m.good", "m.bad"))
            assert (good["tau"], good["low"], good["high"]) == (1, 1, 1)
            assert bad["tau"] == -1
    assert set(table.loc["m.good"]["n"]) == {16, 8}  # networks; variants
    assert ("m.flat", "train_loss", "overall") not in table.index
    assert table.loc[("m.flat", "train_loss", "granulated"), "tau"] == 0


def test_a_network_without_the_quantity_is_left_out_but_not_a_diverged_one() -> None:
    quantities, runs = tables()
    gone = (quantities["variant"] == VARIANTS[3]) & (quantities["seed"] == 1)
    quantities.loc[gone, "value"] = np.nan
    counts = correlations(quantities, runs, "m.good")["n"].xs("overall", level="method")
    assert counts.tolist() == [14, 7]  # networks; variants
    # A run that diverged has the largest loss.
    runs.loc[(runs["variant"] == VARIANTS[7]) & (runs["depth"] == 56), "train_loss"] = np.nan
    assert np.isinf(ranks.outcomes(runs, 20, 56)["train_loss"]).sum() == 1
    assert correlations(quantities, runs, "m.good")["tau"].iloc[0] == 1


def test_a_quantity_without_two_networks_has_rows_without_a_coefficient() -> None:
    table = correlations(*tables(), "m.god").reset_index()
    assert table["tau"].isna().all()
    assert table[["target", "n"]].to_numpy().tolist() == [["train_loss", 0], ["gap", 0]]
    shallow = [each[each["depth"] == 20] for each in tables()]  # of a study that has just begun
    table = correlations(*shallow, "m.good")
    assert table.loc[("m.good", "train_loss", "overall"), ["tau", "n"]].tolist() == [1, 8]
    assert table.loc[("m.good", "gap", "overall"), "n"] == 0


def test_intervals_hold_a_correlation_of_zero_most_of_the_time() -> None:
    """Bootstrap intervals of noise hold zero in about 95 % of forty draws."""
    names = [f"v{i}" for i in range(20)]
    held = 0
    for x, gap in RNG.normal(size=(40, 2, 20)):
        networks = pd.DataFrame({"variant": names, "x": x, "gap": gap})
        _, low, high = ranks.correlate(networks, "gap", {})["overall"]
        held += low <= 0 <= high
    assert 33 <= held <= 40


def test_every_prediction_is_of_a_measured_quantity(quick_study: Path) -> None:
    predictions = ranks.read_predictions(ROOT / "report/claims.yaml")
    measured = set(pd.read_csv(quick_study / "tables/quantities.csv")["quantity"])
    assert {prediction.quantity for prediction in predictions} <= measured
    references = (ROOT / "report/references.bib").read_text()
    assert all(f"{{{prediction.source}," in references for prediction in predictions)


def test_a_mistake_in_a_prediction_is_named(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text("predictions: [{quantity: ics.cosin, sign: 1, theory: a, source: b}]\n")
    with pytest.raises(ValueError, match=f"^{path}: predictions.0.quantity: 'ics.cosin' is not"):
        ranks.read_predictions(path)
