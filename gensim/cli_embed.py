"""`gensim embed` on the command line."""

import argparse
from pathlib import Path
from typing import Any

from gensim.console import say
from gensim.errors import ConfigError

NETWORK_FEATURES = {"walks": 512, "spectral": 64}
"""Features that `gensim embed network` makes by default, by method."""


def add_embed(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    embed = commands.add_parser(
        "embed", help="vectors of perturbations", description="Make vectors of perturbations from prior knowledge."
    )
    kinds = embed.add_subparsers(title="kinds", required=True)

    annotation = kinds.add_parser("annotation", help="from gene sets or GO terms: a row per gene and term")
    annotation.add_argument("--columns", nargs=2, metavar=("GENE", "TERM"), help="default: the first two")
    annotation.set_defaults(command=_embed_pairs, kind="annotation")

    network = kinds.add_parser("network", help="from a network: a row per edge")
    network.add_argument("--columns", nargs=2, metavar=("FROM", "TO"), help="default: the first two")
    strength = network.add_mutually_exclusive_group()
    strength.add_argument("--weight", metavar="COLUMN", help="large for strong edges")
    strength.add_argument("--cost", metavar="COLUMN", help="0 to 1, small for strong edges")
    network.add_argument(
        "--sign", metavar="COLUMN[,COLUMN]", default="", help="one, below 0 for inhibition; or two, of 0 and 1"
    )
    network.add_argument("--directed", action="store_true", help="who acts on whom matters")
    network.add_argument(
        "--method", choices=tuple(NETWORK_FEATURES), default="walks", help="random walks with restart, or eigenvectors"
    )
    network.set_defaults(command=_embed_network)

    smiles = kinds.add_parser("smiles", help="from structures: a row per compound, with its SMILES")
    smiles.add_argument("--columns", nargs=2, metavar=("NAME", "SMILES"), help="default: the first two")
    smiles.set_defaults(command=_embed_pairs, kind="smiles")

    expression = kinds.add_parser("expression", help="from the training control cells of a screen")
    expression.add_argument("config", type=Path, help="of a run on the screen: its data, its split")
    expression.set_defaults(command=_embed_expression)

    own = kinds.add_parser("table", help="from vectors of your own: a row per perturbation")
    own.add_argument("table", type=Path, help=".parquet, .csv or .npz, a name and its features per row")
    own.add_argument(
        "--for", dest="config", type=Path, metavar="CONFIG", required=True, help="whose screen's names to look up"
    )
    own.set_defaults(command=_embed_table)

    for kind in (annotation, network, smiles):
        kind.add_argument("table", type=Path, help=".csv, .tsv, .txt (also .gz) or .parquet")
        kind.add_argument("--for", dest="config", type=Path, metavar="CONFIG", help="whose screen's names to look up")
    by_method = ", ".join(f"{method} {features}" for method, features in NETWORK_FEATURES.items())
    for kind, features, default in (
        (annotation, 64, "64"), (network, None, by_method), (smiles, 1024, "1024"), (expression, 64, "64"),
    ):  # fmt: skip
        kind.add_argument("--features", type=int, default=features, help=f"length of the vectors (default: {default})")
    for kind in (annotation, network, smiles, expression, own):
        kind.add_argument("--out", type=Path, required=True, help=".parquet to write")
        kind.add_argument(
            "--aliases", type=Path, help="table of symbol and alias, or Ensembl id, for the screen's names"
        )
        kind.add_argument("overrides", nargs="*", metavar="section.key=value", help="of the config")
        kind.add_argument("--overwrite", action="store_true", help="replace the file that is there")


def _embed_pairs(parsed: argparse.Namespace) -> None:
    from gensim.embed.make import embed_pairs

    out = embed_pairs(parsed.kind, parsed.table, parsed.out, parsed.features, **_embed_options(parsed))
    say(f"vectors: {out}")


def _embed_network(parsed: argparse.Namespace) -> None:
    from gensim.embed.make import embed_network

    sign = parsed.sign.split(",") if parsed.sign else []
    if len(sign) > 2:
        raise ConfigError(f"--sign takes one or two columns; got {parsed.sign}")
    edges = {name: getattr(parsed, name) for name in ("weight", "cost", "directed", "method")}
    n = NETWORK_FEATURES[parsed.method] if parsed.features is None else parsed.features
    out = embed_network(parsed.table, parsed.out, n, sign=sign, **edges, **_embed_options(parsed))
    say(f"vectors: {out}")


def _embed_table(parsed: argparse.Namespace) -> None:
    from gensim.embed.make import ForScreen, embed_table

    screen = ForScreen(parsed.config, parsed.overrides, parsed.aliases)
    out = embed_table(parsed.table, parsed.out, screen=screen, overwrite=parsed.overwrite)
    say(f"vectors: {out}")


def _embed_expression(parsed: argparse.Namespace) -> None:
    from gensim.embed.make import embed_expression

    options = {"aliases": parsed.aliases, "overwrite": parsed.overwrite}
    out = embed_expression(parsed.config, parsed.overrides, parsed.out, parsed.features, **options)
    say(f"vectors: {out}")


def _embed_options(parsed: argparse.Namespace) -> dict[str, Any]:
    from gensim.embed.make import ForScreen

    if parsed.config is None and (parsed.aliases is not None or parsed.overrides):
        raise ConfigError("--aliases and overrides are for the names of a screen; name its config with --for")
    return {
        "names": tuple(parsed.columns) if parsed.columns else None,
        "screen": ForScreen(parsed.config, parsed.overrides, parsed.aliases) if parsed.config else None,
        "overwrite": parsed.overwrite,
    }
