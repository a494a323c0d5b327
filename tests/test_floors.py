"""The architecture as a rule that is read from the imports: downwards only, and some libraries have one home."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gensim"

FLOORS = [
    ("words", ["types", "doses", "errors", "seeding", "config"]),
    ("mechanisms", [
        "ot", "nn", "solvers", "store", "store_schema", "store_folder", "pseudobulk", "pca", "nonnegative", "atomic",
        "provenance", "metrics.distances", "metrics.pairs", "count_grid", "computed_once", "parallel", "arrays_file",
        "console", "secants",
    ]),
    ("domain", ["data", "perturbations", "embed", "autoencoder", "transport", "baselines", "metrics"]),
    ("jobs", [
        "training", "simulate", "decoding", "evaluate", "evaluation_inputs", "condition_scoring", "evaluate_files",
        "scoring", "export",
    ]),
    ("wiring", ["build", "build_decoder", "after_training", "simulator", "jobs", "cli_embed", "cli"]),
]  # fmt: skip
ONLY_HOME = {
    "pydantic": ["config"],
    "ot": ["ot"],
    "einops": ["nn"],
    "torchdiffeq": ["solvers"],
    "zarr": ["store"],
    "anndata": ["data"],
    "scanpy": ["data"],
    "accelerate": ["training", "jobs"],
    "jinja2": ["metrics.html_report"],
    "plotly": ["metrics.html_report"],
    "matplotlib": [],
}
NEVER = [("transport", "solvers"), ("transport", "ot"), ("data", "transport"), ("metrics", "transport"),
         ("metrics", "autoencoder"), ("metrics", "training"), ("baselines", "transport")]  # fmt: skip


def imports_of(source: str) -> set[str]:
    """Dotted names of all modules that a source imports, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def floor_of(module: str) -> int | None:
    """Floor of a module, by the longest matching part of its name; None for the package itself."""
    matches = [(len(part), floor) for floor, (_, parts) in enumerate(FLOORS) for part in parts if within(module, part)]
    return max(matches)[1] if matches else None


def broken_rules(module: str, imported: set[str]) -> list[str]:
    """What is wrong with `module` (without the leading ``gensim.``) importing these names."""
    broken = []
    own = floor_of(module)
    for name in sorted(imported):
        if within(name, "gensim"):
            target = name.removeprefix("gensim").lstrip(".")
            floor = floor_of(target)
            if own is not None and floor is not None and floor > own:
                broken.append(f"{module} (floor {own}) imports {target} (floor {floor}): imports go downwards")
            broken += [
                f"{module} imports {target}: {a} never imports {b}"
                for a, b in NEVER
                if within(module, a) and within(target, b)
            ]
        library = name.split(".")[0]
        homes = ONLY_HOME.get(library)
        if homes is not None and not any(within(module, home) for home in homes):
            broken.append(f"{module} imports {library}, whose only home is {homes or 'outside the package'}")
    return broken


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_module_keeps_the_floors(path):
    assert floor_of(dotted(path)) is not None, f"{dotted(path)} is on no floor: add it to FLOORS"
    assert broken_rules(dotted(path), imports_of(path.read_text())) == []


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("ot.plans", "from gensim.data.screen import Screen", "downwards"),
        ("metrics.distances", "from gensim.metrics.space import MetricSpace", "downwards"),
        ("transport.base", "def f():\n    import gensim.solvers.ode", "never imports"),
        ("transport.base", "from gensim import ot", "never imports"),
        ("data.screen", "import zarr", "only home"),
        ("nn.field", "from ot import emd", "only home"),
        ("metrics.report", "from matplotlib import pyplot", "outside the package"),
    ],
)
def test_a_broken_rule_is_found(module, source, rule):
    assert rule in " ".join(broken_rules(module, imports_of(source)))
