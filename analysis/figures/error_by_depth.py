"""Training and test error at the end of training, against depth, one line a variant."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.style import WIDTH, direct_labels, script, styled
from analysis.summary import band


def draw(runs: pd.DataFrame) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    runs = runs.assign(train=100 * runs["train_error"], test=100 * runs["test_error"])
    style = styled(set(runs["variant"]))
    for axes, split in zip(panels, ("train", "test"), strict=True):
        sns.lineplot(
            runs, x="depth", y=split, hue="variant", style="variant", **style,
            errorbar=band, ax=axes, legend=False,
        )  # fmt: skip
        axes.set(xlabel="Depth (weight layers)", xticks=sorted(set(runs["depth"])))
    panels[0].set(title="Training", ylabel="Error (%)", ylim=(0, 100))
    panels[1].set(title="Test")
    last = runs[runs["depth"] == runs["depth"].max()].groupby("variant")[["depth", "test"]].mean()
    direct_labels(panels[1], {name: tuple(end) for name, end in last.iterrows()})
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
