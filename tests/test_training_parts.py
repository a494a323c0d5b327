"""Schedule, average, checkpoints, hidden conditions: small things with exact answers."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from gensim.atomic import atomic_path, write_json
from gensim.config import TrainingConfig
from gensim.errors import CheckpointError, StoreError
from gensim.training.checkpoint import Progress, load_checkpoint, load_weights, save_checkpoint
from gensim.training.ema import ExponentialMovingAverage
from gensim.training.loop import Trainer
from gensim.training.schedule import learning_rate_at
from gensim.training.stage_folder import StageFolder
from gensim.types import ConditionBatch, ControlBatch, PairBatch


def test_the_schedule_at_its_corners():
    def rate(cells):
        return learning_rate_at(cells, peak=0.2, warmup_cells=100, max_cells=1100)

    assert [rate(0), rate(50), rate(100)] == pytest.approx([0, 0.1, 0.2])
    assert [rate(600), rate(1100), rate(5000)] == pytest.approx([0.1, 0, 0])
    assert learning_rate_at(0, peak=0.2, warmup_cells=0, max_cells=10) == 0.2


def weight(value: float) -> torch.nn.Linear:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, value)
    return module


def test_after_a_half_life_the_past_weighs_one_half():
    average = ExponentialMovingAverage(weight(0.0), half_life_cells=1000)
    for _ in range(10):
        average.update(weight(1.0), cells_seen=1_000_000, cells_in_step=100)
    assert float(average.module.weight) == pytest.approx(0.5)


def test_early_on_the_average_forgets_fast():
    """After 100 cells the half-life is 10 cells, so a step of 100 leaves 2^-10 of the start."""
    average = ExponentialMovingAverage(weight(1.0), half_life_cells=1000)
    average.update(weight(0.0), cells_seen=100, cells_in_step=100)
    assert float(average.module.weight) == pytest.approx(2**-10)


def test_a_lower_distance_is_a_gain():
    progress = Progress(step=10).judged([0.25, 0.75], surely=False)
    assert (progress.best_step, progress.best_distance, progress.validations_since_best) == (10, 0.5, 0)
    assert progress.judged([0.5, 0.5], surely=False).validations_since_best == 1
    assert progress.judged([0.1, 0.7], surely=False).best_distance == pytest.approx(0.4)


def test_of_new_conditions_a_gain_must_exceed_its_standard_error():
    """Gains 0.3 and 0.1 have mean 0.2 and standard error 0.1; 0.3 and -0.1 have mean 0.1 and standard error 0.2."""
    untrained = Progress().judged([1.0, 1.0], surely=True)
    assert untrained.best_step == 0
    assert untrained.judged([0.7, 0.9], surely=True).best_distance == pytest.approx(0.8)
    doubtful = untrained.judged([0.7, 1.1], surely=True)
    assert (doubtful.best_distance, doubtful.validations_since_best) == (1.0, 1)
    assert untrained.judged([0.7, 1.1], surely=False).best_distance == pytest.approx(0.9)


def stepped(steps: int, folder=None, resume_at=None) -> torch.nn.Module:
    """A small model after some AdamW steps, saved and restored on the way if asked."""

    def fresh():
        model = torch.nn.Sequential(weight(0.3), weight(-0.7))
        return model, ExponentialMovingAverage(model, 100), torch.optim.AdamW(model.parameters(), lr=0.1)

    model, average, optimiser = fresh()
    for step in range(steps):
        if step == resume_at:
            save_checkpoint(folder, model, average, optimiser, Progress(step=step))
            model, average, optimiser = fresh()
            assert load_checkpoint(folder, model, average, optimiser).step == step
        optimiser.zero_grad()
        (model(torch.tensor([[1.0 + step]])) - 2).square().sum().backward()
        optimiser.step()
        average.update(model, 100 * (step + 1), 100)
    return torch.nn.ModuleList([model, average.module])


def test_a_restored_optimiser_goes_on_to_the_bit(tmp_path):
    unbroken, resumed = stepped(6), stepped(6, tmp_path, resume_at=3)
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_one_checkpoint_is_kept(tmp_path):
    model = weight(1.0)
    for step in (5, 10):
        save_checkpoint(
            tmp_path, model, ExponentialMovingAverage(model, 1), torch.optim.AdamW(model.parameters()), Progress(step)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000010"]


def test_a_broken_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    with pytest.raises(UnicodeEncodeError), atomic_path(target) as temporary:
        temporary.write_text("half, and then a character that ASCII lacks: é", encoding="ascii")
    assert target.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(StoreError, match="cannot write"):
        write_json(target / "below_a_file.json", 1)


def test_not_a_number_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": math.nan})


def test_weights_of_another_shape_are_refused(tmp_path):
    save_file({"weight": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(tmp_path / "w.safetensors", weight(0.0))
    with pytest.raises(CheckpointError, match="missing"):
        load_weights(tmp_path / "none.safetensors", weight(0.0))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(tmp_path / "junk.safetensors", weight(0.0))


N_SLOTS, CELLS_PER_GROUP = 4, 1000


def shown_pairs(n: int) -> PairBatch:
    """Pairs of which all is known: no code is 0, no dose 1, no shift 0."""
    codes = torch.full((n,), 3)
    condition = ConditionBatch(
        codes[:, None], codes[:, None], codes, torch.full((n, 1), 2.5), torch.full((n, 2), 0.5), torch.ones(n)
    )
    z, rows = torch.ones(n, 2), torch.arange(n)
    return PairBatch(ControlBatch.alone(z), z, condition, rows, rows)


def after_hiding(step: int, slots: range, seed: int = 7, **dropout: float) -> ConditionBatch:
    """What training sees of the conditions of some slots of a step."""
    config = TrainingConfig(cells_per_group=CELLS_PER_GROUP, groups_per_step=N_SLOTS, **dropout)
    trainer = Trainer(
        transport=None, sampler=None, validation=None, cells=None, config=config, seed=seed, folder=None,
        accelerator=None,
    )  # fmt: skip
    return trainer._hide_labels(shown_pairs(CELLS_PER_GROUP * len(slots)), step, slots).condition


def test_of_a_share_of_the_pairs_everything_is_hidden():
    condition = after_hiding(5, range(N_SLOTS), label_dropout=0.0, condition_dropout=0.3)
    hidden = condition.perturbations[:, 0] == 0
    # The standard error of a share of 4,000 pairs is 0.7 %.
    assert float(hidden.float().mean()) == pytest.approx(0.3, abs=0.03)
    for rows, (code, dose, shift) in {True: (0, 1.0, 0.0), False: (3, 2.5, 0.5)}.items():
        part = condition[hidden == rows]
        assert torch.cat([part.perturbations, part.contexts, part.batch[:, None]]).unique().tolist() == [code]
        assert (part.dose.unique().tolist(), part.shift.unique().tolist()) == ([dose], [shift])


def test_what_is_hidden_belongs_to_seed_step_and_slot():
    def hidden(step: int, slots: range, seed: int = 7) -> torch.Tensor:
        return after_hiding(step, slots, seed, condition_dropout=0.5).perturbations[:, 0] == 0

    together = hidden(5, range(N_SLOTS))
    assert torch.equal(together, torch.cat([hidden(5, range(2)), hidden(5, range(2, 4))]))
    first, second = together[:CELLS_PER_GROUP], together[CELLS_PER_GROUP : 2 * CELLS_PER_GROUP]
    for other in (second, hidden(6, range(1)), hidden(5, range(1), seed=8)):
        # Independent draws agree in half the pairs, give or take 1.6 %.
        assert float((first == other).float().mean()) == pytest.approx(0.5, abs=0.08)


def test_a_cell_of_a_hidden_context_gets_the_shift_that_other_contexts_tell():
    """Shift 0.5, and 0.5 as the default of `elsewhere`; here the trainer sees 0.25 elsewhere."""
    pairs = shown_pairs(8)
    condition = replace(pairs.condition, elsewhere=torch.full((8, 2), 0.25))
    hidden = torch.arange(8) < 3
    seen = condition.from_elsewhere(hidden)
    assert seen.shift[:, 0].tolist() == [0.25] * 3 + [0.5] * 5
    assert seen.contexts[:, 0].tolist() == [0] * 3 + [3] * 5
    assert torch.equal(seen.batch, condition.batch)
    halved = condition.responding(torch.full((8,), 0.5)).from_elsewhere(hidden)
    assert halved.shift[:, 0].tolist() == [0.125] * 3 + [0.25] * 5


def test_conditions_are_hidden_by_draws_of_their_own():
    without, with_hidden = (
        after_hiding(5, range(N_SLOTS), label_dropout=0.4, condition_dropout=share) for share in (0.0, 0.3)
    )
    assert (without.perturbations == 3).all()
    labels = torch.stack([without.contexts[:, 0], without.batch], dim=1)[:CELLS_PER_GROUP] == 0
    hidden = with_hidden.perturbations[:CELLS_PER_GROUP, 0] == 0
    # Independent draws agree in 0.4 · 0.3 + 0.6 · 0.7 of the pairs, give or take 1.6 %, in any order.
    for drawn in (labels[:, 0], labels[:, 1], labels.flatten()[:CELLS_PER_GROUP]):
        assert float((drawn == hidden).float().mean()) == pytest.approx(0.54, abs=0.08)
    shown = with_hidden.perturbations[:, 0] > 0
    for field in ("contexts", "batch"):
        before, after = (getattr(each, field)[shown] for each in (without, with_hidden))
        assert float((before == 0).float().mean()) == pytest.approx(0.4, abs=0.05)
        assert torch.equal(before, after)


def test_a_line_of_the_history_that_was_cut_off_is_forgotten(tmp_path):
    """A kill or a full disk may leave half a line, later than any checkpoint; the run goes on."""
    stage = StageFolder(tmp_path, "training")
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (2, 4, 6)]
    stage.history.write_text("\n".join(lines) + '\n{"step": 8, "lo')
    stage.forget_history_after(4)
    assert stage.history.read_text().splitlines() == lines[:2]
