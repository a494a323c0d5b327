"""The simulated screen against numbers worked by hand: steady states, noise, doses, capture, streams, files."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from gensim.data.network_dynamics import TIME_STEP, CellDynamics, Intervention
from gensim.data.regulatory_network import RegulatoryNetwork, draw_network, network_from_edges
from gensim.data.simulated_capture import sample_counts
from gensim.data.simulated_screen import BLOCK, SimulatedScreen
from gensim.data.write_simulated_screen import write_simulated_screen
from gensim.errors import DataError, StoreError

CHAIN = pd.DataFrame({"regulator": ["A", "A", "B"], "target": ["B", "R", "C"], "sign": [1, -1, -1]})
"""A activates B and represses R; B represses C."""


def untouched(n_cells):
    empty = np.zeros((n_cells, 0), dtype=np.float32)
    return Intervention(np.zeros(0, dtype=np.int64), empty, empty)


def knocked_out(gene, n_cells):
    one = np.zeros((n_cells, 1), dtype=np.float32)
    return Intervention(np.array([gene]), one, one)


def pair_network(level, decay, sign=1):
    """Gene 0 regulates gene 1."""
    one = np.ones(1)
    edge = (np.array([0]), np.array([1]), np.array([sign]), one)
    return RegulatoryNetwork(("A", "B"), *edge, np.asarray(level, float), np.asarray(decay, float))


def log1p_cp10k(adata):
    x = adata.X.toarray()
    return np.log1p(x / np.maximum(x.sum(axis=1, keepdims=True), 1) * 1e4)


def energy_distance(x, y):
    def mean_distance(a, b, excluded):
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        if excluded:
            np.fill_diagonal(squared, 0)
        return np.sqrt(squared.clip(0)).sum() / (len(a) * (len(b) - excluded))

    return 2 * mean_distance(x, y, 0) - mean_distance(x, x, 1) - mean_distance(y, y, 1)


# Dynamics


def test_unregulated_gene_has_mean_production_over_decay_and_variance_of_the_linear_langevin_equation():
    network = pair_network(level=[400, 100], decay=[0.5, 1.0])
    dynamics = CellDynamics(network, np.array([2.0, 1.0]), noise=1.5)
    n = 20_000
    start = np.tile([500.0, 100.0], (n, 1))  # not the steady state: the mean has to move to 2 * 400
    x = dynamics.simulate(start, untouched(n), np.random.default_rng(0))[:, 0]
    left = np.exp(-0.5 * 5)  # of the distance of 300, after 5 units of time
    variance = 1.5**2 * 800
    assert x.mean() == pytest.approx(800 - 300 * left, abs=5 * np.sqrt(variance / n))
    x = dynamics.simulate(np.tile([800.0, 100.0], (n, 1)), untouched(n), np.random.default_rng(1))[:, 0]
    assert x.mean() == pytest.approx(800, abs=5 * np.sqrt(variance / n))
    assert x.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n))


def test_noise_of_decay_alone_follows_its_recursion():
    n, level, e = 20_000, 50_000.0, np.exp(-TIME_STEP)
    dynamics = CellDynamics(pair_network([level, 10], [1, 1]), np.ones(2))
    x = dynamics.simulate(np.full((n, 2), level), knocked_out(0, n), np.random.default_rng(0))[:, 0]
    mean, variance = level, level
    for _ in range(25):
        variance = e**2 * variance + mean * (1 - e**2) / 2  # production, and its noise, are 0
        mean *= e
    assert x.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
    assert x.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n))


def test_regulator_and_target_covary_as_the_linearised_recursion_says():
    level, n = 2000.0, 20_000
    dynamics = CellDynamics(pair_network([level, level], [1, 1]), np.ones(2))
    x = dynamics.simulate(np.full((n, 2), level), untouched(n), np.random.default_rng(0))
    # h' = n/(4 m) at the half-response, K = 2 * 0.9 * m, so the slope of production is 0.9; one step multiplies by e
    slope, e = 0.9, np.exp(-TIME_STEP)
    covariance = e * (1 - e) * slope * level / (1 - e**2)
    variance = level + (2 * e * (1 - e) * slope * covariance + ((1 - e) * slope) ** 2 * level) / (1 - e**2)
    found = np.cov(x.T)
    assert found[0, 1] == pytest.approx(covariance, rel=0.05)  # 5 standard errors are 0.08 * level
    assert found[1, 1] == pytest.approx(variance, rel=0.05)
    assert covariance == pytest.approx(0.45 * level, rel=0.12)  # continuous time: slope m / (2 decay)


def test_production_is_the_sum_of_hill_terms():
    network = draw_network(3, 30, 8)
    x = np.random.default_rng(0).uniform(0, 60, (30, 5))
    rates = np.random.default_rng(1).uniform(0.5, 2, 30)
    found = CellDynamics(network, rates).production(x)
    expected = np.zeros((30, 5))
    for gene in range(30):
        mine = np.flatnonzero(network.target == gene)
        reference = network.decay[gene] * network.level[gene]
        expected[gene] = rates[gene] * reference * (0.1 if len(mine) else 1)
        for edge in mine:
            r, share = network.regulator[edge], network.weight[edge] / network.weight[mine].sum()
            hill = x[r] ** 2 / (network.level[r] ** 2 + x[r] ** 2)
            expected[gene] += 2 * 0.9 * reference * share * (hill if network.sign[edge] == 1 else 1 - hill)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_reference_levels_are_a_steady_state_with_loops_too():
    loop = pd.DataFrame({"regulator": ["A", "B", "B"], "target": ["B", "A", "B"], "sign": [-1, 1, 1]})
    network = network_from_edges(0, loop)
    x = CellDynamics(network, np.ones(2)).steady_state(untouched(1))
    np.testing.assert_allclose(x[0], network.level, rtol=1e-9)


def test_steady_state_of_a_knock_out_by_hand():
    activated = CellDynamics(pair_network([20, 50], [1, 0.7]), np.ones(2)).steady_state(knocked_out(0, 1))[0]
    repressed = CellDynamics(pair_network([20, 50], [1, 0.7], sign=-1), np.ones(2)).steady_state(knocked_out(0, 1))[0]
    np.testing.assert_allclose(activated, [0, 0.1 * 50], atol=1e-6)  # the leak is left
    np.testing.assert_allclose(repressed, [0, 1.9 * 50], atol=1e-6)  # the leak and the whole of K
    doubled = CellDynamics(pair_network([20, 50], [1, 1]), np.array([2.0, 1.0])).steady_state(untouched(1))[0]
    np.testing.assert_allclose(doubled, [40, (0.1 + 1.8 * 0.8) * 50], rtol=1e-6)  # h(2 m) = 4/5


# Perturbations


def test_knock_out_is_exactly_zero_and_its_targets_move_as_their_signs_say():
    simulated = SimulatedScreen(1, edges=CHAIN, escape=0)
    control = simulated.molecules((), "type_1", 800)
    x = simulated.molecules(("A",), "type_1", 800)
    a, b, c, r = (simulated.genes.index(name) for name in "ABCR")
    assert (x[:, a] == 0).all()
    ratio = x.mean(axis=0) / control.mean(axis=0)
    assert ratio[b] < 0.6
    assert ratio[r] > 1.1
    assert ratio[c] > 1.1  # B, its repressor, is gone


@pytest.mark.parametrize("modality", ["knock_out", "knock_down", "activation"])
def test_dose_zero_is_control_and_the_effect_grows_with_dose(modality):
    simulated = SimulatedScreen(1, edges=CHAIN, modality=modality, half_dose=0.5)
    levels = {d: simulated.steady_state(("A",), "type_2", dose=d) for d in (0.0, 0.1, 0.5, 2.0, 1e6)}
    control = simulated.steady_state((), "type_2")
    full = simulated.steady_state(("A",), "type_2")
    np.testing.assert_array_equal(levels[0.0], control)
    np.testing.assert_allclose(levels[1e6], full, rtol=1e-4, atol=1e-4)
    a, b, _, r = (simulated.genes.index(name) for name in "ABCR")
    up = 1 if modality == "activation" else -1
    for gene, direction in ((a, up), (b, up), (r, -up)):
        assert (np.diff([x[gene] for x in levels.values()]) * direction > 0).all()
    change = {"knock_out": -1, "knock_down": -0.8}.get(modality, 0) * control[a]
    change = 3 * simulated.network.level[a] if modality == "activation" else change
    assert full[a] - control[a] == pytest.approx(change, rel=1e-5)
    assert levels[0.5][a] - control[a] == pytest.approx(change / 2, rel=1e-5)


def test_combination_has_no_order_and_silences_each_member():
    simulated = SimulatedScreen(2, n_genes=30, n_regulators=5, escape=0)
    names = simulated.regulators[:3]
    one, other = (simulated.population(order, "type_1", 20) for order in (names, names[::-1]))
    assert (one.X != other.X).nnz == 0
    assert set(one.obs["perturbation"]) == {"+".join(names)}
    members = [simulated.genes.index(name) for name in names]
    assert one.X[:, members].nnz == 0
    assert simulated.molecules(names, "type_1", 20)[:, members].max() == 0


def test_a_share_of_cells_escapes_and_is_recorded():
    simulated = SimulatedScreen(0, n_genes=30, n_regulators=5, escape=0.25)
    first, second = simulated.regulators[:2]
    n = 3000
    x = simulated.molecules((first, second), "type_1", n)
    obs = simulated.population((first, second), "type_1", n).obs
    for name in (first, second):
        escaped = np.array([name in text.split("+") for text in obs["truth_escaped"]])
        assert escaped.mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / n))
        gene = simulated.genes.index(name)
        assert (x[~escaped, gene] == 0).all()
        assert (x[escaped, gene] > 0).mean() > 0.5
    both = (obs["truth_escaped"] == f"{first}+{second}").mean()
    assert both == pytest.approx(0.0625, abs=5 * np.sqrt(0.0625 / n))


# Capture


@pytest.mark.parametrize(("mu", "dispersion"), [(0.5, 0.1), (20.0, 0.1), (20.0, 0.0), (5.0, 2.0)])
def test_counts_have_mean_mu_and_variance_mu_plus_phi_mu_squared(mu, dispersion):
    n = 200_000
    counts = sample_counts(np.full((n, 1), mu, dtype=np.float32), dispersion, np.random.default_rng(0))
    variance = mu + dispersion * mu**2
    assert counts.mean() == pytest.approx(mu, abs=5 * np.sqrt(variance / n))
    assert counts.var(dtype=np.float64) == pytest.approx(variance, rel=0.05)  # kurtosis is below 15 in these cases
    np.testing.assert_array_equal(counts, np.round(counts))


def test_library_size_is_log_normal():
    simulated = SimulatedScreen(
        0, n_genes=20, n_regulators=2, n_batches=1, counts_per_gene=500, library_spread=0.4, dispersion=0
    )
    n = 4000
    total = np.asarray(simulated.population((), "type_1", n).X.sum(axis=1)).ravel()
    log = np.log(total)  # Poisson noise of 1 % in 10,000 counts is small beside 0.4
    assert log.mean() == pytest.approx(np.log(20 * 500), abs=5 * 0.4 / np.sqrt(n))
    assert log.std() == pytest.approx(0.4, rel=5 / np.sqrt(2 * n))
    centred = (log - log.mean()) / log.std()
    assert (centred**3).mean() == pytest.approx(0, abs=5 * np.sqrt(6 / n))


def test_counts_follow_the_molecules_of_the_very_same_cells():
    simulated = SimulatedScreen(
        0, n_genes=20, n_regulators=2, n_batches=1, counts_per_gene=5000, library_spread=0, dispersion=0
    )
    x = simulated.molecules((), "type_1", 50)
    counts = simulated.population((), "type_1", 50).X.toarray()
    expected = 100_000 * x / x.sum(axis=1, keepdims=True)
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected.max())


def test_batches_differ_mildly_in_capture_only():
    simulated = SimulatedScreen(0, n_genes=100, n_regulators=5, dispersion=0, library_spread=0, counts_per_gene=100)
    adata = simulated.population((), "type_1", 600)
    x, batch = adata.X.toarray(), adata.obs["batch"].to_numpy()
    assert dict(adata.obs["batch"].value_counts()) == {"batch_1": 300, "batch_2": 300}
    share = [x[batch == name].sum(axis=0) / x[batch == name].sum() for name in ("batch_1", "batch_2")]
    spread = np.log(share[0] / share[1]).std()
    assert spread == pytest.approx(0.1 * np.sqrt(2), rel=0.3)  # two factors of 0.1 each; 100 genes; little noise


# Streams


def test_a_conditions_cells_do_not_depend_on_what_else_is_asked_for():
    def world():
        return SimulatedScreen(5, n_genes=40, n_regulators=6)

    a, b, c = world().regulators[:3]
    small = world().screen([b], cells_per_condition=7, n_controls=9)
    large = world().screen([a, b, (c, a), f"{b}+{c}"], cells_per_condition=7, n_controls=9)
    for label in (b, "control"):
        for cell_type in ("type_1", "type_2"):
            rows = [(d.obs["perturbation"] == label) & (d.obs["cell_type"] == cell_type) for d in (small, large)]
            assert (small[rows[0]].X != large[rows[1]].X).nnz == 0
            assert rows[0].sum() == (9 if label == "control" else 7)
    more = SimulatedScreen(5, n_genes=40, n_regulators=6, n_cell_types=4).population((a,), "type_2", 5)
    assert (more.X != world().population((a,), "type_2", 5).X).nnz == 0


def test_replicates_seeds_doses_and_the_screen_are_independent_streams():
    simulated = SimulatedScreen(5, n_genes=40, n_regulators=6)
    name = simulated.regulators[0]
    own = simulated.screen([name], cells_per_condition=10, n_controls=1)
    own = own[(own.obs["perturbation"] == name) & (own.obs["cell_type"] == "type_1")].X.toarray()
    others = [simulated.population((name,), "type_1", 10, replicate=r).X.toarray() for r in (0, 1)]
    others.append(SimulatedScreen(6, n_genes=40, n_regulators=6).population((name,), "type_1", 10).X.toarray())
    others.append(simulated.population((name,), "type_1", 10, dose=1e9).X.toarray())
    everything = [own, *others]
    same = [(i, j) for i in range(5) for j in range(i) if np.array_equal(everything[i], everything[j])]
    assert same == []


def test_blocks_of_cells_have_streams_of_their_own():
    simulated = SimulatedScreen(5, n_genes=8, n_regulators=2)
    long = simulated.molecules((), "type_1", 2 * BLOCK)
    np.testing.assert_array_equal(long[:BLOCK], simulated.molecules((), "type_1", BLOCK))
    assert not np.array_equal(long[:BLOCK], long[BLOCK:])


# Network


def test_drawn_network_is_acyclic_and_every_regulator_has_a_target():
    network = draw_network(0, 200, 20)
    assert (network.regulator < 20).all()
    assert (network.regulator < network.target).all()  # an order without a loop
    assert network.regulator_names == tuple(f"G{i:03d}" for i in range(1, 21))
    assert set(network.masters) == set(range(8))  # 40 % of 20
    assert not network.edges().duplicated(["regulator", "target"]).any()
    out_degree = np.bincount(network.regulator, minlength=20)
    assert out_degree.max() > 3 * np.median(out_degree)  # hubs
    assert np.bincount(network.target, minlength=200).max() <= 5  # 4, and one more for an idle regulator


def test_a_given_edge_table_is_used_whatever_the_order_of_its_rows(tmp_path):
    simulated = SimulatedScreen(3, edges=CHAIN)
    assert simulated.genes == ("A", "B", "C", "R")
    assert simulated.regulators == ("A", "B")
    assert simulated.network.masters.tolist() == [0]
    pd.testing.assert_frame_equal(simulated.edges, CHAIN.assign(weight=1.0), check_dtype=False)
    simulated.save_edges(tmp_path / "edges.csv")
    again = SimulatedScreen(3, edges=pd.read_csv(tmp_path / "edges.csv").iloc[::-1])
    np.testing.assert_array_equal(again.molecules(("B",), "type_1", 5), simulated.molecules(("B",), "type_1", 5))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CHAIN.rename(columns={"target": "targets"}), "lacks column 'target' .did you mean 'targets'"),
        (CHAIN.iloc[:0], "no rows"),
        (CHAIN.assign(sign=[1, 0, -1]), r"row 1 .*sign must be 1"),
        (CHAIN.assign(sign=["+", "-", "-"]), "column 'sign' of type .* numbers are needed"),
        (CHAIN.assign(weight=[1, 1, 0]), r"row 2 .*weight must be positive"),
        (CHAIN.assign(weight=[1, np.nan, 1]), r"row 1 .*weight must be positive"),
        (pd.concat([CHAIN, CHAIN.iloc[:1]]), r"row 3 .*repeated"),
        (CHAIN.assign(target=["B", None, "C"]), r"row 1 .*target must be a gene name"),
        (CHAIN.assign(regulator=["A", "A", "A+B"]), r"row 2 .*regulator must be a gene name"),
        (CHAIN.assign(regulator=["control", "A", "B"]), r"row 0 .*regulator must be a gene name"),
    ],
)
def test_bad_edge_tables_are_refused_by_row(table, message):
    with pytest.raises(DataError, match=message):
        SimulatedScreen(edges=table)


def test_propagated_influence_by_hand_and_vectors_that_span_it(tmp_path):
    simulated = SimulatedScreen(0, edges=CHAIN)
    influence = simulated.network.propagated_influence(damping=0.5)
    # genes A, B, C, R; A: itself, activates B, half of -1 on C through B, represses R; B: itself, represses C
    np.testing.assert_allclose(influence, [[1, 1, -0.5, -1], [0, 1, -1, 0]])
    vectors = simulated.perturbation_vectors(2)
    np.testing.assert_allclose(vectors @ vectors.T, influence @ influence.T, rtol=1e-5)
    for suffix, read in ((".parquet", pd.read_parquet), (".csv", pd.read_csv)):
        path = tmp_path / f"vectors{suffix}"
        simulated.save_vectors(path)
        table = read(path)
        assert table.columns.tolist() == ["perturbation", "v1", "v2"]
        assert table["perturbation"].tolist() == ["A", "B"]
        np.testing.assert_allclose(table.iloc[:, 1:], vectors, rtol=1e-6)
    with pytest.raises(DataError, match=r"length 3 .* 2 regulators"):
        simulated.perturbation_vectors(3)
    with pytest.raises(DataError, match=r"suffix '\.npz'"):
        simulated.save_vectors(tmp_path / "vectors.npz")


# The screen as a whole


def test_screen_layout_and_truth():
    simulated = SimulatedScreen(4, n_genes=30, n_regulators=4, n_cell_types=3)
    adata = simulated.screen(["G001", ("G003", "G002")], cells_per_condition=5, n_controls=8, doses=[0.5, 2])
    assert adata.shape == (3 * (8 + 2 * 2 * 5), 30)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert (adata.X.data == np.round(adata.X.data)).all()
    assert adata.obs["perturbation"].value_counts().to_dict() == {"G001": 30, "G002+G003": 30, "control": 24}
    assert adata.obs.loc[adata.obs["perturbation"] == "control", "dose"].eq(0).all()
    assert set(adata.obs.loc[adata.obs["perturbation"] != "control", "dose"]) == {0.5, 2.0}
    assert set(adata.obs["batch"]) == {"batch_1", "batch_2"}
    truth = json.loads(adata.uns["simulated_screen"])
    again = SimulatedScreen(**truth["arguments"])
    assert again.truth() == truth
    np.testing.assert_array_equal(again.molecules((), "type_3", 4), simulated.molecules((), "type_3", 4))
    assert "dose" not in simulated.population(("G001",), "type_1", 3).obs


def test_most_regulators_have_an_effect_clearly_above_replicate_noise():
    simulated = SimulatedScreen(0)
    control = log1p_cp10k(simulated.population((), "type_1", 150, replicate=99))
    noise = [
        energy_distance(control, log1p_cp10k(simulated.population((), "type_1", 150, replicate=r))) for r in range(6)
    ]
    effects = np.array(
        [energy_distance(control, log1p_cp10k(simulated.population((r,), "type_1", 150))) for r in simulated.regulators]
    )
    assert (effects > 5 * np.abs(noise).max()).mean() >= 0.8
    assert effects.max() > 5 * np.quantile(effects, 0.1)  # some are weak


def test_requests_that_cannot_be_met_are_refused():
    simulated = SimulatedScreen(0, n_genes=30, n_regulators=4)
    for ask, message in [
        (lambda: simulated.population(("G01",), "type_1", 5), "'G01' is not a regulator .did you mean 'G001'"),
        (lambda: simulated.population(("G020",), "type_1", 5), "'G020' is not a regulator"),
        (lambda: simulated.population(("G001",), "type1", 5), "cell type 'type1' is unknown .did you mean 'type_1'"),
        (lambda: simulated.population("G001", "type_1", 5), "in a tuple"),
        (lambda: simulated.population(("G001",), "type_1", 0), "number of cells .* is 0"),
        (lambda: simulated.population(("G001",), "type_1", 5, dose=-1), "dose -1"),
        (lambda: simulated.population(("G001", "G001"), "type_1", 5), "repeats a perturbation"),
        (lambda: simulated.screen(["G001+G002", ("G002", "G001")]), "asked for twice"),
        (lambda: simulated.screen([()]), "control"),
        (lambda: simulated.pairs(7), "4 regulators form 6"),
        (lambda: SimulatedScreen(modality="knockout"), "did you mean 'knock_out'"),
        (lambda: SimulatedScreen(escape=1.5), "escape is 1.5; a number from 0 to 1"),
        (lambda: SimulatedScreen(dispersion=float("nan")), "dispersion is nan"),
        (lambda: SimulatedScreen(n_cell_types=0), "n_cell_types is 0"),
        (lambda: SimulatedScreen(n_genes=5, n_regulators=5), "n_regulators=5 of n_genes=5"),
        (lambda: SimulatedScreen(n_genes=5, edges=CHAIN), "without n_genes"),
    ]:
        with pytest.raises(DataError, match=message):
            ask()


def test_written_screen_comes_with_its_network_and_vectors(tmp_path):
    out = tmp_path / "screen.h5ad"
    options = {"seed": 1, "n_genes": 40, "n_cells": 400, "n_cell_types": 2, "modality": "knock_down", "combinations": 2}
    paths = write_simulated_screen(out, **options)
    assert [path.name for path in paths] == ["screen.h5ad", "screen_edges.csv", "screen_vectors.parquet"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # no drafts are left
    adata = ad.read_h5ad(out)
    simulated = SimulatedScreen(1, n_genes=40, modality="knock_down")
    assert abs(adata.n_obs - 400) <= 12  # half a cell in each of the conditions
    assert set(adata.obs["perturbation"]) == {"control", *simulated.regulators, *map("+".join, simulated.pairs(2))}
    assert (adata.obs["perturbation"] == "control").sum() == 80
    pd.testing.assert_frame_equal(pd.read_csv(paths[1]), simulated.edges, check_dtype=False)
    assert pd.read_parquet(paths[2])["perturbation"].tolist() == list(simulated.regulators)
    with pytest.raises(StoreError, match="exists"):
        write_simulated_screen(out, **options)
    write_simulated_screen(out, **{**options, "seed": 2}, overwrite=True)
    assert json.loads(ad.read_h5ad(out).uns["simulated_screen"])["arguments"]["seed"] == 2
    with pytest.raises(StoreError, match=r"\.h5ad"):
        write_simulated_screen(tmp_path / "screen.zarr", **options)
    assert all(path.is_file() for path in write_simulated_screen(tmp_path / "new" / "screen.h5ad", **options))
    with pytest.raises(DataError, match="too few"):
        write_simulated_screen(tmp_path / "few.h5ad", **{**options, "n_cells": 4})


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    blocked = tmp_path / "screen_vectors.parquet"
    blocked.mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        write_simulated_screen(tmp_path / "screen.h5ad", n_genes=30, n_cells=100, combinations=0, overwrite=True)
    assert list(tmp_path.iterdir()) == [blocked]
