"""Draw quantities at initialisation against the final training loss, a point a network."""

import matplotlib.pyplot as plt

from analysis.style import COLOURS, WIDTH, Table

TABLES = ("runs", "quantities")
ROWS = ("all", "compare_depths")
QUANTITIES = {  # of the explanations that name one most plainly
    "gradient_flow.log_first_to_last": "Gradient, first to last",
    "gradient_correlation.grid": "Gradient autocorrelation",
    "isometry.log_condition": "Condition of Jacobian",
    "forward_propagation.cosine_mean": "Cosine between inputs",
    "identity_distance.log_residual_ratio": "Branch over input",
    "ntk.log_condition": "Condition of kernel",
}


def draw(runs: Table, quantities: Table) -> plt.Figure:
    network = ["variant", "depth"]
    losses = runs.groupby(network)["train_loss"].mean().rename("loss")
    initial = quantities[quantities["checkpoint"] == "init"]
    deep = runs.attrs["pair"][1]
    figure, grid = plt.subplots(2, 3, figsize=(WIDTH, 4.4), sharey=True)
    for axes, (name, label) in zip(grid.flat, QUANTITIES.items(), strict=True):
        values = initial[initial["quantity"] == name].groupby(network)["value"].mean()
        points = values.rename("x").to_frame().join(losses, how="inner").dropna()
        for (variant, depth), (x, loss) in points.iterrows():
            fill = COLOURS[variant] if depth == deep else "none"
            look = {"color": COLOURS[variant], "markersize": 4, "markerfacecolor": fill}
            axes.plot(x, loss, "o", **look)
        axes.set(yscale="log", xlabel=f"{label} (dec)" if ".log_" in name else label)
    for axes in grid[:, 0]:
        axes.set(ylabel="Training loss (nats)")
    return figure
