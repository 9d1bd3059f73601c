"""How the paper prints numbers and text: rounding, where a number came from, escaped markup."""

import functools
import html
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont

FONTS = Path(__file__).resolve().parent / "fonts"
CHARACTERS = frozenset(map(chr, TTFont(FONTS / "STIXTwoText-Regular.ttf").getBestCmap()))
DASH = "–"
STYLES = {  # column: format of its numbers, their unit, and the factor before they are printed
    "train_error": ("z.1f", "%", 100),
    "test_error": ("z.1f", "%", 100),
    "points": ("z.1f", "percentage points", 1),
    "train_loss": ("z.3f", "nats", 1),
    "tau": ("z.2f", "", 1),
    "lr": ("g", "", 1),
    "smallest_effect": ("g", "", 1),
    "depth": (".0f", "", 1),
    "runs": (".0f", "", 1),
    "cpu_minutes": (".1f", "min", 1),
    "seconds": (".0f", "s", 1),
    "peak_memory_mb": (".0f", "MB", 1),
    "memory_gb": (".0f", "GB", 1),
}


def number(x: float, style: str) -> str:
    """Return a number in a format of Python, with a true minus sign and narrow spaces."""
    return format(x, style).replace(",", "\u202f").replace("-", "\u2212")


def significant(x: float) -> str:
    """Return three significant digits, with a power of ten where that is shorter."""
    if abs(x) < 1e-12:  # only rounding errors keep such a number from zero
        return "0"
    if 1e-3 <= abs(x) < 1e5:
        return number(x, f".{max(0, 2 - math.floor(math.log10(abs(x))))}f")
    mantissa, exponent = f"{x:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"{mantissa} × 10{raised}".replace("-", "\u2212")


def listed(x: Any) -> str:
    """Return a setting in up to six digits, and a list as prose has it: "8, 20 and 56"."""
    if not isinstance(x, list):
        return f"{x:g}" if isinstance(x, float) else str(x)
    *most, last = map(listed, x or ["none"])
    return f"{', '.join(most)} and {last}" if most else last


def literal(text: str) -> str:
    """Return text that Markdown and HTML print as it stands: special characters are entities.

    A character that the fonts lack is printed as its code.
    """
    shown = "".join(
        c if c in CHARACTERS or c in "\t\r\n" else c.encode("unicode_escape").decode() for c in text
    )
    escaped = re.sub(r"[^\w\s]|_", lambda match: f"&#{ord(match[0])};", shown)
    return re.sub(r"[ \t\r\n]+", " ", escaped)  # keeps the narrow space between thousands


@dataclass(frozen=True)
class Source:
    """A place in a results folder; `statistic` says what was done with its rows, if anything."""

    file: str
    column: str = ""
    filter: dict[str, Any] = field(default_factory=dict)
    statistic: str = ""

    def __str__(self) -> str:
        rows = [f"; {column} = {listed(value)}" for column, value in self.filter.items()]
        what = " of ".join(filter(None, [self.statistic, self.column]))
        return " ".join(f"{self.file}{''.join(rows)}{': ' if what else ''}{what}".split())


@dataclass(frozen=True)
class Value:
    """A number or a name of the results. The paper prints its `text` in a span with its origin."""

    value: float | int | str  # for conditions: `<% if count("runs").value > 0 %>`
    text: str
    unit: str
    source: Source
    key: str = ""  # the query that it answers

    def by_error(self, half: float) -> "Value":
        """Return a percentage, without decimals if its interval is a point or more on each side."""
        return replace(self, text=number(self.value, "z.0f")) if half >= 1 else self

    def __str__(self) -> str:
        return (
            f'<span class="value" data-key="{html.escape(self.key)}" '
            f'title="{html.escape(str(self.source))}">{literal(self.text)}</span>'
        )


class UnansweredError(ValueError):
    """A number is missing or does not exist. Without a `source` that says why it is a mistake."""

    def __init__(self, message: str = "", source: Source | None = None) -> None:
        super().__init__(message)
        self.source = source


def query(find: Callable[..., Value]) -> Callable[..., Value]:
    """Let a method remember the values that it finds; one that is missing is a dash."""

    @functools.wraps(find)
    def remembered(self: Any, *arguments: Any, **where: Any) -> Value:
        words = [json.dumps(x, ensure_ascii=False) for x in arguments]
        words += [f"{name}={json.dumps(x, ensure_ascii=False)}" for name, x in where.items()]
        study = f"{self._study}: " if self._study else ""
        key = f"{study}{find.__name__}({', '.join(words)})"
        if key not in self._asked:
            try:
                found = find(self, *arguments, **where)
            except UnansweredError as error:
                if error.source is None:
                    raise
                found = Value(DASH, DASH, "", error.source)
            source = found.source
            if self._study:
                source = replace(source, file=f"report/evidence/{self._study}/{source.file}")
            self._asked[key] = replace(found, key=key, source=source)
        return self._asked[key]

    return remembered


def shown(column: str, x: Any, source: Source) -> Value:
    """Return `x` in the style of its column, or raise UnansweredError if it is no finite number."""
    x = x.item() if hasattr(x, "item") else x  # a number of NumPy as one of Python
    if isinstance(x, str):
        return Value(x, x, "", source)
    if x is None or not math.isfinite(x):
        raise UnansweredError(source=source)
    if column in STYLES:
        style, unit, scale = STYLES[column]
        return Value(scale * x, number(scale * x, style), unit, source)
    return Value(x, number(x, ",d") if isinstance(x, int) else significant(x), "", source)
