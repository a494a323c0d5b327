"""The table that a benchmark of scores prints."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

Cell = Mapping[str, float | None]


def show(title: str, summary: Mapping[str, Mapping[str, Cell]], metrics: Sequence[str], made_with: Mapping) -> None:
    """A line per row and a column per metric, mean ± half of the interval over seeds, and what it was made with."""
    shown = Table(title=title)
    shown.add_column("row")
    for metric in metrics:
        shown.add_column(metric, justify="right")
    for row, cells in summary.items():
        shown.add_row(row, *(text(cells[metric]) for metric in metrics))
    console = Console(width=160)
    console.print(shown)
    console.print("0 no better than control cells, 1 as good as repeating the experiment; ± 95 % interval over seeds")
    for name, value in made_with.items():
        console.print(f"{name}: {value}", highlight=False)


def text(cell: Cell) -> str:
    if cell["mean"] is None:
        return "–"
    return f"{cell['mean']:.3f}" + ("" if cell["half_width"] is None else f" ± {cell['half_width']:.3f}")
