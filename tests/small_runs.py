"""A run of a few steps on a small screen, made by command line, for tests of what commands refuse and survive."""

from pathlib import Path

import anndata as ad
import torch
import yaml
from safetensors.torch import load_file, save_file
from screens import adata_of, counts

from gensim.cli import main

LABELS = ("control", "A", "B", "A+B")
CONTEXTS = ("T", "B cell")


def screen(prefix: str = "cell") -> ad.AnnData:
    """480 cells: 60 of each of 4 labels in each of 2 contexts, 12 genes."""
    labels = [label for label in LABELS for _ in range(120)]
    contexts = [CONTEXTS[i % 2] for i in range(len(labels))]
    return adata_of(labels, counts(len(labels), 12), prefix, cell_type=contexts)


def config(path: Path, run: Path, data: Path, **sections: object) -> Path:
    settings = {
        "run": str(run),
        "data": {"path": str(data), "scale": "counts", "context_columns": ["cell_type"]},
        "autoencoder": {"n_latents": 4},
        "field": {"width": 8, "n_blocks": 1},
        "training": {
            "max_cells": 256, "cells_per_validation": 128, "warmup_cells": 10, "cells_per_group": 16,
            "groups_per_step": 4,
        },
        **sections,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(settings))
    return path


def trained_and_sampled(folder: Path) -> Path:
    """Fill a folder with `screen.h5ad`, `config.yaml`, the trained `run`, and `cells.zarr` simulated from it."""
    screen().write_h5ad(folder / "screen.h5ad")
    path = config(folder / "config.yaml", folder / "run", folder / "screen.h5ad")
    assert main(["train", "--config", str(path), "--device", "cpu"]) == 0
    out = folder / "cells.zarr"
    assert main(["sample", "--run", str(folder / "run"), "--out", str(out), "--device", "cpu"]) == 0
    return folder


def awaken(run: Path) -> None:
    """Random weights in place of the kept ones: an untrained network returns 0 and hides all that it is given."""
    file, generator = run / "best.safetensors", torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(w.shape, generator=generator) / max(1, w.shape[-1]) ** 0.5
        for name, w in load_file(file).items()
    }
    save_file(weights, file)


def content(*folders: Path) -> dict[str, bytes | None]:
    """Every path below the folders; of files also the bytes."""
    paths = [path for folder in folders for path in folder.rglob("*")]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}
