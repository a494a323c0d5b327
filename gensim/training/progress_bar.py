"""The line that shows how training goes."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text


class CellsPerSecond(ProgressColumn):
    """Speed in cells per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} cells/s" if task.speed else "")


def progress_bar(shown: bool) -> Progress:
    """A bar on standard error with cells/s and time to go; its tasks need a field `loss`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        CellsPerSecond(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]}"),
    )
    return Progress(*columns, console=Console(stderr=True), disable=not shown)
