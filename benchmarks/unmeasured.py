"""Conditions that nobody measured: ``python benchmarks/unmeasured.py papalexi --data ../shared/data --json FILE``.

A case holds out one thing after another (a target, a context, members of a combination), trains, simulates, scores
as `quality.py` does, once per seed, and pools the held-out conditions of a seed:

    score = sum (no change - row) / sum (no change - replicate)

of energy distances, and of the L2 distance of effects. Beside these the average AUC of a linear classifier that tells
simulated from real cells, of which 0.5 is best. `random vectors` is the model with vectors that know nothing,
drawn by seed; the regressions beside it have the informative ones. `chosen regression` is, condition by condition, the
one of them that left-out training conditions choose.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData, concat
from provenance import provenance
from quality import difference, one_seed
from results_format import over_seeds
from summary_table import show

from gensim.baselines.regressions import preferred, regression_rows
from gensim.config import load_config
from gensim.data.screen import read_conditions
from gensim.data.simulated_effect import Modality
from gensim.data.simulated_screen import SimulatedScreen
from gensim.embed.make import ForScreen, embed_network, embed_pairs
from gensim.metrics.catalogue import CATALOGUE
from gensim.metrics.results import GAUSSIAN_MAP, MODEL, NO_CHANGE, REGRESSIONS, REPLICATE
from gensim.perturbations.mean_effects import MeanEffects
from gensim.seeding import numpy_generator
from gensim.simulator import Simulator
from gensim.training.run_folder import IN_GENES, RunFolder

SCORED = ("energy_distance_pca", "energy_distance_genes", "l2_delta")
AVERAGED = ("c2st_auc_logistic", "c2st_auc_forest")
METRICS = (*SCORED, *AVERAGED)
MEASURED = [metric for metric in CATALOGUE if metric.key in METRICS]
RANDOM = "model, random vectors"
CHOSEN = "chosen regression"
LEAD = f"{MODEL} minus {CHOSEN}"
CONFIGS = Path(__file__).resolve().parent.parent / "configs"
QUICK = ["training.max_cells=8192", "training.cells_per_validation=4096"]
RESPONSIVE = ("STAT1", "IFNGR1", "JAK2", "IRF1", "MYC", "BRD4")


@dataclass(frozen=True)
class Part:
    """One training run: what it holds out, and which of the held-out conditions count (labels; None for all)."""

    name: str
    overrides: list[str]
    counted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Case:
    """A screen and its parts.

    Args:
        config: in configs/. data: file in the data folder, where it is no simulated screen. overrides: of the config.
        networks: whether perturbations have vectors, of the interactome and of annotation, or of the true network.
        simulate: a screen for a seed, with the world that it is from.
    """

    config: str
    data: str
    overrides: list[str]
    parts: list[Part]
    networks: bool = True
    simulate: Callable[[int], tuple[SimulatedScreen, AnnData]] | None = None


def _simulated(n_cell_types: int = 2, pairs: int = 0, **numbers: tuple[float, ...]) -> Callable:
    """A screen of 40 regulators, of 12 where there are doses or times, with 60 cells per condition."""

    def simulate(seed: int) -> tuple[SimulatedScreen, AnnData]:
        world = SimulatedScreen(seed, n_genes=200, n_regulators=40, n_cell_types=n_cell_types)
        names = world.regulators[:12] if numbers else world.regulators
        perturbations = [[name] for name in names] + [list(pair) for pair in world.pairs(pairs)]
        return world, world.screen(perturbations, cells_per_condition=60, n_controls=400, **numbers)

    return simulate


def _simulated_modalities(seed: int) -> tuple[SimulatedScreen, AnnData]:
    """All regulators knocked out and activated in the same world, 60 cells per condition."""
    modalities: tuple[Modality, ...] = ("knock_out", "activation")
    screens = {}
    for replicate, modality in enumerate(modalities):
        # Another replicate each, or both would have the very same control cells, and errors in common.
        world = SimulatedScreen(seed, n_genes=200, n_regulators=40, modality=modality)
        of = [((), 400)] + [((name,), 60) for name in world.regulators]
        conditions = product(of, world.cell_types)
        screens[modality] = concat([
            world.population(names, cell_type, n, replicate=replicate) for (names, n), cell_type in conditions
        ])  # fmt: skip
    return world, concat(screens, label="modality", index_unique="_")


def held_out(what: str, values: object, **more: str) -> list[str]:
    """Overrides of the split."""
    further = [f"split.test.{key}={value}" for key, value in more.items()]
    listed = ["split.test.fraction=null", f"split.test.values={json.dumps(values)}"]
    return [f"split.test.hold_out={what}", *listed, *further]


NAMES = (
    "simulated_knock_outs", "simulated_doubles", "simulated_doses", "simulated_times", "simulated_cell_type",
    "simulated_modalities",
    "papalexi", "kang", "norman_both_seen", "norman_one_seen", "norman_none_seen", "mcfaline",
)  # fmt: skip


def case_of(name: str, data: Path) -> Case:
    match name:
        case "simulated_knock_outs":
            part = Part("a fifth", ["split.test.hold_out=perturbations", "split.test.fraction=0.2"])
            return Case("demo", "", [], [part], simulate=_simulated())
        case "simulated_doubles":
            part = Part("a third", ["split.test.hold_out=combinations", "split.test.fraction=0.33"])
            return Case("demo", "", [], [part], simulate=_simulated(pairs=30))
        case "simulated_doses":
            parts = [Part(f"dose {dose:g}", held_out("doses", [dose])) for dose in (1.0, 4.0)]
            doses = (0.25, 0.5, 1.0, 2.0, 4.0)
            return Case("demo", "", ["data.dose_column=dose"], parts, simulate=_simulated(doses=doses))
        case "simulated_times":
            parts = [Part(f"time {time:g}", held_out("times", [time])) for time in (1.0, 2.0)]
            times = (0.5, 1.0, 2.0, 4.0)
            return Case("demo", "", ["data.time_column=time"], parts, simulate=_simulated(times=times))
        case "simulated_cell_type":
            part = Part("type_1", held_out("contexts", ["type_1"], column="cell_type"))
            return Case("demo", "", [], [part], simulate=_simulated(n_cell_types=5))
        case "simulated_modalities":
            pairs = [{"context": "activation", "perturbation": f"G{i:03d}"} for i in range(1, 41, 5)]
            part = Part("a fifth in activation", held_out("grid", pairs, column="modality"))
            columns = ['data.context_columns=["cell_type", "modality"]']
            return Case("demo", "", columns, [part], simulate=_simulated_modalities)
        case "papalexi":
            parts = [Part(target, held_out("perturbations", [target])) for target in RESPONSIVE]
            return Case("papalexi", "papalexi.h5ad", [], parts)
        case "kang":
            parts = [Part(c, held_out("contexts", [c], column="cell_type")) for c in KANG_CELL_TYPES]
            return Case("kang", "kang.h5ad", [], parts, networks=False)
        case "mcfaline":
            folds = enumerate(_folds(data))
            parts = [Part(f"fold {i}", held_out("grid", pairs, column="cell_type")) for i, pairs in folds]
            return Case("mcfaline", "mcfaline.h5ad", [], parts)
        case _:
            return _norman(data, {"norman_both_seen": 2, "norman_one_seen": 1, "norman_none_seen": 0}[name])


KANG_CELL_TYPES = ("B", "B Activated", "CD14 Mono", "CD4 Memory T", "CD4 Naive T", "DC", "NK", "T activated")
"""Those with thirty stimulated cells or more."""
N_FOLDS = 3


def _norman(data: Path, n_seen: int) -> Case:
    """All doubles held out; those count of which so many members were measured alone."""
    conditions = [c.perturbations for c in _conditions("norman", data)]
    alone = {p[0] for p in conditions if len(p) == 1}
    doubles = sorted({p for p in conditions if len(p) == 2})
    counted = tuple("+".join(d) for d in doubles if len(alone & set(d)) == n_seen)
    part = Part("doubles", held_out("combinations", ["+".join(d) for d in doubles]), counted)
    return Case("norman", "norman.h5ad", [], [part])


def _folds(data: Path) -> list[list[dict[str, str]]]:
    """Lines x genes in so many folds that every fold has a third of the genes of every line, another one in each."""
    conditions = [c for c in _conditions("mcfaline", data) if not c.is_control]
    lines = sorted({dict(c.context)["cell_type"] for c in conditions})
    genes = sorted({"+".join(c.perturbations) for c in conditions})
    folds: list[list[dict[str, str]]] = [[] for _ in range(N_FOLDS)]
    for i, line in enumerate(lines):
        for j, gene in enumerate(genes):
            folds[(i + j) % N_FOLDS].append({"context": line, "perturbation": gene})
    return folds


def _conditions(config: str, data: Path) -> list:
    return list(read_conditions(load_config(CONFIGS / f"{config}.yaml", [f"data.path={data / config}.h5ad"]).data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=NAMES)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of screens and priors")
    parser.add_argument(
        "--vectors", type=Path, metavar="FOLDER", help="where vectors are kept, or are from another run"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, one part, a few training steps: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    case = case_of(arguments.case, arguments.data)
    seeds = range(1 if arguments.quick else arguments.seeds)
    parts = case.parts[:1] if arguments.quick else case.parts
    overrides = [*case.overrides, *arguments.overrides]
    overrides += [f"data.path={arguments.data / case.data}"] if case.simulate is None else []
    overrides += QUICK if arguments.quick else []
    per_seed = []
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.vectors or Path(folder)
        tables = []
        if case.networks and case.simulate is None:
            tables = vectors(case, overrides, arguments.data / "priors", kept)
        for seed in seeds:
            if case.simulate is not None:
                world, screen = case.simulate(seed)
                screen.write_h5ad(Path(folder) / "screen.h5ad")
                world.save_vectors(Path(folder) / "true_network.parquet")
                overrides += [f"data.path={folder}/screen.h5ad"]
                tables = [Path(folder) / "true_network.parquet"]
            found: dict[str, dict[str, dict[str, float | None]]] = {}
            for part in parts:
                settings = [*overrides, *part.overrides, f"seed={seed}"]
                for row, distances in simulated(case, part, settings, tables, Path(folder), arguments.device):
                    found.setdefault(row, {}).update(distances)
                print(f"seed {seed}, {part.name}", flush=True)
            per_seed.append({"conditions": found, "scores": pooled(found)})
    rows = per_seed[0]["scores"]
    report = {
        "benchmark": "unmeasured",
        "case": arguments.case,
        "overrides": arguments.overrides,
        "seeds": list(seeds),
        "n_conditions": len(per_seed[0]["conditions"][MODEL]),
        "parts": [part.name for part in parts],
        "summary": {
            row: {metric: over_seeds([one["scores"][row][metric] for one in per_seed]) for metric in METRICS}
            for row in rows
        }
        | lead(per_seed),
        "per_seed": per_seed,
        "provenance": provenance(),
    }
    title = f"{report['case']} {' '.join(report['overrides'])}: {report['n_conditions']} held-out conditions"
    show(f"{title}, {len(report['seeds'])} seeds", report["summary"], METRICS, report["provenance"])
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def vectors(case: Case, overrides: list[str], priors: Path, folder: Path) -> list[Path]:
    """Tables of walks in a network and of annotation, for the names of the screen."""
    screen = ForScreen(CONFIGS / f"{case.config}.yaml", overrides, priors / "symbol_alias.tsv.gz")
    walks, annotation = folder / f"{case.config}_walks.parquet", folder / f"{case.config}_annotation.parquet"
    if not walks.is_file():
        embed_network(
            priors / "interactome_edges.tsv.gz", walks, 512, method="walks",
            names=None, weight=None, cost="cost", sign=[], directed=False, screen=screen, overwrite=False,
        )  # fmt: skip
    if not annotation.is_file():
        embed_pairs(
            "annotation", priors / "go_human_bp_with_ancestors.tsv.gz", annotation, 512,
            names=None, screen=screen, overwrite=False,
        )  # fmt: skip
    return [walks, annotation]


def random_vectors(tables: list[Path], seed: int, path: Path) -> Path:
    """Normal vectors for all names of the tables, as many numbers as those have."""
    frames = [
        frame if frame.index.name else frame.set_index(frame.columns[0]) for frame in map(pd.read_parquet, tables)
    ]
    names = sorted(set().union(*[frame.index for frame in frames]))
    drawn = numpy_generator(seed, "random vectors").standard_normal((len(names), sum(f.shape[1] for f in frames)))
    pd.DataFrame(drawn.astype(np.float32), index=names).to_parquet(path)
    return path


def simulated(
    case: Case, part: Part, settings: list[str], tables: list[Path], folder: Path, device: str
) -> Iterator[tuple[str, dict[str, dict[str, float | None]]]]:
    """Rows of the held-out conditions that count: condition and part, metric, value."""
    seed = int(settings[-1].partition("=")[2])
    kinds = {MODEL: tables}
    if tables:
        kinds[RANDOM] = [random_vectors(tables, seed, folder / "random.parquet")]
    for kind, paths in kinds.items():
        known = ["perturbation.vectors.kind=table", f"perturbation.vectors.path={json.dumps([str(p) for p in paths])}"]
        with tempfile.TemporaryDirectory() as run:
            config = load_config(
                CONFIGS / f"{case.config}.yaml", [*settings, *(known if tables else []), f"run={run}/run"]
            )
            result = one_seed(config, Path(run), device, MEASURED)
            if kind == MODEL:
                add_chosen(Path(run) / "run", result["conditions"])
        counted = {c: rows for c, rows in result["conditions"].items() if part.counted is None or c in part.counted}
        for row in next(iter(counted.values())):
            name = {MODEL: kind}.get(row, row)
            if row != GAUSSIAN_MAP and (kind == MODEL or row == MODEL):
                yield name, {f"{c} ({part.name})": rows[row] for c, rows in counted.items()}


def add_chosen(run: Path, found: dict[str, dict[str, dict[str, float | None]]]) -> None:
    """To the values of each condition, by its label, a row that repeats the one of the regression chosen for it."""
    folder, conditions = RunFolder(run), Simulator.load(run, "cpu").held_out_request().conditions
    effects = MeanEffects.load(folder.prepared / IN_GENES)
    rows = regression_rows(folder.sampling_codebook(), effects, conditions)
    for condition in (c for c in conditions if rows and c.label in found):
        values = found[condition.label]
        others = {row: values[row] for row in values if row != MODEL}
        chosen = preferred(rows, condition) or REGRESSIONS[0]
        found[condition.label] = {**others, CHOSEN: others[chosen], MODEL: values[MODEL]}


def lead(per_seed: list[dict]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Of the model over the chosen regression, seed by seed; nothing where there is none."""
    scores = [one["scores"] for one in per_seed]
    if CHOSEN not in scores[0]:
        return {}
    return {LEAD: {m: over_seeds([difference(s[MODEL][m], s[CHOSEN][m]) for s in scores]) for m in METRICS}}


def pooled(found: dict[str, dict[str, dict[str, float | None]]]) -> dict[str, dict[str, float | None]]:
    """row -> metric -> score over all conditions together, None where one has no value; or average over those that have
    a value in every row."""
    scores: dict[str, dict[str, float | None]] = {}
    told = {m: [c for c in found[MODEL] if all(rows[c][m] is not None for rows in found.values())] for m in AVERAGED}
    for row, conditions in found.items():
        if row in (NO_CHANGE, REPLICATE):
            continue
        scores[row] = {m: float(np.mean([conditions[c][m] for c in told[m]])) if told[m] else None for m in AVERAGED}
        for metric in SCORED:
            columns = [[found[name][c][metric] for c in conditions] for name in (NO_CHANGE, row, REPLICATE)]
            if any(value is None for column in columns for value in column):
                scores[row][metric] = None
                continue
            still, moved, again = (float(np.sum(column)) for column in columns)
            scores[row][metric] = (still - moved) / (still - again) if still > again else None
    return scores


if __name__ == "__main__":
    main()
