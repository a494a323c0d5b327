"""Rectified flow between Gaussians, where the teacher and the straight paths are closed forms; the stage in a run."""

import copy
import json
import os
import shutil

import pytest
import small_runs
import torch
from safetensors.torch import load_file
from stand_ins import NoFeatures, unused

from gensim import atomic
from gensim.cli import main
from gensim.nn.residual_mlp import ResidualMLP
from gensim.solvers.ode import Euler, Heun
from gensim.training.checkpoint import Progress
from gensim.transport.anchored import Anchored
from gensim.transport.base import Draws
from gensim.transport.flow_matching import FlowMatching
from gensim.transport.reflow import Reflow
from gensim.types import ConditionBatch, ControlBatch, PairBatch

M_1, S_1 = 2.0, 0.5


class Gaussian(torch.nn.Module):
    """A field between N(m_0, 1) and N(M_1, S_1²), with one weight that is added."""

    def __init__(self, m_0: float = -1.0):
        super().__init__()
        self.m_0 = m_0
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def context(self, features, controls):
        return features


class Curved(Gaussian):
    """E[z_1 - z_0 | z_t] for independent pairs: the paths bend, and end at the optimal map."""

    def forward(self, z_t, t, context):
        t = t[:, None]
        variance, mean = (1 - t) ** 2 + t**2 * S_1**2, (1 - t) * self.m_0 + t * M_1
        return M_1 - self.m_0 + (t * S_1**2 - (1 - t)) / variance * (z_t - mean) + self.bias


class Straight(Gaussian):
    """The velocity M_1 - m_0 + (S_1 - 1) (z_0 - m_0) of the straight path from z_0 to its optimal map."""

    def forward(self, z_t, t, context):
        t = t[:, None]
        from_mean = (z_t - (1 - t) * self.m_0 - t * M_1) / (1 - t + t * S_1)
        return M_1 - self.m_0 + (S_1 - 1) * from_mean + self.bias


def flow(field, noise: float = 0.0) -> FlowMatching:
    return FlowMatching(field, NoFeatures(), noise=noise)


def conditions(n: int, shift: float = 0.0) -> ConditionBatch:
    codes = torch.ones(n, dtype=torch.int64)
    return ConditionBatch(
        codes[:, None], codes[:, None], codes, torch.ones(n, 1), torch.full((n, 1), shift), torch.ones(n)
    )


def exact(dynamics, z_0):
    return Heun(100).solve(dynamics, z_0, unused)


def independent(n: int, generator: torch.Generator, shift: float = 0.0) -> tuple[PairBatch, Draws]:
    z_0, z_1, eps, path = torch.randn(4, n, 1, generator=generator)
    rows = torch.arange(n)
    draws = Draws(torch.rand(n, generator=generator), eps, path)
    return PairBatch(ControlBatch.alone(z_0 - 1), M_1 + S_1 * z_1 + shift, conditions(n, shift), rows, rows), draws


@torch.no_grad()
def loss_of(transport, pairs: PairBatch, draws: Draws) -> float:
    return float(transport.loss(pairs, draws))


def test_on_the_teacher_s_ends_straight_paths_leave_no_loss():
    """On independent pairs no field has less than S_1 π/2, the variance of z_1 - z_0 that z_t leaves open."""
    pairs, draws = independent(5000, torch.Generator().manual_seed(0))
    # Heun's 100 steps are exact to 1e-4 here, so the squared loss to 1e-8.
    assert loss_of(Reflow(flow(Straight()), flow(Curved()), exact), pairs, draws) < 1e-6
    # A mean over 5,000 squares is known to about 2 %.
    assert loss_of(flow(Straight()), pairs, draws) > 0.95 * S_1 * torch.pi / 2
    assert loss_of(Reflow(flow(Curved()), flow(Curved()), exact), pairs, draws) > 0.05


def test_from_noise_teacher_and_student_start_at_the_same_draws():
    pairs, draws = independent(500, torch.Generator().manual_seed(1))
    student, teacher = (flow(field(m_0=0.0), noise=1.0) for field in (Straight, Curved))
    assert loss_of(Reflow(student, teacher, exact), pairs, draws) < 1e-6


def test_around_anchors_the_mean_effect_is_carried_once():
    pairs, draws = independent(500, torch.Generator().manual_seed(2), shift=1.25)
    student, teacher = (Anchored(flow(field())) for field in (Straight, Curved))
    assert loss_of(Reflow(student, teacher, exact), pairs, draws) < 1e-6


