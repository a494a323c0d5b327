"""Tables from the saved results: ``python benchmarks/results_table.py``.

Reads benchmarks/results/*.json, puts the short table between the markers of README.md and writes the long ones to
benchmarks/results/README.md. No number in either is typed by hand.
"""

import argparse
import json
import re
from pathlib import Path

from results_format import interval, markdown, over_seeds, plain
from results_sections import (
    UNMEASURED_NOTE,
    ablation_section,
    counts_section,
    decoded_section,
    metrics_section,
    sampling_section,
    training_section,
    unmeasured_section,
    unmeasured_table,
)

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
DIFFERENCE = "model minus training_mean"
ROWS = ("training_mean", "gaussian_map", "nearest", "ridge", "kernel_ridge", "model", DIFFERENCE)
SHORT_METRICS = {"energy_distance_pca": "score, PCA space", "energy_distance_genes": "score, gene space"}
BESIDE_MEANS = {
    "variance_ratio": "variance ratio",
    "zero_fraction_error": "error of zeros",
    "c2st_auc_logistic": "C2ST, logistic",
    "c2st_auc_forest": "C2ST, forest",
    "des_wilcoxon": "DES",
}
ROWS_BESIDE_MEANS = ("no_change", "training_mean", "replicate", "model")
CELLS = (
    "What means do not show, as averages over the conditions, ± over seeds: the median over genes of predicted to real "
    "variance (1 is right), the mean error of a gene's share of zeros, the AUC of classifiers that tell predicted from "
    "real cells (0.5: they cannot), the share of differentially expressed genes found (DES, of the Virtual Cell "
    "Challenge 2025). What a replicate reaches is the ceiling."
)
FACTS_SHOWN_ALONE = ("command", "date", "commit", "gensim", "cpu", "cores", "ram_gib", "accelerator", "platform")
MIB = 2**20
SCALE = (
    "Score of a row: (no change − row) / (no change − replicate), of energy distances averaged over the held-out "
    "conditions. **0** is the prediction that nothing changes, **1** a second sample of the real cells (the ceiling). "
    "± is the 95 % interval of Student's t over seeds; a seed decides split, training and sampling. The difference is "
    "taken seed by seed. Only the distances have their ceiling at 1: the L2 of effects of a replicate holds the noise "
    "of half of the real cells, which a model of more cells does not have. Conditions apart are summed up by "
    "themselves as well: on Papalexi the targets that are known to respond; about half of all move nothing measurable."
)
NOTHING = "No results are saved yet: `python benchmarks/quality.py CONFIG --json benchmarks/results/NAME.json`."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    arguments = parser.parse_args()
    reports = [json.loads(path.read_text()) for path in sorted(arguments.results.glob("*.json"))]
    readme = arguments.readme.read_text()
    wanted = {
        arguments.readme: between_markers(readme, short_table(reports), str(arguments.readme)),
        arguments.results / "README.md": long_tables(reports),
    }
    for path, text in wanted.items():
        stale = not path.is_file() or path.read_text() != text
        if arguments.check and stale:
            raise SystemExit(f"{path} is not up to date; run python benchmarks/results_table.py")
        if stale:
            path.write_text(text)
        print(f"{path}: {'written' if stale else 'up to date'}")


