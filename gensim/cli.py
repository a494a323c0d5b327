"""The command line `gensim`: train, sample, evaluate, compare-predictions, metrics, export, embed, simulate-screen."""

import argparse
import atexit
import errno
import gc
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from gensim.cli_embed import add_embed
from gensim.console import is_main_process, say
from gensim.errors import ConfigError, GensimError, UnmetError

UNMET = 1
USER_MISTAKE = 2
INTERRUPTED = 130
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of the file system that no command foresaw at the place where they came up."""


def program() -> int:
    """`main` for a process that does nothing else, and whose end is not held up by a search for cycles (0.3 s)."""
    atexit.register(gc.freeze)
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 with one message for a user's mistake, or 1 where cells fall short
    of what was required."""
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    if rest:
        # argparse takes overrides in one stretch only; those behind a later option are overrides too.
        if not hasattr(parsed, "overrides") or any(text.startswith("-") for text in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        parsed.overrides += rest
    _show_log()
    try:
        parsed.command(parsed)
    except UnmetError as error:
        print(f"gensim: {error}", file=sys.stderr)  # noqa: T201
        return UNMET
    except GensimError as error:
        print(f"gensim: error: {error}", file=sys.stderr)  # noqa: T201
        return USER_MISTAKE
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        place = f" {error.filename!r}" if error.filename else ""
        print(f"gensim: error: cannot use{place}: {error.strerror}; check space and permissions", file=sys.stderr)  # noqa: T201
        return USER_MISTAKE
    except KeyboardInterrupt:
        print("gensim: interrupted; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gensim", description="Simulator for perturbed single cells.")
    commands = parser.add_subparsers(title="commands", required=True)

    train = commands.add_parser("train", help="fit a run on a screen", description="Fit a run on a screen.")
    train.add_argument("--config", type=Path, required=True, help="YAML file; the shipped ones are in configs/")
    train.add_argument("overrides", nargs="*", metavar="section.key=value", help="e.g. data.path=screen.h5ad")
    train.add_argument("--overwrite", action="store_true", help="discard the run that is there")
    _add_device(train)
    train.set_defaults(command=_train)

    sample = commands.add_parser("sample", help="simulate cells", description="Simulate cells from a trained run.")
    sample.add_argument("--run", type=Path, required=True, help="folder that training made")
    sample.add_argument("--request", type=Path, help="csv with a row per condition (default: the held-out conditions)")
    sample.add_argument("--controls", type=Path, help="cells to start from (default: the run's held-back controls)")
    sample.add_argument("--out", type=Path, required=True, help="Zarr store to write, e.g. cells.zarr")
    sample.add_argument("--seed", type=int, help="default: the run's")
    sample.add_argument("overrides", nargs="*", metavar="section.key=value", help="e.g. solver.n_steps=8 guidance=1.5")
    sample.add_argument("--overwrite", action="store_true", help="replace the store that is there")
    _add_device(sample)
    sample.set_defaults(command=_sample)

    evaluate = commands.add_parser(
        "evaluate",
        help="score cells",
        description="Score simulated against real cells: of a run, or of anything else that predicts cells.",
    )
    evaluate.add_argument("cells", type=Path, help="simulated cells, .zarr or .h5ad")
    evaluate.add_argument("--run", type=Path, help="run whose training cells define space and baselines")
    evaluate.add_argument("--truth", type=Path, help="real cells (default: the run's held-out cells)")
    evaluate.add_argument(
        "--controls", type=Path, help="control cells (default: the run's held-back controls, else those of the truth)"
    )
    evaluate.add_argument("--train", type=Path, help="without a run: training cells, which define space and baselines")
    evaluate.add_argument(
        "--common-genes", action="store_true", help="without a run: only the genes that all files have"
    )
    evaluate.add_argument(
        "overrides", nargs="*", metavar="data.key=value", help="without a run, e.g. data.scale=counts"
    )
    evaluate.add_argument(
        "--out", type=Path, help="folder for the report, metrics.json, .csv and .h5ad (default: beside the cells)"
    )
    evaluate.add_argument("--seed", type=int, default=0, help="of halves, draws and bootstrap (default: 0)")
    evaluate.add_argument(
        "--metrics",
        default="default",
        metavar="NAME,...",
        help="presets or keys of `gensim metrics` (default: default)",
    )
    evaluate.add_argument(
        "--missing",
        choices=("no_change",),
        help="score conditions that were not predicted as if control cells had been (default: only list them)",
    )
    evaluate.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="conditions scored at once, each with its cells in memory (default: the cores, at most 8)",
    )
    evaluate.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="BOUND",
        help="exit with 1 unless it holds, e.g. 'energy_distance_pca.normalised>=0.8'; may be repeated",
    )
    evaluate.set_defaults(command=_evaluate)

    compare = commands.add_parser(
        "compare-predictions",
        help="two predictions side by side",
        description="Compare two predictions of the same conditions, condition by condition.",
    )
    compare.add_argument("first", type=Path, help="folder that evaluating one of them wrote")
    compare.add_argument("second", type=Path, help="the same of the other")
    compare.add_argument("--out", type=Path, metavar="FILE", help="write the numbers here, as JSON")
    compare.set_defaults(command=_compare)

    metrics = commands.add_parser(
        "metrics", help="list the metrics", description="List metrics with direction, range, source and presets."
    )
    metrics.set_defaults(command=_metrics)

    export = commands.add_parser(
        "export", help="cells for other tools", description="Write simulated cells in a format that others read."
    )
    export.add_argument("cells", type=Path, help="store that sampling made")
    export.add_argument("--out", type=Path, required=True, help="file to write, .h5ad or .zarr")
    export.add_argument("--format", choices=("h5ad", "zarr", "vcc"), default="h5ad", help="default: h5ad")
    export.add_argument("--sparse", action="store_true", help="X as CSR (vcc: always)")
    export.add_argument("--genes", type=Path, help="vcc: the genes of the challenge in order, one a line")
    export.add_argument("--controls", type=Path, help="vcc: real control cells, where none were simulated")
    export.add_argument("--perturbation-column", default="perturbation", help="vcc: of obs (default: perturbation)")
    export.add_argument("--control-label", default="non-targeting", help="vcc: in that column (default: non-targeting)")
    export.add_argument("--overwrite", action="store_true", help="replace the file that is there")
    export.set_defaults(command=_export)

    add_embed(commands)

    screen = commands.add_parser(
        "simulate-screen", help="make a test screen", description="Simulate a screen from a gene regulatory network."
    )
    screen.add_argument("--out", type=Path, required=True, help=".h5ad to write; network and vectors go beside it")
    screen.add_argument("--cells", type=int, default=10_000, help="about so many (default: 10000)")
    screen.add_argument("--genes", type=int, default=500, help="default: 500")
    screen.add_argument("--cell-types", type=int, default=2, help="default: 2")
    screen.add_argument("--combinations", type=int, default=5, help="pairs of perturbations (default: 5)")
    screen.add_argument("--modality", choices=("knock_out", "knock_down", "activation"), default="knock_out")
    screen.add_argument("--seed", type=int, default=0, help="default: 0")
    screen.add_argument("--overwrite", action="store_true", help="replace the files that are there")
    screen.set_defaults(command=_simulate_screen)
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")


