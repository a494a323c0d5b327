"""What latents hold of real cells: ``python benchmarks/decoded.py configs/demo.yaml --cells 100 400``.

Held-out cells of a simulated screen are encoded and decoded anew, with nothing carried over, and compared with other
held-out cells in gene space: 1 as good as these, 0 as far off as control cells. It is the ceiling of any transport that
ends in these latents, and depends on how many training cells a condition has, whose effects on genes are noisy. As many
principal components stand beside.
"""

import argparse
import json
import tempfile
from pathlib import Path

from provenance import provenance
from results_format import over_seeds
from summary_table import show

from gensim.config import load_config
from gensim.data.simulated_screen import SimulatedScreen
from gensim.jobs import train
from gensim.training.run_folder import RunFolder, read_json

N_GENES = 300
CONTROLS_PER_CELL = 5
"""Control cells for every cell of a condition."""
UNTRAINED = ["training.max_cells=512", "training.cells_per_validation=512"]
"""The transport does not matter."""
ROWS = {
    "model": "autoencoder with effects on single genes",
    "latents": "its latents alone",
    "pca": "principal components",
}
METRIC = "energy_score"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[100, 400], help="per condition, of which half are held out"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, few cells of few genes: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    seeds = range(1 if arguments.quick else arguments.seeds)
    n_genes, numbers = (40, [40]) if arguments.quick else (N_GENES, arguments.cells)
    overrides = [*arguments.overrides, *UNTRAINED]
    per_seed = []
    for seed in seeds:
        screens = SimulatedScreen(seed, n_genes, n_cell_types=2)
        seeded = [*overrides, f"seed={seed}"]
        found = {n: decoded(arguments.config, seeded, screens, n, arguments.device) for n in numbers}
        per_seed.append(found)
        print(f"seed {seed}: {found}", flush=True)
    summary = {
        f"{row}, {n} cells": {METRIC: over_seeds([found[n][kind] for found in per_seed])}
        for n in numbers
        for kind, row in ROWS.items()
    }
    report = {
        "benchmark": "decoded",
        "config": str(arguments.config),
        "overrides": arguments.overrides,
        "seeds": list(seeds),
        "summary": summary,
        "per_seed": per_seed,
        "provenance": provenance(),
    }
    show(f"Decoded real cells, {len(seeds)} seeds", summary, [METRIC], report["provenance"])
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def decoded(
    config: Path, overrides: list[str], screens: SimulatedScreen, n_cells: int, device: str
) -> dict[str, float | None]:
    """Energy scores in gene space of held-out cells, decoded by each of `ROWS`."""
    with tempfile.TemporaryDirectory() as folder:
        screen = Path(folder) / "screen.h5ad"
        screens.screen(cells_per_condition=n_cells, n_controls=CONTROLS_PER_CELL * n_cells).write_h5ad(screen)
        resolved = load_config(config, [*overrides, f"run={folder}/run", f"data.path={screen}"])
        run = RunFolder(train(resolved, device=device))
        found = read_json(run.prepared / "reconstruction.json")["decoded"]
    return {kind: found.get(kind, {}).get(METRIC) for kind in ROWS}


if __name__ == "__main__":
    main()
