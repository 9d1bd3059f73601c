"""Which quantity, measured at initialisation, tells who degrades?

    python -m analysis.horse_race --claims report/claims.yaml --variants variants.yaml
        --results results/<study> --out horse_race.csv

For each prediction of claims.yaml, Kendall's tau between the quantity (mean over the measured
seeds) and

    train_loss  the final training loss, over all measured networks (variant, depth)
    gap         the degradation E(deep) - E(shallow) of a variant's training error, the quantity
                being that of the deep network

    overall     tau-b over all pairs of networks
    granulated  over pairs that differ in a single factor only, after Jiang et al. 2020: sign
                agreement averaged over the pairs of each group of networks that are alike in
                all other factors, then over the groups of a factor, then over factors; so no single
                factor carries it. A factor that the quantity does not see counts as zero.

Intervals are percentiles of a bootstrap over variants, each with both of its depths. A network for
which the quantity does not exist (a gradient that SkipInit closes, say) is left out, and n says how
many are in.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis.looks import QUANTITIES
from analysis.summary import CONFIDENCE
from models.files import replacing
from models.records import build, nearest
from models.strict_yaml import read_yaml

RESAMPLES = 1000
TARGETS = ("train_loss", "gap")
COLUMNS = ["quantity", "theory", "sign", "target", "method", "tau", "low", "high", "n"]


@dataclass(frozen=True)
class Prediction:
    quantity: str  # <measure>.<scalar>
    sign: Literal[-1, 1]  # of its correlation with the final training loss
    theory: str
    source: str  # key in references.bib


def read_predictions(path: Path) -> list[Prediction]:
    """Raises ValueError if one is not as it should be, or of a quantity that is not known."""
    given = read_yaml(path).get("predictions")
    if not isinstance(given, list):
        raise ValueError(f"{path}: predictions: {given!r} is not a list")
    try:
        predictions = [build(Prediction, item) for item in given]
    except ValueError as error:
        raise ValueError(f"{path}: predictions: {error}") from None
    for prediction in predictions:
        if prediction.quantity not in QUANTITIES:
            raise ValueError(
                f"{path}: predictions: quantity {prediction.quantity!r} is not known"
                f"{nearest(prediction.quantity, QUANTITIES)}"
            )
    return predictions


def signs(x: np.ndarray) -> np.ndarray:
    """sign(x_i - x_j), as a matrix."""
    return np.sign(x[:, None] - x[None, :])


def overall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b for each row of `weights` (B, n), which says how often a network is in."""
    a, b = signs(x), signs(y)
    agreement = pair_sums(a * b, weights)
    return agreement / np.sqrt(pair_sums(a * a, weights) * pair_sums(b * b, weights))


def granulated(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, groups: dict[str, list[np.ndarray]]
) -> np.ndarray:
    """Jiang et al.'s coefficient for each row of `weights`; `groups` from `alike`."""
    agreement = signs(x) * signs(y)
    with np.errstate(invalid="ignore"):  # a group of which a resample has one network only
        factors = [
            nanmean(
                [
                    pair_sums(agreement[np.ix_(group, group)], weights[:, group])
                    / pair_sums(1 - np.eye(len(group)), weights[:, group])
                    for group in factor
                ]
            )
            for factor in groups.values()
        ]
    return nanmean(factors)


def nanmean(rows: list[np.ndarray]) -> np.ndarray:
    """Mean over rows of what is a number; NaN where nothing is."""
    table = np.array(rows)
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return np.where(known, table, 0).sum(0) / known.sum(0)


