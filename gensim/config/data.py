"""Where the cells are, what their columns mean, and which of them are held out."""

from typing import Annotated, Literal

from pydantic import Field

from gensim.config.section import Fraction, PositiveInt, Section, tagged


class DataConfig(Section):
    """Where the cells are and what their columns mean."""

    path: str | list[str]
    """`.h5ad` or AnnData-Zarr; several files must hold the same genes in the same order."""
    scale: Literal["counts", "log1p_cp10k"]
    """What X (or the layer) holds; declared, checked, never guessed."""
    perturbation_column: str = "perturbation"
    control_label: str = "control"
    combination_separator: str = "+"
    context_columns: list[str] = Field(default_factory=list)
    batch_column: str | None = None
    dose_column: str | None = None
    time_column: str | None = None
    """Time since the perturbation, in any unit: 0 (or nothing) in control cells."""
    layer: str | None = None
    library_size_column: str | None = None
    """Counts of each cell over all genes, where the file holds only a panel of them; else the sum of its counts."""
    n_highly_variable_genes: PositiveInt | None = None
    """Select so many genes on training cells; perturbed genes that are measured are always kept."""

    @property
    def paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


class CellShareSplit(Section):
    """Hold out a share of the cells of every condition (seen conditions, unseen cells)."""

    hold_out: Literal["cells"] = "cells"
    fraction: Fraction = 0.5


class PerturbationSplit(Section):
    """Hold out perturbations wherever they occur, alone or in a combination: listed, or a fraction drawn by seed."""

    hold_out: Literal["perturbations"]
    values: list[str] | None = None
    fraction: Fraction | None = None


class CombinationSplit(Section):
    """Hold out combinations such as ``A+B``: listed, or a fraction drawn by seed among those of two or more."""

    hold_out: Literal["combinations"]
    values: list[str] | None = None
    fraction: Fraction | None = None


class ContextSplit(Section):
    """Hold out the perturbed cells of contexts (their controls stay): listed by value, or a fraction drawn by seed."""

    hold_out: Literal["contexts"]
    column: str
    values: list[str] | None = None
    fraction: Fraction | None = None


class DoseSplit(Section):
    """Hold out every perturbation at some doses, and combinations with a member at one: listed, or a fraction drawn by
    seed."""

    hold_out: Literal["doses"]
    values: list[float] | None = None
    fraction: Fraction | None = None


class TimeSplit(Section):
    """Hold out every perturbed condition at some times: listed, or a fraction drawn by seed."""

    hold_out: Literal["times"]
    values: list[float] | None = None
    fraction: Fraction | None = None


class GridSplit(Section):
    """Hold out (context, perturbation) pairs: listed as ``{context: ..., perturbation: ...}``, or a fraction drawn
    by seed so that every perturbation keeps a context and every context a perturbation where they can."""

    hold_out: Literal["grid"]
    column: str
    values: list[dict[Literal["context", "perturbation"], str]] | None = None
    fraction: Fraction | None = None


HoldOut = CellShareSplit | PerturbationSplit | CombinationSplit | ContextSplit | DoseSplit | TimeSplit | GridSplit


class SplitConfig(Section):
    """Which cells are held out for the final score, and which train cells are held back for early stopping."""

    test: Annotated[HoldOut, Field(discriminator="hold_out"), tagged("hold_out", "cells")] = CellShareSplit()
    control_fraction: Fraction = 0.5
    """Share of the control cells of each context that is held out, to start simulated cells from."""
    validation_fraction: Fraction = 0.15
    """Share of the remaining cells of every condition, controls included, that decides early stopping."""
