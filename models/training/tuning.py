"""Choose a learning rate from the final training losses of a grid."""

import math

Losses = dict[float, float | None]  # by rate; None where a run diverged


def ranked(losses: Losses) -> list[float]:
    """Return the rates, that of the lowest loss first; those that diverged are last, by size."""
    return sorted(losses, key=lambda lr: (math.inf if losses[lr] is None else losses[lr], lr))


def beyond(losses: Losses) -> float | None:
    """Return the next rate on the side of the grid on which the best one lies, if it is an edge.

    It is as many times larger or smaller as the last two rates differ, rounded to two digits.
    """
    rates, best = sorted(losses), ranked(losses)[0]
    neighbour = {rates[0]: rates[1], rates[-1]: rates[-2]}.get(best)
    return float(f"{best * best / neighbour:.2g}") if neighbour else None