def pair_sums(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sum_ij w_i m_ij w_j for each row w of `weights`."""
    return ((weights @ matrix) * weights).sum(1)


def alike(factors: list[dict]) -> dict[str, list[np.ndarray]]:
    """For each factor, the groups of networks (by index) that are alike in all others."""
    groups: dict[str, list[np.ndarray]] = {}
    for name in sorted({key for network in factors for key in network}):
        others: dict[tuple, list[int]] = {}
        for i, network in enumerate(factors):
            rest = tuple(sorted((key, str(v)) for key, v in network.items() if key != name))
            others.setdefault(rest, []).append(i)
        found = [np.array(group) for group in others.values() if len(group) > 1]
        if found:
            groups[name] = found
    return groups


def factors_of(entry: dict) -> dict:
    """What sets a variant apart, as one flat dictionary; what is not said is as usual."""
    times = {f"times.{key}": value for key, value in entry.get("times", {}).items()}
    return {**{key: value for key, value in entry.items() if key != "times"}, **times}


def correlate(
    networks: pd.DataFrame, target: str, factors: list[dict]
) -> dict[str, tuple[float, float, float]]:
    """tau and its interval by both methods; `networks` has columns variant, x and `target`."""
    variants = sorted(set(networks["variant"]))
    rows = networks["variant"].map(variants.index).to_numpy()
    rng = np.random.default_rng(0)
    draws = rng.integers(len(variants), size=(RESAMPLES, len(variants)))
    counts = np.apply_along_axis(np.bincount, 1, draws, minlength=len(variants))
    weights = np.vstack([np.ones(len(networks)), counts[:, rows]])
    # Ranks: a diverged run's loss is infinite.
    x, y, groups = rankdata(networks["x"]), rankdata(networks[target]), alike(factors)
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    with np.errstate(invalid="ignore"):  # a quantity, or a resample, that is constant
        found = {"overall": overall(x, y, weights)}
    if groups:
        found["granulated"] = granulated(x, y, weights, groups)
    return {
        method: (taus[0], *np.nanpercentile(taus[1:], tails))
        for method, taus in found.items()
        if np.isfinite(taus[0])
    }


def outcomes(runs: pd.DataFrame, shallow: int, deep: int) -> pd.DataFrame:
    """Mean final training loss of each (variant, depth), infinite if a run diverged; and the gap,
    in the row of the deep network."""
    runs = runs.assign(train_loss=runs["train_loss"].fillna(np.inf))
    means = runs.groupby(["variant", "depth"])[["train_loss", "train_error"]].mean().reset_index()
    errors = means.pivot(index="variant", columns="depth", values="train_error")
    gap = (errors[deep] - errors[shallow]).rename("gap").reset_index().assign(depth=deep)
    return means.merge(gap, on=["variant", "depth"], how="left")


def race(
    quantities: pd.DataFrame, runs: pd.DataFrame, predictions: list[Prediction],
    variants: dict[str, dict], shallow: int, deep: int,
) -> pd.DataFrame:  # fmt: skip
    """The table of all correlations; `quantities` and `runs` as in tables/.

    A quantity that the study has not measured has one row for each target, without a coefficient.
    """
    start = quantities[quantities["checkpoint"] == "init"]
    ends = outcomes(runs, shallow, deep)
    rows = []
    for prediction in predictions:
        values = start[start["quantity"] == prediction.quantity]
        if values.empty:
            facts = (prediction.quantity, prediction.theory, prediction.sign)
            rows += [(*facts, target, "overall", *[np.nan] * 3, 0) for target in TARGETS]
            continue
        # A seed without a value leaves the network without one.
        means = values.groupby(["variant", "depth"])["value"].agg(lambda x: x.mean(skipna=False))
        networks = ends.merge(means.rename("x").reset_index(), on=["variant", "depth"]).dropna(
            subset="x"
        )
        for target in TARGETS:
            here = networks.dropna(subset=target)
            factors = [
                {**factors_of(variants[row.variant]), "depth": row.depth}
                for row in here.itertuples()
            ]
            for method, interval in correlate(here, target, factors).items():
                facts = (prediction.quantity, prediction.theory, prediction.sign, target, method)
                rows.append((*facts, *interval, len(here)))
    return pd.DataFrame(rows, columns=COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, required=True)
    parser.add_argument("--variants", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    depths = json.loads((arguments.results / "config.json").read_text())["compare_depths"]
    tables = arguments.results / "tables"
    try:
        table = race(
            pd.read_csv(tables / "quantities.csv"),
            pd.read_csv(tables / "runs.csv"),
            read_predictions(arguments.claims),
            read_yaml(arguments.variants),
            **depths,
        )
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    with replacing(arguments.out) as path:
        table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
