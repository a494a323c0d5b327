"""Which part does what: ``python benchmarks/ablation.py --json benchmarks/results/ablation.json``, from the checkout.

Transport with its source x coupling x backbone, on a simulated screen, Papalexi and Kang, over several seeds. Without
``--full`` every coupling is tried with the residual MLP, and every backbone with the default coupling. All variants of
a data set and seed share its split, latents, budget of training, and the real cells they are scored against.

Finished runs are kept below ``--work``: the same command goes on where it was stopped. A kept result counts for the
same source of gensim, config, scoring and device only; otherwise its run is made again.
"""

import argparse
import io
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from ablation_design import (
    BACKBONES,
    DEFAULT_COUPLING,
    FACTORS,
    Variant,
    all_variants,
    complete_blocks,
    marginal,
)
from provenance import provenance
from quality import difference, each_control_once, table
from results_format import over_seeds
from rich.console import Console
from rich.table import Table
from summary_table import text

import gensim
from gensim import build
from gensim.atomic import write_json
from gensim.baselines.gaussian_map import GaussianMaps
from gensim.config import Config, load_config
from gensim.data.cell_source import ArrayCells, cell_source_from_file
from gensim.data.write_simulated_screen import write_simulated_screen
from gensim.errors import GensimError
from gensim.evaluate import EvaluationInputs, evaluate
from gensim.jobs import train
from gensim.metrics.catalogue import DEFAULT
from gensim.metrics.results import MODEL, NO_CHANGE, REPLICATE, ROWS, TRAINING_MEAN
from gensim.metrics.space import MetricSpace
from gensim.perturbations.mean_effects import MeanEffects
from gensim.seeding import digest
from gensim.simulator import Simulator
from gensim.training.prepare import Parts, prepare
from gensim.training.run_folder import GAUSSIAN_MAPS, IN_GENES, RunFolder, read_json

ROOT = Path(__file__).resolve().parent.parent

CONFIGS = {"simulated": "demo.yaml", "papalexi": "papalexi.yaml", "kang": "kang.yaml"}

