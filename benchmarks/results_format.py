"""How numbers are taken together over seeds, and tables written in Markdown."""

import math
from statistics import mean, stdev

from scipy import stats


def over_seeds(values: list[float | None]) -> dict[str, float | None]:
    """Mean over seeds with the 95 % interval of Student's t; null where a seed has no value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "half_width": None, "n": len(known)}
    half = stats.t.ppf(0.975, len(known) - 1) * stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None
    return {"mean": mean(known), "half_width": half, "n": len(known)}


def interval(cell: dict[str, float | None] | None) -> str:
    if cell is None or cell["mean"] is None:
        return "–"
    return f"{cell['mean']:.3f}" + ("" if cell["half_width"] is None else f" ± {cell['half_width']:.3f}")


def plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def markdown(head: list[str], lines: list[list[str]], left: int) -> str:
    """A table whose first `left` columns are flush left and whose others are flush right."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])
