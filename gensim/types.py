"""The nouns of the package: frozen, checked once on construction, free of behaviour that belongs elsewhere.

Shape letters: B cells in a batch, N/M cells in control/perturbed, G genes, D latent, K conditions,
P perturbations in the longest combination, Q context columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from gensim.doses import Dose, in_order
from gensim.errors import DataError

if TYPE_CHECKING:  # evaluations of effects do without torch, which takes a second and 200 MB
    import torch

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

SCALES = ("counts", "log1p_cp10k")
CP10K = 1e4
LARGEST_COUNT = 2**31 - 1
"""What an int32 holds."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What was done to a cell, and to which kind of cell.

    Args:
        perturbations: names in any order; kept sorted, so that a combination has no order. Empty: control.
        context: (column, value) pairs, for instance ``(("cell_type", "B"),)``, in the order of the run's columns.
        dose: in the unit of the screen's dose column; None where there is none, and always where there is no
            perturbation. A tuple: one for each perturbation as they are given; kept in the order of the sorted names,
            as one number where all are the same, and without members at dose 0 beside others above it.
        time: since the perturbation, in the unit of the screen's time column; None where there is none, and always for
            control. Without a perturbation, and above 0: unperturbed cells at that time.

    Raises:
        DataError: a name is empty or repeated, dose or time are negative or not finite, or there are not as many doses
            as perturbations.
    """

    perturbations: tuple[str, ...]
    context: tuple[tuple[str, str], ...] = ()
    dose: Dose = None
    time: float | None = None

    def __post_init__(self) -> None:
        given = tuple(sorted(self.perturbations))
        object.__setattr__(self, "context", tuple((str(c), str(v)) for c, v in self.context))
        if any(not name for name in given):
            raise DataError(f"condition {given!r} has an empty perturbation name; name it or drop it")
        if len(set(given)) != len(given):
            raise DataError(f"condition {given!r} repeats a perturbation; name each one once")
        for field, value in zip(("perturbations", "dose"), in_order(self.perturbations, self.dose), strict=True):
            object.__setattr__(self, field, value)
        if self.time is not None and (not math.isfinite(self.time) or self.time < 0):
            raise DataError(f"condition {self.perturbations!r} has time {self.time}; a time is finite and not negative")
        if not self.perturbations:
            object.__setattr__(self, "dose", None)
            object.__setattr__(self, "time", self.time or None)

    @property
    def is_control(self) -> bool:
        return not self.perturbations and self.time is None

    @property
    def changes_nothing(self) -> bool:
        """Control, anything at time 0, and where there is no time anything at dose 0."""
        return self.is_control or self.time == 0 or (self.dose == 0 and self.time is None)

    @property
    def doses(self) -> tuple[float | None, ...]:
        """One for each perturbation, in their order."""
        return self.dose if isinstance(self.dose, tuple) else (self.dose,) * len(self.perturbations)

    @property
    def members(self) -> list[Condition]:
        """Each perturbation alone, at its dose."""
        members = zip(self.perturbations, self.doses, strict=True)
        return [replace(self, perturbations=(name,), dose=dose) for name, dose in members]

    @property
    def in_any_context(self) -> Condition:
        """The same perturbations, dose and time."""
        return replace(self, context=())

    @property
    def control(self) -> Condition:
        """The control condition of the same context."""
        return Condition((), self.context)

    @property
    def key(self) -> str:
        """Unambiguous text of the condition (JSON), equal for equal conditions: used in digests and as identity."""
        time = [] if self.time is None else [self.time]
        return json.dumps([list(self.perturbations), [list(pair) for pair in self.context], self.dose, *time])

    @classmethod
    def from_key(cls, key: str) -> Self:
        perturbations, context, dose, *time = json.loads(key)
        dose = tuple(dose) if isinstance(dose, list) else dose
        return cls(tuple(perturbations), tuple((c, v) for c, v in context), dose, *time)

    @property
    def label(self) -> str:
        """Text for people: ``IRF1+STAT1 | B | dose 0.5 | time 24``; ``dose 1+10`` where IRF1 has 1 and STAT1 has 10."""
        parts = ["+".join(self.perturbations) or "control", *(value for _, value in self.context)]
        if self.dose is not None:
            parts.append("dose " + "+".join(map(_short, self.dose if isinstance(self.dose, tuple) else (self.dose,))))
        if self.time is not None:
            parts.append(f"time {_short(self.time)}")
        return " | ".join(parts)


def _short(number: float) -> str:
    """The shortest text that no other number has."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