def test_only_the_student_is_trained_saved_and_averaged():
    student, teacher = flow(Straight()), flow(Curved())
    reflow = Reflow(student, teacher, exact)
    reflow.loss(*independent(50, torch.Generator().manual_seed(3))).backward()
    assert student.field.bias.grad is not None
    assert teacher.field.bias.grad is None
    assert [id(p) for p in reflow.parameters()] == [id(p) for p in student.parameters()]
    assert reflow.state_dict().keys() == student.state_dict().keys()
    reflow.load_state_dict({"field.bias": torch.tensor(0.5)})
    assert (student.field.bias.item(), teacher.field.bias.item()) == (0.5, 0.0)
    copied = copy.deepcopy(reflow)
    assert copied.student is not student
    assert copied._ends is reflow._ends, "the teacher is copied along"


def test_all_but_the_loss_is_the_student_s():
    student, z = flow(Straight(), noise=0.5), torch.linspace(-3, 1, 9)[:, None]
    reflow, controls, condition = Reflow(student, flow(Curved()), exact), ControlBatch.alone(z), conditions(9)
    assert torch.equal(reflow.start(controls, condition, z + 1), student.start(controls, condition, z + 1))
    t = torch.tensor(0.3)
    assert torch.equal(
        reflow.dynamics(controls, condition).drift(t, z), student.dynamics(controls, condition).drift(t, z)
    )
    assert torch.equal(reflow.arrival(t), student.arrival(t))


