"""An evaluation as one page that asks the network for nothing: tables, and plots of any condition."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from gensim.metrics.experimental_error import explained
from gensim.metrics.html_data import measured_rows, page_data
from gensim.metrics.pictures import CELLS, GENES
from gensim.metrics.results import BOUNDS, CLASSIFIED, Evaluation
from gensim.metrics.row_meanings import ROW_MEANINGS
from gensim.metrics.scores import LEVEL, RESAMPLES

SCRIPTS = ("data.js", "table.js", "plots.js", "page.js")


def as_html(evaluation: Evaluation, provenance: Mapping[str, Any] | None = None, notes: Sequence[str] = ()) -> str:
    """The page.

    Whatever stands in names of conditions, genes or notes is text: it is escaped where it is printed, and the page's
    policy lets no script run but its own two, by their digests, and lets nothing be loaded.

    Args:
        evaluation: what `evaluate` returned; plots are there where it was asked for pictures.
        provenance: JSON-serialisable facts, such as digests and versions.
        notes: lines that a reader of the numbers should know.
    """
    environment = Environment(
        loader=PackageLoader("gensim.metrics", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    library, script = f"\n{get_plotlyjs()}\n", f"\n{_script()}\n"
    results, data = evaluation.results, page_data(evaluation)
    errors = [r.experimental_error for r in results if r.experimental_error is not None]
    return environment.get_template("page.html").render(
        style=_package_file("page.css"),
        library=library,
        script=script,
        digests=[_digest(library), _digest(script)],
        data=data,
        spread=data["spread"],
        evaluation=evaluation,
        metrics=evaluation.metrics,
        rows=measured_rows(evaluation),
        row_meanings=ROW_MEANINGS,
        bounds=BOUNDS,
        over_cells={group.name: group.over_cells(evaluation.metrics) for group in evaluation.groups},
        classified=CLASSIFIED,
        experimental_error=explained(errors) if errors else None,
        class_error=evaluation.groups[0].class_error,
        totals={name: sum(result.cells[name] for result in results) for name in results[0].cells},
        n_pictured=sum("pictures" in condition for condition in data["conditions"]),
        most_cells=CELLS,
        most_genes=GENES,
        level=LEVEL,
        resamples=RESAMPLES,
        notes=notes,
        provenance=json.dumps(dict(provenance or {}), indent=1),
    )


def _script() -> str:
    return "\n".join(_package_file(name) for name in SCRIPTS)


def _package_file(name: str) -> str:
    return resources.files("gensim.metrics").joinpath("html", name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Of a script's text, as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
