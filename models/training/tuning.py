"""Choose a learning rate from the final training losses of a grid."""

import math

Losses = dict[float, float | None]  # by rate; None where a run diverged


def ranked(losses: Losses) -> list[float]:
    """Return the rates from the lowest loss on, and then those that diverged, by their size."""
    return sorted(losses, key=lambda lr: (math.inf if losses[lr] is None else losses[lr], lr))


def choose(losses: Losses) -> float:
    """Return the rate with the lowest loss; if all diverged, the smallest."""
    return ranked(losses)[0]


def beyond(losses: Losses) -> float | None:
    """Return the next rate on the side of the grid on which the best one lies, if it is an edge.

    It is as many times larger or smaller as the last two rates differ, rounded to two digits.
    """
    rates, best = sorted(losses), choose(losses)
    neighbour = {rates[0]: rates[1], rates[-1]: rates[-2]}.get(best)
    return float(f"{best * best / neighbour:.2g}") if neighbour else None
