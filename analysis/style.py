"""Draw what all figures share: colours, type, and the lines of the variants.

Colour tells whether a network has a shortcut, line and marker whether it has BatchNorm. The colours
are Okabe and Ito's, at a lightness that reads on a white page and on a dark one.
"""

import os
from collections.abc import Iterable
from pathlib import Path

os.environ["MPLBACKEND"] = "svg"  # a notebook's cannot be loaded elsewhere

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager

from models.variant import read_variants

Table = pd.DataFrame

VARIANTS = read_variants()
BASELINES = [name for name, variant in VARIANTS.items() if variant.baseline is None]

FONTS = Path(__file__).resolve().parent.parent / "report/fonts"
WIDTH = 5.7  # inches: the width of the paper's text

SIZES = (
    "font.size", "axes.labelsize", "axes.titlesize", "legend.fontsize", "xtick.labelsize",
    "ytick.labelsize",
)  # fmt: skip
INK = "#262626"  # seaborn's too; the page replaces it by its own ink
ORANGE, BLUE = "#d9641e", "#2a86c8"

COLOURS = {n: ORANGE if v.factors.shortcut == "none" else BLUE for n, v in VARIANTS.items()}
DASHES = {n: (4, 2) if v.factors.norm == "none" else "" for n, v in VARIANTS.items()}  # "" is full
SHAPES = {(ORANGE, (4, 2)): "^", (ORANGE, ""): "o", (BLUE, (4, 2)): "v", (BLUE, ""): "s"}
MARKERS = {n: SHAPES[COLOURS[n], DASHES[n]] for n in VARIANTS}


def line(name: str) -> dict:
    return {"color": COLOURS[name], "linestyle": (0, DASHES[name]) if DASHES[name] else "-"}


def ordered(variants: Iterable[str]) -> list[str]:
    """Return the different names among `variants`, in the order of variants.yaml."""
    if unknown := set(variants) - VARIANTS.keys():
        raise ValueError(f"variants.yaml has no entry for {', '.join(sorted(unknown))}")
    return [name for name in VARIANTS if name in set(variants)]


def apply() -> None:
    """Set type and sizes, and make SVGs of the same data equal byte by byte."""
    plt.rcdefaults()  # without the settings of the user
    for path in FONTS.glob("STIXTwoText-*.ttf"):
        font_manager.fontManager.addfont(path)
    sns.set_theme(context="paper", style="ticks", rc={
        "font.family": "STIX Two Text",
        "mathtext.fontset": "stix",
        # Nothing is smaller than this, so that a screen of 400 pixels shows letters of nine.
        **dict.fromkeys(SIZES, 9.5),
        "axes.titlelocation": "left", "axes.titleweight": "bold",
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
        "lines.linewidth": 1.4, "lines.markersize": 5,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
        "svg.fonttype": "path",  # the PDF and a browser would each pick another font
        "svg.hashsalt": "degradation",
    })  # fmt: skip


def nothing() -> plt.Figure:
    """Return the picture of a table that is still empty."""
    figure = plt.figure(figsize=(WIDTH, 0.6))
    figure.text(0.5, 0.5, "Nothing to draw: these networks are not there yet.", ha="center")
    return figure


def deepest(table: pd.DataFrame, checkpoint: str | None = None) -> pd.DataFrame:
    """Return the rows of the greatest depth, at one checkpoint or at all."""
    rows = table[table["depth"] == table["depth"].max()]
    return rows[rows["checkpoint"] == checkpoint] if checkpoint else rows


def with_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column `step`, the number in the name of each checkpoint."""
    steps = table["checkpoint"].replace("init", "step0").str.removeprefix("step")
    return table.assign(step=steps.astype(int))


def lines(axes: plt.Axes, table: pd.DataFrame, x: str, y: str, marker: str = "") -> None:
    """Draw one line per variant, the mean over seeds, with their range as a band; name no axis.

    The scale must still be linear: on a logarithmic axis, seaborn takes the mean of logarithms.
    """
    if not table.empty:  # a run may be too short for a checkpoint
        look = {"hue": "variant", "palette": COLOURS, "hue_order": ordered(table["variant"])}
        look |= {"style": "variant", "dashes": DASHES, "marker": marker, "legend": False}
        sns.lineplot(table, x=x, y=y, **look, errorbar=("pi", 100), ax=axes)
    axes.set(xlabel="", ylabel="")


def key(figure: plt.Figure, variants: Iterable[str]) -> None:
    """Name the lines of all panels above them."""
    names = ordered(variants)
    handles = [plt.Line2D([], [], **line(name), label=VARIANTS[name].label) for name in names]
    figure.legend(handles=handles, ncols=4, loc="outside upper center")


def label_ends(axes: plt.Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write next to the end of each line, given as x, y, text and colour, without overlap."""
    figure = axes.figure
    figure.canvas.draw()
    size, ends = plt.rcParams["legend.fontsize"], sorted(ends, key=lambda end: end[1])
    heights = [axes.transData.transform((x, y))[1] for x, y, *_ in ends]  # pixels
    # Each text is pushed up off the one below it, then all of them down under the upper edge.
    steps = 1.2 * size * figure.dpi / 72 * np.arange(len(ends))
    places = np.maximum.accumulate(heights - steps)
    places = np.minimum(places, axes.bbox.y1 - steps[-1:]) + steps
    for (x, y, text, colour), height, place in zip(ends, heights, places, strict=True):
        place = {"xytext": (7, (place - height) * 72 / figure.dpi), "textcoords": "offset points"}
        look = {"va": "center", "color": colour, "fontsize": size, "annotation_clip": False}
        axes.annotate(text, (x, y), **place, **look)
