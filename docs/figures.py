"""The pictures of the README: ``python docs/figures.py flow`` and ``python docs/figures.py cells ...``.

``cells`` takes a run and the store that was sampled from it:
``python docs/figures.py cells --run runs/demo --cells runs/demo_cells.zarr``.
"""

import argparse
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray
from scipy import sparse

from gensim.data.cell_source import cell_source_from_file, read_dense
from gensim.metrics.distances import energy_distance
from gensim.metrics.space import MetricSpace
from gensim.pca import fit_pca
from gensim.perturbations.mean_effects import MeanEffects
from gensim.training.run_folder import IN_GENES, RunFolder
from gensim.types import Condition

IMAGES = Path(__file__).resolve().parent / "images"
# An opaque page of its own, so that the pictures read the same on a light and on a dark one.
PAGE, INK, MUTED, EDGE = "#fbfaf7", "#22262b", "#5c636b", "#8b929a"
DATA, LATENT, OUT = "#dbe7f3", "#e6def1", "#dcedde"
CONTROL, REAL, SIMULATED = "#a9afb6", "#2f6db3", "#d1662f"

WIDTH, HEIGHT = 1.76, 0.86
BOXES = {
    # name: (x, y, title, line below, colour)
    "screen": (0.0, 1.9, "AnnData", "a perturbation screen", DATA),
    "populations": (2.25, 1.9, "populations", "control, perturbed", DATA),
    "latents": (4.5, 1.9, "latents", "autoencoder: PCA or MLP", LATENT),
    "pairs": (6.75, 1.9, "coupling", "optimal transport pairs", LATENT),
    "flow": (9.0, 1.9, "flow", "velocity under a condition", LATENT),
    "controls": (2.25, 0.0, "control cells", "+ request.csv", DATA),
    "solver": (4.5, 0.0, "solver", "z_0 to z_1, then decode", LATENT),
    "store": (6.75, 0.0, "store", "AnnData in Zarr, chunked", OUT),
    "bulk": (9.0, 0.0, "pseudobulk", "sums per condition", OUT),
    "metrics": (11.25, 0.0, "metrics", "and baselines, replicate", OUT),
}
ARROWS = [
    ("screen", "populations"), ("populations", "latents"), ("latents", "pairs"), ("pairs", "flow"),
    ("controls", "solver"), ("solver", "store"), ("store", "bulk"),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="picture")
    flow = commands.add_parser("flow", help="the flow of the package")
    flow.add_argument("--out", type=Path, default=IMAGES / "flow.png")
    cells = commands.add_parser("cells", help="real beside simulated cells of one held-out condition")
    cells.add_argument("--run", type=Path, required=True)
    cells.add_argument("--cells", type=Path, required=True, help="store that was sampled from the run")
    cells.add_argument("--condition", help="label; default: the one whose training cells moved furthest")
    cells.add_argument("--out", type=Path, default=IMAGES / "cells.png")
    arguments = parser.parse_args()

    mpl.use("Agg")
    plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": INK, "axes.labelcolor": MUTED})
    figure = draw_flow() if arguments.picture == "flow" else draw_cells(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # Without the software's version, so that the same picture is the same file.
    figure.savefig(arguments.out, dpi=150, facecolor=PAGE, metadata={"Software": None})
    print(arguments.out)


def draw_flow() -> plt.Figure:
    figure, axes = plt.subplots(figsize=(13.4, 3.9))
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    axes.set(xlim=(-0.15, 13.16), ylim=(-0.42, 3.42))
    axes.axis("off")
    for x, y, title, below, colour in BOXES.values():
        rounded = "round,pad=0,rounding_size=0.12"
        axes.add_patch(FancyBboxPatch((x, y), WIDTH, HEIGHT, rounded, facecolor=colour, edgecolor=EDGE, linewidth=1.1))
        axes.text(x + WIDTH / 2, y + 0.54, title, ha="center", va="center", fontsize=11.5, weight="bold")
        axes.text(x + WIDTH / 2, y + 0.25, below, ha="center", va="center", fontsize=8.8, color=MUTED)
    for start, stop in ARROWS:
        (x, y, *_), (x_stop, *_) = BOXES[start], BOXES[stop]
        arrow(axes, [(x + WIDTH, y + HEIGHT / 2), (x_stop, y + HEIGHT / 2)])
    # What training leaves for sampling goes down; real cells that were held out go round to the metrics.
    flow_middle, solver_middle = BOXES["flow"][0] + WIDTH / 2, BOXES["solver"][0] + WIDTH / 2
    arrow(axes, [(flow_middle, 1.9), (flow_middle, 1.38), (solver_middle, 1.38), (solver_middle, HEIGHT)])
    axes.text((flow_middle + solver_middle) / 2, 1.45, "trained run", ha="center", fontsize=9, color=MUTED)
    metrics_middle, populations_middle = BOXES["metrics"][0] + WIDTH / 2, BOXES["populations"][0] + WIDTH / 2
    top = [(populations_middle, 2.76), (populations_middle, 3.06), (metrics_middle, 3.06), (metrics_middle, HEIGHT)]
    arrow(axes, top, style="dashed")
    axes.text((populations_middle + metrics_middle) / 2, 3.13, "held-out cells", ha="center", fontsize=9, color=MUTED)
    store_middle = BOXES["store"][0] + WIDTH / 2
    arrow(axes, [(store_middle, 0.0), (store_middle, -0.32), (metrics_middle, -0.32), (metrics_middle, 0.0)])
    axes.text((store_middle + metrics_middle) / 2, -0.25, "simulated cells", ha="center", fontsize=9, color=MUTED)
    left = [(populations_middle, 1.9), (populations_middle, HEIGHT)]
    arrow(axes, left)
    axes.text(populations_middle - 0.08, 1.38, "held-back\ncontrols", ha="right", va="center", fontsize=9, color=MUTED)
    for y, word in ((2.33, "train"), (0.43, "sample, evaluate")):
        x = 11.25 if word == "train" else 0.0
        axes.text(x, y, word, va="center", fontsize=12.5, style="italic", color=MUTED)
    return figure


def arrow(axes: Axes, points: list[tuple[float, float]], style: str = "solid") -> None:
    """A line through `points` with a head at its end."""
    x, y = zip(*points, strict=True)
    axes.plot(x[:-1], y[:-1], color=INK, linewidth=1.2, linestyle=style, solid_capstyle="butt")
    last = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "linestyle": style, "shrinkA": 0, "shrinkB": 1}
    axes.annotate("", xy=points[-1], xytext=points[-2], arrowprops=last)