def between_markers(text: str, table: str, where: str) -> str:
    """`text` with `table` between the markers, which must both be there once, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or text.count(BEGIN) + text.count(END) != 2:
        raise SystemExit(f"{where} needs {BEGIN} and then {END}, once each, to say where the table goes")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def short_table(reports: list[dict]) -> str:
    """The rows of every quality report in PCA and in gene space, and where they come from."""
    unmeasured = [report for report in reports if report["benchmark"] == "unmeasured"]
    reports = [report for report in reports if report["benchmark"] == "quality"]
    if not reports:
        return NOTHING
    shown = [view for report in reports for view in with_apart(report)]
    head = ["config", "hold-out", "conditions", "seeds", "row", *SHORT_METRICS.values()]
    lines = []
    for report in shown:
        for row in present_rows(report):
            facts = [named(report), hold_out(report), n_conditions(report), str(len(report["seeds"]))]
            scores = [interval(report["summary"][row].get(metric)) for metric in SHORT_METRICS]
            lines.append([*(facts if row == ROWS[0] else [""] * 4), row.replace("_", " "), *scores])
    beside = [
        [
            named(report) if row == ROWS_BESIDE_MEANS[0] else "",
            row.replace("_", " "),
            *(interval(value_over_seeds(report, row, metric)) for metric in BESIDE_MEANS),
        ]
        for report in shown
        for row in ROWS_BESIDE_MEANS
    ]
    cells = markdown(["config", "row", *BESIDE_MEANS.values()], beside, left=2)
    sources = "\n".join(
        f"- {name}: {source(report)}"
        for name, report in [(named(r), r) for r in reports] + [(f"`{r['case']}`", r) for r in unmeasured]
    )
    more = "All metrics and versions: [benchmarks/results/README.md](benchmarks/results/README.md)."
    tables = [SCALE, markdown(head, lines, left=5)]
    tables += [UNMEASURED_NOTE, unmeasured_table(unmeasured)] if unmeasured else []
    return "\n\n".join([*tables, CELLS, cells, sources, more])


def with_apart(report: dict) -> list[dict]:
    """The report, and where some conditions are summed up by themselves as well, the same with these alone."""
    apart = report.get("apart")
    if not apart:
        return [report]
    per_seed = [{**result, **result["apart"]} for result in report["per_seed"]]
    return [report, {**report, "summary": apart["summary"], "per_seed": per_seed, "alone": apart["conditions"]}]


def value_over_seeds(report: dict, row: str, metric: str) -> dict[str, float | None]:
    return over_seeds([result["values"].get(row, {}).get(metric, [None])[0] for result in report["per_seed"]])


def long_tables(reports: list[dict]) -> str:
    """Every report with all metrics, per seed what training did, and full provenance."""
    parts = ["# Results", "Generated by `python benchmarks/results_table.py` from the JSON files beside it.", SCALE]
    for report in reports:
        match report["benchmark"]:
            case "quality":
                for view in with_apart(report):
                    parts += quality_section(view)
            case "memory":
                parts += memory_section(report)
            case "ablation":
                parts += ablation_section(report)
            case "training":
                parts += training_section(report)
            case "sampling":
                parts += sampling_section(report)
            case "metrics":
                parts += metrics_section(report)
            case "unmeasured":
                parts += unmeasured_section(report)
            case "counts":
                parts += counts_section(report)
            case "decoded":
                parts += decoded_section(report)
            case name:
                result = report.get("result", {})
                parts += [f"## {name}", markdown(["what", "value"], [[k, str(v)] for k, v in result.items()], left=1)]
        parts += [source(report), versions(report)]
    return "\n\n".join(parts if reports else [*parts, NOTHING]) + "\n"


def quality_section(report: dict) -> list[str]:
    summary = report["summary"]
    metrics = list(summary["model"])
    scores = [
        [row.replace("_", " "), *(interval(summary[row].get(m)) for m in metrics)] for row in present_rows(report)
    ]
    values = [
        [str(seed), row.replace("_", " "), *(plain(cells.get(metric, [None])[0]) for metric in metrics)]
        for seed, result in zip(report["seeds"], report["per_seed"], strict=True)
        for row, cells in result["values"].items()
    ]
    training = [
        [
            str(seed),
            str(result["n_conditions"]),
            str(len(result["not_scored"])),
            f"{result['best_step']} of {result['steps']}",
            *(plain(result["decoded"].get(what, {}).get("energy_score")) for what in ("model", "pca")),
            " / ".join(f"{result['seconds'][job]:g}" for job in ("train", "sample", "evaluate")),
        ]
        for seed, result in zip(report["seeds"], report["per_seed"], strict=True)
    ]
    training_head = [
        "seed", "conditions scored", "not scored", "step kept (0: the untrained network)",
        "score of decoded real cells", "of as many principal components", "seconds to train / sample / evaluate",
    ]  # fmt: skip
    overrides = f" with {' '.join(f'`{o}`' for o in report['overrides'])}" if report["overrides"] else ""
    return [
        f"## {named(report)}{overrides}, held out: {hold_out(report)}",
        "Scores:",
        markdown(["row", *metrics], scores, left=1),
        "Values, averaged over the conditions of a seed (no score: lower is better):",
        markdown(["seed", "row", *metrics], values, left=2),
        "Runs:",
        markdown(training_head, training, left=1),
    ]


def memory_section(report: dict) -> list[str]:
    head = ["what", "cells", "genes", "dense matrix, MiB", "peak of the process, MiB", "above its imports, MiB"]
    lines = [
        [row["what"], f"{row['cells']:,}", f"{row['genes']:,}"]
        + [f"{row[key] / MIB:,.0f}" for key in ("dense_bytes", "peak_bytes", "above_imports_bytes")]
        for row in report["results"]
    ]
    return ["## Memory", markdown(head, lines, left=1)]


def present_rows(report: dict) -> list[str]:
    return [row for row in ROWS if row in report["summary"]]


def named(report: dict) -> str:
    """The config, or the file of cells, and transport and autoencoder, where they are not the config's own."""
    files = [Path(o.partition("=")[2]).stem for o in report["overrides"] if o.startswith("data.path=")]
    kinds = [o.partition("=")[2] for o in report["overrides"] if o.startswith(("transport.kind=", "autoencoder.kind="))]
    words = [f"`{(files or [Path(report['config']).stem])[0]}`", *(kind.replace("_", " ") for kind in kinds)]
    return " ".join(words) + (f", {len(report['alone'])} conditions apart" if "alone" in report else "")


