"""Seconds to simulate a screen of about 10,000 cells and 500 genes: ``python benchmarks/simulated_screen.py``."""

import argparse
import json
import time
from pathlib import Path

from provenance import provenance

from gensim.data.simulated_screen import SimulatedScreen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about 1,000 cells and 100 genes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here as well")
    arguments = parser.parse_args()
    n_cells, n_genes = (1_000, 100) if arguments.quick else (10_000, 500)

    started = time.perf_counter()
    simulated = SimulatedScreen(0, n_genes)
    network_s = time.perf_counter() - started

    perturbations = [*simulated.regulators, *simulated.pairs(len(simulated.regulators) // 2)]
    conditions = len(perturbations) * len(simulated.cell_types)
    n_controls = n_cells // 5 // len(simulated.cell_types)
    started = time.perf_counter()
    adata = simulated.screen(
        perturbations, cells_per_condition=round(0.8 * n_cells / conditions), n_controls=n_controls
    )
    screen_s = time.perf_counter() - started

    started = time.perf_counter()
    population = simulated.population(simulated.regulators[:2], simulated.cell_types[0], n_cells)
    population_s = time.perf_counter() - started

    result = {
        "network_s": round(network_s, 3),
        "screen_cells": adata.n_obs,
        "screen_genes": adata.n_vars,
        "screen_conditions": conditions + len(simulated.cell_types),
        "screen_s": round(screen_s, 3),
        "population_cells": population.n_obs,
        "population_s": round(population_s, 3),
    }
    report = {"benchmark": "simulated_screen", "result": result, "provenance": provenance()}
    for name, value in [*result.items(), *report["provenance"].items()]:
        print(f"{name:20} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
