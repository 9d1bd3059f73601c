"""Relative gradient of each weight layer at the greater depth, at three moments."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import WIDTH, deepest, key, lines, script


def draw(flow: pd.DataFrame) -> plt.Figure:
    flow = deepest(flow)
    flow = flow[flow["relative_gradient"] > 0]  # what SkipInit closes has no place on a log axis
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.6), sharex=True, sharey=True)
    titles = {"init": "Initialisation", "step10": "After ten steps", "end": "End"}
    for axes, (moment, title) in zip(panels, titles.items(), strict=True):
        lines(axes, flow[flow["checkpoint"] == moment], "layer", "relative_gradient")
        axes.set(title=title, xlabel="Layer", ylabel="Relative gradient")
    panels[0].set(yscale="log")  # last: lines on a logarithmic axis are means of logarithms
    key(figure, set(flow["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