def test_a_trained_student_needs_one_step_where_its_teacher_needs_many(device):
    """In one Euler step the teacher sends all cells to M_1, for it knows no more at t = 0; it is S_1 from the truth."""
    generator = torch.Generator().manual_seed(4)
    student = flow(ResidualMLP(1, 1, 1, sees_control=False, width=32, n_blocks=2, generator=generator)).to(device)
    teacher = flow(Curved()).to(device)
    reflow = Reflow(student, teacher, lambda dynamics, z_0: Heun(10).solve(dynamics, z_0, unused))
    optimiser = torch.optim.Adam(reflow.parameters(), lr=3e-3)
    for _ in range(150):
        pairs, draws = independent(256, generator)
        here = [part.to(device) for part in (pairs.controls.z, pairs.z_1, draws.t, draws.eps, draws.path)]
        moved = PairBatch(ControlBatch.alone(here[0]), here[1], pairs.condition.to(device), pairs.source, pairs.target)
        loss = reflow.loss(moved, Draws(*here[2:]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z_0 = (torch.randn(4000, 1, generator=generator) - 1).to(device)
    controls, condition = ControlBatch.alone(z_0), conditions(4000).to(device)
    optimal = M_1 + S_1 * (z_0 + 1)

    def error(transport) -> float:
        with torch.no_grad():
            z_1 = Euler(1).solve(transport.dynamics(controls, condition), z_0, unused)
        return float((z_1 - optimal).square().mean().sqrt())

    # The width of a sample of 4,000 is known to 1 %.
    assert error(teacher) == pytest.approx(S_1, rel=0.05)
    # 150 steps of 256 pairs leave errors of a few hundredths.
    assert error(reflow) < 0.1


class KilledError(BaseException):
    """Stands for a process that ends without warning."""


CHOICES = ("transport.noise=1", "training.learning_rate=1e-2", "training.condition_dropout=0.1")
TWO_STAGES = (*CHOICES, "training.reflow_cells=192", "solver={kind: euler, n_steps: 1}")
AS_THE_TEACHER = (*CHOICES, "solver={kind: midpoint, n_steps: 20, precision: float32}")


def train(run, config, *overrides) -> None:
    assert main(["train", "--config", str(config), "--device", "cpu", f"run={run}", *overrides]) == 0


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """`screen.h5ad`, `config.yaml`, the unbroken run `whole` of two stages, and `one`, which has the first alone.

    Every validation counts as a gain, so that the weights that each stage keeps are not those it began with.
    """
    folder = tmp_path_factory.mktemp("work")
    small_runs.screen().write_h5ad(folder / "screen.h5ad")
    small_runs.config(folder / "config.yaml", folder / "run", folder / "screen.h5ad")
    with pytest.MonkeyPatch.context() as patch:
        judged = Progress.judged
        patch.setattr(Progress, "judged", lambda progress, _, surely: judged(progress, [-progress.step], surely))
        train(folder / "whole", folder / "config.yaml", *TWO_STAGES)
        train(folder / "one", folder / "config.yaml", *AS_THE_TEACHER)
        yield folder


def weights(run) -> dict[str, torch.Tensor]:
    """All that training left of a run, by file and name."""
    files = [file for file in sorted(run.rglob("*.safetensors")) if "prepared" not in file.parts]
    return {f"{file.relative_to(run)}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def without_seconds(value: dict) -> dict:
    return {
        key: without_seconds(inner) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if key != "seconds"
    }


def validated(run) -> dict[int, float]:
    """Validation distances by step."""
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return {line["step"]: line["validation_energy_distance"] for line in lines if "validation_energy_distance" in line}


def test_the_first_stage_is_a_run_of_its_own_with_the_teacher_s_solver(work):
    assert (work / "whole" / "history.jsonl").read_text() == (work / "one" / "history.jsonl").read_text()
    one, whole = (weights(work / name) for name in ("one", "whole"))
    assert all(torch.equal(one[name], whole[name]) for name in one if name.startswith("checkpoints/"))
    teacher = load_file(work / "whole" / "reflow" / "teacher.safetensors")
    assert all(torch.equal(one[f"best.safetensors/{name}"], teacher[name]) for name in teacher)


def test_the_second_stage_is_judged_by_the_solver_of_the_run(work):
    """The same weights and validation cells before its first step, and another distance."""
    first, second = validated(work / "whole"), validated(work / "whole" / "reflow")
    assert sorted(second) == [0, 2, 3], "192 pairs are 3 steps"
    # The distance moves by 2e-4 between 1 and 20 steps; rounding moves it by 1e-7.
    assert abs(second[0] - first[max(first)]) > 1e-5


def test_a_run_keeps_its_student(work):
    run = work / "whole"
    summary = json.loads((run / "trained.json").read_text())
    assert (summary["best_step"], summary["reflow"]["best_step"]) == (4, 3)
    assert summary["reflow"]["cells_seen"] == 192
    kept, student, teacher, plain = (
        load_file(file)
        for file in (
            run / "best.safetensors",
            run / "reflow" / "best.safetensors",
            run / "reflow" / "teacher.safetensors",
            work / "one" / "best.safetensors",
        )
    )
    assert kept.keys() == plain.keys()
    assert all(torch.equal(kept[name], student[name]) for name in kept)
    assert not all(torch.equal(kept[name], teacher[name]) for name in kept)
    assert main(["sample", "--run", str(run), "--out", str(work / "cells.zarr"), "--device", "cpu"]) == 0


class Killer:
    """Stands in for `os.replace`, and kills right before the n-th path, a named one, or the one behind a named one."""

    def __init__(self):
        self.arm()

    def arm(self, at: int | None = None, path=None, behind=None) -> None:
        self.replaced, self.at, self.path, self.behind = [], at, path, behind

    def __call__(self, source, target):
        if ".tmp" not in target.parent.name:
            kill = target == self.path or self.behind in self.replaced
            self.replaced.append(target)
            if kill or len(self.replaced) == self.at:
                raise KilledError
        os.rename(source, target)


def test_killed_at_any_file_it_resumes_to_the_same_run(work, tmp_path, monkeypatch):
    """Right before any file or checkpoint is put in its place, from the end of the first stage to that of the run."""
    first, run, config, killer = tmp_path / "first", tmp_path / "run", work / "config.yaml", Killer()
    monkeypatch.setattr(atomic.os, "replace", killer)
    killer.arm(path=first / "reflow" / "teacher.safetensors")
    with pytest.raises(KilledError):
        train(first, config, *TWO_STAGES)
    n_killed = 0
    while True:
        shutil.copytree(first, run)
        killer.arm(at=n_killed + 1)
        try:
            train(run, config, *TWO_STAGES)
        except KilledError:
            n_killed += 1
        else:
            break
        killer.arm()
        train(run, config, *TWO_STAGES)
        expected, found = weights(work / "whole"), weights(run)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected), f"killed at file {n_killed}"
        for name in ("history.jsonl", "reflow/history.jsonl"):
            assert (run / name).read_text() == (work / "whole" / name).read_text()
        summaries = [json.loads((each / "trained.json").read_text()) for each in (run, work / "whole")]
        assert without_seconds(summaries[0]) == without_seconds(summaries[1])
        shutil.rmtree(run)
    assert {"teacher.safetensors", "step-000000003", "best.safetensors", "trained.json"} <= {
        path.name for path in killer.replaced
    }


def test_the_student_begins_as_the_best_of_the_first_stage(work, tmp_path, monkeypatch):
    """Killed before its first checkpoint: its best weights are then those of its first validation, at step 0."""
    run, killer = tmp_path / "run", Killer()
    monkeypatch.setattr(atomic.os, "replace", killer)
    killer.arm(behind=run / "reflow" / "best.safetensors")
    with pytest.raises(KilledError):
        train(run, work / "config.yaml", *TWO_STAGES)
    student, teacher = (load_file(run / "reflow" / name) for name in ("best.safetensors", "teacher.safetensors"))
    first = load_file(run / "best.safetensors")
    assert all(torch.equal(first[name], student[name]) for name in student)
    assert all(torch.equal(first[name], teacher[name]) for name in teacher)
