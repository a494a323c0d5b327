"""Speed and accuracy of distances, and of a preset, beside other packages': ``python benchmarks/metrics.py``.

20,000 cells in 40 conditions, 50 principal components, every condition against the same 500 control cells. Gaussian
cells whose spread falls over the components as that of a screen does. Every package that is installed computes what
its users call, in turn, so that all see the same load of the machine; medians count. Ratios are times of the other over
times of gensim. Time of the processor (of all threads) says what a loaded machine hides. Errors are relative to SciPy's
float64 distances, for those that share a definition. The preset of the Virtual Cell Challenge 2025 follows, from the
command line (`cold_preset.py`), with the largest memory of a process.
"""

import argparse
import contextlib
import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import anndata
import numpy as np
import pandas as pd
import torch
from cold_preset import N_GENES, measure_preset
from provenance import provenance
from scipy.spatial.distance import cdist, pdist

from gensim.metrics.distances import energy_distance, mmd2_rbf
from gensim.metrics.pairs import Sample

N_CONDITIONS, N_CELLS, N_COMPONENTS = 40, 500, 50
SIGMA2 = 60.0
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CELLOT = (2.0, 1.0, 0.5, 0.1, 0.01, 0.005)
GENSIM = "gensim"
PAUSE = 0.2
"""Seconds before each measurement, in which threads that another package left waiting stop doing so."""
MEASURED = ("seconds", "cpu_seconds", "megabytes")
CONTROL = "control"
Values = Sequence[float] | None
Way = tuple[str, str, Callable[[], Values], float]
"""Task, who, what it does, and the share of its time that is the task's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch (default: 2)")
    parser.add_argument("--repeats", type=int, default=9, help="times that everything is measured (default: 9)")
    parser.add_argument("--quick", action="store_true", help="4 conditions of 50 cells, once: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")  # of other packages

    n_conditions, n_cells = (4, 50) if arguments.quick else (N_CONDITIONS, N_CELLS)
    control, conditions = make_cells(n_conditions, n_cells)
    ways = [*ours(control, conditions), *plain_torch(control, conditions)]
    for package, module, make in (
        ("scperturb", "scperturb", scperturb), ("cell-eval", "cell_eval", cell_eval), ("pertpy", "pertpy", pertpy),
    ):  # fmt: skip
        try:
            ways += make(control, conditions) if find_spec(module) else skipped(package, "is not installed")
        except ImportError as error:
            skipped(package, f"cannot be imported: {error}")
    repeats = 1 if arguments.quick else arguments.repeats
    rows = measure(ways, exact(control, conditions), repeats)
    with tempfile.TemporaryDirectory() as folder:
        rows += measure_preset(Path(folder), n_conditions, n_cells, arguments.threads, -(-repeats // 3))
    compare_with_gensim(rows)
    report = {
        "benchmark": "metrics",
        "conditions": n_conditions,
        "cells_per_condition": n_cells,
        "components": N_COMPONENTS,
        "genes_of_preset": N_GENES,
        "rows": rows,
        "provenance": provenance() | {"threads": arguments.threads} | versions(),
    }
    show(report)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def make_cells(n_conditions: int, n_cells: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """(n, D) float32 control cells, and as many of every condition around a mean of its own."""
    rng = np.random.default_rng(0)
    spread = np.geomspace(6.0, 0.5, N_COMPONENTS)
    means = np.concatenate([np.zeros((1, N_COMPONENTS)), rng.normal(0, 0.3, (n_conditions, N_COMPONENTS)) * spread])
    control, *conditions = ((rng.normal(size=(n_cells, N_COMPONENTS)) * spread + m).astype(np.float32) for m in means)
    return control, conditions


def ours(control: np.ndarray, conditions: list[np.ndarray]) -> Iterator[Way]:
    def energies() -> Values:
        shared = Sample(control)
        return [energy_distance(shared, x) for x in conditions]

    def kernels(gammas: Sequence[float]) -> Values:
        shared = Sample(control)
        factors = [1 / (2 * SIGMA2 * gamma) for gamma in gammas]
        return [mmd2_rbf(shared, x, sigma2=SIGMA2, factors=factors).value for x in conditions]

    yield "energy", GENSIM, energies, 1.0
    yield "MMD, 6 widths", GENSIM, lambda: kernels([1 / (2 * SIGMA2 * f) for f in FACTORS]), 1.0
    yield "MMD, CellOT's 6", GENSIM, lambda: kernels(CELLOT), 1.0


def plain_torch(control: np.ndarray, conditions: list[np.ndarray]) -> Iterator[Way]:
    """What one would write in float32 in three lines, the control's own term once as well."""
    c, xs = torch.from_numpy(control), [torch.from_numpy(x) for x in conditions]

    def unbiased(of_distance: Callable[[torch.Tensor], torch.Tensor], sign: int) -> Values:
        def within(x: torch.Tensor) -> float:
            own = of_distance(torch.cdist(x, x))
            return float(own.sum() - own.diagonal().sum()) / (len(x) * (len(x) - 1))

        shared = within(c)
        return [sign * (2 * float(of_distance(torch.cdist(c, x)).mean()) - shared - within(x)) for x in xs]

    def kernels(gammas: Sequence[float]) -> Values:
        return unbiased(lambda d: torch.stack([torch.exp(-g * d.square()) for g in gammas]).mean(0), -1)

    yield "energy", "torch.cdist float32", lambda: unbiased(lambda d: d, 1), 1.0
    yield "MMD, 6 widths", "torch.cdist float32", lambda: kernels([1 / (2 * SIGMA2 * f) for f in FACTORS]), 1.0
    yield "MMD, CellOT's 6", "torch.cdist float32", lambda: kernels(CELLOT), 1.0


