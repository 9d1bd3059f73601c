"""Draw the change of training error that each intervention causes, at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import COLOURS, INK, VARIANTS, WIDTH, list_rows, ordered
from analysis.summary import mean_interval

TABLE = "runs"
ROWS = ("all", "compare_depths")


def draw(table: pd.DataFrame) -> plt.Figure:
    shallow, deep = sorted(set(table["depth"]))
    errors = 100 * table.pivot(index="seed", columns=["depth", "variant"], values="train_error")
    changes, gaps = paired_changes(errors[deep]), errors[shallow] - errors[deep]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.75 + 0.19 * (len(changes) + 8)))
    beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
    row, labels, group = 0.0, {}, None
    for name, change in changes.items():
        variant = VARIANTS[name]
        explanation = variant.explanation or "other changes"
        if explanation != group:
            group, row = explanation, row + 1.4
            title = group[0].upper() + group[1:]
            axes.annotate(title, (0, row), (-4, 0), **beside, va="center", weight="bold")
            row += 1
        mean, low, high, _ = mean_interval(change)
        half = gaps[variant.baseline].mean() / 2
        axes.plot([low, high], [row, row], color=COLOURS[name], linewidth=1.1)
        axes.plot(mean, row, "s", markersize=4.2, color=COLOURS[name])
        axes.plot([half, half], [row - 0.36, row + 0.36], color=INK, alpha=0.55, linewidth=1)
        labels[row] = variant.label
        row += 1
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(xlabel=f"Training error minus the baseline's, depth {deep} (percentage points)")
    handles = [
        plt.Line2D([], [], color="grey", marker="s", markersize=4.2, linewidth=1.1, label="change"),
        plt.Line2D([], [], color=INK, alpha=0.55, marker="|", linestyle="", markersize=7,
                   label="half of the baseline's gap closed"),
    ]  # fmt: skip
    list_rows(axes, labels, handles)
    axes.set_ylim(row - 0.3, 0.7)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -90), min(right, 90))
    return figure


def paired_changes(errors: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each variant's error (a column) minus its baseline's by seed, where both exist."""
    names = [name for name in ordered(errors) if VARIANTS[name].baseline in errors]
    changes = {name: (errors[name] - errors[VARIANTS[name].baseline]).dropna() for name in names}
    return {name: change for name, change in changes.items() if not change.empty}
