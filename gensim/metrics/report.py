"""An evaluation as files: tables and a page for people; every number as JSON, csv and AnnData."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from gensim.atomic import atomic_path
from gensim.metrics.annotated import write_annotated
from gensim.metrics.catalogue import CATALOGUE, Metric
from gensim.metrics.cell_errors import in_words, kind_of
from gensim.metrics.class_error import ClassError
from gensim.metrics.combined import CombinedMetric
from gensim.metrics.experimental_error import explained
from gensim.metrics.html_data import measured_rows
from gensim.metrics.html_report import as_html
from gensim.metrics.panel import PanelMetric, PooledMetric
from gensim.metrics.results import (
    BOUNDED,
    BOUNDS,
    CLASSIFIED,
    MODEL,
    REPLICATE,
    ConditionResult,
    Evaluation,
    GroupSummary,
)
from gensim.metrics.row_meanings import ROW_MEANINGS
from gensim.metrics.scores import LEVEL, RESAMPLES, Estimate

FORMAT = 1
TABLE_WIDTH = 200
WIDTH_OF_ROW = 24
ANNOTATED = "metrics.h5ad"
CSV_COLUMNS = (
    "condition", "row", "metric", "value", "reason", "condition_key", "stand_in", "standard_error_over_cells", "group",
    "novelty", "novelty_distance",
)  # fmt: skip
OfAll = PooledMetric | CombinedMetric
"""Metrics with one value for all conditions of a group, and none for any of them."""
Notes = dict[str, int]
"""Number of each reason that stands below the tables."""


def write_report(
    evaluation: Evaluation,
    folder: str | Path,
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> tuple[Path, Path, Path, Path, Path]:
    """Write `report.txt`, `metrics.json`, `metrics.csv`, `report.html` and `metrics.h5ad`, each whole or not at all.

    Args:
        evaluation: what `evaluate` returned.
        folder: made if it does not exist; older reports in it are replaced.
        provenance: JSON-serialisable facts to keep beside the numbers, such as digests and versions.
        notes: lines that a reader of the numbers should know, such as what the latents could hold.

    Returns:
        The five paths, in that order.

    Raises:
        StoreError: the folder cannot be written.
    """
    folder = Path(folder)
    everything = {**as_json(evaluation, provenance), "notes": list(notes)}
    text = json.dumps(everything, indent=1, allow_nan=False) + "\n"
    report = as_text(evaluation) + "".join(f"{note}\n" for note in notes)
    files = {
        "report.txt": report,
        "metrics.json": text,
        "metrics.csv": as_csv(evaluation),
        "report.html": as_html(evaluation, provenance, notes),
    }
    for name, content in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    write_annotated(evaluation, folder / ANNOTATED, provenance)
    text_path, metrics_path, table_path, page_path = (folder / name for name in files)
    return text_path, metrics_path, table_path, page_path, folder / ANNOTATED


def as_text(evaluation: Evaluation) -> str:
    """Tables of metrics by rows, two per group of conditions: averages [95 % interval over conditions], and scores."""
    buffer = io.StringIO()
    width = max(TABLE_WIDTH, WIDTH_OF_ROW * len(measured_rows(evaluation)))
    console = Console(file=buffer, width=width, color_system=None, highlight=False, markup=False)
    cells = [result.cells for result in evaluation.results]
    console.print(
        f"{len(cells)} conditions scored, {sum(c['predicted_used'] for c in cells)} predicted cells against "
        f"{sum(c['truth_used'] for c in cells)} real cells (at most {evaluation.max_cells} of each per condition; "
        f"found {sum(c['predicted'] for c in cells)} and {sum(c['truth'] for c in cells)}); seed {evaluation.seed}, "
        f"{evaluation.n_repeats} repeats"
    )
    notes: Notes = {}
    for group in evaluation.groups:
        console.print(
            _table(f"{group.name}: {group.n_conditions} conditions", group.averages, group, notes, with_errors=True)
        )
        if group.scores:
            console.print(_table(f"{group.name}: scores", group.scores, group, notes))
    for note, number in notes.items():
        console.print(f"[{number}] {note}")
    for metric in evaluation.metrics:
        console.print(f"{_head(metric)} ({metric.unit}): {metric.name}")
        if metric.repeats is not None and metric.repeats < evaluation.n_repeats:
            console.print(f"{metric.key} is taken in {metric.repeats} of the {evaluation.n_repeats} repeats")
    console.print(
        f"Better: ↓ lower, ↑ higher, →1 nearer to 1. Brackets: {LEVEL:.0%} bootstrap percentile interval over "
        f"conditions ({RESAMPLES} resamples). Score: (no_change - row) / (no_change - replicate) of averages; 0 no "
        "better than control cells, 1 as good as repeating the experiment."
    )
    for result in evaluation.results:
        if result.stand_in is not None:
            console.print(f"not predicted: {result.condition.label}: scored with the cells of {result.stand_in}")
    errors = [r.experimental_error for r in evaluation.results if r.experimental_error is not None]
    kinds = {metric.key: kind_of(metric) for metric in evaluation.metrics}
    for group in evaluation.groups:
        for line in in_words(group.over_cells(evaluation.metrics), kinds):
            console.print(
                f"{group.name}: 95% intervals over cells of the model's averages, ± 1.96 standard errors {line}"
            )
    for row in [row for row in measured_rows(evaluation) if row in BOUNDS]:
        console.print(f"{row}: {ROW_MEANINGS[row]}")
    if errors:
        console.print(f"experimental error: {explained(errors)}")
    if (of_classes := evaluation.groups[0].class_error) is not None:
        console.print(f"experimental error of {CLASSIFIED}: {of_classes.explained}")
    for condition, reason in evaluation.not_scored:
        console.print(f"not scored: {condition.label}: {reason}")
    for warning in evaluation.warnings:
        console.print(f"warning: {warning}")
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def as_json(evaluation: Evaluation, provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything, in JSON types; what could not be computed is null with its reason beside it."""
    return {
        "format": FORMAT,
        "provenance": dict(provenance or {}),
        "seed": evaluation.seed,
        "n_repeats": evaluation.n_repeats,
        "max_cells": evaluation.max_cells,
        "interval": {"level": LEVEL, "resamples": RESAMPLES, "over": "conditions", "kind": "bootstrap percentile"},
        "rows": {row: ROW_MEANINGS[row] for row in measured_rows(evaluation)},
        "catalogue": [_metric(metric) for metric in evaluation.metrics],
        "groups": [
            {
                "name": group.name,
                "n_conditions": group.n_conditions,
                "averages": _nested({place: _estimate(e) for place, e in group.averages.items()}),
                "scores": _nested({place: _estimate(e) for place, e in group.scores.items()}),
                "standard_errors_over_cells": dict(group.standard_errors),
                "intervals_over_cells": {k: list(ends) for k, ends in group.over_cells(evaluation.metrics).items()},
                "experimental_error": None if group.experimental_error is None else _estimate(group.experimental_error),
                f"experimental_error_{CLASSIFIED}": None
                if group.class_error is None
                else _class_error(group.class_error),
            }
            for group in evaluation.groups
        ],
        "conditions": [_condition(result) for result in evaluation.results],
        "not_scored": [{"condition": c.label, "key": c.key, "reason": reason} for c, reason in evaluation.not_scored],
        "warnings": list(evaluation.warnings),
    }


