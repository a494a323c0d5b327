"""The vocabulary of a run: conditions to the integer codes that the encoder embeds."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from gensim.errors import CheckpointError, DataError, listing
from gensim.perturbations import between_contexts
from gensim.perturbations.control_populations import ControlPopulations
from gensim.perturbations.dose_response import DoseResponse
from gensim.perturbations.mean_effects import MeanEffects
from gensim.perturbations.measured import Likeness, Predictor
from gensim.perturbations.novelty import MeasuredRange, Novelty
from gensim.perturbations.penetrance import Penetrance
from gensim.perturbations.regression import Regression
from gensim.perturbations.time_points import TimePoints
from gensim.perturbations.vectors import VectorTable
from gensim.types import Condition, ConditionBatch, FloatArray


@dataclass(frozen=True, slots=True)
class Codebook:
    """Names that have a code; 0 is always none or unknown.

    Args:
        context_columns: Q obs columns.
        contexts: per column the values that have perturbed training cells, and so a learned embedding; any other
            value gets the code of an unknown one, which training shows to the model by hiding labels.
        batches: experimental batches that have perturbed training cells.
        table: a vector per perturbation.
        effects: mean effects in the latent space.
        penetrance: share of the cells in which they show.
        likeness: what tells of conditions that were not measured.
        populations: what the control cells of contexts are like.
        half_doses: lowest, geometric mean and highest of the training conditions' doses above 0, at which the network
            looks; none where there are none.
        member_doses: whether training conditions have members of a combination at doses of their own, so that the
            network can tell which member has which.
        first_and_last_time: of the training conditions, in whose units the network sees times; none where there are
            none.
    """

    context_columns: tuple[str, ...]
    contexts: tuple[tuple[str, ...], ...]
    batches: tuple[str, ...]
    table: VectorTable
    effects: MeanEffects
    penetrance: Penetrance
    likeness: Likeness = field(default_factory=Likeness)
    populations: ControlPopulations = field(default_factory=ControlPopulations)
    half_doses: tuple[float, ...] = ()
    member_doses: bool = False
    first_and_last_time: tuple[float, ...] = ()

    PENETRANCE: ClassVar[str] = "penetrance.safetensors"

    @classmethod
    def fit(
        cls,
        training_conditions: Sequence[Condition],
        context_columns: Sequence[str],
        batches: Sequence[str],
        table: VectorTable,
        effects: MeanEffects,
        penetrance: Penetrance,
        likeness: Likeness | None = None,
        populations: ControlPopulations | None = None,
    ) -> "Codebook":
        """The vocabulary of the perturbed training conditions.

        Args:
            populations: what the control cells of the contexts are like.

        Raises:
            DataError: one of their perturbations has no vector.
        """
        table.require(p for condition in training_conditions for p in condition.perturbations)
        seen = [dict(condition.context) for condition in training_conditions]
        contexts = tuple(tuple(sorted({context[column] for context in seen})) for column in context_columns)
        doses = [c.dose if isinstance(c.dose, tuple) else (c.dose,) for c in training_conditions]
        times = TimePoints(training_conditions).all
        book = cls(
            tuple(context_columns),
            contexts,
            tuple(batches),
            table,
            effects,
            penetrance,
            populations=populations or ControlPopulations(),
            half_doses=_half_doses([number for of_one in doses for number in of_one if number]),
            member_doses=any(len(of_one) > 1 for of_one in doses),
            first_and_last_time=(times[0], times[-1]) if times else (),
        )
        return book.knowing(effects, likeness or Likeness())

    def knowing(self, effects: MeanEffects, likeness: Likeness) -> "Codebook":
        """The same vocabulary with other mean effects in the latents, and what tells of others than these."""
        likeness = replace(likeness, variance=effects.variances)
        return replace(self, effects=effects.informed(likeness), likeness=likeness)

    def informed(self, effects: MeanEffects) -> MeanEffects:
        """Mean effects on something else, where measured conditions have the weights that they have in latents."""
        return effects.informed(self.likeness)

    def novelty(self, conditions: Sequence[Condition]) -> list[Novelty]:
        """How far each of the conditions lies from those that were measured."""
        measured = MeasuredRange(self.effects.conditions, self.likeness)
        return [measured.novelty(condition) for condition in conditions]

    def knowing_contexts(self, encoded: Mapping[str, FloatArray]) -> "Codebook":
        """The same vocabulary with encodings of further contexts, by the keys of their control conditions."""
        book = replace(self, populations=self.populations.knowing(encoded))
        return book.knowing(self.effects, self.likeness.knowing_contexts(encoded))

    def encode(
        self,
        conditions: Sequence[Condition],
        sources: Sequence[Condition] | None = None,
        *,
        elsewhere: bool = False,
    ) -> ConditionBatch:
        """K conditions as a batch of K rows with the batch unknown, in float32 on the CPU.

        Args:
            sources: K conditions that the cells come from; None: control.
            elsewhere: whether to find out what other contexts tell of each condition, which takes a while.

        Raises:
            DataError: a perturbation has no vector (up to ten are listed), or a condition lacks a time, or has one
                where the screen has none.
        """
        self._refuse_other_times(conditions)
        self.table.require(p for condition in conditions for p in condition.perturbations)
        row = {name: i + 1 for i, name in enumerate(self.table.names)}
        longest = max([len(condition.perturbations) for condition in conditions] + [1])
        perturbations = np.zeros((len(conditions), longest), dtype=np.int64)
        dose = np.ones((len(conditions), longest), dtype=np.float32)
        contexts = np.zeros((len(conditions), len(self.context_columns)), dtype=np.int64)
        codes = [{value: i + 1 for i, value in enumerate(values)} for values in self.contexts]
        for k, condition in enumerate(conditions):
            perturbations[k, : len(condition.perturbations)] = [row[p] for p in condition.perturbations]
            if condition.dose is not None:
                dose[k] = condition.doses[0]
                dose[k, : len(condition.doses)] = condition.doses
            value_of = dict(condition.context)
            contexts[k] = [code.get(value_of[c], 0) for c, code in zip(self.context_columns, codes, strict=True)]
        sources = [condition.control for condition in conditions] if sources is None else sources
        shift = _gains(self.effects, conditions, sources)
        return ConditionBatch(
            perturbations=torch.from_numpy(perturbations),
            contexts=torch.from_numpy(contexts),
            batch=torch.zeros(len(conditions), dtype=torch.int64),
            dose=torch.from_numpy(dose),
            shift=torch.from_numpy(shift),
            elsewhere=torch.from_numpy(self._elsewhere(conditions, sources, shift) if elsewhere else shift),
            penetrance=torch.from_numpy(self.penetrance.of_all(conditions)),
            time=torch.tensor(
                [[of.time or 0.0 for of in ends] for ends in zip(sources, conditions, strict=True)], dtype=torch.float32
            ),
            population=torch.from_numpy(self.populations.features(conditions)),
        )

    def _refuse_other_times(self, conditions: Sequence[Condition]) -> None:
        timed = bool(self.first_and_last_time)
        wrong = [c.label for c in conditions if not c.is_control and (c.time is not None) != timed]
        if wrong:
            what = "lack a time, and the run is of a time course" if timed else "have a time, and the run has none"
            raise DataError(f"{len(wrong)} conditions {what} (data.time_column): {listing(wrong)}")

    def _elsewhere(
        self, conditions: Sequence[Condition], sources: Sequence[Condition], shift: FloatArray
    ) -> FloatArray:
        """(K, D) shifts as they would be expected had nothing been measured in the context of each condition."""
        found, by_context = shift.copy(), defaultdict(list)
        for k, condition in enumerate(conditions):
            if not condition.is_control:
                by_context[condition.control].append(k)
        for control, here in by_context.items():
            others = self.effects.without_context(control)
            found[here] = _gains(others, [conditions[k] for k in here], [sources[k] for k in here])
        return found

    def batch_codes(self, batches: Sequence[str]) -> torch.Tensor:
        """(N,) codes of experimental batches by name; 0 for those without training cells."""
        code = {name: i + 1 for i, name in enumerate(self.batches)}
        return torch.tensor([code.get(name, 0) for name in batches], dtype=torch.int64)

    @property
    def typical_log_dose(self) -> float:
        """Largest log(1 + dose) of the training conditions, the unit in which the encoder sees doses."""
        return math.log1p(self.half_doses[-1]) if self.half_doses else 1.0

    def save(self, folder: Path) -> None:
        words: dict[str, Any] = {
            "context_columns": self.context_columns,
            "contexts": self.contexts,
            "batches": self.batches,
            "vector_source": self.table.source,
            "vector_widths": self.table.widths,
            "half_doses": self.half_doses,
            "member_doses": self.member_doses,
            "first_and_last_time": self.first_and_last_time,
            "regressions": {
                "perturbations": _words(self.likeness.perturbations),
                "contexts": _words(self.likeness.contexts),
                "doses": None if self.likeness.doses is None else asdict(self.likeness.doses),
                "between": None if self.likeness.between is None else between_contexts.words(self.likeness.between),
            },
        }
        (folder / "codebook.json").write_text(json.dumps(words, indent=1))
        np.savez(folder / "vectors.npz", names=np.asarray(self.table.names, np.str_), vectors=self.table.vectors)
        self.effects.save(folder / "mean_effects_latent.safetensors")
        self.penetrance.save(folder / self.PENETRANCE)
        self.populations.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "Codebook":
        try:
            words = json.loads((folder / "codebook.json").read_text())
            with np.load(folder / "vectors.npz", allow_pickle=False) as arrays:
                names = tuple(str(name) for name in arrays["names"])
                table = VectorTable(names, arrays["vectors"], words["vector_source"], tuple(words["vector_widths"]))
            book = cls(
                tuple(words["context_columns"]),
                tuple(tuple(values) for values in words["contexts"]),
                tuple(words["batches"]),
                table,
                MeanEffects.load(folder / "mean_effects_latent.safetensors"),
                Penetrance.load(folder / cls.PENETRANCE),
                populations=ControlPopulations.load(folder),
                half_doses=tuple(words["half_doses"]),
                member_doses=words["member_doses"],
                first_and_last_time=tuple(words["first_and_last_time"]),
            )
        except (OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"run {str(folder)!r} has no readable codebook: {error}; train it again") from error
        return book.knowing(book.effects, book.told(words["regressions"]))

    def told(self, settings: Mapping[str, Mapping[str, Any] | None]) -> Likeness:
        """What tells of unmeasured conditions, from settings of regressions over perturbations and over contexts, and
        of a dose response; and how effects go along between contexts, where that is known."""
        of_perturbations, of_contexts, of_doses = (settings[over] for over in ("perturbations", "contexts", "doses"))
        between = settings["between"]
        return Likeness(
            perturbations=None if of_perturbations is None else Predictor(Regression(**of_perturbations), self.table),
            contexts=None if of_contexts is None else Predictor(Regression(**of_contexts), self.populations.table),
            doses=None if of_doses is None else DoseResponse(**of_doses),
            between=None if between is None else between_contexts.read(between),
        )


def _gains(effects: MeanEffects, conditions: Sequence[Condition], sources: Sequence[Condition]) -> FloatArray:
    """(K, D) mean effects of conditions less those of what their cells come from."""
    ends = zip(conditions, sources, strict=True)
    return np.stack([effects.shift(end) - effects.shift(start) for end, start in ends])


def _half_doses(doses: Sequence[float]) -> tuple[float, ...]:
    if not doses:
        return ()
    return min(doses), math.exp(sum(map(math.log, doses)) / len(doses)), max(doses)


def _words(predictor: Predictor | None) -> dict[str, Any] | None:
    return None if predictor is None else asdict(predictor.regression)
