"""Tables of a small study that is written by hand, and of the quick study."""

import json
import platform
import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, in_process
from test_variant import RUN, replaced
from tiny import rewrite

from analysis import tables
from analysis.provenance import provenance
from analysis.tables import Expected, read_missing, steps_to_fit_table, write_tables
from models.logs import LONGEST, last_line
from models.origin import measured, of_files, specification
from models.variant import Run, read_variants, to_json

STUDY = {
    "study": "small",
    "variants": ["plain_bn", "residual_bn"],
    "interventions": ["plain_bn_constructed"],
    "budgets": [1, 4],
    "seeds": [3, 1],
    "tuning": {"seeds": [100]},
    "measures": {"seeds": 1, "ntk": {"examples": 16}},
    "partial": False,
}
VARIANTS = read_variants()


def run_of(name: str, depth: int, budget: int = 1, **facts: object) -> Run:
    """Return a run of the study."""
    facts |= {"variant": name, "factors": VARIANTS[name].factors, "depth": depth}
    return replaced(RUN, **facts, budget=budget, epochs=budget, code="of now", data="of now")


EXPECTED = Expected(
    {f"{name}/depth{depth}": specification(run_of(name, depth))
     for name in ("residual_bn", "plain_bn") for depth in (14, 8)},
    dict.fromkeys([*STUDY["variants"], *STUDY["interventions"]], "of now"), "of now", "of now",
)  # fmt: skip
CELLS = list(EXPECTED.cells)


