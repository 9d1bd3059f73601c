"""Draw what batch normalisation is said to change in training, at the greater depth."""

import matplotlib.pyplot as plt

from analysis.style import INK, WIDTH, Table, deepest, key, lines, with_steps

TABLES = ("ics", "smoothness", "gradient_flow", "activity")
LARGEST = 1e4  # a loss that overflows would leave no room for the others


def draw(ics: Table, smoothness: Table, flow: Table, activity: Table) -> plt.Figure:
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 3.8))
    shift, smooth, gradients, units = grid.flat
    by_step = ["variant", "seed", "step"]
    changes = with_steps(deepest(ics)).groupby(by_step)["relative"].mean().reset_index()
    lines(shift, changes, "step", "relative")
    shift.set(title="Internal covariate shift", xlabel="Step", yscale="log")
    betas = with_steps(deepest(smoothness)).groupby(by_step)["beta"].max().reset_index()
    lines(smooth, betas, "step", "beta")
    top = min(2 * betas["beta"].max(), LARGEST)
    smooth.set(title="Effective smoothness", xlabel="Step", yscale="log", ylim=(None, top))
    ends = deepest(flow, "end").query("relative_gradient > 0")
    lines(gradients, ends, "layer", "relative_gradient")
    gradients.set(title="Gradient over weights, end", xlabel="Layer", yscale="log")
    lines(units, deepest(activity, "init"), "layer", "co_active")
    units.set(title="Units on for both of two inputs", xlabel="Layer", ylim=(0, 1))
    units.axhline(0.25, color=INK, linewidth=0.7, dashes=(1, 2))
    key(figure, ics["variant"])
    return figure
