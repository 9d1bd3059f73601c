"""What training costs: the fit, the sums, and the forecast of another study."""

import json
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest

from analysis.cost import cost, fit, forecasts


def test_the_fit_finds_both_numbers_and_neither_is_negative() -> None:
    layers = np.array([1e3, 4e3, 7e3, 7e3])
    products = np.array([1e10, 5e10, 2e10, 3e11])
    found = fit(layers, products, 4e-4 * layers + 3e-11 * products)
    assert found == pytest.approx((4e-4, 3e-11))
    assert fit(layers, products, 4e-4 * layers - 1e-13 * products)[1] == 0
    # One run that took twice as long counts no more for being long.
    seconds = 4e-4 * layers * [1, 1, 1, 2]
    share = np.sum(layers / seconds) / np.sum((layers / seconds) ** 2)
    assert fit(layers, 0 * layers + 1e-9, seconds)[0] == pytest.approx(share, rel=1e-3)


def test_a_cell_has_the_mean_of_its_runs_and_the_sum_of_its_tuning() -> None:
    names = ["variant", "depth", "width", "seconds", "peak_memory_mb"]
    runs = pd.DataFrame(
        [("a", 8, 4, 1.0, 300.0), ("a", 8, 4, 3.0, 310.0), ("b", 8, 4, 4.0, 290.0)], columns=names
    )
    tuning = pd.DataFrame([("a", 8, 4, 5.0, 1.0), ("a", 8, 4, 6.0, 1.0)], columns=names)
    work = {"a/depth8": [100, 1e9], "b/depth8": [200, 2e9]}
    table, (layer, product) = cost(runs, tuning, work)
    first, second = table.to_dict("records")
    assert (first["runs"], first["seconds"], first["peak_memory_mb"]) == (2, 2, 310)
    assert (first["tuning_seconds"], second["tuning_seconds"]) == (11, 0)
    assert first["fitted_seconds"] == pytest.approx(100 * layer + 1e9 * product)
    assert table["fitted_seconds"].tolist() == pytest.approx([2, 4])


def test_a_forecast_is_the_work_at_the_speed_and_the_start_of_each_job() -> None:
    rules = {
        "tune": {"jobs": 2, "layers": 100, "products": 1e9},
        "train": {"jobs": 10, "layers": 500, "products": 5e9},
        "measure": {"jobs": 1, "layers": 0, "products": 0},
    }
    studies = {"big": {"rules": rules, "gigabytes": 7.5}}
    one, other = forecasts(studies, {"own": (0.5, 1e-9), "gpu": (0.1, 0.0)}, begin=3)
    assert one["hours"] == pytest.approx((13 * 3 + 600 * 0.5 + 6) / 3600)
    assert other["hours"] == pytest.approx((13 * 3 + 60) / 3600)
    assert (one["tune"], one["train"], one["measure"], one["gigabytes"]) == (2, 10, 1, 7.5)


def test_the_table_of_a_study_is_what_its_runs_recorded(quick_study: Path) -> None:
    table = pd.read_csv(quick_study / "tables/cost.csv").set_index(["variant", "depth"])
    assert len(table) == 16
    for (variant, depth), row in table.iterrows():
        runs = quick_study.glob(f"runs/{variant}/depth{depth}/seed[01]/metrics.json")
        records = [json.loads(path.read_text())["record"] for path in runs]
        assert row["runs"] == len(records) == 2
        assert row["seconds"] == pytest.approx(mean(r["cpu_seconds"] for r in records))
    forecast = pd.read_csv(quick_study / "tables/forecast.csv")
    assert set(forecast["study"]) == {"quick", "cifar10"}
    cifar10 = forecast[forecast["study"] == "cifar10"]
    assert (cifar10[["tune", "train", "measure"]] == [20, 100, 4]).all(axis=None)
