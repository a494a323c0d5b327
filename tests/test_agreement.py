"""The same cells judged by other packages, where they are installed: the same values for metrics that both define."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from scipy.stats import false_discovery_control, norm

from gensim.metrics.catalogue import choose
from gensim.metrics.comparison import Comparison, Side
from gensim.metrics.differential_expression import differential_expression
from gensim.metrics.panel import Panel
from gensim.metrics.rank_sum import rank_sum_p

GENES = [f"G{i:02d}" for i in range(60)]
CONTROL = "non-targeting"
PERTURBATIONS = ["G03", "G11", "G20", "G41", "other"]
N_CELLS = 70
THEIRS = {
    "mse_delta": "mse_delta",
    "mae_delta": "mae_delta",
    "pearson_delta": "pearson_delta",
    "pds_l1": "discrimination_score_l1",
    "pds_l2": "discrimination_score_l2",
    "pds_cosine": "discrimination_score_cosine",
    "des_wilcoxon": "overlap_at_N",
    "de_recall": "de_sig_genes_recall",
    "de_direction_match": "de_direction_match",
    "de_spearman_lfc": "de_spearman_lfc_sig",
    "auprc_fdr": "pr_auc",
}
"""cell-eval's name of ours."""


def log1p_cp10k(counts):
    return np.log1p(1e4 * counts / counts.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def screens():
    """Real and predicted cells by perturbation, and the controls of both."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(2.0, 3.0, size=60)
    effects = {name: np.exp(rng.normal(0, 0.25, 60) * (rng.random(60) < 0.5)) for name in PERTURBATIONS}
    blurred = {name: np.exp(rng.normal(0, 0.15, 60)) for name in PERTURBATIONS}
    controls = log1p_cp10k(rng.poisson(rates, (N_CELLS, 60)))
    real = {name: log1p_cp10k(rng.poisson(rates * effects[name], (N_CELLS, 60))) for name in PERTURBATIONS}
    predicted = {
        name: log1p_cp10k(rng.poisson(rates * effects[name] * blurred[name], (N_CELLS, 60))) for name in PERTURBATIONS
    }
    return real, predicted, controls


def as_anndata(cells, controls):
    x = np.concatenate([controls, *cells.values()])
    names = np.repeat([CONTROL, *cells], [len(controls), *map(len, cells.values())])
    obs = pd.DataFrame({"target": pd.Categorical(names)}, index=[f"cell {i}" for i in range(len(x))])
    return anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=GENES))


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_cell_eval(screens, tmp_path):
    cell_eval = pytest.importorskip(
        "cell_eval", reason="cell-eval is not installed: pip install gensim-cells[agreement]"
    )
    real, predicted, controls = screens
    evaluator = cell_eval.MetricsEvaluator(
        as_anndata(predicted, controls), as_anndata(real, controls), control_pert=CONTROL, num_threads=1,
        outdir=str(tmp_path / "cell-eval"),
    )  # fmt: skip
    found, _ = evaluator.compute(skip_metrics=["clustering_agreement", "pearson_edistance"], break_on_error=True)
    theirs = {row["perturbation"]: row for row in found.iter_rows(named=True)}

    mean = controls.mean(0, dtype=np.float64)
    pairs = [[Side(x, x, mean, controls) for x in (real[name], predicted[name])] for name in PERTURBATIONS]
    targets = [np.flatnonzero(np.array(GENES) == name) for name in PERTURBATIONS]
    of_condition = choose([key for key in THEIRS if not key.startswith("pds")])
    different = set()
    for k, (name, (one, other)) in enumerate(zip(PERTURBATIONS, pairs, strict=True)):
        ours = {m.key: m.function(Comparison(one, other, None, 0, targets[k])) for m in of_condition}
        for metric in choose(["pds_l1", "pds_l2", "pds_cosine"]):
            vectors = (np.stack([getattr(pair[i], metric.takes) for pair in pairs]) for i in (0, 1))
            ours[metric.key] = metric.function(Panel(*vectors, targets), k)
        for key, value in ours.items():
            assert value == pytest.approx(theirs[name][THEIRS[key]], rel=1e-6, abs=1e-6), (name, key)
            different.add((key, round(value, 6)))
    # The cells leave something to disagree about: no metric is the same for all conditions but ranks that are right.
    assert len({key for key, _ in different}) == len(THEIRS)
    assert len(different) > 3 * len(THEIRS)


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero) encountered:RuntimeWarning")  # of cell-eval
def test_the_score_of_2025_is_that_of_cell_eval():
    cell_eval = pytest.importorskip(
        "cell_eval", reason="cell-eval is not installed: pip install gensim-cells[agreement]"
    )
    polars = pytest.importorskip("polars")
    *_, score = choose(["vcc2025_score"])
    names = {"mae_delta": "mae", "pds_l1": "discrimination_score_l1", "des_wilcoxon": "overlap_at_N"}
    rng = np.random.default_rng(0)
    ends = [rng.uniform(0, 1, size=(2, 3)) for _ in range(20)]
    ends += [np.array(pair) for pair in ([[0.1, np.nan, 0.5], [0.2] * 3], [[0.0, 1.0, 0.5], [0.0, 1.0, 1.0]])]
    for user, base in ends:
        columns = [{name: [value] for name, value in zip(names.values(), row, strict=True)} for row in (user, base)]
        frames = [polars.DataFrame({"statistic": ["mean"], **values}) for values in columns]
        theirs = cell_eval.score_agg_metrics(*frames).filter(polars.col("metric") == "avg_score")["from_baseline"][0]
        ours = []
        for component in score.of:
            k = list(names).index(component.metric.key)
            ours += component.scaled(*(np.array([v]) for v in (user[k], base[k], component.metric.identical))).tolist()
        assert np.mean(ours) == pytest.approx(theirs, abs=1e-12)


def test_rank_sum_rates_are_those_of_scanpy(screens):
    real, _, controls = screens
    cells = as_anndata(real, controls)
    scanpy.tl.rank_genes_groups(cells, "target", reference=CONTROL, method="wilcoxon", tie_correct=True)
    for name in PERTURBATIONS:
        table = scanpy.get.rank_genes_groups_df(cells, name).set_index("names").loc[GENES]
        p = rank_sum_p(real[name], controls)
        # Ours are corrected for continuity, which moves a rank sum by one half. Ties change its deviation a little.
        z = table["scores"].abs().to_numpy()
        u_deviation = np.sqrt(N_CELLS * N_CELLS * (2 * N_CELLS + 1) / 12)
        moved = 2 * norm.sf(np.maximum(0, z - 0.5 / u_deviation))
        np.testing.assert_allclose(p, moved, rtol=0.02)
        found = set(np.flatnonzero(false_discovery_control(p) < 0.05))
        theirs = set(np.flatnonzero(table["pvals_adj"] < 0.05))
        assert len(found ^ theirs) <= 1
        assert len(theirs) > 3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scatter", [1.0, 0.02], ids=["of signal", "of the same cells"])
def test_agreement_with_cell_eval2_on_summed_counts(scatter):
    pytest.importorskip("cell_eval2", reason="cell-eval2 is not installed: pip install gensim-cells[agreement]")
    from cell_eval2.metrics.delta import distance_unbiased, mse_unbiased_capped
    from cell_eval2.metrics.discrimination import discrimination_score
    from cell_eval2.prep import pseudobulk_bulk_lognorm_with_moments

    rng = np.random.default_rng(3)
    rates = rng.gamma(0.7, 3.0, size=60)
    effects = {name: np.exp(rng.normal(0, 0.4, 60)) for name in PERTURBATIONS}
    controls = rng.poisson(rates, (90, 60)) + np.eye(90, 60, dtype=int)
    real = {name: rng.poisson(rates * effect, (N_CELLS, 60)) + 1 for name, effect in effects.items()}
    # Wider cells than the real ones, whose noise is capped, or predictions that hardly differ, whose claims are.
    same = rng.poisson(rates, (40, 60)) + 1
    depths = {name: rng.lognormal(0, 0.8, (40, 1)) for name in PERTURBATIONS}
    predicted = {
        name: rng.poisson(depths[name] * rates * effect) + 1
        if scatter == 1
        else same + (rng.random((40, 60)) < scatter)
        for name, effect in effects.items()
    }  # fmt: skip
    theirs = [
        pseudobulk_bulk_lognorm_with_moments(as_anndata(cells, controls), "target", bulk_target_sum=5e4)
        for cells in (predicted, real)
    ]
    (*bulk, moments), (*real_bulk, real_moments) = theirs
    shared = {"comparator": "bulk_lognorm", "real_bulk": real_bulk, "real_moments": real_moments, "genes": GENES}
    error = mse_unbiased_capped(pred_bulk=bulk, pred_moments=moments, **shared)
    distance = distance_unbiased(**shared)

    def side(counts):
        sizes = [c.sum(axis=1).astype(np.float32) for c in (counts, controls)]
        return Side(log1p_cp10k(counts), None, controls.mean(0), log1p_cp10k(controls), *sizes)

    sides = [[side(cells[name]) for name in PERTURBATIONS] for cells in (real, predicted)]
    targets = [np.flatnonzero(np.array(GENES) == name) for name in PERTURBATIONS]
    pds, ratio = choose(["pds_cosine_2026", "mse_ratio_2026"])
    panel = Panel(
        np.stack([s.noisy_shift for s in sides[0]]), np.stack([s.noisy_bulk for s in sides[1]]), targets, ["one"] * 5
    )
    assert ratio.function(panel) == pytest.approx(sum(error.values()) / sum(distance.values()), rel=1e-5)

    position = {"distance": "cosine", "rank_denominator": "n-1", "genes": np.array(GENES)}
    scores = discrimination_score(pred_bulk=bulk, real_bulk=real_bulk, **position)
    effects = Panel(*(np.stack([s.delta_2026 for s in of]) for of in sides), targets)
    for k, name in enumerate(PERTURBATIONS):
        assert pds.function(effects, k) == pytest.approx(scores[name])


@pytest.mark.filterwarnings("ignore")
def test_differential_expression_is_that_of_pdex(screens):
    pdex = pytest.importorskip("pdex", reason="pdex is not installed: pip install gensim-cells[agreement]")
    real, _, controls = screens
    cells = as_anndata(real, controls)
    table = pdex.pdex(cells, "target", reference=CONTROL, is_log1p=True, threads=1, as_pandas=True)
    for name in PERTURBATIONS:
        theirs = table[table["target"] == name].set_index("feature").loc[GENES]
        ours = differential_expression(real[name], controls)
        np.testing.assert_allclose(rank_sum_p(real[name], controls), theirs["p_value"], rtol=1e-6)
        np.testing.assert_allclose(ours.fdr, theirs["fdr"], rtol=1e-6)
        changed = np.isfinite(ours.log2_fold_change)
        assert changed.sum() > len(GENES) // 2
        # Its means are in float32.
        np.testing.assert_allclose(ours.log2_fold_change[changed], theirs["log2_fold_change"][changed], atol=1e-5)
