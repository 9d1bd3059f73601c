"""Time contenders by turns, each in a process of its own, and hold the result as a row.

The process of this project is set up like one of its jobs. The other is plain Python on one thread.
"""

import operator
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch

SIGNS = {">=": operator.ge, "<=": operator.le}
USUAL_PROCESS = ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,))
Timed = Callable[[], float]  # work that returns its seconds


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure and its goal, or the reason why there is no figure."""

    what: str
    against: str
    goal: str  # a sign, a number and perhaps a unit: ">= 2 x"
    figure: float | None
    low: float | None = None  # the least and the largest over the rounds
    high: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        sign, limit, *_ = self.goal.split()
        return None if self.figure is None else SIGNS[sign](self.figure, float(limit))


def median_row(row: tuple[str, str, str], figures: list[float], note: str) -> Row:
    return Row(*row, statistics.median(figures), min(figures), max(figures), note)


def ratio(what: str, against: str, goal: str, ours: Timed, theirs: Timed, rounds: int) -> Row:
    """Return how many times as long theirs takes as ours, as the median over the rounds.

    The first contender changes from round to round.
    """
    taken: dict[Timed, list[float]] = {ours: [], theirs: []}
    for i in range(rounds):
        for contender in (ours, theirs)[:: 1 if i % 2 else -1]:
            taken[contender].append(contender())
    ratios = [b / a for a, b in zip(*taken.values(), strict=True)]
    a, b = (1000 * statistics.median(times) for times in taken.values())
    note = f"{a:.3g} ms, {against} {b:.3g} ms"
    return median_row((what, against, goal), ratios, note)
