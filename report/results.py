"""Read the results folder of a study: its tables, its settings, and why something is missing."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.quantity_labels import quantity_labels
from analysis.tables import read_missing
from models.files import nearest, read_json
from models.variant import read_variants
from report.printing import Source, UnansweredError


def known(name: str, names: Any, what: str) -> Any:
    """Return what has the name, or raise a ValueError that tells the nearest name."""
    if name not in names:
        raise ValueError(f"no {what} has the name {name!r}{nearest(name, names)}")
    return names[name]


def flat(node: dict[str, Any]) -> dict[str, Any]:
    """Return the leaves of nested mappings by their dotted paths."""
    return pd.json_normalize(node).to_dict("records")[0]


def command(
    about: str, act: Callable[[Path], object], source: str = "results/<study>, finished"
) -> None:
    """Be a command on a path: print what `act` returns, or in one line what is wrong."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("source", type=Path, help=source)
    arguments = parser.parse_args()
    try:
        print(act(arguments.source))
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


class Results:
    """The results of one study; all but the settings is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json(folder / "config.json")
        self.depths = self.config["compare_depths"]
        self.budgets = sorted(self.config["budgets"])
        self.variants = read_variants()
        self.labels = quantity_labels()
        self.tables: dict[str, pd.DataFrame] = {}

    @functools.cached_property
    def claims(self) -> dict[str, dict[str, Any]]:
        return {claim["id"]: claim for claim in read_json(self.folder / "claims.json")["claims"]}

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        published = self.folder / "data.json"  # see report/publish.py
        data = self.folder.parent / f"data/{self.config['dataset']}.json"
        return read_json(published if published.exists() else data)

    @functools.cached_property
    def record(self) -> dict[str, Any]:
        """Return provenance.json by dotted paths, with the runs' minutes in place of the runs."""
        record = read_json(self.folder / "provenance.json")
        runs = record.pop("runs", {}).values()  # a published study has the sum alone
        return {"cpu_minutes": sum(run["cpu_seconds"] for run in runs) / 60} | flat(record)

    def table(self, name: str) -> pd.DataFrame:
        """Return tables/<name>.csv, or the claims as a table with a row for each budget."""
        if name == "claims" and name not in self.tables:
            claims = self.claims.values()
            rows = [claim | each for claim in claims for each in claim["judged"]]
            self.tables[name] = pd.DataFrame(rows)
        if name not in self.tables:
            paths = {path.name.split(".")[0]: path for path in self.folder.glob("tables/*.csv*")}
            read = read_missing if name == "missing" else pd.read_csv
            self.tables[name] = read(known(name, paths, "table"))
        return self.tables[name]

    def at_budget(self, table: str, where: dict[str, Any]) -> dict[str, Any]:
        """Return `where` with the longest budget if it has none. "all" asks for every budget."""
        default = self.budgets[-1] if "budget" in self.table(table) else "all"
        where = where | {"budget": where.get("budget") or default}
        return {name: x for name, x in where.items() if (name, x) != ("budget", "all")}

    def select(self, table: str, where: dict[str, Any]) -> pd.DataFrame:
        """Return the rows of a table that have these values; None stands for an empty cell."""
        rows = self.table(table)
        for column, value in self.at_budget(table, where).items():
            if column in ("variant", "quantity"):
                known(value, self.variants if column == "variant" else self.labels, column)
            cells = known(column, rows, f"column of {table}")
            rows = rows[cells.isna() if value is None else cells == value]
        return rows

    def lacking(self, what: str, variant: str, depth: int) -> UnansweredError:
        """Return the error for a network without a run or measurement, with its reason if known."""
        message = f"the study has no {what} of {variant} at depth {depth}"
        rows = self.select("missing", {"variant": variant}).astype(object)
        rows = rows[rows["depth"].isna() | (rows["depth"] == depth)]
        rows = rows[rows["kind"].isin(["run", "measurement"])]  # and not what is out of date
        if rows.empty:
            return UnansweredError(message)
        same_kind = rows["kind"] == what.split()[0]
        where = rows.loc[same_kind.idxmax()].dropna().to_dict()
        reason = where.pop("reason")
        source = Source("tables/missing.csv", "", where, reason)
        return UnansweredError(f"{message} ({reason})", source)

    def of_runs(
        self, column: str, variant: str, depth: int, budget: int | None = None
    ) -> pd.Series:
        """Return a column of a network's runs of a budget, by default the longest, by seed."""
        where = {"variant": variant, "depth": depth, "budget": budget}
        rows = self.select("runs", where).set_index("seed")
        cells = known(column, rows, "column of runs")  # also where no row has it
        if rows.empty:
            raise self.lacking("run", variant, depth)
        return cells.sort_index()

    def of_quantity(self, name: str, variant: str, depth: int, checkpoint: str) -> pd.Series:
        """Return a quantity of a network by seed. It is measured at the longest budget only."""
        where = {"quantity": name, "variant": variant, "depth": depth, "checkpoint": checkpoint}
        rows = self.select("quantities", where).set_index("seed")
        if rows.empty:
            error = self.lacking(f"measurement of {name} at {checkpoint}", variant, depth)
            nowhere = Source("config.json", statistic="the study does not measure it")
            raise UnansweredError(str(error), error.source or nowhere)
        return rows["value"]

    def is_at_edge(self, variant: str, depth: int) -> bool:
        """Return whether a network's learning rate is the lowest or the highest that was tried."""
        where, budget = {"variant": variant, "depth": depth}, self.budgets[-1]
        if self.config["tuning"]["halving"]:  # then all rates had a quarter of the budget only
            budget = budget // 4 or budget
        tried = self.select("tuning", where | {"budget": budget})["lr"]
        return self.select("runs", where)["lr"].isin([tried.min(), tried.max()]).any()
