"""Which rows figures draw, and what they draw of them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT, command

from analysis.figure import main, rows_of
from analysis.figures import (
    error_by_budget,
    gradient_flow,
    identity_distance,
    identity_learning,
    steps_to_fit,
)
from analysis.quantity_labels import quantity_labels
from analysis.style import BASELINES, DASHES, MARKERS, apply, ordered
from analysis.tables import steps_to_fit_table
from models.files import read_constant


@pytest.mark.parametrize(
    ("draw", "x", "columns", "checkpoints"),
    [
        (gradient_flow.draw, "layer", ["relative_gradient"], ["init", "step10", "end"]),
        (identity_distance.draw, "block", ["identity_distance", "residual_ratio"], ["init", "end"]),
        (identity_learning.draw, "blocks", ["relative_error"], ["end"]),
    ],
)
def test_every_panel_of_a_figure_takes_the_same_mean(
    draw: Callable, x: str, columns: list[str], checkpoints: list[str]
) -> None:
    """seaborn takes the mean of logarithms if an axis, shared or not, is logarithmic already."""
    rows = [
        {"variant": "plain", "depth": 56, "seed": seed, "checkpoint": checkpoint, x: place}
        | dict.fromkeys(columns, value)
        for seed, value in enumerate([1.0, 100.0])
        for checkpoint in checkpoints
        for place in (1, 2)
    ]
    figure = draw(pd.DataFrame(rows))
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == len(columns) * len(checkpoints)
    for axes in panels:
        assert axes.get_yscale() == "log"
        assert axes.lines[0].get_ydata().tolist() == pytest.approx([50.5, 50.5])
    plt.close(figure)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return the folder of a study whose table of runs has one variant and one depth too many."""
    study = {
        "variants": ["plain", "residual"],
        "interventions": ["plain_dirac", "residual_fixup"],
        "depths": [8, 14, 20],
        "compare_depths": {"deep": 14, "shallow": 8},
        "budgets": [16, 2],
    }
    rows = pd.DataFrame({"variant": [*study["variants"], *study["interventions"], "plain_bn"]})
    for column, values in {"depth": [8, 14, 20, 26], "budget": [2, 16], "seed": [0, 1]}.items():
        rows = rows.merge(pd.Series(values, name=column), how="cross")
    rows = rows.assign(steps=60 * rows["budget"], train_error=rows["depth"] / 50, test_error=0.7)
    (tmp_path / "tables").mkdir()
    rows.to_csv(tmp_path / "tables/runs.csv", index=False)
    steps = steps_to_fit_table(rows.assign(dataset="d", epochs=rows["budget"]), 2)
    steps.to_csv(tmp_path / "tables/steps_to_fit.csv", index=False)
    (tmp_path / "config.json").write_text(json.dumps(study))
    apply()
    return tmp_path


def test_a_figure_draws_the_rows_that_its_script_asks_for(results: Path) -> None:
    expected = {("variants", "depths"): 2 * 3, ("all", "compare_depths"): 4 * 2}
    for rows, count in {**expected, ("variants", "deep"): 2, (None, None): 5 * 4}.items():
        drawn = rows_of(SimpleNamespace(TABLE="runs", ROWS=rows), results)
        assert len(drawn) == count * 2  # seeds
        assert ("plain_bn" in set(drawn["variant"])) == (rows == (None, None))
        assert set(drawn["budget"]) == {16}  # the longest
    every = rows_of(SimpleNamespace(TABLE="runs", BUDGETS="all"), results)
    assert set(every["budget"]) == {2, 16}


def test_errors_are_drawn_against_the_steps_of_budgets(results: Path) -> None:
    table = rows_of(error_by_budget, results)
    table.loc[table.index[0], "steps"] = 3  # this run diverged
    figure = error_by_budget.draw(table)
    plain = figure.axes[0]
    for line, depth in zip(plain.lines, (8, 14, 20), strict=True):
        assert line.get_xdata().tolist() == pytest.approx([120, 960])
        assert line.get_ydata().tolist() == pytest.approx([2 * depth, 2 * depth])
    assert [text.get_text() for text in plain.texts] == ["8", "14", "20"]
    plt.close(figure)


def test_a_network_that_does_not_fit_is_drawn_as_a_lower_bound(results: Path) -> None:
    path = results / "tables/steps_to_fit.csv"
    table = pd.read_csv(path)
    fits = (table["variant"] == "residual") & (table["depth"] < 20)
    table.loc[fits, ["steps", "reached"]] = [300.0, True]
    table.loc[fits & (table["seed"] == 1), "reached"] = table["depth"] < 14
    table.to_csv(path, index=False)
    figure = steps_to_fit.draw(rows_of(steps_to_fit, results))
    (axes,) = figure.axes
    bounds = [line for line in axes.lines if line.get_fillstyle() == "none"]
    drawn = [place for line in bounds for place in line.get_xydata().tolist()]
    # One of two seeds is not enough.
    assert drawn == [[8, 960], [14, 960], [20, 960], [14, 300], [20, 960]]
    plt.close(figure)


def test_the_same_rows_give_the_same_bytes(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        words = [
            "figure",
            "error_by_budget",
            "--results",
            results,
            "--out",
            results / f"{name}.svg",
        ]
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        main()
        plt.close()
    for ending in ("svg", "csv.gz"):
        assert (results / f"a.{ending}").read_bytes() == (results / f"b.{ending}").read_bytes()


def test_a_figure_does_not_follow_the_settings_of_the_user(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = "text.usetex: True\naxes.grid: True\npath.sketch: 1, 100, 2\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    own = {"MPLBACKEND": "module://of_a_notebook", "MPLCONFIGDIR": str(tmp_path)}
    for name, variables in {"a": {}, "b": own}.items():
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        picture = results / f"{name}.svg"
        done = command("analysis.figure", "error_by_budget", "--results", results, "--out", picture)
        assert (done.returncode, done.stderr) == (0, "")
    assert (results / "a.svg").read_bytes() == (results / "b.svg").read_bytes()


def test_the_baselines_are_told_apart_without_colour() -> None:
    assert len({MARKERS[name] for name in BASELINES}) == 4
    assert [bool(DASHES[name]) for name in BASELINES] == [not n.endswith("_bn") for n in BASELINES]
    assert ordered(["residual", "plain", "residual"]) == ["plain", "residual"]
    with pytest.raises(ValueError, match=r"variants\.yaml has no entry for plane"):
        ordered(["plane"])


def test_every_table_and_quantity_is_known_without_an_import() -> None:
    """A figure of a measure draws its table, and every predicted quantity has a label."""
    figures = {path.stem: path for path in (ROOT / "analysis/figures").glob("[a-z]*.py")}
    measures = {path.stem for path in (ROOT / "analysis/measures").glob("[a-z]*.py")}
    tables = {name: read_constant(path, "TABLE") for name, path in figures.items()}
    assert {name: tables.get(name) for name in measures} == {name: name for name in measures}
    labels = quantity_labels()
    assert {name.split(".")[0] for name in labels} == measures
    assert len(set(labels.values())) == len(labels)
