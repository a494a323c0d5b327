"""The preset `vcc2025` from the command line, cold, beside the package that the challenge is scored with.

20,000 cells and as many predicted ones of 2,000 genes in 40 conditions and a control, as log1p CP10k in two sparse
`.h5ad` files. A process is started for every run; wall time, time of the processor and the largest memory are what the
operating system says of it. gensim also fits principal components, measures a replicate, and writes a page.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

TASK = "vcc2025, cold"
N_GENES, CHANGED = 2_000, 100
CONTROL = "non-targeting"
STARTER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(code)
"""
"""A small process that starts what is measured, since the memory of a child begins with that of its parent."""
PROGRAM = "from gensim.cli import program; program()"


def measure_preset(folder: Path, n_conditions: int, n_cells: int, threads: int, repeats: int) -> list[dict]:
    """Rows of a report: who, seconds, of the processor, and MB; files are written to `folder`."""
    make_files(folder, n_conditions, n_cells)
    runs: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(repeats):
        for who, command in commands(folder, threads):
            runs.setdefault(who, []).append(run(command, threads))
    rows = []
    for who, taken in runs.items():
        wall, cpu, megabytes = zip(*taken, strict=True)
        rows.append({
            "task": TASK, "who": who, "seconds": median(wall), "range": [min(wall), max(wall)],
            "cpu_seconds": median(cpu), "largest_relative_error": None, "megabytes": max(megabytes),
        })  # fmt: skip
    return rows


def commands(folder: Path, threads: int) -> list[tuple[str, list[str]]]:
    predicted, real = str(folder / "predicted.h5ad"), str(folder / "real.h5ad")
    programs = Path(sys.executable).parent
    columns = ("scale=log1p_cp10k", "perturbation_column=perturbation", f"control_label={CONTROL}")
    ours = [sys.executable, "-c", PROGRAM, "evaluate", predicted, "--truth", real, *(f"data.{c}" for c in columns)]
    found = [("gensim", [*ours, "--metrics", "vcc2025", "--workers", str(threads), "--out", str(folder / "gensim")])]
    if find_spec("cell_eval"):
        theirs = [str(programs / "cell-eval"), "run", "-ap", predicted, "-ar", real, "--control-pert", CONTROL]
        options = ["--pert-col", "perturbation", "--num-threads", str(threads), "--profile", "vcc"]
        found.append(("cell-eval", [*theirs, *options, "-o", str(folder / "cell-eval")]))
    return found


def run(command: list[str], threads: int) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and MB of a command.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    measured = [sys.executable, "-c", STARTER, *command]
    done = subprocess.run(measured, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2_000:]}")
    seconds, of_processor, kilobytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, of_processor, kilobytes / 1024


def make_files(folder: Path, n_conditions: int, n_cells: int) -> None:
    """Negative-binomial counts, 0.4 of them above 0; a prediction has 0.7 of the logarithmic effects."""
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(-0.8, 1.4, N_GENES))
    names = np.repeat([CONTROL, *(f"gene{k}" for k in range(n_conditions))], n_cells)
    effects = np.zeros((n_conditions + 1, N_GENES))
    for effect in effects[1:]:
        effect[rng.choice(N_GENES, CHANGED, replace=False)] = rng.normal(0, 0.8, CHANGED)
    for name, share in (("real", 1.0), ("predicted", 0.7)):
        rates = np.repeat(mean * np.exp(share * effects), n_cells, axis=0)
        depth = np.exp(rng.normal(0, 0.3, (len(rates), 1)))
        counts = rng.poisson(rng.gamma(5.0, rates * depth / 5.0))
        x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
        obs = pd.DataFrame({"perturbation": pd.Categorical(names)}, index=[f"{name} {i}" for i in range(len(names))])
        var = pd.DataFrame(index=[f"gene{g}" for g in range(N_GENES)])
        anndata.AnnData(sparse.csr_matrix(x), obs=obs, var=var).write_h5ad(folder / f"{name}.h5ad")
