"""Which rows figures draw, and what they draw of them."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT, command

from analysis.figure import rows_of
from analysis.figures import identity, interventions, steps_to_fit, training
from analysis.quantity_labels import quantity_labels
from analysis.style import BASELINES, DASHES, MARKERS, apply, ordered
from analysis.tables import steps_to_fit_table


def test_every_panel_takes_the_mean_over_seeds() -> None:
    """seaborn takes the mean of logarithms if an axis is logarithmic already."""
    columns = ("relative", "beta", "relative_gradient", "co_active")
    tables = [
        pd.DataFrame([
            {"variant": "plain", "depth": 56, "seed": seed, "checkpoint": at, "layer": layer}
            | {column: value}
            for seed, value in enumerate([1.0, 100.0])
            for at in checkpoints
            for layer in (1, 2)
        ])
        for column, checkpoints in zip(
            columns, [["init", "step1"], ["init", "step1"], ["end"], ["init"]], strict=True
        )
    ]  # fmt: skip
    figure = training.draw(*tables)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log", "log", "linear"]
    for axes in figure.axes:
        assert axes.lines[0].get_ydata().tolist() == pytest.approx([50.5, 50.5])
    plt.close(figure)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return the folder of a study whose table of runs has one variant and one depth too many."""
    study = {
        "variants": ["plain_bn", "residual"],
        "interventions": ["plain_bn_dirac_noise", "residual_fixup"],
        "depths": [8, 14, 20],
        "compare_depths": {"deep": 14, "shallow": 8},
        "budgets": [16, 2],
    }
    rows = pd.DataFrame({"variant": [*study["variants"], *study["interventions"], "plain"]})
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
    for rows, count in expected.items():
        drawn = rows_of(SimpleNamespace(ROWS=rows), "runs", results)
        assert len(drawn) == count * 2  # seeds
        assert "plain" not in set(drawn["variant"])
        assert set(drawn["budget"]) == {16}  # the longest
    every = rows_of(SimpleNamespace(BUDGETS="all"), "runs", results)
    assert set(every["budget"]) == {2, 16}


def drawn(figure: ModuleType, results: Path) -> plt.Figure:
    return figure.draw(*[rows_of(figure, table, results) for table in figure.TABLES])


def test_errors_are_drawn_against_the_steps_of_budgets(results: Path) -> None:
    path = results / "tables/runs.csv"
    table = pd.read_csv(path)
    table.loc[table.index[0], "steps"] = 3  # this run diverged
    table.to_csv(path, index=False)
    figure = drawn(steps_to_fit, results)
    _, plain, residual = figure.axes
    for line, depth in zip(plain.lines, (8, 14, 20), strict=True):
        assert line.get_xdata().tolist() == pytest.approx([120, 960])
        assert line.get_ydata().tolist() == pytest.approx([2 * depth, 2 * depth])
    assert [text.get_text() for text in plain.texts] == ["8", "14", "20"]
    assert not residual.lines  # the study has no residual network with BN
    plt.close(figure)


def test_a_network_that_does_not_fit_is_drawn_as_a_lower_bound(results: Path) -> None:
    path = results / "tables/steps_to_fit.csv"
    table = pd.read_csv(path)
    fits = (table["variant"] == "residual") & (table["depth"] < 20)
    table.loc[fits, ["steps", "reached"]] = [300.0, True]
    table.loc[fits & (table["seed"] == 1), "reached"] = table["depth"] < 14
    table.to_csv(path, index=False)
    figure = drawn(steps_to_fit, results)
    bounds = [line for line in figure.axes[0].lines if line.get_fillstyle() == "none"]
    places = [place for line in bounds for place in line.get_xydata().tolist()]
    # One of two seeds is not enough.
    assert places == [[8, 960], [14, 960], [20, 960], [14, 300], [20, 960]]
    plt.close(figure)


def test_the_best_deep_network_of_the_longest_budget_comes_first(results: Path) -> None:
    path = results / "tables/runs.csv"
    table = pd.read_csv(path)
    best = (table["variant"] == "residual_fixup") & (table["depth"] == 14) & (table["budget"] == 16)
    table.loc[best, "train_error"] = 0.01
    table.to_csv(path, index=False)
    figure = drawn(interventions, results)
    short, long = figure.axes
    labels = [text.get_text() for text in short.get_yticklabels()]
    assert labels[0] == "residual, Fixup"
    assert len(labels) == 4
    first = [
        line for line in long.lines if set(line.get_ydata()) == {0} and line.get_marker() == "o"
    ]
    assert [line.get_xdata()[0] for line in first] == pytest.approx([16, 1])
    plt.close(figure)


def test_a_question_without_its_networks_has_no_panel(results: Path) -> None:
    runs = rows_of(identity, "runs", results)
    learning = pd.DataFrame({"variant": ["plain_bn"] * 2, "depth": 14, "seed": [0, 1]})
    learning = learning.assign(blocks=1, relative_error=0.5)
    distance = learning.assign(checkpoint="end", block=1, identity_distance=0.5)
    figure = identity.draw(runs, learning, distance)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["Is it reached?", "Is it taught?", "Is it the end?"]
    reached = figure.axes[0]
    assert [text.get_text() for text in reached.texts] == ["shallow", "plain", "near it"]
    plt.close(figure)


def test_the_same_rows_give_the_same_bytes_whatever_the_user_has_set(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = "text.usetex: True\naxes.grid: True\npath.sketch: 1, 100, 2\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    own = {"MPLBACKEND": "module://of_a_notebook", "MPLCONFIGDIR": str(tmp_path)}
    for name, variables in {"a": {}, "b": own}.items():
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        picture = results / f"{name}.svg"
        done = command("analysis.figure", "steps_to_fit", "--results", results, "--out", picture)
        assert (done.returncode, done.stderr) == (0, "")
    for ending in ("svg", "csv.gz"):
        assert (results / f"a.{ending}").read_bytes() == (results / f"b.{ending}").read_bytes()


def test_the_baselines_are_told_apart_without_colour() -> None:
    assert len({MARKERS[name] for name in BASELINES}) == 4
    assert [bool(DASHES[name]) for name in BASELINES] == [not n.endswith("_bn") for n in BASELINES]
    assert ordered(["residual", "plain", "residual"]) == ["plain", "residual"]
    with pytest.raises(ValueError, match=r"variants\.yaml has no entry for plane"):
        ordered(["plane"])


def test_every_quantity_has_a_label_of_its_own() -> None:
    labels = quantity_labels()
    measures = {path.stem for path in (ROOT / "analysis/measures").glob("[a-z]*.py")}
    assert {name.split(".")[0] for name in labels} == measures
    assert len(set(labels.values())) == len(labels)
