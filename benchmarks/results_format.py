"""How numbers and tables are written in Markdown."""


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
