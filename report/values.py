"""Every number that the text may print, with where it comes from.

    python -m report.values --results results/<study> --manifest results/data/<dataset>.json

A value's key is what a section asks for; its text is what the reader sees. Percentages and
percentage points are printed without their unit, which the prose supplies.
"""

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.looks import LOOKS, QUANTITIES
from analysis.missing import read_missing
from analysis.summary import CONFIDENCE, mean_interval, summarise
from models.files import replacing

MINUS = "\u2212"
NOT_DEFINED = "–"


@dataclass(frozen=True)
class Source:
    """A place in a results folder; `statistic` says what was done with the rows, if anything."""

    file: str
    column: str
    filter: dict = field(default_factory=dict)
    statistic: str = ""


@dataclass(frozen=True)
class Value:
    key: str
    value: float | int | str
    text: str
    unit: str
    source: Source


def fixed(x: float, digits: int) -> str:
    """`x` with so many decimals, a true minus sign, and never a negative zero."""
    text = f"{x:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def count(n: int) -> str:
    """A whole number, its thousands set apart by a narrow space."""
    return f"{n:,}".replace(",", "\u202f").replace("-", MINUS)


def listed(items: list) -> str:
    """Items as prose lists them: "8, 20 and 56"."""
    if not items:
        return "none"
    *most, last = [f"{item:g}" if isinstance(item, float) else str(item) for item in items]
    return f"{', '.join(most)} and {last}" if most else last


