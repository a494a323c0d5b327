"""Reflow: a flow learnt anew on its own ends, whose paths are straight, so that few steps suffice (Liu et al. 2023)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from gensim.transport.base import Draws, Transport
from gensim.types import ConditionBatch, ControlBatch, Dynamics, PairBatch

Solve = Callable[[Dynamics, torch.Tensor], torch.Tensor]
"""Carries (B, D) cells along dynamics from t = 0 to t = 1."""


class Reflow(Transport):
    """One round of rectification (Liu et al. 2023, "Flow straight and fast", eq. 1 and algorithm 1).

        z_1 = solve(teacher, z_0),    loss = the student's of the pairs (z_0, z_1)

    Both start at the same z_0, control cells and noise alike. The teacher's paths do not cross, so a pair's z_0 decides
    its z_1, the student's paths can be straight, and one Euler step along a straight path is exact. Errors of the
    teacher, and of `solve`, become the student's truth.

    All but the loss is the student's, state_dict included: weights saved here are weights of the student.

    Args:
        student: flow matching, anchored or not, and the only one to be trained.
        teacher: the same with trained weights, on the device of the pairs.
        solve: integrates the teacher's dynamics, with enough steps to be taken for exact.
    """

    def __init__(self, student: Transport, teacher: Transport, solve: Solve) -> None:
        super().__init__()
        self.student = student

        # A function keeps the teacher out of parameters, state_dict and the copies that averaging makes.
        @torch.no_grad()
        def ends(controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:
            return solve(teacher.dynamics(controls, condition), teacher.start(controls, condition, eps))

        self._ends = ends

    def loss(self, pairs: PairBatch, draws: Draws) -> torch.Tensor:
        z_1 = self._ends(pairs.controls, pairs.condition, draws.eps)
        return self.student.loss(replace(pairs, z_1=z_1), draws)

    def start(self, controls: ControlBatch, condition: ConditionBatch, eps: torch.Tensor) -> torch.Tensor:
        return self.student.start(controls, condition, eps)

    def dynamics(self, controls: ControlBatch, condition: ConditionBatch) -> Dynamics:
        return self.student.dynamics(controls, condition)

    def arrival(self, t: torch.Tensor) -> torch.Tensor:
        return self.student.arrival(t)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.student.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        return self.student.load_state_dict(state_dict, strict, assign)
