"""Training batches: labels stay with their targets, groups are kept, steps are functions of the seed."""

import numpy as np
import pytest
import torch

from gensim.data.pairs import Group, PairSampler, make_groups
from gensim.errors import DataError, TrainingError
from gensim.ot.coupling import BridgeCoupling, ExactCoupling, IndependentCoupling, SinkhornCoupling
from gensim.ot.gaussian import GaussianCoupling
from gensim.ot.unbalanced import PartialCoupling, UnbalancedCoupling
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


def sampler(coupling, seed=0, power=0.5, n=16, **given) -> PairSampler:
    latents, condition_of, batch_of = labelled_cells()
    groups = make_groups(condition_of, CONTROL_OF, batch_of, np.arange(len(latents)), controls=[0, 1])
    k = torch.arange(N_CONDITIONS)
    codes = ConditionBatch(
        k[:, None] + 100,
        k[:, None] + 200,
        torch.zeros_like(k),
        k[:, None] + 300.0,
        k[:, None] + 400.0,
        torch.ones(len(k)),
    )
    arguments = {"groups_per_step": 8, "cells_per_plan": 1024, "plan_reuse": 16, **given}
    return PairSampler(
        latents, groups, codes, list("012345"), torch.from_numpy(batch_of) + 1, coupling,
        cells_per_group=n, rare_condition_power=power, seed=seed, **arguments,
    )  # fmt: skip


def one_group(coupling, n_sources, n_targets, latents=None, shift=0.0, **given) -> PairSampler:
    """A single group; a cell's latent is its row where no latents are given."""
    n = n_sources + n_targets
    k = torch.zeros(2, dtype=torch.int64)
    codes = ConditionBatch(k[:, None], k[:, None], k, k[:, None].float(), torch.tensor([[0.0], [shift]]), torch.ones(2))
    arguments = {"cells_per_group": 16, "groups_per_step": 2, "cells_per_plan": 64, "plan_reuse": 4, **given}
    return PairSampler(
        torch.arange(float(n))[:, None] if latents is None else latents,
        [Group(1, np.arange(n_sources), np.arange(n_sources, n))],
        codes,
        ["control", "STAT1"],
        torch.zeros(n, dtype=torch.int64),
        coupling,
        rare_condition_power=1,
        seed=0,
        **arguments,
    )


def pair_set(pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True))


COUPLINGS = [
    IndependentCoupling(), ExactCoupling(), SinkhornCoupling(0.05, 2000), BridgeCoupling(5.0, 5000),
    UnbalancedCoupling(0.05, 0.5, 2000), PartialCoupling(0.8), GaussianCoupling(),
]  # fmt: skip
every_coupling = pytest.mark.parametrize("coupling", COUPLINGS, ids=lambda c: type(c).__name__)


@every_coupling
def test_every_label_stays_with_its_target(coupling):
    pairs = sampler(coupling).batch(step=3, slots=range(8))
    condition, batch, row = pairs.z_1.long().unbind(1)
    assert torch.equal(pairs.target, row)
    assert torch.equal(pairs.condition.perturbations[:, 0], condition + 100)
    assert torch.equal(pairs.condition.contexts[:, 0], condition + 200)
    assert torch.equal(pairs.condition.dose[:, 0], condition + 300.0)
    assert torch.equal(pairs.condition.shift[:, 0], condition + 400.0)
    assert torch.equal(pairs.condition.batch, batch + 1)
    assert len(condition.unique()) > 1, "one condition alone proves nothing"


@every_coupling
def test_sources_are_controls_of_the_same_context_and_batch(coupling):
    pairs = sampler(coupling).batch(step=0, slots=range(8))
    assert torch.equal(pairs.source, pairs.controls.z[:, 2].long())
    assert np.array_equal(pairs.controls.z[:, 0].numpy(), CONTROL_OF[pairs.z_1[:, 0].long().numpy()])
    assert torch.equal(pairs.controls.z[:, 1], pairs.z_1[:, 1])