# Imports are inside the commands, so that --help and a mistyped option answer at once.


def _train(parsed: argparse.Namespace) -> None:
    from gensim.config import load_config
    from gensim.jobs import train

    config = load_config(parsed.config, parsed.overrides)
    run = train(config, device=parsed.device, overwrite=parsed.overwrite)
    say(f"run: {run}\nheld-out cells: {run / 'held_out.h5ad'}")


def _sample(parsed: argparse.Namespace) -> None:
    from gensim.jobs import sample

    out = sample(
        parsed.run,
        parsed.out,
        request=parsed.request,
        controls=parsed.controls,
        device=parsed.device,
        seed=parsed.seed,
        overwrite=parsed.overwrite,
        overrides=parsed.overrides,
    )
    say(f"cells: {out}")


def _evaluate(parsed: argparse.Namespace) -> None:
    from gensim.metrics.catalogue import choose
    from gensim.metrics.requirements import Requirement

    metrics = choose(name.strip() for name in parsed.metrics.split(",") if name.strip())
    required = [Requirement.parse(text, metrics) for text in parsed.require]
    options = {name: getattr(parsed, name) for name in ("truth", "controls", "out", "seed", "missing", "workers")}
    options["metrics"] = metrics
    if parsed.run is not None:
        from gensim.jobs import evaluate_cells

        if parsed.train is not None or parsed.common_genes or parsed.overrides:
            raise ConfigError(
                "--train, --common-genes and data.key=value are for files without a run; a run has its own"
            )
        evaluation, folder = evaluate_cells(parsed.cells, parsed.run, **options)
    else:
        from gensim.config import data_config
        from gensim.evaluate_files import evaluate_files

        if parsed.truth is None:
            raise ConfigError("--truth is needed where there is no --run; name a file of real cells")
        data = data_config(parsed.overrides, str(parsed.truth))
        more = {"data": data, "train": parsed.train, "common_genes": parsed.common_genes}
        evaluation, folder = evaluate_files(parsed.cells, **options, **more)
    say((folder / "report.txt").read_text())
    say(f"report: {folder}")
    unmet = [said for requirement in required if (said := requirement.unmet(evaluation)) is not None]
    if unmet:
        raise UnmetError("; ".join(unmet))


def _compare(parsed: argparse.Namespace) -> None:
    from gensim.atomic import write_json
    from gensim.metrics.paired import as_json, as_text, compare_evaluations

    compared = compare_evaluations(parsed.first, parsed.second)
    if parsed.out is not None:
        write_json(parsed.out, as_json(compared))
    say(as_text(compared, str(parsed.first), str(parsed.second)))


def _metrics(_: argparse.Namespace) -> None:
    from gensim.metrics.catalogue import CATALOGUE, PRESETS, in_words

    say("\n\n".join(map(in_words, CATALOGUE)) + f"\n\npresets: {', '.join(PRESETS)}")


def _export(parsed: argparse.Namespace) -> None:
    from gensim.export import export

    out = export(
        parsed.cells,
        parsed.out,
        format=parsed.format,
        sparse=parsed.sparse,
        overwrite=parsed.overwrite,
        genes=parsed.genes,
        controls=parsed.controls,
        perturbation_column=parsed.perturbation_column,
        control_label=parsed.control_label,
    )
    say(f"cells: {out}")


def _simulate_screen(parsed: argparse.Namespace) -> None:
    from gensim.data.write_simulated_screen import write_simulated_screen

    paths = write_simulated_screen(
        parsed.out,
        seed=parsed.seed,
        n_genes=parsed.genes,
        n_cells=parsed.cells,
        n_cell_types=parsed.cell_types,
        modality=parsed.modality,
        combinations=parsed.combinations,
        overwrite=parsed.overwrite,
    )
    for path in paths:
        say(str(path))


def _show_log() -> None:
    """Send the package's messages to standard error, from the main process only."""
    logger = logging.getLogger("gensim")
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(logging.INFO if is_main_process() else logging.ERROR)