def scperturb(control: np.ndarray, conditions: list[np.ndarray]) -> Iterator[Way]:
    from scperturb import edist_to_control

    cells = as_anndata(control, conditions)

    def run() -> Values:
        options = {"dist": "euclidean", "n_jobs": 1, "verbose": False}
        found = edist_to_control(cells, obs_key="group", control=CONTROL, **options)
        return found.loc[list(names(conditions))].iloc[:, 0].tolist()

    yield "energy", "scperturb", run, 1.0


def cell_eval(control: np.ndarray, conditions: list[np.ndarray]) -> Iterator[Way]:
    from cell_eval._types import PerturbationAnndataPair
    from cell_eval.metrics._anndata import edistance

    cells = as_anndata(control, conditions)
    pair = PerturbationAnndataPair(cells, cells.copy(), "group", CONTROL, embed_key="X_pca")

    def run() -> Values:
        with contextlib.redirect_stderr(io.StringIO()):
            edistance(pair, embed_key="X_pca")
        return None  # it returns a correlation of the distances of two sides

    yield "energy", "cell-eval (a side)", run, 0.5


def pertpy(control: np.ndarray, conditions: list[np.ndarray]) -> Iterator[Way]:
    from pertpy.tools import Distance

    cells = as_anndata(control, conditions)

    def run(metric: str, settings: Sequence[dict]) -> Values:
        tool, group = Distance(metric=metric, obsm_key="X_pca"), cells.obs["group"].to_numpy()
        for name in names(conditions):
            for setting in settings:
                tool(cells.obsm["X_pca"][group == CONTROL], cells.obsm["X_pca"][group == name], **setting)
        return None  # with each cell and itself, so other values

    yield "energy", "pertpy", lambda: run("edistance", [{}]), 1.0
    yield "MMD, CellOT's 6", "pertpy", lambda: run("mmd", [{"kernel": "rbf", "gamma": g} for g in CELLOT]), 1.0


def names(conditions: list[np.ndarray]) -> Iterator[str]:
    return (f"condition {i}" for i in range(len(conditions)))