def as_csv(evaluation: Evaluation) -> str:
    """Lines of condition, row, metric, value (empty where there is none), reason, the condition's key, and the row
    whose cells stand for the model's where it has none, and the standard error over cells; metrics with one value for
    all conditions of a group have lines of that group, without a condition. Last how far a condition is from what was
    measured, where that is known."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in evaluation.results:
        name, key = result.condition.label, result.condition.key
        new = [result.novelty or "", "" if result.novelty_distance is None else repr(result.novelty_distance)]
        for (row, measured), m in result.measurements.items():
            stand_in = (result.stand_in or "") if row == MODEL else ""
            value, error = ("" if number is None else repr(number) for number in (m.value, m.standard_error))
            writer.writerow([name, row, measured, value, m.reason or "", key, stand_in, error, "", *new])
        if (bound := result.experimental_error) is not None:
            value = "" if bound.value is None else repr(bound.value)
            for bounded in [metric.key for metric in evaluation.metrics if metric.key in BOUNDED]:
                writer.writerow([name, "experimental_error", bounded, value, bound.reason or "", key, "", "", "", *new])
    for condition, reason in evaluation.not_scored:
        for metric in [metric for metric in evaluation.metrics if not isinstance(metric, OfAll)]:
            writer.writerow([condition.label, MODEL, metric.key, "", reason, condition.key, "", "", "", "", ""])
    of_all = [metric.key for metric in evaluation.metrics if isinstance(metric, OfAll)]
    for group in evaluation.groups:
        of_group = {place: e for place, e in group.averages.items() if place[1] in of_all}
        if group.class_error is not None:
            of_group["experimental_error", CLASSIFIED] = group.class_error.estimate
        for (row, measured), e in of_group.items():
            value = "" if e.value is None else repr(e.value)
            writer.writerow(["", row, measured, value, e.reason or "", "", "", "", group.name, "", ""])
    return buffer.getvalue()


def _table(
    title: str,
    estimates: Mapping[tuple[str, str], Estimate],
    group: GroupSummary,
    notes: Notes,
    *,
    with_errors: bool = False,
) -> Table:
    """A line per metric that has any estimate, a column per row; below metrics that have one the experimental error,
    where a replicate stands."""
    rows = list(dict.fromkeys(row for row, _ in estimates))
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("metric")
    for row in rows:
        table.add_column(f"{BOUNDS[row]}:\n{row}" if row in BOUNDS else row, justify="right")
    for metric in CATALOGUE:
        if (rows[0], metric.key) in estimates:
            cells = (_text(estimates[row, metric.key], group.n_conditions, notes) for row in rows)
            table.add_row(_head(metric), *cells)
            if with_errors and (error := group.error_of(metric.key)) is not None:
                table.add_row(
                    "  experimental error",
                    *(_text(error, group.n_conditions, notes) if row == REPLICATE else "" for row in rows),
                )
    return table


def _head(metric: Metric) -> str:
    """Key, and which way is better."""
    arrow = {"lower": "↓", "higher": "↑", "nearest": f"→{metric.identical:g}"}[metric.better]
    return f"{metric.key} {arrow}"


def _text(estimate: Estimate, n_conditions: int, notes: Notes) -> str:
    """`average [low, high] n=conditions [note]`, n only where some conditions have no value."""
    parts = ["–" if estimate.value is None else f"{estimate.value:.3g}"]
    if estimate.low is not None:
        parts.append(f"[{estimate.low:.3g}, {estimate.high:.3g}]")
    if estimate.n not in (0, n_conditions):
        parts.append(f"n={estimate.n}")
    if estimate.reason is not None:
        parts.append(f"[{notes.setdefault(estimate.reason, len(notes) + 1)}]")
    return " ".join(parts)


def _metric(metric: Metric) -> dict[str, Any]:
    low, high = (value if math.isfinite(value) else None for value in metric.range)
    return {
        "key": metric.key,
        "name": metric.name,
        "better": metric.better,
        "range": [low, high],
        "identical": metric.identical,
        "unit": metric.unit,
        "space": metric.space,
        "source": metric.source,
        "repeats": metric.repeats,
        "standard_error_over_cells": kind_of(metric),
        "compares_conditions": isinstance(metric, PanelMetric | OfAll),
        "one_value_per_group": isinstance(metric, OfAll),
        "combines": [component.metric.key for component in metric.of] if isinstance(metric, CombinedMetric) else [],
    }


def _condition(result: ConditionResult) -> dict[str, Any]:
    measurements = {
        place: {
            "value": m.value,
            "spread_over_repeats": m.spread,
            "standard_error_over_cells": m.standard_error,
            "reason": m.reason,
        }
        for place, m in result.measurements.items()
    }
    scores = {place: {"value": s.value, "reason": s.reason} for place, s in result.scores.items()}
    return {
        "condition": result.condition.label,
        "key": result.condition.key,
        "seen": result.seen,
        "novelty": result.novelty,
        "novelty_distance": result.novelty_distance,
        "stand_in": result.stand_in,
        "cells": dict(result.cells),
        "mmd2_rbf_gammas": None if result.gammas is None else list(result.gammas),
        "values": _nested(measurements),
        "scores": _nested(scores),
        "experimental_error": None if result.experimental_error is None else asdict(result.experimental_error),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "reason": estimate.reason,
    }


def _class_error(error: ClassError) -> dict[str, Any]:
    return {**_estimate(error.estimate), "resampled": error.resampled}


def _nested(flat: Mapping[tuple[str, str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By row, then by metric."""
    nested: dict[str, dict[str, Any]] = {}
    for (row, metric), value in flat.items():
        nested.setdefault(row, {})[metric] = value
    return nested
