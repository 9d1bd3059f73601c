"""The queries that the text may ask of a study's results.

A query such as `mean("train_error", "plain_bn", 56)` reads a table, rounds, and returns the answer
with its source. Nothing else may print a number: templates/numbers.lua refuses every other digit.
The answer is at the study's longest budget unless the query says, for example, budget=2.

A query about runs that are missing, or about the loss of a run that diverged, prints a dash with
the reason as its source. Any other query without an answer raises a ValueError of one line.
"""

import math
from collections.abc import Mapping
from typing import Any

import jinja2

from analysis.summary import CONFIDENCE, mean_interval, median_steps
from report.claims import NOT_TESTED, OPEN, POINTS, Sentences
from report.printing import DASH, Source, UnansweredError, Value, listed, number, query, shown
from report.results import Results, flat, known

SPOKEN = ("points", "decades", "decades of loss", "of the gradient's norm")  # units in prose
SIGNS = {"supported": "+", "contradicted": "−", OPEN: "?", NOT_TESTED: "·"}
SETTLED = {"supported", "contradicted"}


class Values:
    """The queries, which the text may call. `asked` keeps the answers.

    `sentences` has what the text says of claims. `study` is the name of one of `published`.
    """

    def __init__(
        self,
        results: Results,
        sentences: Mapping[str, Sentences],
        asked: dict[str, Value],
        published: Mapping[str, Results] = {},
        study: str = "",
    ) -> None:
        self._results = results
        self._sentences = sentences
        self._asked = asked
        self._study = study
        self.published = {
            name: Values(other, sentences, asked, study=name) for name, other in published.items()
        }

    def _from(self, table: str, column: str, where: dict, statistic: str = "") -> Source:
        """Return the source of what was taken from the rows of a table."""
        file = "claims.json" if table == "claims" else f"tables/{table}.csv"
        return Source(file, column, self._results.at_budget(table, where), statistic)

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """Return rows for a loop, whose cells a query such as `cell` has to print."""
        rows = self._results.select(table, where).astype(object)
        return rows.where(rows.notna(), None).to_dict("records")

    @query
    def count(self, table: str, **where: Any) -> Value:
        """Print the number of rows of a table that have these values."""
        source = self._from(table, "", where, "rows")
        return shown("", len(self._results.select(table, where)), source)

    @query
    def distinct(self, table: str, *columns: str, **where: Any) -> Value:
        """Print the number of distinct combinations of values in these columns."""
        rows = self._results.select(table, where)
        for column in columns:
            known(column, rows, f"column of {table}")
        n = len(rows[list(columns)].drop_duplicates())
        return shown("", n, self._from(table, ", ".join(columns), where, "distinct"))

    @query
    def cell(self, table: str, column: str, **where: Any) -> Value:
        """Print the one value that a column has in the rows with these values."""
        found = known(column, self._results.select(table, where), f"column of {table}").unique()
        if len(found) == 0 and {"variant", "depth"} <= where.keys():
            kind = "run" if table in ("runs", "history", "tuning", "cost") else "measurement"
            raise self._results.lacking(kind, where["variant"], where["depth"])
        if len(found) != 1:
            raise ValueError(f"table {table}: {column} has {len(found)} values where {where}")
        return shown(column, found[0], self._from(table, column, where))

    def _over_seeds(self, statistic: str, column: str, *network: Any) -> Value:
        """Return the mean of a column, or half the width of its interval."""
        cells = self._results.of_runs(column, *network)
        where = dict(zip(("variant", "depth", "budget"), network, strict=True))
        source = self._from("runs", column, where, f"{statistic} over seeds")
        if cells.isna().any():  # a run that diverged has an error and no loss
            raise UnansweredError(source=source)
        mean, _, high, _ = mean_interval(cells)
        value = shown(column, mean if statistic == "mean" else high - mean, source)
        return value.by_error(100 * (high - mean)) if column.endswith("error") else value

    @query
    def mean(self, column: str, variant: str, depth: int, budget: int | None = None) -> Value:
        """Print the mean over seeds of train_error or test_error (%), or of train_loss (nats)."""
        return self._over_seeds("mean", column, variant, depth, budget)

    @query
    def half(self, column: str, variant: str, depth: int, budget: int | None = None) -> Value:
        """Print half the width of the interval over seeds."""
        return self._over_seeds("half width of the interval", column, variant, depth, budget)

    @query
    def steps(self, budget: int | None = None) -> Value:
        """Print the number of steps that most runs of a budget have."""
        steps = self._results.select("runs", {"budget": budget})["steps"].mode().max()
        return shown("steps", steps, self._from("runs", "steps", {"budget": budget}, "mode"))

    @query
    def steps_to_fit(self, variant: str, depth: int, threshold: float = 0.1) -> Value:
        """Print the median of the steps to a training error; > if half of them do not get there."""
        where = {"variant": variant, "depth": depth, "threshold": threshold}
        rows = self._results.select("steps_to_fit", where)
        if rows.empty:
            raise self._results.lacking("run", variant, depth)
        median, reached = median_steps(rows)
        sign = "" if reached else ">\u202f"
        source = self._from("steps_to_fit", "steps", where, "median")
        return Value(median, sign + number(median, ",.0f"), "", source)

    @query
    def at_chance(self, budget: int | str | None = None) -> Value:
        """Print how many runs ended with a training loss of a uniform guess or more."""
        guess, where = math.log(self._results.manifest["classes"]) - 0.01, {"budget": budget}
        n = (self._results.select("runs", where)["train_loss"] > guess).sum()
        what = f"rows above {guess:.3f}, the loss of a guess"
        return shown("", n, self._from("runs", "train_loss", where, what))

    @query
    def count_at_edge(self) -> Value:
        """Print how many networks have the lowest or highest learning rate that was tried."""
        networks = self._results.select("runs", {})[["variant", "depth"]].drop_duplicates()
        n = sum(self._results.is_at_edge(*network) for network in networks.itertuples(index=False))
        return shown("", n, self._from("runs", "lr", {}, "networks at an edge of tuning.csv"))

    @query
    def count_close_rates(self, points: float) -> Value:
        """Print how many networks err at most some points more at their second-best rate."""
        rows = self._results.select("tuning", {}).fillna({"train_loss": math.inf})  # it diverged
        means = rows.groupby(["variant", "depth", "lr"])[["train_loss", "train_error"]].mean()
        errors = means.sort_values("train_loss", kind="stable")["train_error"]
        leads = errors.groupby(level=[0, 1]).diff().groupby(level=[0, 1]).nth(1)
        what = f"networks whose best rates are at most {points:g} points apart"
        n = (leads <= points / 100).sum()
        return shown("", n, self._from("tuning", "train_error", {}, what))

    @query
    def quantity(self, name: str, variant: str, depth: int, checkpoint: str = "init") -> Value:
        """Print the mean of a quantity over the measured seeds."""
        where = {"quantity": name, "variant": variant, "depth": depth, "checkpoint": checkpoint}
        measured = ["init", "end", *self._results.table("quantities")["checkpoint"]]
        known(checkpoint, dict.fromkeys(measured), "checkpoint")
        cells = self._results.of_quantity(name, variant, depth, checkpoint)
        mean = cells.mean(skipna=False)
        return shown("", mean, self._from("quantities", "value", where, "mean over seeds"))

    @query
    def count_correlations(self, target: str, method: str, side: str) -> Value:
        """Print how many quantities have their whole interval on the predicted or opposite side."""
        where = {"target": target, "method": method}
        rows = self._results.select("rank_correlation", where)
        ends = rows[["low", "high"]].mul(rows["sign"], axis=0)  # positive: as predicted
        sides = {"predicted": ends.min(axis=1) > 0, "opposite": ends.max(axis=1) < 0}
        n = known(side, sides, "side").sum()
        return shown("", n, self._from("rank_correlation", "low, high", where, "quantities"))

    def claim(self, name: str, budget: int | None = None) -> dict[str, Any]:
        """Return a claim of claims.json, for conditions."""
        claim = known(name, self._results.claims, "claim")
        budgets = {str(each["budget"]): each for each in claim["judged"]}
        return claim | known(str(budget), budgets, "budget of the claims") if budget else claim

    @query
    def of_claim(self, name: str, column: str, budget: int | None = None) -> Value:
        """Print a field of a claim, such as effect, ci_low, budget or not_tested."""
        claim, where = self.claim(name, budget), {"id": name, "budget": budget}
        x, source = known(column, claim, "field of a claim"), self._from("claims", column, where)
        if x is None:
            raise UnansweredError(source=self._from("claims", "", where, claim["not_tested"]))
        if column in ("effect", "ci_low", "ci_high"):
            if claim["unit"] == POINTS:
                half = (claim["ci_high"] - claim["ci_low"]) / 2
                # The end of an interval is not rounded to the size that decides the verdict.
                decides = round(x) == claim["smallest_effect"] != x
                return shown("points", x, source).by_error(0 if decides else half)
            return Value(x, number(x, "z.2f"), claim["unit"], source)
        return shown(column, x, source)

    def effect(self, name: str) -> str:
        """Print a claim's effect with unit and interval, or a dash if it was not tested."""
        mean, low, high = (self.of_claim(name, part) for part in ("effect", "ci_low", "ci_high"))
        unit = {POINTS: "points"}.get(self.claim(name)["unit"], self.claim(name)["unit"])
        unit = f"&nbsp;{unit}" if unit in SPOKEN else ""
        return f"{mean}{unit}, {low}&nbsp;to&nbsp;{high}"

    def _has_tested(self, name: str) -> bool:
        """Return whether this study has a verdict on a claim, which a published one may lack."""
        return self._results.claims.get(name, {}).get("verdict", NOT_TESTED) != NOT_TESTED

    def tested(self, names: list[str]) -> list[str]:
        """Return those of some claims on which this study or a published one has a verdict."""
        for name in names:
            self.claim(name)  # refuses an unknown one
        studies = [self, *self.published.values()]
        return [name for name in names if any(study._has_tested(name) for study in studies)]

    def verdict(self, name: str, budget: int | None = None) -> str:
        """Print a verdict as a link to the claim's row."""
        verdict = self.claim(name, budget)["verdict"]
        return f"[{verdict}](#claim-{name}){{.verdict .{verdict.replace(' ', '-')}}}"

    def _judged(self, name: str, budget: int | None = None) -> str:
        """Return a verdict after a sentence, which says the opposite of a contradicted claim."""
        opposite = self.claim(name, budget)["verdict"] == "contradicted"
        return ("prediction " if opposite else "") + self.verdict(name, budget)

    def signs(self, name: str) -> str:
        """Print a sign for a claim's verdict at each budget, as HTML that links to its row."""
        if name not in self._results.claims:
            return DASH
        return "&nbsp;".join(
            f'<a href="#claim-{name}" class="verdict {each["verdict"].replace(" ", "-")}" '
            f'title="{each["verdict"]}">{SIGNS[each["verdict"]]}</a>'
            for each in self.claim(name)["judged"]
        )

    def agreement(self, study: str) -> dict[str, Any]:
        """Return how many claims this and a published study both settle, and how many alike.

        `differ` lists the others. Each study is taken at its longest budget.
        """
        theirs = known(study, self.published, "published study")._results.claims
        pairs = {
            name: (claim["verdict"], theirs[name]["verdict"])
            for name, claim in self._results.claims.items()
            if name in theirs and {claim["verdict"], theirs[name]["verdict"]} <= SETTLED
        }
        differ = [name for name, (mine, other) in pairs.items() if mine != other]
        source = Source(f"report/evidence/{study}/claims.json", "verdict", {}, "claims")
        counts = {"both": len(pairs), "alike": len(pairs) - len(differ)}
        found = {key: Value(n, str(n), "", source, f"{key}({study})") for key, n in counts.items()}
        self._asked |= {value.key: value for value in found.values()}
        return found | {"differ": differ}

    @jinja2.pass_environment
    def says(self, environment: jinja2.Environment, name: str) -> str:
        """Print the sentence of claims.yaml for the claim's verdict."""
        verdict = self.claim(name)["verdict"]
        if verdict == NOT_TESTED:
            return f"This was {NOT_TESTED}: {self.of_claim(name, 'not_tested')}."
        sentence = getattr(known(name, self._sentences, "claim of claims.yaml"), verdict)
        try:
            return environment.from_string(sentence).render().strip()
        except (ValueError, TypeError, jinja2.TemplateError) as error:
            raise ValueError(f"claims.yaml: claim {name!r}: {verdict}: {error}") from None

    @jinja2.pass_environment
    def finding(self, environment: jinja2.Environment, name: str) -> str:
        """Print `says` and, in brackets, effect, verdict, and the verdicts that differ from it.

        Where this study has not tested the claim, a published study that has speaks, by its name.
        """
        claim, differing = self.claim(name), {}
        if not self._has_tested(name):
            study = next((each for each in self.published.values() if each._has_tested(name)), None)
            return study.finding(environment, name) if study else self.says(environment, name)
        for each in claim["judged"][:-1]:
            if each["verdict"] not in (claim["verdict"], NOT_TESTED):
                differing.setdefault(self._judged(name, each["budget"]), []).append(each["budget"])
        source = f"study *[{self._study}]{{.constant}}*: " if self._study else ""
        words = f"{source}{self.effect(name)}; {self._judged(name)}"
        for verdict, budgets in differing.items():
            epochs = listed([self.of_claim(name, "budget", budget) for budget in budgets])
            words += f"; {verdict} after {epochs}&nbsp;epoch" + "s" * (budgets != [1])
        return f"{self.says(environment, name).removesuffix('.')} ({words})."

    @jinja2.pass_environment
    def found(self, environment: jinja2.Environment, names: list[str]) -> str:
        """Print `finding`, a line each, of those of some claims that were tested."""
        return "\n".join(self.finding(environment, name) for name in self.tested(names))

    @query
    def setting(self, key: str) -> Value:
        """Print a setting by its dotted path; `seeds.n` is the number of items of the list."""
        settings = {name: x for name, x in flat(self._results.config).items() if x is not None}
        settings |= {f"{name}.n": len(x) for name, x in settings.items() if isinstance(x, list)}
        x = known(key, settings, "setting with a value")
        text = listed(x)
        return Value(text if isinstance(x, list) else x, text, "", Source("config.json", key))

    @query
    def record(self, key: str) -> Value:
        """Print an entry of provenance.json by its dotted path, or the sum cpu_minutes."""
        x = known(key, self._results.record, "record")
        return shown(key.split(".")[-1], x, Source("provenance.json", key))

    @query
    def data(self, key: str) -> Value:
        """Print name, train_examples, test_examples, classes or length of the data set."""
        entries = self._results.manifest | {"length": self._results.manifest["shape"][-1]}
        file = f"data/{self._results.config['dataset']}.json"
        return shown("", known(key, entries, "entry of the data set"), Source(file, key))

    @query
    def label(self, name: str) -> Value:
        """Print what figures and tables call a network or a quantity."""
        variants = {variant: each.label for variant, each in self._results.variants.items()}
        label = known(name, variants | self._results.labels, "variant or quantity")
        file = f"analysis/measures/{name.split('.')[0]}.py"
        source = Source("workflow/config/variants.yaml" if name in variants else file, name)
        return shown("", label, source)

    @query
    def confidence(self) -> Value:
        """Print the level of the intervals, in percent."""
        source = Source("analysis/summary.py", "CONFIDENCE")
        return Value(CONFIDENCE, f"{100 * CONFIDENCE:g}", "%", source)
