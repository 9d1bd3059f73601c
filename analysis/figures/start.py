"""Draw what the four baselines look like at initialisation, at the greater depth."""

import matplotlib.pyplot as plt

from analysis.style import INK, WIDTH, Table, deepest, key, lines

TABLES = ("gradient_flow", "gradient_correlation", "isometry", "forward_propagation")


def draw(flow: Table, correlation: Table, isometry: Table, forward: Table) -> plt.Figure:
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 3.9))
    gradients, shattering, singular, angles = grid.flat
    rule = {"color": INK, "linewidth": 0.7, "dashes": (1, 2)}
    # A logarithmic axis has no place for a gradient that is zero.
    some = deepest(flow, "init").query("relative_gradient > 0")
    lines(gradients, some, "layer", "relative_gradient")
    gradients.set(title="Gradient over weights", xlabel="Layer", yscale="log")
    along = deepest(correlation, "init").query("kind == 'grid'")
    lines(shattering, along, "coordinate", "correlation")
    shattering.set(title="Autocorrelation of gradients", xlabel="Lag (steps along a line)")
    shattering.axhline(0, **rule)
    lines(singular, deepest(isometry, "init"), "quantile", "log_singular_value")
    singular.set(title="Singular values of the Jacobian", xlabel="Quantile", ylabel="Decades")
    singular.axhline(0, **rule)
    lines(angles, deepest(forward, "init"), "layer", "cosine_mean")
    angles.set(title="Cosine between inputs", xlabel="Block", ylim=(None, 1.03))
    key(figure, flow["variant"])
    return figure
