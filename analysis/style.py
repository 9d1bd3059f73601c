"""What all figures share."""

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import matplotlib.lines
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager

from analysis.looks import LOOKS
from models.files import replacing

FONTS = Path(__file__).resolve().parent.parent / "report/fonts"
WIDTH = 5.7  # inches: the width of the paper's text

INK = "#262626"  # the page replaces it by its own ink


def ordered(variants: set[str]) -> list[str]:
    """`variants` in the order of `LOOKS`.

    Raises:
        KeyError: a variant has no look.
    """
    if missing := variants - LOOKS.keys():
        raise KeyError(f"analysis/looks.py: LOOKS has no entry for {', '.join(sorted(missing))}")
    return [name for name in LOOKS if name in variants]


def styled(variants: set[str]) -> dict:
    """seaborn's keywords that give each variant its colour, dashes and marker."""
    names = ordered(variants)
    return {
        "hue_order": names,
        "style_order": names,
        "palette": {name: LOOKS[name].colour for name in names},
        "dashes": {name: LOOKS[name].dashes for name in names},
        "markers": {name: LOOKS[name].marker for name in names},
    }


def apply() -> None:
    """Set type, ink and sizes; make SVGs of the same data byte-identical."""
    for path in FONTS.glob("STIXTwoText-*.ttf"):
        font_manager.fontManager.addfont(path)
    sns.set_theme(context="paper", style="ticks", rc={
        "font.family": "STIX Two Text",
        "mathtext.fontset": "stix",
        "font.size": 9, "axes.labelsize": 9, "axes.titlesize": 9.5, "legend.fontsize": 8.5,
        "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
        "axes.titlelocation": "left", "axes.titleweight": "bold",
        "axes.spines.top": False, "axes.spines.right": False,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
        "xtick.color": INK, "ytick.color": INK,
        "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
        "lines.linewidth": 1.4, "lines.markersize": 5,
        "figure.constrained_layout.use": True,
        "svg.fonttype": "path",  # the PDF and a browser would each pick another font
        "svg.hashsalt": "degradation",
    })  # fmt: skip


def save(figure: matplotlib.figure.Figure, path: Path) -> None:
    """Write an SVG without its date, on no background."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", transparent=True, metadata={"Date": None})


def script(draw: Callable[[pd.DataFrame], matplotlib.figure.Figure], description: str) -> None:
    """A figure's command line: read one table, draw it, write the SVG, and beside it what it draws,
    a gzipped CSV."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--variants", nargs="*", default=[], help="draw these only")
    parser.add_argument("--depths", type=int, nargs="*", default=[], help="draw these only")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.table)
    for column, wanted in (("variant", arguments.variants), ("depth", arguments.depths)):
        table = table[table[column].isin(wanted)] if wanted else table
    apply()
    save(draw(table), arguments.out)
    with replacing(arguments.out.with_suffix(".csv.gz")) as path:
        table.to_csv(path, index=False, compression={"method": "gzip", "mtime": 0})


def direct_labels(axes: matplotlib.axes.Axes, ends: dict[str, tuple[float, float]]) -> None:
    """Name each variant beside the last point of its line, spread so that names don't touch.

    `ends` gives each variant's last point in data coordinates.
    """
    figure = axes.figure
    figure.canvas.draw()
    gap = 1.25 * matplotlib.rcParams["legend.fontsize"] * figure.dpi / 72  # pixels
    floor = -float("inf")
    for variant, (x, y) in sorted(ends.items(), key=lambda item: item[1][1]):
        _, height = axes.transData.transform((x, y))
        floor = max(height, floor + gap)
        axes.annotate(
            LOOKS[variant].label, (x, y), xytext=(7, (floor - height) * 72 / figure.dpi),
            textcoords="offset points", va="center", color=LOOKS[variant].colour,
            fontsize=matplotlib.rcParams["legend.fontsize"], annotation_clip=False,
        )  # fmt: skip


def lines(axes: matplotlib.axes.Axes, table: pd.DataFrame, x: str, y: str, **options) -> None:
    """One line a variant: the mean over seeds, and their range as a band."""
    if table.empty:  # a run too short for this moment leaves its panel empty
        return
    style = styled(set(table["variant"]))
    del style["markers"]
    sns.lineplot(
        table, x=x, y=y, hue="variant", style="variant", **style, errorbar=("pi", 100), ax=axes,
        legend=False, **options,
    )  # fmt: skip


def key(figure: matplotlib.figure.Figure, variants: set[str]) -> None:
    """Name the lines of all panels above them."""
    handles = [
        matplotlib.lines.Line2D(
            [], [], color=LOOKS[name].colour, label=LOOKS[name].label,
            linestyle=(0, LOOKS[name].dashes) if LOOKS[name].dashes else "-",
        )
        for name in ordered(variants)
    ]  # fmt: skip
    figure.legend(handles=handles, frameon=False, ncols=4, loc="outside upper center")


def by_moment(
    table: pd.DataFrame, x: str, rows: dict[str, str]
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
    """Two rows of panels, a column of the table in each, named by `rows`, against `x`: at
    initialisation on the left, at the end on the right."""
    figure, panels = plt.subplots(2, 2, figsize=(WIDTH, 3.9), sharex=True, sharey="row")
    titles = {"init": "Initialisation", "end": "End"}
    for row, (column, label) in zip(panels, rows.items(), strict=True):
        for axes, moment in zip(row, titles, strict=True):
            lines(axes, table[table["checkpoint"] == moment], x, column)
            axes.set(ylabel=label, xlabel=x.capitalize())
    for axes, title in zip(panels[0], titles.values(), strict=True):
        axes.set(title=title)
    key(figure, set(table["variant"]))
    return figure, panels


def deepest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the greatest depth."""
    return table[table["depth"] == table["depth"].max()]
