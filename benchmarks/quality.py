"""Fit, sample and score a config over several seeds: ``python benchmarks/quality.py configs/papalexi.yaml --seeds 3``.

A seed decides the split, the training and the sampling. Every held-out condition is simulated from each held-back
control cell of its context once, so that no luck in drawing sources enters. Scores are over conditions: 0 is no better
than control cells, 1 as good as repeating the experiment.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from provenance import provenance
from results_format import over_seeds
from summary_table import show

from gensim.config import Config, load_config
from gensim.data.request import Request, request_of
from gensim.jobs import evaluate_cells, train
from gensim.metrics.catalogue import DEFAULT, Metric
from gensim.metrics.results import MODEL, ROWS, TRAINING_MEAN, Evaluation, GroupSummary, summarise
from gensim.simulate import Controls
from gensim.simulator import Simulator
from gensim.store import CellStore

QUICK = ["training.max_cells=8192", "training.cells_per_validation=4096"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument(
        "--apart", metavar="LABEL,LABEL", default="", help="conditions that are summed up by themselves as well"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, a few training steps: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    overrides = arguments.overrides + (QUICK if arguments.quick else [])
    seeds = range(1 if arguments.quick else arguments.seeds)
    apart = list(dict.fromkeys(label.strip() for label in arguments.apart.split(",") if label.strip()))
    config = load_config(arguments.config, overrides)
    results = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            seeded = load_config(arguments.config, [*overrides, f"seed={seed}", f"run={folder}/run"])
            results.append(one_seed(seeded, Path(folder), arguments.device, apart=apart))
        print(f"seed {seed}: {results[-1]['scores']}", flush=True)
    report = {
        "benchmark": "quality",
        "config": str(arguments.config),
        "overrides": overrides,
        "resolved": config.model_dump(mode="json"),
        "seeds": list(seeds),
        "summary": scores_over_seeds(results),
        "per_seed": results,
        "provenance": provenance(),
    }
    if apart:
        report["apart"] = {"conditions": apart, "summary": scores_over_seeds([r["apart"] for r in results])}
    title = f"{report['config']} {' '.join(report['overrides'])}: score over {len(report['seeds'])} seeds"
    show(title, report["summary"], list(next(iter(report["summary"].values()))), report["provenance"])
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def one_seed(
    config: Config, folder: Path, device: str, metrics: Sequence[Metric] = DEFAULT, apart: Collection[str] = ()
) -> dict:
    """Everything about one run: values per row and metric, scores, times; those of the conditions `apart` once more."""
    started = time.perf_counter()
    run = train(config, device=device)
    trained = time.perf_counter()
    simulator = Simulator.load(run, device)
    simulation = simulator.simulate(request=each_control_once(simulator))
    store = CellStore.create(folder / "cells.zarr", simulation.schema)
    n_cells = sum(simulation.write_chunks(store, range(simulation.n_chunks)))
    store.finish()
    sampled = time.perf_counter()
    evaluation, _ = evaluate_cells(folder / "cells.zarr", run, seed=config.seed, metrics=metrics)
    training = json.loads((run / "trained.json").read_text())
    reconstruction = json.loads((run / "prepared" / "reconstruction.json").read_text())
    return {
        **tables(evaluation.group("all")),
        "apart": tables(group_of(evaluation, apart)) if apart else None,
        "conditions": per_condition(evaluation),
        "not_scored": [[condition.label, reason] for condition, reason in evaluation.not_scored],
        "n_cells": n_cells,
        "best_step": training["best_step"],
        "steps": training["step"],
        "decoded": reconstruction["decoded"],
        "split_digest": json.loads((run / "split.json").read_text())["digest"],
        "seconds": {
            "train": round(trained - started, 1),
            "sample": round(sampled - trained, 1),
            "evaluate": round(time.perf_counter() - sampled, 1),
        },
    }


def each_control_once(simulator: Simulator, at_most: int | None = None) -> Request:
    """The held-out conditions, with as many cells as their context has held-back controls, or as `at_most`."""
    controls = Controls.of(simulator.held_back_controls, simulator.genes, simulator.all_genes)
    conditions = simulator.held_out_request().conditions
    return request_of(conditions, [max(1, len(controls.rows_of(c.control)[:at_most])) for c in conditions])


def group_of(evaluation: Evaluation, labels: Collection[str]) -> GroupSummary:
    """The conditions of these labels together.

    Raises:
        SystemExit: one of them was not scored.
    """
    by_label = {result.condition.label: result for result in evaluation.results}
    if missing := [label for label in labels if label not in by_label]:
        raise SystemExit(f"--apart: {', '.join(missing)} not scored; scored are {', '.join(by_label)}")
    return summarise([by_label[label] for label in labels], evaluation.seed)[0]


def tables(group: GroupSummary) -> dict:
    return {"n_conditions": group.n_conditions, "values": table(group, "averages"), "scores": table(group, "scores")}


def table(group: GroupSummary, kind: str) -> dict[str, dict[str, list[float | None]]]:
    """row -> metric -> [value, low, high], over the conditions."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for (row, metric), e in getattr(group, kind).items():
        found.setdefault(row, {})[metric] = [e.value, e.low, e.high]
    return found


def per_condition(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float | None]]]:
    """condition -> row -> metric -> value, of energy distances, the effect, and classifiers."""
    keys = [metric.key for metric in DEFAULT if metric.key.startswith("energy_distance")]
    keys += ["l2_delta", "c2st_auc_logistic", "c2st_auc_forest"]
    rows = [row for row in ROWS if any(name == row for name, _ in evaluation.group("all").averages)]
    return {
        r.condition.label: {
            row: {key: r.measurements[row, key].value for key in keys if (row, key) in r.measurements} for row in rows
        }
        for r in evaluation.results
    }


def scores_over_seeds(results: list[dict]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Scores over seeds, per row and metric, and the model's lead over the training mean, seed by seed."""
    summary: dict[str, dict[str, dict[str, float | None]]] = {}
    for row, metrics in results[0]["scores"].items():
        summary[row] = {m: over_seeds([r["scores"][row][m][0] for r in results]) for m in metrics}
    if TRAINING_MEAN in summary:
        summary["model minus training_mean"] = {
            m: over_seeds([difference(r["scores"][MODEL][m][0], r["scores"][TRAINING_MEAN][m][0]) for r in results])
            for m in summary[MODEL]
        }
    return summary


def difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


if __name__ == "__main__":
    main()
