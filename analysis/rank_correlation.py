"""Correlate each quantity, measured at initialisation, with the degradation that follows.

    python -m analysis.rank_correlation --claims CLAIMS --results results/<study> --out FILE

Each prediction in claims.yaml names a quantity. Its mean over the measured seeds is correlated with

    train_loss  the final training loss, over all measured networks (pairs of variant and depth)
    gap         the degradation E(deep) - E(shallow) of a variant's training error; the quantity is
                that of the deep network

at the longest budget, by two methods:

    overall     Kendall's tau-b over all pairs of networks
    granulated  over pairs that differ in a single factor only, after Jiang et al. 2020: the
                agreement of signs is averaged over the pairs of each group of networks that have
                all other factors in common, then over the groups of a factor, then over factors.
                No single factor can decide the result. A factor that leaves the quantity unchanged
                counts as zero.

Intervals are percentiles of a bootstrap over variants, each with both of its depths. A network
without the quantity is left out (SkipInit, for example, makes some gradients zero); column n counts
the others.
"""

import argparse
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis.quantity_labels import quantity_labels
from analysis.summary import CONFIDENCE, at_longest_budget
from models.files import read_json, read_yaml, replacing
from models.typed import Typed, typed
from models.variant import Variant, read_variants

RESAMPLES = 1000
COLUMNS = ["quantity", "theory", "sign", "target", "method", "tau", "low", "high", "n"]
Groups = dict[str, list[np.ndarray]]  # of networks, by index, that differ in each factor alone


class Prediction(Typed):
    quantity: Literal[*quantity_labels()]  # <measure>.<quantity>
    sign: Literal[-1, 1]  # of its correlation with the final training loss
    theory: str
    source: str  # key in references.bib


class Predictions(Typed, extra="ignore"):  # claims.yaml has claims too
    predictions: list[Prediction]


def read_predictions(path: Path) -> list[Prediction]:
    """Return the predictions of claims.yaml, or raise a ValueError of the first mistake found."""
    return typed(Predictions, read_yaml(path), str(path)).predictions


def pair_sums(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_ij w_i m_ij w_j for each row w of `weights`."""
    return ((weights @ matrix) * weights).sum(1)


def overall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b for each row of `weights` (B, n): how often each network counts."""
    a, b = np.sign(np.subtract.outer(x, x)), np.sign(np.subtract.outer(y, y))
    agreement = pair_sums(a * b, weights)
    return agreement / np.sqrt(pair_sums(a * a, weights) * pair_sums(b * b, weights))


def granulated(x: np.ndarray, y: np.ndarray, weights: np.ndarray, groups: Groups) -> np.ndarray:
    """Return Jiang et al.'s coefficient for each row of `weights`, over groups that have pairs."""
    agreement = np.sign(np.subtract.outer(x, x) * np.subtract.outer(y, y))

    def coefficient(members: np.ndarray) -> np.ndarray:
        counts = weights[:, members]
        pairs = pair_sums(1 - np.eye(len(members)), counts)
        return pair_sums(agreement[np.ix_(members, members)], counts) / pairs

    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as it should be
        factors = [np.nanmean(list(map(coefficient, found)), 0) for found in groups.values()]
        return np.nanmean(factors, 0)


def group(networks: list[dict]) -> Groups:
    """Return the groups of networks (by index) that differ in a factor alone, for each factor."""
    groups = {}
    for factor in sorted(networks[0]):
        others = pd.Series([str({**network, factor: None}) for network in networks])
        found = others.groupby(others, sort=False).indices.values()
        groups[factor] = [members for members in found if len(members) > 1]
    return {factor: found for factor, found in groups.items() if found}


def levels(variant: Variant, depth: int, training: dict) -> dict:
    """Return the level of every factor of a network; `training` is the study's.

    A change of training that sets what the study has anyway is no other level.
    """
    usual = {**training, "optimiser": "sgd", "clipped": variant.factors.norm == "none"}
    changes = {key: None if x == usual[key] else x for key, x in variant.training}
    own = {key: getattr(variant, key) for key in ("start", "growth", "frozen")}
    return {**dict(variant.factors), **dict(variant.times), **changes, **own, "depth": depth}


def correlate(networks: pd.DataFrame, target: str, groups: Groups) -> dict[str, tuple[float, ...]]:
    """Return tau and its interval by each method that has one; the quantity is in column x."""
    rows, variants = pd.factorize(networks["variant"], sort=True)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(variants), size=(RESAMPLES, len(variants)))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=len(variants))
    weights = np.vstack([np.ones(len(networks)), counts[:, rows]])  # the first row is the sample
    # Ranks are finite, although the loss of a run that diverged is not.
    x, y = rankdata(networks["x"]), rankdata(networks[target])
    with np.errstate(invalid="ignore"):  # the quantity of a resample may be constant
        taus = {"overall": overall(x, y, weights)}
    if groups:
        taus["granulated"] = granulated(x, y, weights, groups)
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    return {
        method: (values[0], *np.nanpercentile(values[1:], tails))
        for method, values in taus.items()
        if np.isfinite(values[0])
    }


def outcomes(runs: pd.DataFrame, shallow: int, deep: int) -> pd.DataFrame:
    """Return the mean train_loss of each (variant, depth), and gap in rows of the deeper one."""
    runs = runs.assign(train_loss=runs["train_loss"].fillna(np.inf))  # of a run that diverged
    means = runs.groupby(["variant", "depth"])[["train_loss", "train_error"]].mean().reset_index()
    errors = means.pivot(index="variant", columns="depth", values="train_error")
    errors = errors.reindex(columns=[shallow, deep])  # a partial study may lack one
    gap = (errors[deep] - errors[shallow]).rename("gap").reset_index().assign(depth=deep)
    return means.merge(gap, on=["variant", "depth"], how="left")


def rank_correlations(
    quantities: pd.DataFrame, ends: pd.DataFrame, predictions: list[Prediction], training: dict
) -> pd.DataFrame:
    """Return all correlations; fewer than two networks have a row without a coefficient."""
    initial = quantities[quantities["checkpoint"] == "init"]
    known, rows = read_variants(), []
    for prediction in predictions:
        facts = (prediction.quantity, prediction.theory, prediction.sign)
        values = initial[initial["quantity"] == prediction.quantity]
        # If one seed has no value, then the network has none.
        means = values.groupby(["variant", "depth"])["value"].agg(lambda x: x.mean(skipna=False))
        measured = ends.join(means.rename("x"), on=["variant", "depth"], how="inner")
        for target in ("train_loss", "gap"):
            networks = measured.dropna(subset=["x", target])
            found = {"overall": (np.nan, np.nan, np.nan)}
            if len(networks) > 1:
                pairs = networks[["variant", "depth"]].itertuples(index=False)
                factors = [levels(known[name], depth, training) for name, depth in pairs]
                found = correlate(networks, target, group(factors))
            for method, interval in found.items():
                rows.append((*facts, target, method, *interval, len(networks)))
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tables = arguments.results / "tables"
    try:
        study = read_json(arguments.results / "config.json")
        runs = at_longest_budget(pd.read_csv(tables / "runs.csv"), study)
        ends = outcomes(runs, **study["compare_depths"])
        quantities = pd.read_csv(tables / "quantities.csv")
        predictions = read_predictions(arguments.claims)
        table = rank_correlations(quantities, ends, predictions, study["training"])
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    with replacing(arguments.out) as path:
        table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