TRAINING = (
    "training.max_cells=200000",
    "training.cells_per_validation=25000",
    "training.patience_validations=6",
    "training.learning_rate=1e-3",
)
TRAINING_QUICK = ("training.max_cells=2048", "training.cells_per_validation=1024")
SCREEN = {"n_cells": 10_000, "n_genes": 300, "n_cell_types": 2, "combinations": 5}
SCREEN_QUICK = {"n_cells": 600, "n_genes": 60, "n_cell_types": 1, "combinations": 1}
SCORING = {"n_repeats": 2, "max_cells": 500}
SHOWN = {
    "energy_distance_pca": "energy distance, PCA",
    "mmd2_rbf_pca": "MMD², PCA",
    "l2_delta": "L2 of effects",
    "pearson_delta": "Pearson of effects (value)",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One run: a variant on a data set with a seed.

    Args:
        base: overrides that all variants of the data set and seed share.
        work: folder of what is kept.
        code: digest of gensim's source.
    """

    data: str
    seed: int
    variant: Variant
    base: tuple[str, ...]
    work: Path
    code: str
    device: str

    @property
    def name(self) -> str:
        return f"{self.data}, seed {self.seed}, {self.variant.name}"

    @property
    def result(self) -> Path:
        return self.work / "results" / f"{self.data}-{self.seed}-{self.variant.name.replace('/', '-')}.json"

    @property
    def running(self) -> Path:
        return self.work / "running" / self.result.stem

    @property
    def prepared(self) -> Path:
        """A run that is prepared and not trained; it depends on nothing that a variant chooses."""
        return self.work / "prepared" / f"{self.data}-{self.seed}-{digest(self.code, self._shared())[:12]}"

    @property
    def made_by(self) -> str:
        """Digest of all that the result follows from, but for the files of cells."""
        return digest(self.code, self._shared(), self.variant.overrides, SCORING, self.device)

    def config(self) -> Config:
        return load_config(self._file, (*self.base, *self.variant.overrides, f"run={self.running}"))

    def prepared_config(self) -> Config:
        return load_config(self._file, (*self.base, f"run={self.prepared}"))

    def kept(self) -> dict | None:
        """The result, if it is there and nothing has changed that it follows from."""
        result = json.loads(self.result.read_text()) if self.result.is_file() else None
        return result if result is not None and result["made_by"] == self.made_by else None

    @property
    def _file(self) -> Path:
        return ROOT / "configs" / CONFIGS[self.data]

    def _shared(self) -> tuple[str, ...]:
        return (self._file.read_text(), *self.base)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=CONFIGS, default=list(CONFIGS), help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default: 3)")
    parser.add_argument(
        "--variants", nargs="+", default=["*"], metavar="PATTERN", help="e.g. 'flow_matching/*/exact/*'"
    )
    parser.add_argument("--full", action="store_true", help="every coupling with every backbone")
    parser.add_argument("--quick", action="store_true", help="one seed of a small simulated screen: does it run?")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), help="default: runs/ablation")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    variants = [v for v in all_variants(arguments.full) if any(fnmatch(v.name, p) for p in arguments.variants)]
    if not variants:
        parser.error(
            f"no variant is like {arguments.variants}; they are named as {all_variants(arguments.full)[0].name}"
        )
    data = ["simulated"] if arguments.quick else arguments.data
    seeds = range(1 if arguments.quick else arguments.seeds)
    training = TRAINING_QUICK if arguments.quick else TRAINING
    size = SCREEN_QUICK if arguments.quick else SCREEN
    work, code = arguments.work.resolve(), source_digest()
    device = str(build.choose_device(arguments.device))

    screen = work / f"screen-{digest(code, size)[:12]}.h5ad"
    if "simulated" in data and not screen.is_file():
        write_simulated_screen(screen, overwrite=True, **size)
    paths = {"simulated": (f"data.path={screen}",)}
    tasks = [
        Task(d, seed, v, (*training, *paths.get(d, ()), f"seed={seed}"), work, code, device)
        for d in data
        for seed in seeds
        for v in variants
    ]
    results, failures = run_all(tasks, arguments.workers)
    report = {
        "benchmark": "ablation",
        "full": arguments.full,
        "quick": arguments.quick,
        "training": training,
        "scoring": SCORING,
        "seeds": list(seeds),
        "workers": arguments.workers,
        "simulated_screen": size,
        "data": {d: summarise({t: r for t, r in results.items() if t.data == d}) for d in data},
        "runs": [{"data": t.data, "seed": t.seed, "variant": t.variant.name, **r} for t, r in results.items()],
        "failures": [{"run": task.name, "error": error} for task, error in failures.items()],
        "code_changed_meanwhile": source_digest() != code,
        "provenance": provenance(),
    }
    show(report)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    if report["code_changed_meanwhile"]:
        sys.exit("the source of gensim changed meanwhile, so workers may have mixed two states of it; run it again")
    sys.exit(1 if failures else 0)


def source_digest() -> str:
    package = Path(gensim.__file__).parent
    return digest([[str(path.relative_to(package)), path.read_text()] for path in sorted(package.rglob("*.py"))])


def run_all(tasks: Sequence[Task], workers: int) -> tuple[dict[Task, dict], dict[Task, str]]:
    """Results, and of the tasks that failed the reason, both in the order of the tasks."""
    kept = {task: task.kept() for task in tasks}
    results = {task: result for task, result in kept.items() if result is not None}
    waiting = [task for task in tasks if task not in results]
    failures = {}
    print(f"{len(tasks)} runs: {len(results)} kept from before, {len(waiting)} to make", flush=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the workers, which start afresh
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        first = {task.prepared: task for task in waiting}
        preparing = {path: pool.submit(prepare_once, task) for path, task in first.items()}
        for task in waiting:
            error = preparing[task.prepared].exception()
            if error is not None:
                failures[task] = in_words(error)
        running = {pool.submit(run_variant, task): task for task in waiting if task not in failures}
        for number, future in enumerate(as_completed(running), start=1):
            task, error = running[future], future.exception()
            if error is None:
                results[task] = future.result()
                outcome = f"score {judged(results[task], MODEL, DEFAULT[0].key)}, {results[task]['seconds']} s"
            else:
                outcome = failures[task] = in_words(error)
            print(f"[{number}/{len(running)}] {task.name}: {outcome}", flush=True)
    return {t: results[t] for t in tasks if t in results}, {t: failures[t] for t in tasks if t in failures}


def in_words(error: BaseException) -> str:
    """The message of a user's mistake, the traceback of anything else."""
    return str(error) if isinstance(error, GensimError) else "".join(traceback.format_exception(error))


def end_with_parent() -> None:
    """Let a worker end when the process that started it is killed; it would wait for work for ever."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def prepare_once(task: Task) -> None:
    """Make the prepared run that the variants of a data set and seed start from, unless it is there."""
    config, run = task.prepared_config(), RunFolder(task.prepared)
    if run.begin(config, overwrite=False):
        parts = Parts(
            fit_autoencoder=partial(build.fit_autoencoder, config, device=task.device),
            make_vectors=partial(build.make_vectors, config),
        )
        prepare(config, run, parts)


def run_variant(task: Task) -> dict:
    """Train in a copy of the prepared run, sample, score, keep the result."""
    config, run = task.config(), RunFolder(task.running)
    shutil.rmtree(run.path, ignore_errors=True)
    try:
        shutil.copytree(task.prepared, run.path)
        run.write_config(config)
        with redirect_stderr(io.StringIO()):  # progress bars of several processes
            train(config, device=task.device)
        result = {"made_by": task.made_by, **scored(run, inputs_of(task.prepared), task.device)}
    finally:
        shutil.rmtree(run.path, ignore_errors=True)
    write_json(task.result, result)
    return result


@lru_cache(maxsize=1)
def inputs_of(run: Path) -> Callable[[ArrayCells], EvaluationInputs]:
    """What a prediction is compared with, as `gensim evaluate` does, with the held-out cells of the run in memory."""
    folder = RunFolder(run)
    space = MetricSpace.load(folder.prepared / "metric_space.safetensors")
    cells = cell_source_from_file(folder.held_out, folder.config().data.model_copy(update={"layer": None}), space.genes)
    x = cells.read(np.arange(len(cells.condition_of)))
    held_out = ArrayCells(cells.genes, cells.conditions, cells.condition_of, x)
    effects, maps = MeanEffects.load(folder.prepared / IN_GENES), GaussianMaps.load(folder.prepared / GAUSSIAN_MAPS)
    return partial(EvaluationInputs, truth=held_out, controls=held_out, space=space, effects=effects, maps=maps)


def scored(run: RunFolder, inputs: Callable[[ArrayCells], EvaluationInputs], device: str) -> dict:
    """Sample a trained run and score it: values and scores per row and metric, numbers of cells, times."""
    simulator = Simulator.load(run.path, device)
    simulation = simulator.simulate(request=each_control_once(simulator, SCORING["max_cells"]))
    began = time.perf_counter()
    chunks = list(simulation)
    sampled = time.perf_counter()
    x, condition_of = (np.concatenate([getattr(chunk, of) for chunk in chunks]) for of in ("x", "condition"))
    prediction = ArrayCells(simulator.genes, simulation.plan.conditions, condition_of, x)
    evaluation = evaluate(inputs(prediction), simulator.config.seed, **SCORING)
    training = read_json(run.summary)
    return {
        "values": points(table(evaluation.group("all"), "averages")),
        "scores": points(table(evaluation.group("all"), "scores")),
        "n_conditions": len(evaluation.results),
        "n_cells": len(x),
        "step_kept": training["best_step"],
        "steps": training["step"],
        "split_digest": read_json(run.path / "split.json")["digest"],
        "seconds": {
            "train": round(training["seconds"], 1),
            "sample": round(sampled - began, 1),
            "evaluate": round(time.perf_counter() - sampled, 1),
        },
        "cells_per_second": round(len(x) / (sampled - began)),
    }


def points(estimates: dict[str, dict[str, list[float | None]]]) -> dict[str, dict[str, float | None]]:
    return {row: {metric: e[0] for metric, e in metrics.items()} for row, metrics in estimates.items()}


def judged(result: dict, row: str, metric: str) -> float | None:
    """The score where the metric has one, else its value; no change scores 0 and the replicate 1 by definition."""
    if metric not in result["scores"][MODEL]:
        return result["values"][row][metric]
    return {NO_CHANGE: 0.0, REPLICATE: 1.0}[row] if row in (NO_CHANGE, REPLICATE) else result["scores"][row][metric]


def lead(result: dict, metric: str) -> float | None:
    return difference(judged(result, MODEL, metric), judged(result, TRAINING_MEAN, metric))


def summarise(results: dict[Task, dict]) -> dict:
    """Reference rows, variants and factors of one data set, over its seeds."""
    metrics = [metric.key for metric in DEFAULT]
    seeds = sorted({task.seed for task in results})
    by_variant: dict[Variant, dict[int, dict]] = {}
    for task, result in results.items():
        by_variant.setdefault(task.variant, {})[task.seed] = result
    whole = {variant: [of[seed] for seed in seeds] for variant, of in by_variant.items() if len(of) == len(seeds)}
    # Every variant of a seed is scored beside the same reference rows.
    reference = next(iter(whole.values()), [])
    model = {m: {v: [judged(r, MODEL, m) for r in found] for v, found in whole.items()} for m in metrics}
    factors = {}
    for factor, fields in FACTORS.items():
        blocks = complete_blocks(whole, fields)
        levels = blocks[0] if blocks else ()
        factors[factor] = {
            "blocks": len(blocks),
            "levels": {level: {m: over_seeds(marginal(blocks, level, model[m])) for m in metrics} for level in levels},
        }
    return {
        "seeds": seeds,
        "n_conditions": [result["n_conditions"] for result in reference],
        "references": {
            row: {m: over_seeds([judged(r, row, m) for r in reference]) for m in metrics}
            for row in ROWS
            if row != MODEL and reference
        },
        "variants": [
            {
                **asdict(variant),
                "overrides": variant.overrides,
                "model": {m: over_seeds(model[m][variant]) for m in metrics},
                "lead": {m: over_seeds([lead(r, m) for r in found]) for m in metrics},
                "seconds_training": over_seeds([r["seconds"]["train"] for r in found]),
                "cells_per_second": over_seeds([r["cells_per_second"] for r in found]),
                "step_kept": [f"{r['step_kept']}/{r['steps']}" for r in found],
            }
            for variant, found in whole.items()
        ],
        "incomplete": [variant.name for variant in by_variant if variant not in whole],
        "factors": factors,
    }


def show(report: dict) -> None:
    console = Console(width=220, highlight=False)
    for name, found in report["data"].items():
        shown = Table(title=f"{name}: {len(found['seeds'])} seeds, {found['n_conditions']} conditions")
        for column in ("transport", "source", "coupling", "backbone"):
            shown.add_column(column)
        heads = [*SHOWN.values(), "lead over training mean, PCA", "training, s", "cells/s", "step kept of"]
        for head in heads:
            shown.add_column(head, justify="right")
        for row, cells in found["references"].items():
            shown.add_row(row, "", "", "", *(text(cells[m]) for m in SHOWN), end_section=row == REPLICATE)
        for v in found["variants"]:
            cells = [*(text(v["model"][m]) for m in SHOWN), text(v["lead"][DEFAULT[0].key])]
            speed = [f"{v['seconds_training']['mean']:.1f}", f"{v['cells_per_second']['mean']:,.0f}"]
            names = (v["transport"], v["source"], v["coupling"], v["backbone"])
            shown.add_row(*names, *cells, *speed, " ".join(v["step_kept"]))
        console.print(shown)
        means = Table(title=f"{name}: means over everything else, of the blocks that hold every level")
        for column in ("factor", "level"):
            means.add_column(column)
        for head in ("blocks", *SHOWN.values()):
            means.add_column(head, justify="right")
        for factor, of in found["factors"].items():
            for level, cells in of["levels"].items():
                means.add_row(factor, level, str(of["blocks"]), *(text(cells[m]) for m in SHOWN))
            means.add_section()
        console.print(means)
        if found["incomplete"]:
            console.print(f"not shown, as a seed of theirs failed: {', '.join(found['incomplete'])}")
    console.print(notes(report))
    for failure in report["failures"]:
        console.print(f"failed: {failure['run']}: {failure['error']}", markup=False)
    for fact, value in report["provenance"].items():
        console.print(f"{fact}: {value}")


def notes(report: dict) -> str:
    design = (
        "every coupling with every backbone"
        if report["full"]
        else f"every coupling with {BACKBONES[0]}, every backbone with the {DEFAULT_COUPLING} coupling; --full for all"
    )
    return (
        f"Design: {design}. Training: {', '.join(report['training'])}, for all alike.\n"
        "Scores: 0 no better than control cells, 1 as good as repeating the experiment; ± 95 % interval over seeds "
        f"(t). {report['scoring']['n_repeats']} repeats, of a condition at most {report['scoring']['max_cells']} real "
        f"and predicted cells. Times with {report['workers']} processes at once; step kept 0: the untrained network."
    )


if __name__ == "__main__":
    main()
