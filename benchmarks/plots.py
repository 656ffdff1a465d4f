"""Plots as SVG: bars that compare, lines that grow. The same numbers give the same file."""

from __future__ import annotations

import pathlib
import statistics
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "fastchat",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e4e4e4",
        "figure.facecolor": "white",
        "legend.frameon": False,
    }
)

import matplotlib.pyplot as plt  # noqa: E402  (it reads the settings above)

PLOTS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "plots"
"""Where the documents look for them."""

_OURS, _OTHERS = "#0b6e4f", "#9aa7b1"

Point = tuple[float, float]


def draw_bars(
    name: str,
    title: str,
    unit: str,
    values: Mapping[str, Sequence[float]],
    *,
    ours: str = "fastchat",
    log: bool = False,
) -> pathlib.Path:
    """Draws a bar for each median, in the order given, with a whisker from the smallest to the largest value.

    What starts with ``ours`` has a colour of its own. Writes ``docs/plots/NAME.svg`` and returns its path.
    """
    figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.34 * len(values)))
    medians = [statistics.median(rounds) for rounds in values.values()]
    whiskers = [
        [median - min(rounds) for median, rounds in zip(medians, values.values(), strict=True)],
        [max(rounds) - median for median, rounds in zip(medians, values.values(), strict=True)],
    ]
    colours = [_OURS if label.startswith(ours) else _OTHERS for label in values]
    bars = axes.barh(list(values), medians, xerr=whiskers, color=colours, ecolor="#444444", height=0.65)
    axes.bar_label(bars, [format_short(median) for median in medians], padding=6, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.grid(axis="y", visible=False)
    if log:
        axes.set_xscale("log")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(unit)
    return _save(figure, name)


def draw_lines(
    name: str,
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    log_x: bool = False,
    log_y: bool = False,
    mark_x: float | None = None,
) -> pathlib.Path:
    """Draws a line with dots through each series of points; ``mark_x`` is a dashed line, for a default.

    Writes ``docs/plots/NAME.svg`` and returns its path.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    for label, points in lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=4, label=label)
    if mark_x is not None:
        axes.axvline(mark_x, color="#777777", linestyle="--", linewidth=1)
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if len(lines) > 1:
        axes.legend(fontsize=9)
    return _save(figure, name)


def format_short(value: float) -> str:
    """Three digits and a letter: 30.1 M, 127 k, 0.91."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _save(figure: Figure, name: str) -> pathlib.Path:
    PLOTS.mkdir(parents=True, exist_ok=True)
    path = PLOTS / f"{name}.svg"
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return path