@dataclass(frozen=True, slots=True)
class ConditionBatch:
    """Conditions of B cells as tensors, in the codes of one run's vocabulary (0 is always none or unknown).

    Args:
        perturbations: (B, P) int64 rows of the perturbation table, padded with 0.
        contexts: (B, Q) int64, one code per context column.
        batch: (B,) int64 experimental batch.
        dose: (B, P) float32, of each member; that of the first where there is no further one, and 1 where there is none
            or the screen has no dose.
        shift: (B, D) float32 mean effect of the condition in the latent space as known from training cells; where the
            source is at a time above 0, less the mean effect there.
        penetrance: (B,) float32 share of the condition's cells in which it takes effect.
        elsewhere: (B, D) float32 the shift as it would be known from other contexts alone; left out: the shift.
        time: (B, 2) float32 times of source and target; left out: 0, as where the screen has no time.
        population: (B, E) float32 what the control cells of the context are like, see `ControlPopulations`; left out:
            E is 0.
    """

    perturbations: torch.Tensor
    contexts: torch.Tensor
    batch: torch.Tensor
    dose: torch.Tensor
    shift: torch.Tensor
    penetrance: torch.Tensor
    elsewhere: torch.Tensor = None  # type: ignore[assignment]
    time: torch.Tensor = None  # type: ignore[assignment]
    population: torch.Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.elsewhere is None:
            object.__setattr__(self, "elsewhere", self.shift)
        if self.time is None:
            object.__setattr__(self, "time", self.shift.new_zeros(len(self.shift), 2))
        if self.population is None:
            object.__setattr__(self, "population", self.shift.new_zeros(len(self.shift), 0))
        if len({len(getattr(self, f.name)) for f in fields(self)}) != 1:
            shapes = {f.name: tuple(getattr(self, f.name).shape) for f in fields(self)}
            raise ValueError(f"fields of a ConditionBatch must agree in their first dimension, got {shapes}")

    def __len__(self) -> int:
        return len(self.batch)

    def __getitem__(self, index: torch.Tensor | slice) -> ConditionBatch:
        """Every field at the same rows, so that labels follow whatever a coupling permutes."""
        return ConditionBatch(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device | str) -> ConditionBatch:
        return ConditionBatch(*(getattr(self, f.name).to(device) for f in fields(self)))

    def hidden(self, rows: torch.Tensor) -> ConditionBatch:
        """The same batch with all that is known of `rows` ((B,) bool) taken away: what was done, where, and its effect.

        A perturbed cell of which nothing is known has no perturbation, dose 1, times 0, unknown context and batch,
        shift 0, and a context in the midst of all.
        """
        shown = ~rows
        return ConditionBatch(
            perturbations=self.perturbations * shown[:, None],
            contexts=self.contexts * shown[:, None],
            batch=self.batch * shown,
            dose=self.dose.where(shown[:, None], 1.0),
            shift=self.shift * shown[:, None],
            elsewhere=self.elsewhere * shown[:, None],
            time=self.time * shown[:, None],
            population=self.population * shown[:, None],
            penetrance=self.penetrance.where(shown, 1.0),
        )

    def with_batch(self, batch: torch.Tensor) -> ConditionBatch:
        """The same conditions in other experimental batches."""
        return replace(self, batch=batch)

    def responding(self, response: torch.Tensor) -> ConditionBatch:
        """The same conditions with the shift of cells that get (B,) times the mean effect."""
        times = response[:, None]
        return replace(self, shift=self.shift * times, elsewhere=self.elsewhere * times)

    def from_elsewhere(self, rows: torch.Tensor) -> ConditionBatch:
        """The same conditions, of which `rows` ((B,) bool) are in a context that was not measured."""
        return replace(
            self,
            contexts=self.contexts * ~rows[:, None],
            shift=self.elsewhere.where(rows[:, None], self.shift),
        )


