"""Draw the training error of the baselines at each learning rate, as a heat map for each depth."""

import matplotlib.pyplot as plt
import seaborn as sns

from analysis.style import VARIANTS, WIDTH, Table, ordered

TABLES = ("tuning",)


def draw(table: Table) -> plt.Figure:
    names, depths = ordered(table["variant"]), sorted(set(table["depth"]))
    size = WIDTH, max(1.5, 0.7 + 0.175 * len(names))
    figure, (panels,) = plt.subplots(1, len(depths), figsize=size, sharey=True, squeeze=False)
    look = {"cmap": "cividis_r", "annot_kws": {"size": 7}, "cbar": False, "linewidths": 0.4}
    look |= {"xticklabels": False, "yticklabels": False}  # seaborn leaves out those that are close
    for axes, depth in zip(panels, depths, strict=True):
        rates = table[table["depth"] == depth].groupby(["variant", "lr"])
        means = rates[["train_error", "train_loss"]].agg(lambda each: each.mean(skipna=False))
        cells = means.unstack("lr").reindex(names)
        errors = 100 * cells["train_error"]
        sns.heatmap(errors, vmin=0, vmax=100, annot=True, fmt=".0f", **look, ax=axes)
        for number in axes.texts:  # the page turns plain black and white to its own ink and paper
            number.set_color("#fdfdfd" if number.get_color() == "w" else "#101010")
        # A frame marks the chosen rate: that of the lowest loss, if any kept one on all seeds.
        for row, (_, losses) in enumerate(cells["train_loss"].iterrows()):
            if losses.notna().any():
                corner = losses.argmin(), row
                axes.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor="#d62728", lw=1.2))
        axes.set(title=f"Depth {depth}", xlabel="Peak learning rate", ylabel="")
        places = [i + 0.5 for i in range(len(errors.columns))]
        axes.set_xticks(places, [f"{lr:g}" for lr in errors], rotation=90)
        axes.tick_params(length=0)
    places = [i + 0.5 for i in range(len(names))]
    panels[0].set_yticks(places, [VARIANTS[name].label for name in names])
    return figure
