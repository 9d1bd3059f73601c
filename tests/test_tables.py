"""Tables of a small study that is written by hand, and of the quick study."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import command
from test_variant import RUN, SETTINGS, replaced

from analysis.provenance import rule_cost
from analysis.tables import LONGEST, read_missing, reason, write_tables
from models.variant import read_variants, to_json

STUDY = {
    "study": "small",
    "variants": ["plain_bn", "residual_bn"],
    "interventions": ["plain_bn_constructed"],
    "seeds": [3, 1],
    "compare_depths": {"shallow": 8, "deep": 14},
    "tuning": {"seed": 100, "lrs": [0.1, 0.03]},
    "measures": {"seeds": 1, "ntk": {"examples": 16}},
}
CELLS = [f"{name}/depth{depth}" for name in ("residual_bn", "plain_bn") for depth in (14, 8)]
VARIANTS = read_variants()


def write_run(folder: Path, seed: int, lr: float, **record: object) -> None:
    """Write the files of a run whose error is its depth in per cent."""
    name, depth = folder.parts[-3], int(folder.parts[-2].removeprefix("depth"))
    changes = {"factors": VARIANTS[name].factors, "train": replaced(SETTINGS, lr=lr)}
    run = replaced(RUN, variant=name, depth=depth, seed=seed, **changes)
    ending = {"status": "finished", "epochs": 2, "steps": 80, "parameters": 1778}
    losses = dict.fromkeys(("train_loss", "train_error", "test_loss", "test_error"), depth / 100)
    costs = {"train_seconds": 5.0, "cpu_seconds": 2.0 + seed, "peak_memory_mb": 200.0 + seed}
    record = {"device": "cpu", "attempt": 1, "resumed_after_step": 0, **costs, **record}
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(to_json(run))
    (folder / "metrics.json").write_text(json.dumps({**ending, **losses, "record": record}))
    (folder / "history.csv").write_text(f"epoch,step\n1,31\n2,{depth}\n")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return the folder of a study in which everything has been trained and measured."""
    folder = tmp_path / "small"
    for cell in CELLS:
        for seed in STUDY["seeds"]:
            write_run(folder / f"runs/{cell}/seed{seed}", seed, 0.1)
        for lr in STUDY["tuning"]["lrs"]:
            write_run(folder / f"tuning/{cell}/lr{lr}", 100, lr)
        benchmark = folder / f"benchmarks/tune/{cell}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text("s\tmax_rss\tcpu_time\n2.5\t100\t-\n")
    write_run(folder / "runs/plain_bn/depth8/seed100", 100, 0.1, attempt=2)
    for name in ("plain_bn", "residual_bn", "plain_bn_constructed"):
        (folder / f"measures/{name}").mkdir(parents=True)
        for file in ("ntk", "quantities"):
            (folder / f"measures/{name}/{file}.csv").write_text(f"variant,value\n{name},0.5\n")
    return folder


def table(results: Path, name: str) -> pd.DataFrame:
    """Write the tables, and return one of them."""
    write_tables(results, STUDY, CELLS)
    return pd.read_csv(results / f"tables/{name}.csv")


def test_rows_are_in_the_order_of_cells_and_seeds(results: Path) -> None:
    runs = table(results, "runs")
    keys = [f"{run.variant}/depth{run.depth}/seed{run.seed}" for run in runs.itertuples()]
    # The run from which a network of the tuning grows is left out.
    assert keys == [f"{cell}/seed{seed}" for cell in CELLS for seed in (3, 1)]
    assert runs["test_error"].tolist() == (runs["depth"] / 100).tolist()
    tuning = pd.read_csv(results / "tables/tuning.csv")
    assert tuning["lr"].tolist() == [0.1, 0.03] * 4
    assert set(tuning["seed"]) == {100}
    history = pd.read_csv(results / "tables/history.csv")
    assert list(history) == ["dataset", "variant", "depth", "seed", "epoch", "step"]
    assert history["step"].tolist() == [31, 14, 31, 14, 31, 8, 31, 8] * 2


def test_cost_is_the_mean_of_runs_and_the_sum_of_tuning(results: Path) -> None:
    columns = ["runs", "seconds", "peak_memory_mb", "tuning_seconds"]
    # Seconds are the processor's, here of seeds 3 and 1.
    assert (table(results, "cost")[columns] == [2, (5 + 3) / 2, 203, 2 * 102]).all(axis=None)
    # A GPU counts seconds on the clock.
    path = results / "runs/plain_bn/depth8/seed3/metrics.json"
    path.write_text(path.read_text().replace('"cpu"', '"cuda:0"').replace("5.0", "7.0"))
    cost = table(results, "cost").set_index(["variant", "depth"])
    assert cost.loc[("plain_bn", 8), "seconds"] == (7 + 3) / 2
    # A single learning rate has no tuning runs.
    write_tables(results, STUDY | {"tuning": {"seed": 100, "lrs": [0.1]}}, CELLS)
    assert pd.read_csv(results / "tables/tuning.csv").empty
    assert (pd.read_csv(results / "tables/cost.csv")["tuning_seconds"] == 0).all()