def write_run(results: Path, place: str, lr: float, **record: object) -> None:
    """Write the files of a run whose error is its depth in per cent."""
    name = place.split("/")[1]
    depth, budget, seed = map(int, re.findall(r"/(?:depth|budget|seed)(\d+)", place))
    run = run_of(name, depth, budget, seed=seed, lr=lr)
    ending = {"status": "finished", "epochs": budget, "steps": 40 * budget, "parameters": 1778}
    losses = dict.fromkeys(("train_loss", "train_error", "test_loss", "test_error"), depth / 100)
    costs = {"train_seconds": 5.0, "cpu_seconds": 2.0 + seed, "peak_memory_mb": 200.0 + seed}
    job = {"device": "cpu", "host": platform.node(), "attempt": 1, "resumed_after_step": 0}
    record = {**job, **costs, **record}
    folder = results / place
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(to_json(run))
    (folder / "metrics.json").write_text(json.dumps({**ending, **losses, "record": record}))
    (folder / "history.csv").write_text(f"epoch,step\n1,31\n2,{depth}\n")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return the folder of a study in which everything has been trained and measured."""
    folder = tmp_path / "small"
    for cell in CELLS:
        for place in [f"budget{budget}/seed{seed}" for budget in (1, 4) for seed in (3, 1)]:
            write_run(folder, f"runs/{cell}/{place}", 0.1)
        write_run(folder, f"tuning/{cell}/budget4/seed100/lr0.1", 0.1, attempt=2)
        write_run(folder, f"tuning/{cell}/budget4/seed100/lr0.03", 0.03)
        tuning = {"spec": {"tuning": {"seeds": [100]}}, "tuning": {"4": {"0.1": 1, "0.03": None}}}
        for path, text in (
            (folder / f"cells/{cell}.json", json.dumps(tuning)),
            (folder / f"benchmarks/cell/{cell}.tsv", "s\tmax_rss\tcpu_time\n2.5\t100\t-\n"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in ("plain_bn", "residual_bn", "plain_bn_constructed"):
        (folder / f"measures/{name}").mkdir(parents=True)
        for file in ("ntk", "quantities"):
            (folder / f"measures/{name}/{file}.csv").write_text(f"variant,value\n{name},0.5\n")
        runs = [folder / f"runs/{name}/depth{depth}/budget4/seed3" for depth in (8, 14)]
        origin = measured("of now", folder, [run for run in runs if run.exists()])
        (folder / f"measures/{name}/measured.json").write_text(json.dumps(origin))
    return folder


def table(results: Path, name: str, **settings: object) -> pd.DataFrame:
    """Write the tables, and return one of them."""
    write_tables(results, STUDY | settings, EXPECTED)
    return pd.read_csv(results / f"tables/{name}.csv")


def test_rows_are_in_the_order_of_cells_budgets_and_seeds(results: Path) -> None:
    runs = table(results, "runs")
    keys = [tuple(row) for row in runs[["variant", "depth", "budget", "seed"]].to_numpy()]
    networks = [(name, depth) for name in ("residual_bn", "plain_bn") for depth in (14, 8)]
    assert keys == [(*each, *end) for each in networks for end in product((1, 4), (3, 1))]
    assert runs["test_error"].tolist() == (runs["depth"] / 100).tolist()
    tuning = pd.read_csv(results / "tables/tuning.csv")[["lr", "budget", "seed"]]
    assert tuning.to_numpy().tolist() == [[0.1, 4, 100], [0.03, 4, 100]] * 4
    history = pd.read_csv(results / "tables/history.csv")
    assert list(history) == ["dataset", "variant", "depth", "budget", "seed", "epoch", "step"]
    assert history["step"].tolist() == ([31, 14] * 4 + [31, 8] * 4) * 2


def test_cost_is_the_sum_over_runs_and_over_tuning(results: Path) -> None:
    columns = ["runs", "seconds", "peak_memory_mb", "tuning_seconds"]
    # Seconds are the processor's, here of seeds 3 and 1 at two budgets.
    assert (table(results, "cost")[columns] == [4, 2 * (5 + 3), 203, 2 * 102]).all(axis=None)
    # A GPU counts seconds on the clock.
    path = results / "runs/plain_bn/depth8/budget4/seed3/metrics.json"
    path.write_text(path.read_text().replace('"cpu"', '"cuda:0"').replace("5.0", "7.0"))
    cost = table(results, "cost").set_index(["variant", "depth"])
    assert cost.loc[("plain_bn", 8), "seconds"] == 7 + 5 + 3 + 3
    for cell in CELLS:  # a grid of one rate is not tried
        rewrite(results / f"cells/{cell}.json", lambda content: content.update(tuning={}))
    assert table(results, "tuning").empty
    assert (pd.read_csv(results / "tables/cost.csv")["tuning_seconds"] == 0).all()


def test_steps_to_fit_are_those_of_the_budgets_and_between_them() -> None:
    errors = {0: [0.4, 0.16, 0.01], 1: [0.2, 0.2, 0.3], 2: [0.1, 0.9]}  # at budgets of 1, 4 and 16
    rows = [
        {"dataset": "d", "variant": "v", "depth": 8, "seed": seed, "budget": 4**i}
        | {"epochs": 4**i, "steps": 10 * 4**i, "train_error": error}
        for seed, of_seed in errors.items()
        for i, error in enumerate(of_seed)
    ]
    rows[5]["steps"] = 7  # the longest run of seed 1 diverged
    found = steps_to_fit_table(pd.DataFrame(rows[::-1]), 3).set_index(["seed", "threshold"])
    # Seed 2 has not been trained at the longest budget.
    assert sorted(found.index) == [(seed, least) for seed in (0, 1) for least in (0.05, 0.1, 0.2)]
    assert found.loc[(0, 0.1), "steps"] == pytest.approx(40 * 4 ** (0.06 / 0.15))
    assert found.loc[(0, 0.2), "steps"] == pytest.approx(10 * 4 ** (0.2 / 0.24))
    assert found.loc[(1, 0.2), ["steps", "reached"]].tolist() == [10, True]
    assert found.loc[(1, 0.1), ["steps", "reached"]].tolist() == [160, False]


def test_measurements_of_all_variants_are_in_one_table(results: Path) -> None:
    (results / "measures/plain_bn/ntk.csv").write_text("")  # the measure does not apply
    assert table(results, "ntk")["variant"].tolist() == ["residual_bn", "plain_bn_constructed"]
    assert len(pd.read_csv(results / "tables/quantities.csv")) == 3
    (results / "measures/plain_bn/ntk.csv").write_text("variant,other\nplain_bn,1\n")
    assert table(results, "ntk", partial=True)["other"].tolist()[0] == 1
    with pytest.raises(ValueError, match=r"ntk\.csv: columns differ between networks"):
        write_tables(results, STUDY, EXPECTED)


def test_provenance_has_every_run_the_cost_of_each_rule_and_the_code(results: Path) -> None:
    write_tables(results, STUDY, EXPECTED)
    record = provenance(results, [Path("Snakefile")])
    assert len(record["runs"]) == 16 + 8
    assert (record["attempts"], record["resumed"], record["resumed_runs"]) == (2, False, 0)
    assert record["rules"] == {
        "cell": {"jobs": 4, "seconds": 10.0, "cpu_seconds": 0.0, "peak_memory_mb": 100.0},
        "measure": {"jobs": 0, "seconds": None, "cpu_seconds": None, "peak_memory_mb": None},
    }
    assert record["config"] == json.loads((results / "config.json").read_text()) == STUDY
    assert record["code"] == {"Snakefile": of_files([ROOT / "Snakefile"])}
    assert record["machines"] == {"number": 1, "same": True}
    # One run was trained on a node of a cluster.
    path = results / "runs/plain_bn/depth8/budget4/seed3/metrics.json"
    rewrite(path, lambda metrics: metrics["record"].update(host="node7"))
    assert provenance(results, [])["machines"] == {"number": 2, "same": False}


def test_what_is_out_of_date_is_listed_and_kept(results: Path) -> None:
    """Two runs of a cell are of another width, one of another code and data, and so on."""
    for seed in (1, 3):
        path = results / f"runs/plain_bn/depth8/budget1/seed{seed}/run.json"
        rewrite(path, lambda run: run.update(width=5))
    older = results / "runs/plain_bn/depth8/budget4/seed1/run.json"
    rewrite(older, lambda run: run.update(code="older", data="older"))
    rewrite(
        results / "cells/residual_bn/depth14.json", lambda x: x["spec"]["tuning"].update(lrs=[1.0])
    )
    changed = results / "runs/residual_bn/depth8/budget4/seed3/run.json"
    rewrite(changed, lambda run: run.update(lr=0.7))  # after it was measured
    (results / "measures/plain_bn_constructed/measured.json").unlink()
    runs = table(results, "runs", partial=True)
    assert len(runs) == 16
    assert read_missing(results / "tables/missing.csv").fillna(0).to_numpy().tolist() == [
        ["outdated run", "residual_bn", 14, 4, "differs in specification"],
        ["outdated run", "plain_bn", 8, 3, "differs in specification and code and data"],
        ["outdated measurement", "residual_bn", 0, 0, "measured other runs"],
        ["outdated measurement", "plain_bn_constructed", 0, 0, "differs in specification or code"],
    ]


def test_what_is_not_finished_is_listed_with_its_reason(results: Path) -> None:
    for run in ("depth8/budget4/seed1", "depth8/budget4/seed3", "depth14/budget1/seed3"):
        (results / f"runs/plain_bn/{run}/metrics.json").unlink()
    (results / "cells/plain_bn/depth8.json").unlink()
    (results / "measures/residual_bn/quantities.csv").unlink()
    logs = results / "logs"
    (logs / "cell/plain_bn").mkdir(parents=True)
    for depth, text in ((8, "1\n\nNA\n"), (14, "")):
        (logs / f"cell/plain_bn/depth{depth}.log").write_text(text)
    assert len(table(results, "runs", partial=True)) == 13
    tuning = pd.read_csv(results / "tables/tuning.csv")
    assert len(tuning) == 6  # an unfinished cell has chosen none
    missing = read_missing(results / "tables/missing.csv")
    assert missing.fillna(0).to_numpy().tolist() == [
        ["run", "plain_bn", 14, 1, "it ended without a message"],
        ["run", "plain_bn", 8, 2, "NA"],
        ["measurement", "residual_bn", 0, 0, "it has not been started"],
    ]
    measured = pd.read_csv(results / "tables/ntk.csv")["variant"]
    assert measured.tolist() == ["plain_bn", "plain_bn_constructed"]


@pytest.mark.parametrize(
    ("run", "file"),
    [
        ("runs/plain_bn/depth8/budget4/seed1", "run.json"),
        ("runs/plain_bn/depth8/budget1/seed3", "metrics.json"),
        ("tuning/plain_bn/depth8/budget4/seed100/lr0.03", "history.csv"),
    ],
)
def test_a_run_that_its_cell_promised_is_named_with_the_way_out(
    run: str, file: str, results: Path
) -> None:
    (results / run / file).unlink()
    cell = results / "cells/plain_bn/depth8.json"
    message = f"{results / run}: is missing; delete {cell} and it is made again"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        write_tables(results, STUDY, EXPECTED)


def test_a_reason_is_the_last_line_as_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text('first\na, "b" << x >> \u2028 \x00 é\n\n')
    assert last_line(log) == 'a, "b" << x >> \u2028 \x00 é'
    log.write_text("error: first\n  5%|x  |\r 10%|xx |\r")  # a bar, in a job that was killed
    assert last_line(log) == "10%|xx |"
    log.write_bytes(b"\xff" + b"x" * 400)
    assert last_line(log) == "\ufffd" + "x" * (LONGEST - 1) + " …"


def test_a_damaged_run_is_named(results: Path) -> None:
    path = results / "runs/plain_bn/depth8/budget1/seed3/metrics.json"
    path.write_text('{"record": {}}')
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: 'steps' is missing$"):
        write_tables(results, STUDY, EXPECTED)


def test_a_study_without_a_result_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.json"
    data.write_text('{"sha256": ""}')
    study = ("--results", tmp_path, "--settings", json.dumps(STUDY), "--data", data, "--code", "")
    with pytest.raises(SystemExit, match="1"):
        in_process(tables, *study, "--cells", "a=1", "--measurements", "a=1")
    message = f"error: {tmp_path}: no network has been trained and measured yet\n"
    assert capsys.readouterr().err == message


def test_contract_of_the_tables(quick_study: Path) -> None:
    names = ("runs", "tuning", "history", "steps_to_fit", "cost")
    found = {name: pd.read_csv(quick_study / f"tables/{name}.csv") for name in names}
    runs, tuning = found["runs"], found["tuning"]
    assert {name: " ".join(each) for name, each in found.items()} == {
        "runs": "dataset variant depth budget seed lr width epochs steps batch_size parameters "
        "status train_loss train_error test_loss test_error train_seconds device",
        "tuning": "dataset variant depth budget lr seed train_loss train_error status",
        "history": "dataset variant depth budget seed epoch step lr train_loss train_error",
        "steps_to_fit": "dataset variant depth seed threshold steps reached",
        "cost": "variant depth width runs seconds peak_memory_mb tuning_seconds",
    }
    assert (len(runs), len(found["steps_to_fit"]), len(found["cost"])) == (48, 72, 12)
    assert set(runs["status"]) <= {"finished", "diverged"}
    cells = ["variant", "depth", "budget"]
    best = tuning.loc[tuning.groupby(cells)["train_loss"].idxmin()]
    chosen = runs[[*cells, "lr"]].drop_duplicates()
    assert len(chosen) == len(best) == len(chosen.merge(best, on=[*cells, "lr"]))
    quantities = pd.read_csv(quick_study / "tables/quantities.csv")
    assert set(quantities["budget"]) == {runs["budget"].max()}
    record = json.loads((quick_study / "provenance.json").read_text())
    assert record["rules"]["cell"]["jobs"] == 12
    assert record["rules"]["cell"]["peak_memory_mb"] > 50
    assert (record["attempts"], record["resumed"]) == (1, False)
