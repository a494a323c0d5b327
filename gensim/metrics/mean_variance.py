"""The figure of spread: variance against mean of every gene, real beside simulated, and the ratio of the variances."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gensim.metrics.results import MODEL, REAL
from gensim.types import FloatArray

MOST_POINTS = 20_000
COLOURS = {REAL: "#2f6db3", MODEL: "#d1662f"}
LINE = "#5c636b"


def draw_mean_variance(moments: Iterable[Mapping[str, tuple[FloatArray, FloatArray]]]) -> Figure:
    """A point per gene and condition, on logarithmic axes; the line is equal variances.

    Left: variance against mean, real under simulated. Right: variance simulated / real against the real mean. Points
    with a mean or a variance that is not above 0 on either side have no place and are left out, and of more than
    20,000 points every k-th is drawn.

    Args:
        moments: per condition the (G,) mean and variance of the `real` and the `model`'s cells, log1p CP10k; empty
            for a condition without them.
    """
    (mean, variance), (model_mean, model_variance) = _points(list(moments))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _scatter(left, mean, variance, COLOURS[REAL], REAL)
    _scatter(left, model_mean, model_variance, COLOURS[MODEL], MODEL)
    left.set(xlabel="mean of a gene, log1p CP10k", ylabel="variance", title="variance against mean")
    left.legend(markerscale=3, loc="upper left")
    _scatter(right, mean, model_variance / variance, COLOURS[MODEL], MODEL)
    right.axhline(1.0, color=LINE, linewidth=1)
    right.set(
        xlabel="mean of a gene in real cells, log1p CP10k", ylabel="variance, model / real", title="ratio of variances"
    )
    for axes in (left, right):
        if len(mean):
            axes.set(xscale="log", yscale="log")
        else:
            axes.text(0.5, 0.5, "no gene with a variance on both sides", ha="center", transform=axes.transAxes)
    return figure


def save_mean_variance(moments: Iterable[Mapping[str, tuple[FloatArray, FloatArray]]], path: Path) -> None:
    """Write `draw_mean_variance` as PNG, the same bytes for the same numbers (so without the software's version)."""
    draw_mean_variance(moments).savefig(path, format="png", dpi=110, metadata={"Software": None})


def _points(moments: list[Mapping[str, tuple[FloatArray, FloatArray]]]) -> tuple[FloatArray, FloatArray]:
    """(2, n) mean and variance of real and of simulated cells, of the same genes and conditions."""
    pairs = [np.stack([*m[REAL], *m[MODEL]]) for m in moments if m]
    points = np.concatenate([np.empty((4, 0), dtype=np.float32), *pairs], axis=1)
    points = points[:, (points > 0).all(axis=0)]
    points = points[:, :: -(-points.shape[1] // MOST_POINTS) or 1]
    return points[:2], points[2:]


def _scatter(axes: Axes, x: FloatArray, y: FloatArray, colour: str, label: str) -> None:
    axes.plot(x, y, ".", markersize=2.5, markeredgewidth=0, alpha=0.5, color=colour, label=label)
