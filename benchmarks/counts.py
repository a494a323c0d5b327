"""Whether simulated counts look like the experiment done again: ``python benchmarks/counts.py configs/demo.yaml``.

A run is trained on a simulated screen. Its cells are compared with a replicate that no one has seen: of every gene the
mean, the variance and the share of zeros, and the correlations of the genes that vary most, all of log1p CP10k.
Printed is the share of them whose difference from the replicate has 0 inside its 95 % bootstrap interval (both
populations resampled by cell). A second unseen replicate stands beside, whose share is 95 % up to chance, and the
control cells.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from provenance import provenance
from results_format import over_seeds
from rich.console import Console
from rich.table import Table
from summary_table import text

from gensim.config import load_config
from gensim.data.request import request_of
from gensim.data.scale import to_log1p_cp10k
from gensim.data.simulated_screen import SimulatedScreen
from gensim.jobs import train
from gensim.seeding import numpy_generator
from gensim.simulator import Simulator
from gensim.types import Condition

RESAMPLES = 200
CORRELATED_GENES = 20
STATISTICS = ("mean", "variance", "zero fraction", "correlation")
ROWS = ("no_change", "replicate", "model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default: 3)")
    parser.add_argument("--cells", type=int, default=100, help="of each population (default: 100, as in training)")
    parser.add_argument("--quick", action="store_true", help="one seed, a small screen, a few steps: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    n_genes, quick = (300, []) if not arguments.quick else (40, ["training.max_cells=4096"])
    seeds = range(1 if arguments.quick else arguments.seeds)
    results = []
    for seed in seeds:
        truth = SimulatedScreen(seed, n_genes, n_cell_types=2)
        overrides = [*arguments.overrides, *quick, f"seed={seed}"]
        results.append(one_seed(arguments.config, overrides, truth, arguments.cells, arguments.device))
        print(f"seed {seed}: {results[-1]}", flush=True)
    summary = {row: {s: over_seeds([result[row][s] for result in results]) for s in STATISTICS} for row in ROWS}
    report = {
        "benchmark": "counts",
        "config": str(arguments.config),
        "overrides": arguments.overrides,
        "cells": arguments.cells,
        "seeds": list(seeds),
        "summary": summary,
        "per_seed": results,
        "provenance": provenance(),
    }
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def one_seed(
    config: Path, overrides: list[str], truth: SimulatedScreen, n_cells: int, device: str
) -> dict[str, dict[str, float]]:
    """Row -> statistic -> share of genes (or pairs of genes), over all seen conditions, that agree."""
    with tempfile.TemporaryDirectory() as folder:
        screen = Path(folder) / "screen.h5ad"
        truth.screen(cells_per_condition=200, n_controls=1000).write_h5ad(screen)
        resolved = load_config(config, [*overrides, f"run={folder}/run", f"data.path={screen}"])
        simulator = Simulator.load(train(resolved, device=device), device)
        conditions = simulator.held_out_request().conditions
        simulated = simulator.simulate(request=request_of(conditions, [n_cells] * len(conditions))).to_anndata()
    agree: dict[str, dict[str, list[np.ndarray]]] = {row: {s: [] for s in STATISTICS} for row in ROWS}
    row_of = simulated.obs["condition"].astype(str).to_numpy()
    for condition in conditions:
        rng = numpy_generator(truth.seed, "counts benchmark", condition.key)
        unseen = replicate(truth, condition, n_cells, 1)
        genes = np.argsort(unseen.var(axis=0))[-CORRELATED_GENES:]
        populations = {
            "no_change": replicate(truth, condition.control, n_cells, 2),
            "replicate": replicate(truth, condition, n_cells, 2),
            "model": logs(simulated.X[row_of == condition.label]),
        }
        expected = resampled(unseen, genes, rng)
        for row, x in populations.items():
            found = resampled(x, genes, rng)
            for statistic in STATISTICS:
                low, high = np.nanquantile(found[statistic] - expected[statistic], [0.025, 0.975], axis=0)
                agree[row][statistic].append((low <= 0) & (high >= 0))
    return {row: {s: float(np.concatenate(parts).mean()) for s, parts in of.items()} for row, of in agree.items()}


def replicate(truth: SimulatedScreen, condition: Condition, n_cells: int, number: int) -> np.ndarray:
    """(n, G) log1p CP10k of cells that are in no screen."""
    (cell_type,) = (value for _, value in condition.context)
    return logs(truth.population(condition.perturbations, cell_type, n_cells, replicate=number).X.toarray())


def logs(counts: np.ndarray) -> np.ndarray:
    counts = counts.astype(np.float32)
    return to_log1p_cp10k(counts, "counts", counts.sum(axis=1).clip(1)).astype(np.float64)


def resampled(x: np.ndarray, genes: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Statistics of bootstrap samples of (n, G) cells, (resamples, G) each, or pairs of the genes `genes`.

    All are functions of weighted means, so a resample is a row of multinomial weights.
    """
    weights = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=RESAMPLES) / len(x)
    mean = weights @ x
    some = x[:, genes]
    first, second = np.triu_indices(len(genes), 1)
    product = weights @ (some[:, first] * some[:, second])
    centre, spread = weights @ some, np.sqrt((weights @ some**2 - (weights @ some) ** 2).clip(1e-12))
    covariance = product - centre[:, first] * centre[:, second]
    return {
        "mean": mean,
        "variance": weights @ x**2 - mean**2,
        "zero fraction": weights @ (x == 0),
        "correlation": covariance / (spread[:, first] * spread[:, second]),
    }


def show(report: dict) -> None:
    console = Console(width=120)
    table = Table(title=f"Share within 95 % bootstrap intervals, {report['config']} {' '.join(report['overrides'])}")
    table.add_column("row")
    for statistic in STATISTICS:
        table.add_column(statistic, justify="right")
    for row in ROWS:
        table.add_row(row, *(text(report["summary"][row][statistic]) for statistic in STATISTICS))
    console.print(table)
    console.print(f"{len(report['seeds'])} seeds, {report['cells']} cells of each population; ± 95 % interval (t)")
    for name, value in report["provenance"].items():
        console.print(f"{name}: {value}", highlight=False)


if __name__ == "__main__":
    main()