def hold_out(report: dict) -> str:
    """What the split holds out, in words."""
    test = report["resolved"]["split"]["test"]
    alone = f"; of {', '.join(report['alone'])} alone" if "alone" in report else ""
    if test["hold_out"] == "cells":
        return f"{test['fraction']:.0%} of the cells of every condition{alone}"
    column = f" of {test['column']}" if test.get("column") else ""
    if test.get("fraction") is not None:
        return f"{test['fraction']:.0%} of the {test['hold_out']}{column}, drawn by seed{alone}"
    values = [v if isinstance(v, str) else f"{v['perturbation']} in {v['context']}" for v in test["values"] or []]
    return f"{test['hold_out']}{column}: {', '.join(values)}{alone}"


def n_conditions(report: dict) -> str:
    """Conditions scored: one number, or the range over seeds."""
    numbers = {result["n_conditions"] for result in report["per_seed"]}
    return str(numbers.pop()) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def source(report: dict) -> str:
    facts = report["provenance"]
    accelerator = facts["accelerator"] or "no accelerator"
    commit = facts["commit"] or "unknown"
    edited = " with uncommitted changes" if commit.endswith("+changes") else ""
    return (
        f"`{_without_places(facts['command'])}`, {facts['date'][:10]}, commit {commit.partition('+')[0][:12]}{edited}, "
        f"{facts['cpu']}, {facts['cores']} cores, {facts['ram_gib']} GiB, {accelerator}; gensim {facts['gensim']}, "
        f"Python {facts['python']}, torch {facts['torch']}"
    )


def _without_places(command: str) -> str:
    """Where results and vectors were kept changes nothing."""
    return re.sub(r" --(json|vectors|data) \S+", "", command)


def versions(report: dict) -> str:
    facts = report["provenance"].items()
    return "Versions: " + ", ".join(f"{name} {value}" for name, value in facts if name not in FACTS_SHOWN_ALONE) + "."


if __name__ == "__main__":
    main()