def as_anndata(control: np.ndarray, conditions: list[np.ndarray]) -> anndata.AnnData:
    scores = np.concatenate([control, *conditions])
    groups = np.repeat([CONTROL, *names(conditions)], len(control))
    obs = pd.DataFrame({"group": groups}, index=[f"cell {i}" for i in range(len(scores))])
    return anndata.AnnData(scores, obs=obs, obsm={"X_pca": scores})


def exact(control: np.ndarray, conditions: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Reference values by SciPy, from differences in float64."""
    metric = {"energy": "euclidean"} | dict.fromkeys(["MMD, 6 widths", "MMD, CellOT's 6"], "sqeuclidean")
    found = {}
    for task, gammas in (("energy", None), ("MMD, 6 widths", [1 / (2 * SIGMA2 * f) for f in FACTORS]),
                         ("MMD, CellOT's 6", CELLOT)):  # fmt: skip

        def of_pairs(d: np.ndarray, gammas: Sequence[float] | None = gammas) -> float:
            return float(d.mean() if gammas is None else -np.mean([np.exp(-g * d).mean() for g in gammas]))

        shared = of_pairs(pdist(control.astype(np.float64), metric[task]))
        found[task] = np.array([
            2 * of_pairs(cdist(control.astype(np.float64), x.astype(np.float64), metric[task]))
            - shared - of_pairs(pdist(x.astype(np.float64), metric[task]))
            for x in conditions
        ])  # fmt: skip
    return found


def measure(ways: Sequence[Way], exact_values: dict[str, np.ndarray], repeats: int) -> list[dict]:
    values = [way[2]() for way in ways]  # and warm
    times: list[list[tuple[float, float]]] = [[] for _ in ways]
    for _ in range(repeats):
        for taken, (_, _, run, share) in zip(times, ways, strict=True):
            time.sleep(PAUSE)
            started = time.perf_counter(), time.process_time()
            run()
            taken.append(((time.perf_counter() - started[0]) * share, (time.process_time() - started[1]) * share))
    rows = []
    for (task, who, *_), taken, value in zip(ways, times, values, strict=True):
        wall, cpu = zip(*taken, strict=True)
        error = None if value is None else float(np.max(np.abs(np.array(value) / exact_values[task] - 1)))
        rows.append({
            "task": task, "who": who, "seconds": median(wall), "range": [min(wall), max(wall)],
            "cpu_seconds": median(cpu), "largest_relative_error": error,
        })  # fmt: skip
    return rows


def compare_with_gensim(rows: Sequence[dict]) -> None:
    """Add ratios to every row: what it took over what gensim took for the task."""
    of_gensim = {row["task"]: row for row in rows if row["who"] == GENSIM}
    for row in rows:
        ours = of_gensim[row["task"]]
        row |= {f"times_gensim_{what}": row[what] / ours[what] for what in MEASURED if what in row}


def skipped(package: str, why: str) -> Sequence[Way]:
    print(f"{package} {why}; skipped")
    return ()


def versions() -> dict[str, str]:
    """Of the other packages that are installed."""
    found = {}
    for package in ("scperturb", "cell-eval", "pertpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def show(report: dict) -> None:
    print(
        f"{report['conditions']} conditions of {report['cells_per_condition']} cells, {report['components']} components"
    )
    print(
        f"{'task':18}{'who':24}{'seconds (range)':>24}{'x gensim':>9}{'of the processor':>18}{'x gensim':>9}"
        f"{'largest error':>15}"
    )
    for row in report["rows"]:
        low, high = row["range"]
        error = "" if row["largest_relative_error"] is None else f"{row['largest_relative_error']:.1e}"
        memory = f"  {row['megabytes']:.0f} MB, x{row['times_gensim_megabytes']:.2f}" if "megabytes" in row else ""
        seconds = f"{row['seconds']:.3f} ({low:.3f} to {high:.3f})"
        print(
            f"{row['task']:18}{row['who']:24}{seconds:>24}{row['times_gensim_seconds']:9.2f}"
            f"{row['cpu_seconds']:18.3f}{row['times_gensim_cpu_seconds']:9.2f}{error:>15}{memory}"
        )
    for name, value in report["provenance"].items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