def draw_cells(arguments: argparse.Namespace) -> plt.Figure:
    """Control and real cells left, control and simulated cells right, in components of the real cells."""
    folder = RunFolder(arguments.run)
    data = folder.config().data.model_copy(update={"layer": None})
    effects = MeanEffects.load(folder.prepared / IN_GENES)
    genes = MetricSpace.load(folder.prepared / "metric_space.safetensors").genes
    held_out, simulated = (cell_source_from_file(path, data, genes) for path in (folder.held_out, arguments.cells))
    condition = choose(arguments.condition, effects, simulated.conditions)
    found = {
        "control": read_dense(held_out, held_out.rows(condition.control), "controls"),
        "real": read_dense(held_out, held_out.rows(condition), "real cells"),
        "simulated": read_dense(simulated, simulated.rows(condition), "simulated cells"),
    }
    components = fit_pca(sparse.csr_matrix(np.concatenate([found["control"], found["real"]])), 2)
    points = {name: components.project(x) for name, x in found.items()}
    far = energy_distance(found["real"], found["control"])
    near = energy_distance(found["real"], found["simulated"])

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.9), sharex=True, sharey=True)
    scatter(axes[0], points, "real", REAL, f"real cells, held out ({len(found['real'])})")
    scatter(axes[1], points, "simulated", SIMULATED, f"simulated cells ({len(found['simulated'])})")
    figure.suptitle(f"{condition.label}", x=0.055, y=0.975, ha="left", fontsize=13, weight="bold")
    note = f"energy distance to the real cells, over genes: control {far:.2f}, simulated {near:.2f}"
    figure.text(0.055, 0.885, note, fontsize=10, color=MUTED)
    figure.subplots_adjust(left=0.055, right=0.985, top=0.80, bottom=0.11, wspace=0.06)
    return figure


def choose(label: str | None, effects: MeanEffects, sampled: tuple[Condition, ...]) -> Condition:
    """The sampled condition with this label, or the one with the largest mean effect in training."""
    known = {condition.label: condition for condition in sampled if not condition.is_control}
    if label is not None:
        if label not in known:
            raise SystemExit(f"the store has no condition {label!r}; it has {', '.join(sorted(known))}")
        return known[label]
    return max(known.values(), key=lambda condition: float(np.linalg.norm(effects.shift(condition))))


def scatter(axes: Axes, points: dict[str, NDArray[np.float32]], name: str, colour: str, title: str) -> None:
    shown = {"control": CONTROL, name: colour}
    for key, own in shown.items():
        x, y = points[key].T
        size = min(30.0, 16 * math.sqrt(600 / len(x)))
        axes.scatter(x, y, s=size, color=own, alpha=0.75 if key == name else 0.5, linewidths=0)
    for key, own in shown.items():
        centre = points[key].mean(axis=0)
        axes.scatter(*centre, s=130, marker="X", color=own, edgecolors=INK, linewidths=1.2, zorder=3)
    label = f"control cells ({len(points['control'])})"
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=own) for own in (CONTROL, colour)]
    handles.append(plt.Line2D([], [], marker="X", linestyle="", color="none", markeredgecolor=INK, markersize=9))
    above = {
        "loc": "lower left",
        "bbox_to_anchor": (-0.01, 1.0),
        "ncols": 3,
        "columnspacing": 1.2,
        "handletextpad": 0.2,
    }
    axes.legend(handles, [label, title, "means"], frameon=False, fontsize=9.5, **above)
    axes.set_facecolor(PAGE)
    axes.set(xlabel="component 1 of the real cells", xticks=[], yticks=[])
    if name == "real":
        axes.set_ylabel("component 2 of the real cells")
    for side in axes.spines.values():
        side.set_color(EDGE)


if __name__ == "__main__":
    main()