def test_measurements_of_all_variants_are_in_one_table(results: Path) -> None:
    (results / "measures/plain_bn/ntk.csv").write_text("")  # the measure does not apply
    assert table(results, "ntk")["variant"].tolist() == ["residual_bn", "plain_bn_constructed"]
    assert len(pd.read_csv(results / "tables/quantities.csv")) == 3
    (results / "measures/plain_bn/ntk.csv").write_text("variant,other\nplain_bn,1\n")
    with pytest.raises(ValueError, match=r"ntk\.csv: columns differ between networks"):
        write_tables(results, STUDY, CELLS)


def test_provenance_has_every_run_and_the_cost_of_each_rule(results: Path) -> None:
    write_tables(results, STUDY, CELLS)
    record = json.loads((results / "provenance.json").read_text())
    assert len(record["runs"]) == 8 + 8 + 1
    assert (record["attempts"], record["resumed"], record["resumed_runs"]) == (2, False, 0)
    assert record["rules"] == {
        "tune": {"jobs": 4, "seconds": 10.0, "cpu_seconds": 0.0, "peak_memory_mb": 100.0}
    }
    assert record["config"] == json.loads((results / "config.json").read_text()) == STUDY
    assert {"analysis/tables.py", "report/claims.yaml", "Snakefile"} <= record["code"].keys()
    assert rule_cost([results / "benchmarks/none.tsv"]) == {}


def test_what_is_not_finished_is_listed_with_its_reason(results: Path) -> None:
    for run in ("plain_bn/depth8/seed1", "plain_bn/depth14/seed3"):
        (results / f"runs/{run}/metrics.json").unlink()
    (results / "measures/residual_bn/quantities.csv").unlink()
    logs = results / "logs"
    for name, text in (("train/plain_bn/depth8/seed1", "1\n\nNA\n"), ("tune/plain_bn/depth14", "")):
        (logs / name).parent.mkdir(parents=True)
        (logs / f"{name}.log").write_text(text)
    assert len(table(results, "runs")) == 6
    missing = read_missing(results / "tables/missing.csv")
    assert missing.fillna(0).to_numpy().tolist() == [
        ["run", "plain_bn", 14, 3, "it ended without a message"],
        ["run", "plain_bn", 8, 1, "NA"],
        ["measurement", "residual_bn", 0, 0, "it has not been started"],
    ]
    measured = pd.read_csv(results / "tables/ntk.csv")["variant"]
    assert measured.tolist() == ["plain_bn", "plain_bn_constructed"]


@pytest.mark.parametrize("text", ["nan", "a, \"b\", 'c'", "<b>&amp;</b> << x >>", "\u2028 \x00 é"])
def test_a_reason_is_the_last_line_as_it_stands(text: str, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text(f"first\n{text}\n\n")
    assert reason(log) == text.strip()
    log.write_bytes(b"\xff" + b"x" * 400)
    assert reason(log) == "\ufffd" + "x" * (LONGEST - 1) + " …"


def test_a_damaged_run_is_named(results: Path) -> None:
    path = results / "runs/plain_bn/depth8/seed3/metrics.json"
    path.write_text('{"record": {}}')
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: 'epochs' is missing$"):
        write_tables(results, STUDY, CELLS)


def test_a_study_without_a_result_is_refused_in_one_line(tmp_path: Path) -> None:
    settings = json.dumps(STUDY)
    done = command("analysis.tables", "--results", tmp_path, "--settings", settings, "--cells", "a")
    message = f"error: {tmp_path}: no network has been trained and measured yet\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_contract_of_the_tables(quick_study: Path) -> None:
    runs, tuning, history, cost = (
        pd.read_csv(quick_study / f"tables/{name}.csv")
        for name in ("runs", "tuning", "history", "cost")
    )
    assert " ".join(runs) == (
        "dataset variant depth seed lr width epochs steps batch_size parameters status "
        "train_loss train_error test_loss test_error train_seconds"
    )
    assert [len(each) for each in (runs, tuning, history, cost)] == [32, 32, 3 * 32, 16]
    assert set(runs["status"]) <= {"finished", "diverged"}
    assert " ".join(tuning) == "dataset variant depth lr seed train_loss train_error status"
    best = tuning.loc[tuning.groupby(["variant", "depth"])["train_loss"].idxmin()]
    chosen = runs[["variant", "depth", "lr"]].drop_duplicates()
    assert len(chosen) == len(best) == len(chosen.merge(best, on=["variant", "depth", "lr"]))
    assert " ".join(cost) == "variant depth width runs seconds peak_memory_mb tuning_seconds"
    record = json.loads((quick_study / "provenance.json").read_text())
    assert record["rules"]["train"]["jobs"] == 33  # one of them is grown from
    assert record["rules"]["train"]["peak_memory_mb"] > 50
    assert (record["attempts"], record["resumed"]) == (1, False)


def test_a_run_is_repeated_from_its_own_json_alone(quick_project: Path, tmp_path: Path) -> None:
    folders = list(quick_project.glob("results/quick/runs/*/depth*/seed*"))
    assert len(folders) == 8 * 2 * 2 + 1  # a network of the tuning grows from one
    names = {"run.json", "history.csv", "metrics.json", "checkpoint.pt"}
    assert all({path.name for path in folder.iterdir()} == names for folder in folders)
    folder = quick_project / "results/quick/runs/residual_bn/depth8/seed1"
    options = ["--spec", folder / "run.json", "--data", quick_project / "results/data"]
    done = command("models.training.train", *options, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("run.json", "history.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
