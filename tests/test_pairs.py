"""Training batches: labels stay with their targets, groups are kept, steps are functions of the seed."""

import numpy as np
import pytest
import torch

from gensim.data.pairs import Group, PairSampler, make_groups
from gensim.errors import DataError
from gensim.ot.coupling import ExactCoupling, IndependentCoupling, SinkhornCoupling
from gensim.types import ConditionBatch

N_CONDITIONS, PER_CONDITION = 6, 40
CONTROL_OF = np.array([0, 1, 0, 0, 1, 1])


def labelled_cells() -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Cells whose latent spells out their condition, batch and row: (condition, batch, row)."""
    condition_of = np.repeat(np.arange(N_CONDITIONS), PER_CONDITION)
    batch_of = np.tile(np.arange(2).repeat(PER_CONDITION // 2), N_CONDITIONS)
    order = np.random.default_rng(0).permutation(len(condition_of))
    condition_of, batch_of = condition_of[order], batch_of[order]
    rows = np.arange(len(order))
    return torch.from_numpy(np.stack([condition_of, batch_of, rows], 1).astype(np.float32)), condition_of, batch_of


def sampler(coupling, seed=0, power=0.5, n=16) -> PairSampler:
    latents, condition_of, batch_of = labelled_cells()
    groups = make_groups(condition_of, CONTROL_OF, batch_of, np.arange(len(latents)), controls=[0, 1])
    k = torch.arange(N_CONDITIONS)
    codes = ConditionBatch(k[:, None] + 100, k[:, None] + 200, torch.zeros_like(k), k + 300.0, k[:, None] + 400.0)
    return PairSampler(
        latents, groups, codes, torch.from_numpy(batch_of) + 1, coupling,
        cells_per_group=n, rare_condition_power=power, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("coupling", [IndependentCoupling(), ExactCoupling(), SinkhornCoupling(0.05, 2000)])
def test_every_label_stays_with_its_target(coupling):
    pairs = sampler(coupling).batch(step=3, slots=range(8))
    condition, batch, row = pairs.z_1.long().unbind(1)
    assert torch.equal(pairs.target, row)
    assert torch.equal(pairs.condition.perturbations[:, 0], condition + 100)
    assert torch.equal(pairs.condition.contexts[:, 0], condition + 200)
    assert torch.equal(pairs.condition.dose, condition + 300.0)
    assert torch.equal(pairs.condition.shift[:, 0], condition + 400.0)
    assert torch.equal(pairs.condition.batch, batch + 1)
    assert len(condition.unique()) > 1, "one condition alone proves nothing"


@pytest.mark.parametrize("coupling", [IndependentCoupling(), ExactCoupling(), SinkhornCoupling(0.05, 2000)])
def test_sources_are_controls_of_the_same_context_and_batch(coupling):
    pairs = sampler(coupling).batch(step=0, slots=range(8))
    assert torch.equal(pairs.source, pairs.controls.z[:, 2].long())
    assert np.array_equal(pairs.controls.z[:, 0].numpy(), CONTROL_OF[pairs.z_1[:, 0].long().numpy()])
    assert torch.equal(pairs.controls.z[:, 1], pairs.z_1[:, 1])


def test_a_coupling_moves_sources_and_not_targets():
    """Within a slot, exact coupling lowers the cost of the same cells that independent coupling pairs at random."""

    def cost(coupling):
        pairs = sampler(coupling).batch(0, range(4))
        return pairs.target.tolist(), float((pairs.controls.z - pairs.z_1).square().sum())

    targets, independent = cost(IndependentCoupling())
    same_targets, exact = cost(ExactCoupling())
    assert targets == same_targets
    assert exact < independent


def test_slots_can_be_shared_out():
    whole = sampler(ExactCoupling()).batch(5, range(6))
    parts = [sampler(ExactCoupling()).batch(5, slots) for slots in (range(3), range(3, 6))]
    assert torch.equal(whole.source, torch.cat([part.source for part in parts]))
    assert torch.equal(whole.z_1, torch.cat([part.z_1 for part in parts]))


def test_seed_and_step_decide():
    first = sampler(ExactCoupling()).batch(5, range(4)).target
    assert torch.equal(first, sampler(ExactCoupling()).batch(5, range(4)).target)
    assert not torch.equal(first, sampler(ExactCoupling()).batch(6, range(4)).target)
    assert not torch.equal(first, sampler(ExactCoupling(), seed=1).batch(5, range(4)).target)


def test_small_batches_are_pooled_and_large_ones_kept_apart():
    """20 cells in batch 0, 10 in batch 1 and 5 in batch 2; 16 are needed for a group of its own."""
    condition_of = np.array([0] * 60 + [1] * 35)
    batch_of = np.array([0] * 20 + [1] * 20 + [2] * 20 + [0] * 20 + [1] * 10 + [2] * 5)
    groups = make_groups(condition_of, np.array([0, 0]), batch_of, np.arange(95), controls=[0])
    assert [(len(g.sources), len(g.targets)) for g in groups] == [(20, 20), (60, 15)]
    assert set(batch_of[groups[0].sources]) == {0}
    assert sorted(np.concatenate([g.targets for g in groups]).tolist()) == list(range(60, 95))


def test_cells_outside_the_given_rows_are_never_used():
    latents, condition_of, batch_of = labelled_cells()
    rows = np.arange(0, len(latents), 2)
    groups = make_groups(condition_of, CONTROL_OF, batch_of, rows, controls=[0, 1])
    used = np.concatenate([np.concatenate([g.sources, g.targets]) for g in groups])
    assert set(used.tolist()) <= set(rows.tolist())


def test_a_rare_condition_is_drawn_by_its_power():
    """Two groups of 10 and 1,000 targets: power 0 draws both alike, power 1 by size, ½ as 1 : 10."""
    groups = [Group(0, np.arange(5), np.arange(10)), Group(1, np.arange(5), np.arange(1000))]
    codes = ConditionBatch(
        *[torch.zeros(2, 1, dtype=torch.int64)] * 2, *[torch.zeros(2, dtype=torch.int64)] * 2, torch.zeros(2, 1)
    )
    for power, expected in [(0, 0.5), (0.5, 1 / 11), (1, 10 / 1010)]:
        drawn = PairSampler(
            torch.zeros(1000, 1), groups, codes, torch.zeros(1000, dtype=torch.int64), IndependentCoupling(),
            cells_per_group=4, rare_condition_power=power, seed=0,
        )  # fmt: skip
        assert drawn.probabilities[0] == pytest.approx(expected)


def test_a_small_group_repeats_its_cells_evenly():
    counts = np.bincount(sampler(IndependentCoupling(), n=50).batch(0, range(1)).target.numpy())
    assert sorted(set(counts.tolist())) == [0, 2, 3]


def test_a_condition_without_controls_is_refused():
    with pytest.raises(DataError, match="no control cells"):
        make_groups(np.array([0, 1]), np.array([0, -1]), np.array([0, 0]), np.arange(2), controls=[0])


def test_a_pair_across_batches_carries_the_batch_of_its_target():
    """All controls in batch 0, all perturbed cells in batch 1: they are pooled, and 1 is what was made."""
    condition_of, batch_of = np.repeat([0, 1], 20), np.repeat([0, 1], 20)
    groups = make_groups(condition_of, np.array([0, 0]), batch_of, np.arange(40), controls=[0])
    k = torch.zeros(2, dtype=torch.int64)
    pairs = PairSampler(
        torch.zeros(40, 1), groups, ConditionBatch(k[:, None], k[:, None], k, k.float(), k[:, None].float()),
        torch.from_numpy(batch_of), IndependentCoupling(), cells_per_group=8, rare_condition_power=1, seed=0,
    ).batch(0, range(2))  # fmt: skip
    assert set(batch_of[pairs.source.numpy()]) == {0}
    assert pairs.condition.batch.tolist() == [1] * 16
