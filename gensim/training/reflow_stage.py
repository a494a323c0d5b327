"""The second stage of a run whose flow is to be straightened: the student goes on where the first stage was best."""

import copy
import shutil
from dataclasses import replace

import torch

from gensim.atomic import atomic_path
from gensim.seeding import derive
from gensim.solvers.ode import Midpoint
from gensim.training.checkpoint import load_weights
from gensim.training.loop import Trainer
from gensim.training.run_folder import RunFolder
from gensim.transport.reflow import Reflow
from gensim.types import Dynamics

TEACHER_SOLVER = Midpoint(20)
"""Solves the teacher, whatever few steps the run is sampled with: what it gets wrong the student learns."""


def reflow_stage(trainer: Trainer, run: RunFolder) -> Trainer:
    """The trainer of the second stage. Call it in every process, once the first stage has ended, however often.

    Args:
        trainer: of the first stage, made anew, with the validation that judges the student.
        run: whose best weights become teacher and student, and are kept apart under `run.teacher`.
    """
    accelerator = trainer.accelerator
    if accelerator.is_main_process and not run.teacher.is_file():
        with atomic_path(run.teacher) as temporary:
            shutil.copyfile(run.best, temporary)
    accelerator.wait_for_everyone()
    student = trainer.transport
    load_weights(run.teacher, student)
    teacher = copy.deepcopy(student).to(accelerator.device).eval()
    return replace(
        trainer,
        transport=Reflow(student, teacher, _solve),
        config=trainer.config.model_copy(update={"max_cells": trainer.config.reflow_cells}),
        seed=derive(trainer.seed, "reflow"),
        folder=run.reflow,
    )


def keep_student(run: RunFolder) -> None:
    """Make the best weights of the second stage those of the run."""
    with atomic_path(run.best) as temporary:
        shutil.copyfile(run.reflow.best, temporary)


def _solve(dynamics: Dynamics, z_0: torch.Tensor) -> torch.Tensor:
    return TEACHER_SOLVER.solve(dynamics, z_0, lambda step: torch.zeros_like(z_0))  # noqa: ARG005
