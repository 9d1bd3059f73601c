"""Training and test error at the end of training, against depth, one line a variant."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import LOOKS, WIDTH, apply, direct_labels, ordered, save
from analysis.summary import summarise


def draw(runs: pd.DataFrame) -> plt.Figure:
    apply()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    for axes, split, title in zip(panels, ("train", "test"), ("Training", "Test"), strict=True):
        points = summarise(runs, ["variant", "depth"], f"{split}_error")
        ends = {}
        for variant in ordered(set(runs["variant"])):
            look, line = LOOKS[variant], points[points["variant"] == variant]
            line = line.sort_values("depth")
            x, low, high = line["depth"], 100 * line["low"].clip(lower=0), 100 * line["high"]
            axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
            axes.plot(
                x, 100 * line["mean"], color=look.colour, marker=look.marker,
                dashes=look.dashes or (None, None),
            )  # fmt: skip
            ends[variant] = (x.iloc[-1], 100 * line["mean"].iloc[-1])
        axes.set(title=title, xlabel="Depth (weight layers)", xticks=sorted(set(runs["depth"])))
    panels[0].set(ylabel="Error (%)", ylim=(0, None))
    direct_labels(panels[1], ends)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    save(draw(pd.read_csv(arguments.tables / "runs.csv")), arguments.out)


if __name__ == "__main__":
    main()