@dataclass(frozen=True, slots=True)
class ControlBatch:
    """Control cells that B cells start from, and the populations those were drawn from.

    Args:
        z: (B, D) latents of the control cells.
        population: (S, M, D) latents of M control cells for each of S populations; M is 0 where no one looks at them.
        population_of: (B,) int64 row of `population` for every cell.
    """

    z: torch.Tensor
    population: torch.Tensor
    population_of: torch.Tensor

    def __post_init__(self) -> None:
        if len(self.z) != len(self.population_of) or self.population.ndim != 3:
            raise ValueError(
                f"a ControlBatch needs a population per cell, got {len(self.z)} cells, {len(self.population_of)} "
                f"populations, of shape {tuple(self.population.shape)}"
            )

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, index: torch.Tensor | slice) -> ControlBatch:
        """The cells at `index`; the populations stay."""
        return ControlBatch(self.z[index], self.population, self.population_of[index])

    @classmethod
    def alone(cls, z: torch.Tensor) -> ControlBatch:
        """Cells (B, D) whose population no one looks at."""
        return cls(z, z.new_empty(1, 0, z.shape[1]), z.new_zeros(len(z)).long())


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B coupled cells: row i of every field belongs to the pair (control cell i, target cell i).

    Args:
        controls: control cells.
        z_1: (B, D) latents of perturbed cells.
        condition: conditions of the target cells.
        source, target: (B,) int64 rows of the screen.
    """

    controls: ControlBatch
    z_1: torch.Tensor
    condition: ConditionBatch
    source: torch.Tensor
    target: torch.Tensor

    def __post_init__(self) -> None:
        lengths = {len(self.controls), len(self.z_1), len(self.condition), len(self.source), len(self.target)}
        if len(lengths) != 1 or self.controls.z.shape != self.z_1.shape:
            raise ValueError(
                f"a PairBatch needs one row per pair in every field, got lengths {sorted(lengths)}, controls of shape "
                f"{tuple(self.controls.z.shape)} and targets of shape {tuple(self.z_1.shape)}"
            )

    def __len__(self) -> int:
        return len(self.z_1)

    def __getitem__(self, index: torch.Tensor | slice) -> PairBatch:
        """Every field at the same rows."""
        return PairBatch(
            self.controls[index], self.z_1[index], self.condition[index], self.source[index], self.target[index]
        )


VectorField = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Maps a scalar tensor t and (B, D) z to (B, D)."""
TimeFunction = Callable[["torch.Tensor"], "torch.Tensor"]
"""Maps a scalar tensor t to a scalar tensor."""


@dataclass(frozen=True, slots=True)
class Denoiser:
    """A Gaussian path z_t = alpha(t) z_1 + sigma(t) eps, and what is expected at its end.

    Args:
        alpha, sigma: of the path; sigma(1) is 0 or nearly so.
        clean: E[z_1 | z_t].
    """

    alpha: TimeFunction
    sigma: TimeFunction
    clean: VectorField


@dataclass(frozen=True, slots=True)
class Dynamics:
    """dz = drift(t, z) dt + diffusion(t, z) dW on t from 0 to 1.

    Args:
        drift: of the equation.
        diffusion: the same signature, elementwise; None for an ordinary differential equation.
        denoiser: of the same equation, where its path starts from noise; solvers that step from denoiser to denoiser
            need it.
    """

    drift: VectorField
    diffusion: VectorField | None = None
    denoiser: Denoiser | None = None


StepNoise = Callable[[int], "torch.Tensor"]
"""Maps the number of a solver's step to its (B, D) standard normal draws, which belong to the cells."""


@dataclass(frozen=True, slots=True)
class CellChunk:
    """Consecutive simulated cells, ready for a store or a reducer.

    Args:
        index: position of the chunk in the plan.
        start: position of its first cell in the plan.
        x: (n, G) float32, log1p CP10k, not negative.
        counts: (n, G) int64 counts of the same cells; None where the screen has no counts.
        condition: (n,) int64 row of the plan's table of conditions.
        source: (n,) int64 row of the control cells that each cell was started from.
        library_size: (n,) float32 counts that the cell has over all genes of its screen.
    """

    index: int
    start: int
    x: FloatArray
    counts: IntArray | None
    condition: IntArray
    source: IntArray
    library_size: FloatArray

    def __post_init__(self) -> None:
        if len({len(self.x), len(self.condition), len(self.source), len(self.library_size)}) != 1:
            raise ValueError(f"chunk {self.index} has fields of different lengths")
        if not np.isfinite(self.x).all():
            row = int(np.argmax(~np.isfinite(self.x).all(axis=1)))
            raise DataError(f"simulated cell {self.start + row} has values that are not finite; the model diverged")

    def __len__(self) -> int:
        return len(self.x)


def blocks(total: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` rows that cover ``range(total)``."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def spread(rows: NDArray[Scalar], most: int) -> NDArray[Scalar]:
    """At most so many of the rows, evenly over the screen, whose files and batches lie one after another."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def first_difference(ours: Iterable[str], theirs: Iterable[str]) -> str | None:
    """Where two gene lists first differ, in words; None where they are equal."""
    a, b = list(ours), list(theirs)
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return f"position {i} is {x!r} in the one and {y!r} in the other"
    if len(a) != len(b):
        longer, extra = ("one", a[len(b)]) if len(a) > len(b) else ("other", b[len(a)])
        return f"the lists have {len(a)} and {len(b)} genes; the {longer} goes on with {extra!r}"
    return None