def test_a_coupling_moves_sources_and_not_targets():
    """Exact coupling lowers the cost of the same cells that independent coupling pairs at random."""

    def cost(coupling):
        pairs = sampler(coupling).batch(0, range(4))
        return pairs.target.tolist(), float((pairs.controls.z - pairs.z_1).square().sum())

    targets, independent = cost(IndependentCoupling())
    same_targets, exact = cost(ExactCoupling())
    assert targets == same_targets
    assert exact < independent


def test_the_pairs_are_those_of_the_coupling_and_cells_it_leaves_out_are_in_none():
    """On a line, the exact plan keeps the order; the partial plan leaves the targets out that are farthest away."""
    exact = one_group(ExactCoupling(), 50, 50, plan_reuse=100)
    assert all((pairs := exact.batch(step, range(2))).target.equal(pairs.source + 50) for step in range(5))
    latents = torch.cat([torch.arange(50.0), torch.arange(40.0), torch.arange(1000.0, 1010.0)])[:, None]
    partial = one_group(PartialCoupling(0.8), 50, 50, latents=latents)
    used = torch.cat([partial.batch(step, range(2)).target for step in range(20)])
    assert set(used.tolist()) == set(range(50, 90))


def test_slots_can_be_shared_out():
    """Also in the middle of a run, by a sampler that has drawn nothing before."""
    used = sampler(ExactCoupling())
    for step in range(20):
        whole = used.batch(step, range(8))
    parts = [sampler(ExactCoupling()).batch(19, slots) for slots in (range(3), range(3, 8))]
    assert torch.equal(whole.source, torch.cat([part.source for part in parts]))
    assert torch.equal(whole.z_1, torch.cat([part.z_1 for part in parts]))


def test_seed_and_step_decide():
    first = sampler(ExactCoupling()).batch(5, range(4)).target
    assert torch.equal(first, sampler(ExactCoupling()).batch(5, range(4)).target)
    assert not torch.equal(first, sampler(ExactCoupling()).batch(6, range(4)).target)
    assert not torch.equal(first, sampler(ExactCoupling(), seed=1).batch(5, range(4)).target)


def test_a_pool_serves_its_period_and_no_longer():
    """64 pairs x 4 uses at 32 pairs a step: 8 steps a pool, counted from an offset."""
    drawn = one_group(IndependentCoupling(), 1000, 1000)
    assert drawn.periods.tolist() == [8]
    first = 8 - int(drawn.offsets[0])  # the first step of pool 1
    pools = [
        set.union(*(pair_set(drawn.batch(step, range(2))) for step in range(s, s + 8))) for s in (first, first + 8)
    ]
    # 8 steps of 32 pairs leave a pair out with probability 2^-8; of 64, all but a few are seen, and never a 65th.
    assert all(56 < len(pool) <= 64 for pool in pools)
    assert len(pools[0] & pools[1]) == 0, "two pools of 64 among a million pairs"


