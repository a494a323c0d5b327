"""Two predictions of the same conditions, compared condition by condition."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import wilcoxon

from gensim.errors import DataError, listing
from gensim.metrics.results import MODEL, SPACE, TRUTH_CELLS
from gensim.metrics.scores import Estimate, mean_with_interval

TABLE_WIDTH = 160
ARROWS = {"lower": "↓", "higher": "↑", "nearest": "→"}
ONE_VALUE = "one value for all conditions together, so there are no pairs; see both reports"
OTHER_CONDITIONS = "it depends on which other conditions are scored, and these two have not the same"
NO_PAIR = "no condition has a value in both"
FEWEST_FOR_TEST = 6
"""Conditions below which the Wilcoxon signed-rank test cannot reach 0.05."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One metric of two predictions, over the conditions in which both have a value.

    Args:
        metric: key in the catalogue. better: which way is better there.
        first, second: averages.
        difference: average of second - first, with the bootstrap interval over conditions; where better is "nearest",
            of the distances from what identical populations have.
        p: of the two-sided Wilcoxon signed-rank test; None for fewer than six conditions.
    """

    metric: str
    better: str
    first: float
    second: float
    difference: Estimate
    p: float | None

    @property
    def ahead(self) -> str:
        """Which prediction is better: "first", "second", or "neither" where the interval holds 0 or there is none."""
        if self.difference.low is None or self.difference.high is None:
            return "neither"
        if self.difference.low <= 0 <= self.difference.high:
            return "neither"
        return "second" if (self.difference.low > 0) == (self.better == "higher") else "first"


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """What two evaluations say of each metric that both have.

    Args:
        differences: of those that can be compared condition by condition.
        left_out: why the others cannot, by key.
    """

    differences: tuple[PairedDifference, ...]
    left_out: Mapping[str, str]


def compare_evaluations(first: Path, second: Path) -> PairedComparison:
    """Every metric that two evaluations of the same real cells share, but for those that compare conditions with each
    other where not the same conditions were scored, and those with one value for all conditions together.

    Args:
        first, second: folders that `gensim evaluate` wrote, or their `metrics.json`.

    Raises:
        DataError: not evaluations, other real cells (by number, or by the digest of their names where both have one)
            or another seed, or no condition in common.
    """
    a, b = _read(first), _read(second)
    _refuse_other_truth(a, b, first, second)
    conditions = [{c["key"]: c for c in evaluation["conditions"]} for evaluation in (a, b)]
    common = [key for key in conditions[0] if key in conditions[1]]
    if not common:
        raise DataError(f"{str(first)!r} and {str(second)!r} have no condition in common; nothing can be compared")
    others = {metric["key"] for metric in b["catalogue"]}
    same = conditions[0].keys() == conditions[1].keys()
    found, left_out = [], {}
    for metric in [metric for metric in a["catalogue"] if metric["key"] in others]:
        values = [[_value(of[key], metric["key"]) for key in common] for of in conditions]
        pairs = [(x, y) for x, y in zip(*values, strict=True) if x is not None and y is not None]
        if metric.get("one_value_per_group", False):
            left_out[metric["key"]] = ONE_VALUE
        elif metric.get("compares_conditions", False) and not same:  # a rank among other conditions is another number
            left_out[metric["key"]] = OTHER_CONDITIONS
        elif not pairs:
            left_out[metric["key"]] = NO_PAIR
        else:
            found.append(_difference(metric, np.array(pairs, dtype=np.float64), int(a["seed"])))
    return PairedComparison(tuple(found), left_out)


def as_text(compared: PairedComparison, first: str, second: str) -> str:
    """A line per metric, and one per reason why some are left out."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=TABLE_WIDTH, color_system=None, highlight=False, markup=False)
    table = Table(title=f"second ({second}) minus first ({first})", box=box.SIMPLE)
    table.add_column("metric")
    for column in ("n", "first", "second", "difference [95 %]", "p", "ahead"):
        table.add_column(column, justify="right")
    for d in compared.differences:
        low, high = d.difference.low, d.difference.high
        interval = "" if low is None or high is None else f" [{low:.4g}, {high:.4g}]"
        shown = (f"{d.difference.n}", f"{d.first:.4g}", f"{d.second:.4g}", f"{d.difference.value:.4g}{interval}")
        table.add_row(f"{d.metric} {ARROWS[d.better]}", *shown, "" if d.p is None else f"{d.p:.2g}", d.ahead)
    console.print(table)
    console.print(
        "Intervals: bootstrap over conditions; p: two-sided Wilcoxon signed-rank test over conditions, from "
        f"{FEWEST_FOR_TEST} on, not corrected for the number of metrics; →: of distances from the value of identical "
        "populations"
    )
    for reason in dict.fromkeys(compared.left_out.values()):
        keys = [key for key, why in compared.left_out.items() if why == reason]
        console.print(f"not compared: {', '.join(keys)}: {reason}")
    return buffer.getvalue()


def as_json(compared: PairedComparison) -> list[dict[str, Any]]:
    """What can be compared."""
    return [{**asdict(d), "ahead": d.ahead} for d in compared.differences]


def _difference(metric: Mapping[str, Any], pairs: np.ndarray, seed: int) -> PairedDifference:
    """Args: pairs: (n, 2) values of n conditions."""
    compared = np.abs(pairs - metric["identical"]) if metric["better"] == "nearest" else pairs
    gains = compared[:, 1] - compared[:, 0]
    enough = len(gains) >= FEWEST_FOR_TEST and bool(np.any(gains != 0))
    first, second = pairs.mean(axis=0).tolist()
    return PairedDifference(
        metric["key"],
        metric["better"],
        first,
        second,
        difference=mean_with_interval(gains.tolist(), seed),
        p=float(wilcoxon(gains).pvalue) if enough else None,
    )


def _value(condition: Mapping[str, Any], key: str) -> float | None:
    value: float | None = condition["values"].get(MODEL, {}).get(key, {}).get("value")
    return value


def _read(path: Path) -> dict[str, Any]:
    file = path / "metrics.json" if path.is_dir() else path
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        found["catalogue"], found["conditions"], found["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{str(path)!r} is no evaluation ({type(error).__name__}: {error}); give two folders that "
            "`gensim evaluate` wrote"
        ) from None
    return found


def _refuse_other_truth(a: dict[str, Any], b: dict[str, Any], first: Path, second: Path) -> None:
    cells = [{c["key"]: c["cells"]["truth"] for c in evaluation["conditions"]} for evaluation in (a, b)]
    differ = [key for key in cells[0] if key in cells[1] and cells[0][key] != cells[1][key]]
    # An evaluation from Python, or one that an earlier version wrote, has no names of cells.
    digests = [d for e in (a, b) if (d := e.get("provenance", {}).get(TRUTH_CELLS)) is not None]
    other_names = len(set(digests)) > 1
    spaces = {d for e in (a, b) if (d := e.get("provenance", {}).get(SPACE)) is not None}
    if differ or other_names or len(spaces) > 1 or a["seed"] != b["seed"] or a["n_repeats"] != b["n_repeats"]:
        why = "another seed, or other repeats"
        if differ:
            why = f"other numbers of real cells in {listing(differ)}"
        elif other_names:
            why = f"other names of real cells ({TRUTH_CELLS} is {digests[0]} and {digests[1]})"
        elif len(spaces) > 1:
            why = "other genes or principal components"
        raise DataError(
            f"{str(first)!r} and {str(second)!r} were not scored against the same real cells in the same way: {why}; "
            "evaluate both with the same --truth, --seed, and --run or --train"
        )