def probability(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def from_config(config: dict) -> Iterator[Value]:
    """Every setting, by its path: config.training.epochs."""

    def walk(node: dict, path: str) -> Iterator[Value]:
        for key, item in node.items():
            name = f"{path}.{key}" if path else key
            source = Source("config.json", name)
            if isinstance(item, dict):
                yield from walk(item, name)
            elif isinstance(item, list):
                yield Value(f"config.{name}", listed(item), listed(item), "", source)
                n = Source("config.json", name, statistic="number of items")
                yield Value(f"config.{name}.n", len(item), str(len(item)), "", n)
            else:
                text = f"{item:g}" if isinstance(item, float) else str(item)
                yield Value(f"config.{name}", item, text, "", source)

    return walk(config, "")


def from_manifest(manifest: dict, file: str) -> Iterator[Value]:
    for key in ("name", "train_examples", "test_examples", "classes"):
        item = manifest[key]
        text = item if isinstance(item, str) else count(item)
        yield Value(f"data.{key}", item, text, "", Source(file, key))
    length = Source(file, "shape", statistic="last axis")
    yield Value("data.length", manifest["shape"][-1], count(manifest["shape"][-1]), "", length)


def from_runs(runs: pd.DataFrame, classes: int) -> Iterator[Value]:
    """Means and intervals over seeds of each (variant, depth), and its fixed facts."""
    file = "tables/runs.csv"
    for column, unit, scale, digits in (
        ("train_error", "%", 100, 1), ("test_error", "%", 100, 1), ("train_loss", "nats", 1, 3),
    ):  # fmt: skip
        # A diverged run has an error but no loss; a loss is averaged where every run has one.
        whole = runs.groupby(["variant", "depth"])[column].transform(lambda x: x.notna().all())
        for row in summarise(runs[whole], ["variant", "depth"], column).itertuples():
            where = {"variant": row.variant, "depth": row.depth}
            for name, x, statistic in (
                ("mean", row.mean, "mean over seeds"),
                ("low", row.low, "lower end of the interval over seeds"),
                ("high", row.high, "upper end of the interval over seeds"),
                ("half", row.high - row.mean, "half width of the interval over seeds"),
            ):
                key = f"{column}.{row.variant}.{row.depth}.{name}"
                if math.isfinite(x):  # one run alone, of a partial study, has no interval
                    yield Value(key, scale * x, fixed(scale * x, digits), unit,
                                Source(file, column, where, statistic))  # fmt: skip
    for (variant, depth), cell in runs.groupby(["variant", "depth"]):
        where = {"variant": variant, "depth": int(depth)}
        lr, parameters = float(cell["lr"].iloc[0]), int(cell["parameters"].iloc[0])
        yield Value(f"lr.{variant}.{depth}", lr, f"{lr:g}", "", Source(file, "lr", where))
        yield Value(
            f"parameters.{variant}.{depth}", parameters, count(parameters), "parameters",
            Source(file, "parameters", where),
        )  # fmt: skip
        yield counted(f"diverged.{variant}.{depth}", cell, "status", "diverged", file, where)
        # A diverged run stops early, so the most steps of a cell are what all were to have.
        steps = int(cell["steps"].max())
        yield Value(f"steps.{variant}.{depth}", steps, count(steps), "steps",
                    Source(file, "steps", where, "maximum"))  # fmt: skip
    for run in runs.itertuples():
        where = {"variant": run.variant, "depth": run.depth, "seed": run.seed}
        for column, unit, scale, digits in (
            ("train_error", "%", 100, 1), ("test_error", "%", 100, 1),
            ("train_loss", "nats", 1, 3), ("train_seconds", "s", 1, 1),
        ):  # fmt: skip
            x = scale * float(getattr(run, column))
            known = math.isfinite(x)
            yield Value(f"run.{run.variant}.{run.depth}.{run.seed}.{column}",
                        x if known else NOT_DEFINED, fixed(x, digits) if known else NOT_DEFINED,
                        unit, Source(file, column, where))  # fmt: skip
    steps = int(runs["steps"].mode().max())
    yield Value("steps", steps, count(steps), "steps", Source(file, "steps", statistic="mode"))
    yield Value("runs.n", len(runs), count(len(runs)), "runs", Source(file, "", {}, "rows"))
    yield counted("runs.diverged", runs, "status", "diverged", file, {})
    guess = math.log(classes) - 0.01
    n = int((runs["train_loss"] > guess).sum())
    source = Source(file, "train_loss", {}, f"rows above {guess:.3f}, the loss of a guess")
    yield Value("runs.at_chance", n, count(n), "runs", source)


def from_interventions(runs: pd.DataFrame, config: dict) -> Iterator[Value]:
    """What each intervention does to the training error of its host at the greater depth:
    differences within a seed, in percentage points; and how many of them are clear of zero, for
    networks without shortcuts (plain) and with."""
    file = "tables/runs.csv"
    pair = [config["compare_depths"][role] for role in ("shallow", "deep")]
    cells = runs[runs["depth"].isin(pair)].pivot_table("train_error", "seed", ["depth", "variant"])
    errors, deep = cells[pair[1]], pair[1]
    changes = {}
    for variant in config["interventions"]:
        host = LOOKS[variant].host
        look = Source("analysis/looks.py", "LOOKS", {"variant": variant})
        yield Value(f"host.{variant}", host, LOOKS[host].label, "", look)
        if not {variant, host} <= set(errors) or (errors[variant] - errors[host]).count() < 2:
            continue
        change = changes[variant] = mean_interval(100 * (errors[variant] - errors[host]).dropna())
        where = {"variant": [variant, host], "depth": deep}
        for name in ("mean", "low", "high"):
            x = getattr(change, name)
            statistic = f"difference within seeds: {name}"
            yield Value(f"change.{variant}.{name}", x, fixed(x, 1), "percentage points",
                        Source(file, "train_error", where, statistic))  # fmt: skip
        half = 50 * (cells[pair[0]][host] - errors[host]).mean()
        yield Value(f"half.{variant}", half, fixed(half, 1), "percentage points",
                    Source(file, "train_error", {"variant": host, "depth": pair},
                           "half of the difference of means"))  # fmt: skip
    for kind in ("plain", "residual"):
        here = {name: c for name, c in changes.items() if LOOKS[name].host.startswith(kind)}
        for name, those in {
            "n": list(here),
            "lower": [name for name, change in here.items() if change.high < 0],
            "higher": [name for name, change in here.items() if change.low > 0],
        }.items():
            source = Source(file, "train_error", {"variant": those, "depth": deep}, "variants")
            yield Value(f"interventions.{kind}.{name}", len(those), count(len(those)), "", source)


def counted(key: str, table: pd.DataFrame, column: str, item: str, file: str, where: dict) -> Value:
    """How many rows have `item` in `column`."""
    n = int((table[column] == item).sum())
    return Value(key, n, count(n), "runs", Source(file, column, {**where, column: item}, "rows"))


def from_tuning(tuning: pd.DataFrame, runs: pd.DataFrame, grid: list[float]) -> Iterator[Value]:
    """How the learning rates were found; a best one at the grid's edge is counted."""
    file = "tables/tuning.csv"
    yield Value("tuning.n", len(tuning), count(len(tuning)), "runs", Source(file, "", {}, "rows"))
    yield counted("tuning.diverged", tuning, "status", "diverged", file, {})
    chosen = runs.drop_duplicates(["variant", "depth"])
    yield Value(
        "tuning.cells", len(chosen), count(len(chosen)), "pairs",
        Source(file, "variant, depth", {}, "distinct pairs"),
    )  # fmt: skip
    for name, edge in (("lowest", min(grid)), ("highest", max(grid))):
        n = int((chosen["lr"] == edge).sum())
        source = Source("tables/runs.csv", "lr", {"lr": float(edge)}, "distinct (variant, depth)")
        yield Value(f"tuning.at_{name}", n, count(n), "pairs", source)


def from_claims(claims: list[dict]) -> Iterator[Value]:
    """Each claim's effect, interval and p-values, dashes where it was not tested; and how many
    claims have each verdict."""
    file = "claims.json"
    for claim in claims:
        where, digits = {"id": claim["id"]}, 1 if claim["unit"] == "percentage points" else 2
        for name, column, text in (
            ("effect", "effect", lambda x, digits=digits: fixed(x, digits)),
            ("low", "ci_low", lambda x, digits=digits: fixed(x, digits)),
            ("high", "ci_high", lambda x, digits=digits: fixed(x, digits)),
            ("smallest_effect", "smallest_effect", lambda x: f"{x:g}".replace("-", MINUS)),
            ("n", "n", count),
            ("p_value", "p_value", probability),
            ("p_adjusted", "p_adjusted", probability),
            ("not_tested", "not_tested", str),
        ):
            x = claim[column]
            unit = claim["unit"] if name in ("effect", "low", "high", "smallest_effect") else ""
            known = x is not None
            yield Value(f"claim.{claim['id']}.{name}", x if known else NOT_DEFINED,
                        text(x) if known else NOT_DEFINED, unit,
                        Source(file, column, where))  # fmt: skip
    n = Source(file, "id", {}, "rows")
    yield Value("claims.n", len(claims), str(len(claims)), "claims", n)
    contrasts = len({(claim["metric"], claim["contrast"]) for claim in claims})
    source = Source(file, "metric, contrast", {}, "distinct pairs")
    yield Value("claims.contrasts", contrasts, str(contrasts), "contrasts", source)
    for verdict in ("supported", "contradicted", "inconclusive", "not tested"):
        n = sum(claim["verdict"] == verdict for claim in claims)
        source = Source(file, "verdict", {"verdict": verdict}, "rows")
        yield Value(f"claims.{verdict}", n, str(n), "claims", source)


def from_errata(errata: pd.DataFrame) -> Iterator[Value]:
    for row in errata.itertuples():
        source = Source("tables/errata.csv", "value", {"name": row.name})
        text = significant(row.value) if abs(row.value) > 1e-12 else "0"
        yield Value(f"errata.{row.name}", float(row.value), text, "", source)


def significant(x: float) -> str:
    """Three significant digits, with a power of ten where that is shorter."""
    if x == 0 or 1e-3 <= abs(x) < 1e5:
        digits = 0 if x == 0 else max(0, 2 - math.floor(math.log10(abs(x))))
        return fixed(x, digits)
    mantissa, exponent = f"{x:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"{mantissa} × 10{raised}".replace("-", MINUS)


def from_quantities(quantities: pd.DataFrame, compared: list[str]) -> Iterator[Value]:
    """The scalars of each measure at the start and the end of the compared networks: means over
    the measured seeds, or a dash where a network has none (a gradient of zero has no direction)."""
    file, columns = "tables/quantities.csv", ["quantity", "variant", "depth", "checkpoint"]
    cells = dict(list(quantities.groupby(columns)["value"]))
    n = quantities["seed"].nunique()
    yield Value("quantities.seeds", n, count(n), "seeds", Source(file, "seed", {}, "distinct"))
    names, depths = (sorted(set(quantities[column])) for column in ("quantity", "depth"))
    for key in itertools.product(names, compared, depths, ["init", "end"]):
        name = ".".join(str(part) for part in ("measured", *key))
        source = Source(file, "value", dict(zip(columns, key, strict=True)), "mean over seeds")
        if key in cells and np.isfinite(cells[key]).all():
            mean = float(cells[key].mean())
            yield Value(name, mean, significant(mean), "", source)
        else:
            yield Value(name, NOT_DEFINED, NOT_DEFINED, "", source)


def from_race(race: pd.DataFrame) -> Iterator[Value]:
    """Each correlation with its interval, and how the predictions fared. One that does not exist,
    because too few networks differ, is a dash."""
    file = "tables/horse_race.csv"
    table = race.set_index(["quantity", "target", "method"])
    predicted = race.drop_duplicates("quantity")
    names = " ".join(predicted["quantity"])
    yield Value("race.quantities", names, names, "", Source(file, "quantity"))
    n = len(predicted)
    yield Value("race.n", n, count(n), "", Source(file, "quantity", {}, "distinct"))
    largest = int(race["n"].max())
    yield Value("race.networks", largest, count(largest), "", Source(file, "n", {}, "maximum"))
    for row in predicted.itertuples():
        where = {"quantity": row.quantity}
        label = QUANTITIES[row.quantity]
        yield Value(f"race.{row.quantity}.label", label, label, "",
                    Source("analysis/looks.py", "QUANTITIES", where))  # fmt: skip
        yield Value(f"race.{row.quantity}.theory", row.theory, row.theory, "",
                    Source(file, "theory", where))  # fmt: skip
        sign = "+" if row.sign > 0 else MINUS
        yield Value(f"race.{row.quantity}.sign", row.sign, sign, "", Source(file, "sign", where))
        for target, method in itertools.product(("train_loss", "gap"), ("overall", "granulated")):
            found = (row.quantity, target, method) in table.index
            for column in ("tau", "low", "high"):
                x = float(table.loc[(row.quantity, target, method), column]) if found else None
                source = Source(file, column, {**where, "target": target, "method": method})
                known = x is not None and math.isfinite(x)
                yield Value(
                    f"race.{row.quantity}.{target}.{method}.{column}",
                    x if known else NOT_DEFINED, fixed(x, 2) if known else NOT_DEFINED, "", source,
                )  # fmt: skip
    for target, method in itertools.product(("train_loss", "gap"), ("overall", "granulated")):
        here = race[(race["target"] == target) & (race["method"] == method)]
        where = {"target": target, "method": method}
        ends = here[["low", "high"]].mul(here["sign"], axis=0)  # positive: as predicted
        for name, those in {
            "as_predicted": ends.min(axis=1) > 0,
            "opposite": ends.max(axis=1) < 0,
        }.items():
            n = int(those.sum())
            yield Value(f"race.{target}.{method}.{name}", n, count(n), "",
                        Source(file, "low, high", where, "quantities"))  # fmt: skip


def from_provenance(record: dict) -> Iterator[Value]:
    file = "provenance.json"
    host = record["host"]
    for key in ("processor", "python"):
        yield Value(f"host.{key}", host[key], host[key], "", Source(file, f"host.{key}"))
    yield Value("host.cores", host["cores"], count(host["cores"]), "", Source(file, "host.cores"))
    memory = fixed(host["memory_gb"], 0)
    yield Value("host.memory", host["memory_gb"], memory, "GB", Source(file, "host.memory_gb"))
    for name in ("torch", "snakemake", "numpy", "pandas", "scipy"):
        version = record["packages"][name]
        yield Value(f"version.{name}", version, version, "", Source(file, f"packages.{name}"))
    for rule, cost in record["rules"].items():
        for column, digits, unit in (
            ("jobs", 0, "jobs"), ("seconds", 0, "s"), ("peak_memory_mb", 0, "MB"),
        ):  # fmt: skip
            source = Source(file, f"rules.{rule}.{column}")
            key = f"cost.{rule}.{column}"
            yield Value(key, cost[column], fixed(cost[column], digits), unit, source)
    minutes = sum(run["cpu_seconds"] for run in record["runs"].values()) / 60
    yield Value(
        "cost.training_minutes", minutes, fixed(minutes, 1), "min",
        Source(file, "runs.*.cpu_seconds", {}, "sum"),
    )  # fmt: skip
    for key in ("attempts", "resumed_runs"):
        yield Value(f"cost.{key}", record[key], count(record[key]), "", Source(file, key))


def from_cost(cost: pd.DataFrame, forecast: pd.DataFrame, config: dict) -> Iterator[Value]:
    """What a layer and a multiply-add take by the fit, how good it is, and what more would cost."""
    file = "tables/forecast.csv"
    for row in forecast.drop_duplicates("processor").itertuples():
        where = {"processor": row.processor}
        for key, x, digits, column in (
            ("layer", 1e6 * row.seconds_a_layer, 0, "seconds_a_layer"),
            ("product", 1e12 * row.seconds_a_product, 1, "seconds_a_product"),  # of a million
        ):
            yield Value(f"cost.{row.processor}.{key}", x, fixed(x, digits), "µs",
                        Source(file, column, where))  # fmt: skip
    for row in forecast[forecast["study"] == "cifar10"].itertuples():
        where = {"study": row.study, "processor": row.processor}
        name, jobs = f"cost.cifar10.{row.processor}", row.tune + row.train + row.measure
        hours, gigabytes = fixed(row.hours, 0), fixed(row.gigabytes, 1)
        yield Value(f"{name}.jobs", jobs, count(jobs), "jobs",
                    Source(file, "tune, train, measure", where, "sum"))  # fmt: skip
        yield Value(f"{name}.hours", row.hours, hours, "h", Source(file, "hours", where))
        yield Value(f"{name}.gigabytes", row.gigabytes, gigabytes, "GB",
                    Source(file, "gigabytes", where))  # fmt: skip
    file = "tables/cost.csv"
    miss = 100 * (cost["fitted_seconds"] / cost["seconds"] - 1).abs().median()
    yield Value("cost.fit_miss", miss, fixed(miss, 0), "%",
                Source(file, "fitted_seconds", {}, "median distance from seconds"))  # fmt: skip
    own = forecast[forecast["processor"] == "own"].iloc[0]
    share = 100 * own["seconds_a_layer"] * cost["layers"].sum() / cost["fitted_seconds"].sum()
    yield Value("cost.layer_share", share, fixed(share, 0), "%",
                Source(file, "fitted_seconds", {}, "share that is for layers"))  # fmt: skip
    minutes = cost["seconds"].sum() / 60
    yield Value("cost.seed_minutes", minutes, fixed(minutes, 1), "min",
                Source(file, "seconds", {}, "sum"))  # fmt: skip
    yield Value("cost.seed_jobs", len(cost), count(len(cost)), "jobs", Source(file, "", {}, "rows"))
    pair = list(config["compare_depths"].values())
    compared = cost[cost["depth"].isin(pair)]
    taken = compared["seconds"] * len(config["seeds"]) + compared["tuning_seconds"]
    minutes = taken.groupby(compared["variant"]).sum().median() / 60
    yield Value("cost.variant_minutes", minutes, fixed(minutes, 1), "min",
                Source(file, "seconds, tuning_seconds", {"depth": pair},
                       "median over variants of all seeds and tuning"))  # fmt: skip
    for key, depth in (("shallow", cost["depth"].min()), ("deep", cost["depth"].max())):
        memory = cost[cost["depth"] == depth]["peak_memory_mb"].median()
        where = {"depth": int(depth)}
        yield Value(f"cost.memory.{key}", memory, fixed(memory, 0), "MB",
                    Source(file, "peak_memory_mb", where, "median over variants"))  # fmt: skip
        yield Value(f"cost.depth.{key}", int(depth), str(depth), "", Source(file, "depth", where))


CELL = ("train_error", "test_error", "train_loss", "lr", "parameters", "diverged", "steps", "run")


def from_gaps(config: dict, missing: pd.DataFrame) -> Iterator[dict]:
    """The beginnings of keys that may lack a value, each with the reason: the text prints a dash
    for them. A key that has a value is no gap, whatever it begins with."""
    for name in {quantity.split(".")[0] for quantity in QUANTITIES} - config["measures"].keys():
        yield {"prefix": f"measured.{name}.", "reason": "the study does not measure it"}
    for row in missing[missing["kind"] == "run"].itertuples():
        reason = f"a run of {row.variant} is missing: {row.reason}"
        cell = f"{row.variant}.{row.depth:.0f}"
        for prefix in (*[f"{name}.{cell}" for name in CELL],
                       f"change.{row.variant}.", f"half.{row.variant}"):  # fmt: skip
            yield {"prefix": prefix, "reason": reason}
        for name, look in LOOKS.items():
            if look.host == row.variant:
                yield {"prefix": f"change.{name}.", "reason": reason}
                yield {"prefix": f"half.{name}", "reason": reason}
    if config["partial"]:
        yield {"prefix": "cost.", "reason": "the study is not finished"}


def from_missing(missing: pd.DataFrame, wanted: int) -> Iterator[Value]:
    """What is not there, row by row, and how much of all."""
    file = "tables/missing.csv"
    for kind in ("run", "measurement"):
        n = int((missing["kind"] == kind).sum())
        source = Source(file, "kind", {"kind": kind}, "rows")
        yield Value(f"missing.{kind}s", n, count(n), f"{kind}s", source)
    yield Value("missing.wanted", wanted, count(wanted), "runs", Source("config.json", "seeds"))
    for i, row in enumerate(missing.itertuples()):
        what = LOOKS[row.variant].label
        if row.kind == "run":
            what += f", depth {row.depth:.0f}, seed {row.seed:.0f}"
        where = {"row": i}
        yield Value(f"missing.{i}.kind", row.kind, row.kind, "", Source(file, "kind", where))
        yield Value(f"missing.{i}.what", what, what, "", Source(file, "variant", where))
        yield Value(f"missing.{i}.reason", row.reason, row.reason, "",
                    Source(file, "reason", where))  # fmt: skip


def collect(results: Path, manifest: Path) -> tuple[list[Value], list[dict]]:
    """All values of a study, and its gaps.

    Raises:
        ValueError: a number is not finite, or a key is given twice.
    """
    read = {name: json.loads((results / f"{name}.json").read_text())
            for name in ("config", "claims", "provenance")}  # fmt: skip
    runs = pd.read_csv(results / "tables/runs.csv")
    tuning = pd.read_csv(results / "tables/tuning.csv")
    quantities = pd.read_csv(results / "tables/quantities.csv")
    missing = read_missing(results / "tables/missing.csv")
    read_manifest = json.loads(manifest.read_text())
    look = Source("analysis/looks.py", "LOOKS")
    values = [
        Value("confidence", CONFIDENCE, f"{100 * CONFIDENCE:g}", "%",
              Source("analysis/summary.py", "CONFIDENCE")),
        *[Value(f"label.{name}", LOOKS[name].label, LOOKS[name].label, "", look)
          for name in (*read["config"]["variants"], *read["config"]["interventions"])],
        *from_config(read["config"]),
        *from_manifest(read_manifest, manifest.name),
        *from_runs(runs, read_manifest["classes"]),
        *from_interventions(runs, read["config"]),
        *from_tuning(tuning, runs, read["config"]["tuning"]["lrs"]),
        *from_claims(read["claims"]["claims"]),
        *from_errata(pd.read_csv(results / "tables/errata.csv")),
        *from_quantities(quantities, read["config"]["variants"]),
        *from_race(pd.read_csv(results / "tables/horse_race.csv")),
        *from_provenance(read["provenance"]),
        *from_cost(pd.read_csv(results / "tables/cost.csv"),
                   pd.read_csv(results / "tables/forecast.csv"), read["config"]),
        *from_missing(missing, len(runs) + int((missing["kind"] == "run").sum())),
    ]  # fmt: skip
    keys = set()
    for value in values:
        if isinstance(value.value, float) and not math.isfinite(value.value):
            raise ValueError(f"values: '{value.key}' is {value.value}")
        if value.key in keys:
            raise ValueError(f"values: '{value.key}' is given twice")
        keys.add(value.key)
    return values, list(from_gaps(read["config"], missing))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    arguments = parser.parse_args()
    values, gaps = collect(arguments.results, arguments.manifest)
    content = {"values": [asdict(value) for value in values], "gaps": gaps}
    with replacing(arguments.results / "values.json") as path:
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