def test_periods_follow_from_how_often_a_group_is_drawn():
    """ceil(n reuse / (pairs a step x probability)): 10 and 1,000 targets with 5 controls, drawn 1 : 10."""
    groups = [Group(0, np.arange(5), np.arange(10)), Group(1, np.arange(5), np.arange(1000))]
    k = torch.zeros(2, dtype=torch.int64)
    codes = ConditionBatch(k[:, None], k[:, None], k, k[:, None].float(), k[:, None].float(), torch.ones(2))
    drawn = PairSampler(
        torch.zeros(1000, 1), groups, codes,
        ["", ""], torch.zeros(1000, dtype=torch.int64), IndependentCoupling(), cells_per_group=4, groups_per_step=2,
        cells_per_plan=256, plan_reuse=3, rare_condition_power=0.5, seed=0,
    )  # fmt: skip
    assert drawn.pool_sizes.tolist() == [10, 256]
    assert drawn.periods.tolist() == [-(-30 * 11 // 8), -(-768 * 11 // 80)]


def test_groups_do_not_renew_their_pools_together():
    drawn = sampler(IndependentCoupling(), plan_reuse=1000)
    assert len(set((drawn.offsets % drawn.periods).tolist())) == len(drawn.groups)


def test_a_plan_is_solved_once_per_pool():
    solved = []

    def counting(z_0, z_1, rng):
        solved.append((len(z_0), len(z_1)))
        return IndependentCoupling()(z_0, z_1, rng)

    drawn = one_group(counting, 1000, 100)
    for step in range(80):
        drawn.batch(step, range(2))
    assert set(solved) == {(64, 64)}
    assert len(solved) in (10, 11)  # 80 steps of 8 a pool, cut at an offset


def test_no_pair_is_repeated_within_a_step_while_there_are_enough():
    """One group fills both slots: 32 of 64 pairs. With 24 cells a slot and 32 pairs, each is used once or twice."""
    drawn = one_group(IndependentCoupling(), 1000, 1000)
    assert all(len(pair_set(drawn.batch(step, range(2)))) == 32 for step in range(10))
    drawn = one_group(IndependentCoupling(), 1000, 1000, cells_per_group=24, cells_per_plan=32)
    counts = np.unique(drawn.batch(0, range(2)).target.numpy(), return_counts=True)[1]
    assert sorted(set(counts.tolist())) == [1, 2]


def test_every_cell_is_used_and_as_often_as_the_others():
    """70 sources and 100 targets in pools of 64."""
    drawn = one_group(ExactCoupling(), 70, 100, plan_reuse=1)
    pairs = [drawn.batch(step, range(2)) for step in range(200)]
    sources = np.bincount(np.concatenate([p.source.numpy() for p in pairs]), minlength=70)
    targets = np.bincount(np.concatenate([p.target.numpy() for p in pairs]) - 70, minlength=100)
    # 6,400 pairs in 100 pools: a cell's number of uses has mean 91 or 64 and standard deviation below 10.
    assert sources.min() > 50
    assert sources.max() < 132
    assert targets.min() > 24
    assert targets.max() < 104


def test_a_coupling_sees_what_the_mean_effect_leaves():
    """Targets at 100 to 109 with a mean effect of 100 are shown where they are, or at 0 to 9."""
    seen = []

    def looking(z_0, z_1, rng):
        seen.append(z_1)
        return IndependentCoupling()(z_0, z_1, rng)

    latents = torch.cat([torch.arange(10.0), torch.arange(100.0, 110.0)])[:, None]
    for cost, shift in (("latent", 0), ("after_mean_effect", 100)):
        pairs = one_group(looking, 10, 10, latents=latents, shift=100.0, cost=cost).batch(0, range(2))
        assert sorted(seen.pop()[:, 0].tolist()) == list(range(100 - shift, 110 - shift))
        assert pairs.z_1.min() >= 100, "what is learnt from stays the target itself"


def test_the_common_shift_changes_no_pair_of_balanced_transport():
    """The decision that cost `after_mean_effect` is for partial and unbalanced couplings."""
    torch_cells = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    batches = []
    for coupling in (ExactCoupling(), PartialCoupling(0.5)):
        for cost in ("latent", "after_mean_effect"):
            pairs = one_group(coupling, 40, 40, latents=torch_cells, shift=2.0, cost=cost).batch(0, range(2))
            batches.append((pairs.source.tolist(), pairs.target.tolist()))
    assert batches[0] == batches[1]
    assert batches[2] != batches[3]


def test_populations_are_control_cells_of_the_slots_group():
    pairs = sampler(ExactCoupling(), population_cells=5).batch(2, range(8))
    assert pairs.controls.population.shape == (8, 5, 3)
    of_pair = pairs.controls.population[pairs.controls.population_of]
    assert torch.equal(of_pair[:, :, :2], pairs.controls.z[:, None, :2].expand(-1, 5, -1)), "condition and batch"
    assert sampler(ExactCoupling()).batch(2, range(8)).controls.population.shape == (8, 0, 3)


def test_pairs_are_on_the_device_of_the_latents(device):
    drawn = one_group(
        ExactCoupling(), 50, 50, latents=torch.arange(100.0, device=device)[:, None], cost="after_mean_effect"
    )
    pairs = drawn.batch(0, range(2))
    assert {
        t.device.type for t in (pairs.controls.z, pairs.z_1, pairs.source, pairs.target, pairs.condition.shift)
    } == {torch.device(device).type}
    assert torch.equal(pairs.z_1[:, 0].long(), pairs.target)


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
        *[torch.zeros(2, 1, dtype=torch.int64)] * 2,
        torch.zeros(2, dtype=torch.int64),
        *[torch.zeros(2, 1)] * 2,
        torch.ones(2),
    )
    for power, expected in [(0, 0.5), (0.5, 1 / 11), (1, 10 / 1010)]:
        drawn = PairSampler(
            torch.zeros(1000, 1), groups, codes, ["", ""], torch.zeros(1000, dtype=torch.int64), IndependentCoupling(),
            cells_per_group=4, groups_per_step=1, cells_per_plan=64, plan_reuse=1, rare_condition_power=power, seed=0,
        )  # fmt: skip
        assert drawn.probabilities[0] == pytest.approx(expected)


def test_a_small_group_repeats_its_cells_evenly():
    counts = np.bincount(sampler(IndependentCoupling(), n=50).batch(0, range(1)).target.numpy())
    assert sorted(set(counts.tolist())) == [0, 2, 3]


def test_a_condition_without_controls_is_refused():
    with pytest.raises(DataError, match="no training cells to start from: no controls"):
        make_groups(np.array([0, 1]), np.array([0, -1]), np.array([0, 0]), np.arange(2), controls=[0])


def test_a_pair_across_batches_carries_the_batch_of_its_target():
    """All controls in batch 0, all perturbed cells in batch 1: they are pooled, and 1 is what was made."""
    condition_of, batch_of = np.repeat([0, 1], 20), np.repeat([0, 1], 20)
    groups = make_groups(condition_of, np.array([0, 0]), batch_of, np.arange(40), controls=[0])
    k = torch.zeros(2, dtype=torch.int64)
    codes = ConditionBatch(k[:, None], k[:, None], k, k[:, None].float(), k[:, None].float(), torch.ones(2))
    pairs = PairSampler(
        torch.zeros(40, 1), groups, codes,
        ["", ""], torch.from_numpy(batch_of), IndependentCoupling(), cells_per_group=8, groups_per_step=2,
        cells_per_plan=64, plan_reuse=1, rare_condition_power=1, seed=0,
    ).batch(0, range(2))  # fmt: skip
    assert set(batch_of[pairs.source.numpy()]) == {0}
    assert pairs.condition.batch.tolist() == [1] * 16


def test_a_plan_that_fails_says_at_which_step_and_for_which_condition():
    latents = torch.zeros(8, 1)
    latents[2] = float("nan")
    pairs = one_group(SinkhornCoupling(0.05, 10), 4, 4, latents, cells_per_group=4)
    with pytest.raises(TrainingError, match=r"step 7, condition 'STAT1': .*cost ranges"):
        pairs.batch(7, range(1))


def test_every_target_is_moved_back_by_what_it_got_of_the_mean_effect():
    """Of targets at 0 to 4 and 200 to 204 the latter got twice the mean effect of 100, the former nothing."""
    seen = []

    def looking(z_0, z_1, rng):
        seen.append(z_1)
        return IndependentCoupling()(z_0, z_1, rng)

    response = torch.tensor([1.0] * 10 + [0.0] * 5 + [2.0] * 5)
    latents = torch.cat([torch.arange(10.0), torch.arange(5.0), torch.arange(200.0, 205.0)])[:, None]
    pairs = one_group(looking, 10, 10, latents=latents, shift=100.0, response=response).batch(0, range(2))
    assert sorted(seen.pop()[:, 0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    torch.testing.assert_close(pairs.condition.shift[:, 0], 100 * response[pairs.target])
    assert (pairs.z_1[:, 0] >= 200).eq(response[pairs.target] == 2).all()
