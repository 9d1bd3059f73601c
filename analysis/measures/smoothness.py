"""Measure how smooth the loss is along the gradient (Santurkar et al. 2018, section 3.1, figure 4).

At the weights W of a checkpoint, with g = dL/dW on the batch that training takes next, for steps
eta along the gradient:

    loss        L(W - eta g); the variation of the loss is its range over eta
    difference  ||g - dL/dW(W - eta g)||; the predictiveness of the gradient is its range
    beta        difference / (eta ||g||); the effective beta-smoothness is its maximum

Train mode, all parameters. The steps eta are the same for every network: a range that depends on
the network's own learning rate would compare different things.
Rows: eta (0 is at W itself). Quantities: log10 of the effective beta, of the largest loss over the
loss at W, and of the norm of g. A loss that overflows counts as 1e30.
"""

import math

from analysis.run import Rows, Subject, bounded, flat, log10, loss_and_gradient

SETTINGS = {"etas": ("numbers", 0, "lengths of steps along the gradient")}
QUANTITIES = {
    "log_beta": "effective smoothness constant",
    "log_loss_rise": "largest rise of the loss along its gradient",
    "log_gradient_norm": "norm of the gradient",
}


def measure(subject: Subject, etas: list[float]) -> Rows:
    if subject.batch is None:
        return
    network = subject.network.train()
    start = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    loss, g = loss_and_gradient(network, *subject.batch)
    size = flat(g.values()).norm().item()
    norm = {"gradient_norm": size}
    yield {"eta": 0.0, "loss": loss.item(), "difference": 0.0, "beta": None, **norm}
    for eta in etas:
        network.load_state_dict({name: start[name] - eta * g[name] for name in g}, strict=False)
        there, h = loss_and_gradient(network, *subject.batch)
        there = bounded(there.item())
        difference = bounded((flat(g.values()) - flat(h.values())).norm().item())
        beta = difference / (eta * size) if size else math.nan
        yield {"eta": eta, "loss": there, "difference": difference, "beta": beta, **norm}


def quantities(rows: list[dict]) -> dict[str, float]:
    here, *steps = rows
    largest = max(row["loss"] for row in steps)
    return {
        "log_beta": log10(max(row["beta"] for row in steps)),
        "log_loss_rise": log10(largest / here["loss"] if here["loss"] else math.nan),
        "log_gradient_norm": log10(here["gradient_norm"]),
    }
