"""Files of real and predicted cells without a run: the same numbers as with one, and what is refused."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from screens import adata_of

from gensim import evaluate_files as module
from gensim.cli import main
from gensim.config import DataConfig
from gensim.data.batches import batches_of
from gensim.data.cell_source import cell_source_from_file, names_digest
from gensim.metrics.space import MetricSpace

LABELS = ("control", "A", "B")
DATA = ["data.scale=counts"]


def cells(prefix: str, n: int = 30, seed: int = 0, labels=LABELS, effect: float = 8.0) -> ad.AnnData:
    """A raises g0, B raises g1."""
    rng = np.random.default_rng([seed, len(prefix)])
    x = rng.poisson(5.0, (n * len(labels), 8)).astype(np.float32) + 1
    names = np.repeat(labels, n)
    for k, label in enumerate(("A", "B")):
        x[names == label, k] += rng.poisson(effect, (names == label).sum())
    return adata_of(names, x, prefix)


@pytest.fixture
def files(tmp_path):
    for name, made in {"train": cells("train"), "real": cells("re"), "pred": cells("prediction")}.items():
        made.write_h5ad(tmp_path / f"{name}.h5ad")
    return tmp_path


def evaluated(folder, *arguments) -> dict:
    assert main(["evaluate", str(folder / "pred.h5ad"), *map(str, arguments), *DATA]) == 0
    return json.loads((folder / "pred.evaluation" / "metrics.json").read_text())


def rows_of(found: dict) -> set[str]:
    return {row for condition in found["conditions"] for row in condition["values"]}


def test_two_files_are_enough(files):
    found = evaluated(files, "--truth", files / "real.h5ad")
    assert [c["condition"] for c in found["conditions"]] == ["A", "B"]
    assert rows_of(found) == {"no_change", "replicate", "model"}
    assert "principal components of the real cells themselves" in found["notes"][0]


def test_training_cells_define_space_and_baselines(files):
    found = evaluated(files, "--truth", files / "real.h5ad", "--train", files / "train.h5ad")
    assert rows_of(found) == {"no_change", "training_mean", "gaussian_map", "replicate", "model"}
    (note,) = found["notes"]
    assert note.startswith("no rows random_embedding and idealised: training had every condition")
    scores = [c["values"]["model"]["energy_distance_pca"]["value"] for c in found["conditions"]]
    still = [c["values"]["no_change"]["energy_distance_pca"]["value"] for c in found["conditions"]]
    assert all(model < 0.2 * no for model, no in zip(scores, still, strict=True))


def test_real_cells_that_were_trained_on_are_left_out(files, caplog):
    both = ad.concat([cells("train"), cells("re")])
    both.write_h5ad(files / "real.h5ad")
    with caplog.at_level("INFO", logger="gensim"):
        found = evaluated(files, "--truth", files / "real.h5ad", "--train", files / "train.h5ad")
    assert "90 cells of" in caplog.text
    assert {c["cells"]["truth"] for c in found["conditions"]} == {30}


def test_controls_may_be_elsewhere(files):
    cells("re", labels=("A", "B")).write_h5ad(files / "real.h5ad")
    with_controls = ["--truth", files / "real.h5ad", "--controls", files / "train.h5ad"]
    assert rows_of(evaluated(files, *with_controls)) == {"no_change", "replicate", "model"}


def refused(capsys, folder, *arguments) -> str:
    assert main(["evaluate", str(folder / "pred.h5ad"), *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_genes_are_those_that_all_have_only_on_request(files, capsys):
    cells("prediction")[:, ["g1", "g0", "g7"]].copy().write_h5ad(files / "pred.h5ad")
    truth = ["--truth", files / "real.h5ad"]
    said = refused(capsys, files, *truth, *DATA)
    assert "lacks 5 of the 8 genes" in said
    assert "'g2', 'g3', 'g4'" in said
    assert "--common-genes" in said
    found = evaluated(files, *truth, "--common-genes")
    assert [c["condition"] for c in found["conditions"]] == ["A", "B"]
    assert found["notes"][0] == "the files differ in their genes: CP10k is over the 3 genes that all of them have"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--truth is needed where there is no --run"),
        (["--truth", "real.h5ad"], "needed and missing; write data.scale=counts or log1p_cp10k"),
        (["--truth", "real.h5ad", "data.scale=counts", "data.perturbation_column=pert"], "real.h5ad', obs: no column"),
        (["--truth", "real.h5ad", "data.scale=counts", "data.control_label=contro"], "(did you mean 'control'?)"),
        (["--truth", "real.h5ad", "solver.n_steps=3"], "override 'solver.n_steps=3' is not of data"),
        (["--truth", "real.h5ad", "data.layer=counts"], "override 'data.layer=counts' has no meaning without a run"),
        (["--truth", "real.h5ad", "data.scale=counts", "data.control_label=ntc"], "has no control cells (label 'ntc'"),
        (["--truth", "real.h5ad", "data.scale=log1p_cp10k"], "every value is an integer"),
        (["--truth", "none.h5ad", "data.scale=counts"], "none.h5ad"),
        (["--run", "run", "--common-genes"], "are for files without a run"),
    ],
)
def test_what_is_refused(files, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    assert message in refused(capsys, files, *arguments)


def test_the_file_is_named_that_lacks_control_cells_or_has_values_that_are_not_finite(files, capsys):
    truth = ["--truth", files / "real.h5ad"]
    perturbed = cells("train")[cells("train").obs["perturbation"] != "control"].copy()
    perturbed.write_h5ad(files / "train.h5ad")
    said = refused(capsys, files, *truth, "--train", files / "train.h5ad", *DATA)
    assert "train.h5ad', obs: no cell is labelled" in said
    broken = cells("prediction")
    broken.X[40, 2] = np.nan
    broken.write_h5ad(files / "pred.h5ad")
    said = refused(capsys, files, *truth, *DATA)
    assert f"pred.h5ad': cell {broken.obs_names[40]!r} has a value that is not finite" in said


def test_no_gene_in_common(files, capsys):
    other = cells("prediction")
    other.var = pd.DataFrame(index=[f"ENSG{i}" for i in range(8)])
    other.write_h5ad(files / "pred.h5ad")
    said = refused(capsys, files, "--truth", files / "real.h5ad", "--common-genes", *DATA)
    assert "symbols or ids?" in said


def test_exit_code_says_whether_bounds_hold(files, capsys):
    asked = ["evaluate", str(files / "pred.h5ad"), "--truth", str(files / "real.h5ad"), *DATA]
    held = ["--require", "energy_distance_pca.normalised>=0.8", "--require", "pearson_delta>0.5"]
    assert main([*asked, *held]) == 0
    assert main([*asked, *held, "--require", "energy_distance_pca<-9"]) == 1
    assert "energy_distance_pca.value < -9 is required, and it is" in capsys.readouterr().err
    assert (files / "pred.evaluation" / "metrics.json").is_file()
    assert main([*asked, "--require", "energy>=1"]) == 2


def test_names_of_the_real_cells_tell_evaluations_apart(files, capsys):
    def of(prefix, **options) -> str:
        cells(prefix, **options).write_h5ad(files / "real.h5ad")
        asked = ["--truth", files / "real.h5ad", "--train", files / "train.h5ad"]
        return evaluated(files, *asked)["provenance"]["truth_cells"]

    first = of("re")
    (files / "pred.evaluation").rename(files / "first")
    assert of("re", effect=9.0) == first, "names alone count"
    assert main(["compare-predictions", str(files / "first"), str(files / "pred.evaluation")]) == 0
    assert of("other") != first
    assert main(["compare-predictions", str(files / "first"), str(files / "pred.evaluation")]) == 2
    assert "other names of real cells" in capsys.readouterr().err
    assert (files / "pred.evaluation" / "metrics.h5ad").is_file()


def test_the_digest_of_names_does_not_depend_on_controls_or_on_the_order_of_conditions(tmp_path):
    def digest(*labels) -> str:
        path = tmp_path / "cells.h5ad"
        adata = cells("re", 4)
        order = np.concatenate([np.flatnonzero(adata.obs["perturbation"] == label) for label in labels])
        adata[order].copy().write_h5ad(path)
        config = DataConfig(path=str(path), scale="counts")
        return names_digest(cell_source_from_file(path, config, tuple(adata.var_names)))

    assert digest("control", "A", "B") == digest("B", "A")
    assert digest("A", "B") != digest("A")


def test_conditions_that_were_not_predicted_are_scored_on_request(files):
    cells("prediction", labels=("control", "A")).write_h5ad(files / "pred.h5ad")
    found = evaluated(files, "--truth", files / "real.h5ad")
    assert [c["condition"] for c in found["not_scored"]] == ["B"]
    found = evaluated(files, "--truth", files / "real.h5ad", "--missing", "no_change")
    assert [(c["condition"], c["stand_in"]) for c in found["conditions"]] == [("A", None), ("B", "no_change")]
    assert found["not_scored"] == []
    assert "B (not predicted: no_change)" in (files / "pred.evaluation" / "report.html").read_text()
    assert list(ad.read_h5ad(files / "pred.evaluation" / "metrics.h5ad").obs["stand_in"]) == ["", "no_change"]


def test_experimental_error_resamples_the_batches_of_the_data(files):
    found = evaluated(files, "--truth", files / "real.h5ad")
    alone = found["conditions"][0]["experimental_error"]
    assert (alone["n_batches"], alone["paired"]) == (None, False)
    report = (files / "pred.evaluation" / "report.txt").read_text()
    assert "cells alone were resampled, as batches are not known" in " ".join(report.split())

    real = cells("re")
    real.obs["lane"] = [f"lane {i % 3}" for i in range(real.n_obs)]
    real.write_h5ad(files / "real.h5ad")
    found = evaluated(files, "--truth", files / "real.h5ad", "data.batch_column=lane")
    errors = [c["experimental_error"] for c in found["conditions"]]
    assert [(e["n_batches"], e["paired"]) for e in errors] == [(3, False), (3, False)]
    average = found["groups"][0]["experimental_error"]
    assert average["value"] == pytest.approx(np.mean([e["value"] for e in errors]))
    report = (files / "pred.evaluation" / "report.txt").read_text()
    (line,) = [line for line in report.splitlines() if line.split()[:2] == ["experimental", "error"]]
    assert f"{average['value']:.3g}" in line
    assert "batches (3 to 3 per condition), then cells in them" in " ".join(report.split())
    page = (files / "pred.evaluation" / "report.html").read_text()
    assert 'href="#experimental-error"' in page
    assert 'id="experimental-error"' in page
    table = pd.read_csv(files / "pred.evaluation" / "metrics.csv", float_precision="round_trip")
    assert list(table[table["row"] == "experimental_error"]["value"]) == [e["value"] for e in errors]
    asked = ["--metrics", "energy_distance_pca"]
    found = evaluated(files, "--truth", files / "real.h5ad", "data.batch_column=lane", *asked)
    assert {c["experimental_error"] for c in found["conditions"]} == {None}
    assert "experimental error" not in (files / "pred.evaluation" / "report.txt").read_text()


def test_batches_that_a_file_lacks_are_named(files):
    found = evaluated(files, "--truth", files / "real.h5ad", "data.batch_column=lane")
    assert found["conditions"][0]["experimental_error"]["n_batches"] is None
    assert any("batches: " in note and "no column 'lane'" in note for note in found["notes"])


def test_batches_of_files_that_have_not_the_same_are_coded_alike(files):
    lanes, sources = [], []
    for name, prefix, names in (("real", "re", "abc"), ("train", "train", "bc"), ("pred", "prediction", "cad")):
        made = cells(prefix)
        made.obs["lane"] = [names[i % len(names)] for i in range(made.n_obs)]
        made.write_h5ad(files / f"{name}.h5ad")
        lanes.append(made.obs["lane"].tolist())
        sources.append(cell_source_from_file(files / f"{name}.h5ad", DataConfig(path="", scale="counts"), ["g0"]))
    batches, why = batches_of(*sources, "lane")
    assert why is None
    coded = [batches.truth, batches.controls, batches.prediction]
    assert [np.array(list("abcd"))[codes].tolist() for codes in coded] == lanes


def test_effects_over_batches_need_the_batches_of_real_cells(files):
    asked = ["--metrics", "cole2026", "--truth", files / "real.h5ad"]
    (model, _) = values(evaluated(files, *asked), "l2_ba_ate")["model"]
    assert model is None
    assert (
        "name the column of obs that has them (data.batch_column)" in (files / "pred.evaluation/report.txt").read_text()
    )

    for name, prefix in (("real", "re"), ("pred", "prediction")):
        made = cells(prefix)
        made.obs["lane"] = [f"lane {i % 3}" for i in range(made.n_obs)]
        made.write_h5ad(files / f"{name}.h5ad")
    found = evaluated(files, *asked, "data.batch_column=lane")
    assert not any("batches" in note for note in found["notes"])
    of_files = values(found, "l2_ba_ate")
    assert max(of_files["model"]) < 0.5 * min(of_files["no_change"])
    report = (files / "pred.evaluation" / "report.txt").read_text()
    assert len([line for line in report.splitlines() if line.startswith("   experimental error")]) == 3
    assert "30 cells against 30 control cells; classes of genes need 31 against 2" in report
    table = pd.read_csv(files / "pred.evaluation" / "metrics.csv")
    assert list(table[table["row"] == "experimental_error"]["metric"]) == ["l2_delta", "l2_ba_ate"] * 2 + [
        "deg_macro_f1"
    ]

    made.obs.drop(columns="lane").pipe(lambda obs: ad.AnnData(made.X, obs, made.var)).write_h5ad(files / "pred.h5ad")
    found = evaluated(files, *asked, "data.batch_column=lane")
    assert any("predicted cells count alike" in note for note in found["notes"])
    assert values(found, "l2_ba_ate")["model"][0] != of_files["model"][0]
    assert values(found, "l2_ba_ate")["no_change"] == of_files["no_change"]


def test_the_ratio_of_errors_is_of_counts(files):
    for name, prefix in (("real", "re"), ("pred", "prediction")):
        cells(prefix, n=60).write_h5ad(files / f"{name}.h5ad")
    asked = ["--metrics", "vcc2026", "--truth", files / "real.h5ad"]
    found = evaluated(files, *asked)
    ratio = {row: found["groups"][0]["averages"][row]["mse_ratio_2026"] for row in ("no_change", "replicate", "model")}
    assert abs(ratio["model"]["value"]) < 0.05
    assert abs(ratio["replicate"]["value"]) < 0.1
    # The same control cells for all conditions: their noise is not credited.
    assert ratio["no_change"]["value"] == pytest.approx(1.0, abs=0.15)
    assert ratio["model"]["n"] == 2
    assert "mse_ratio_2026 ↓" in (files / "pred.evaluation" / "report.txt").read_text()

    logs = cells("prediction", n=60)
    logs.X = np.log1p(logs.X.toarray() / logs.X.toarray().sum(axis=1, keepdims=True) * 1e4)
    logs.uns["gensim"] = json.dumps({"scale": "log1p_cp10k"})
    logs.write_h5ad(files / "pred.h5ad")
    averages = evaluated(files, *asked)["groups"][0]["averages"]
    assert "are logarithms" in averages["model"]["mse_ratio_2026"]["reason"]
    assert averages["model"]["pds_cosine_2026"]["value"] == 1.0


def test_bounds_stand_beside_predictions_of_conditions_that_training_lacked(files):
    """Training has two conditions for each of three effects; D, which it lacks, does what C1 and C2 do."""
    rng = np.random.default_rng(0)
    labels = ("control", "A1", "A2", "B1", "B2", "C1", "C2")
    for name, of in (("train", labels), ("real", ("control", "D")), ("pred", ("control", "D"))):
        x = rng.poisson(5.0, (30 * len(of), 8)).astype(np.float32) + 1
        for k, label in enumerate(of):
            if label != "control":
                x[30 * k : 30 * (k + 1), {"A": 0, "B": 1}.get(label[0], 2)] += 20
        adata_of(np.repeat(of, 30), x, name).write_h5ad(files / f"{name}.h5ad")
    found = evaluated(files, "--truth", files / "real.h5ad", "--train", files / "train.h5ad")
    assert rows_of(found) >= {"random_embedding", "idealised"}
    values = found["conditions"][0]["values"]
    # Only its own effect tells that.
    assert values["idealised"]["l2_delta"]["value"] < 0.5 * values["random_embedding"]["l2_delta"]["value"]
    assert values["idealised"]["l2_delta"]["value"] < 0.5 * values["training_mean"]["l2_delta"]["value"]
    assert [note.split(":")[0] for note in found["notes"]] == ["random_embedding", "idealised"]
    assert "upper bound" in (files / "pred.evaluation" / "report.txt").read_text()
    assert found["provenance"]["truth_cells"]


def values(found: dict, metric: str) -> dict[str, list[float]]:
    rows = rows_of(found)
    return {row: [c["values"][row][metric]["value"] for c in found["conditions"]] for row in rows}


def test_files_of_other_genes_are_compared_on_one_scale(files):
    """The same numbers as of files that were cut to the common genes beforehand."""
    kept = ["g0", "g1", "g5"]
    cells("prediction")[:, kept].copy().write_h5ad(files / "pred.h5ad")
    asked = ["--truth", files / "real.h5ad", "--train", files / "train.h5ad", "--common-genes"]
    whole = evaluated(files, *asked)
    assert "CP10k is over the 3 genes" in whole["notes"][0]
    for name, prefix in (("real", "re"), ("train", "train")):
        cells(prefix)[:, kept].copy().write_h5ad(files / f"{name}.h5ad")
    cut = evaluated(files, *asked)
    for metric in ("l2_delta", "energy_distance_genes", "energy_distance_pca"):
        for row, expected in values(cut, metric).items():
            assert values(whole, metric)[row] == pytest.approx(expected, rel=1e-5)


def test_training_cells_with_more_genes_are_on_the_same_scale(files):
    whole = cells("train")
    more = ad.concat([whole, ad.AnnData(whole.X * 5, whole.obs, whole.var.rename(index=lambda g: f"x{g}"))], axis=1)
    more.obs["perturbation"] = whole.obs["perturbation"]
    asked = ["--truth", files / "real.h5ad", "--train", files / "train.h5ad"]
    alone = values(evaluated(files, *asked), "l2_delta")
    more.write_h5ad(files / "train.h5ad")
    for row, found in values(evaluated(files, *asked), "l2_delta").items():
        assert found == pytest.approx(alone[row], rel=1e-5)


def test_training_cells_that_say_their_library_sizes_keep_them(files):
    train = cells("train")
    train.obs["total"] = np.arange(1.0, train.n_obs + 1) * 100
    genes = tuple(train.var_names[:3])
    read = []
    for noted in ({}, {"library_size_column": "total"}):
        train.uns["gensim"] = json.dumps({"scale": "counts", **noted})
        train.write_h5ad(files / "train.h5ad")
        read.append(module._training_cells(files / "train.h5ad", DataConfig(path="", scale="counts"), genes))
    np.testing.assert_array_equal(read[0].library_size, train.X[:, :3].sum(axis=1).ravel().A1)
    np.testing.assert_array_equal(read[1].library_size, train.obs["total"])


def test_predicted_cells_may_have_the_names_of_training_cells(files):
    """As where each was made from one of them."""
    cells("train", seed=1).write_h5ad(files / "pred.h5ad")
    found = evaluated(files, "--truth", files / "real.h5ad", "--train", files / "train.h5ad")
    assert [c["cells"]["predicted"] for c in found["conditions"]] == [30, 30]


def test_conditions_that_are_lost_to_names_of_training_cells_are_told(files):
    real, train = cells("re"), cells("train", labels=("A", "control"))
    train.obs_names = [*real.obs_names[real.obs["perturbation"] == "A"], *[f"t{i}" for i in range(30)]]
    train.write_h5ad(files / "train.h5ad")
    found = evaluated(files, "--truth", files / "real.h5ad", "--train", files / "train.h5ad")
    assert any("30 cells of" in note and "nothing is left of 'A'" in note for note in found["notes"])


def test_values_that_are_not_finite_are_refused(files, capsys):
    real = cells("re")
    real.X = real.X.toarray()
    real.X[3, 2] = np.nan
    real.write_h5ad(files / "real.h5ad")
    assert "re3" in refused(capsys, files, "--truth", files / "real.h5ad", *DATA)


def test_the_space_of_many_real_cells_is_fitted_to_some_of_them_in_blocks(files, capsys, monkeypatch):
    monkeypatch.setattr(module, "MOST_CELLS_OF_SPACE", 40)
    monkeypatch.setattr(module, "CELLS_AT_ONCE", 7)
    fitted, fit = [], MetricSpace.fit

    def remember(blocks, genes):
        fitted.extend(blocks)
        return fit(iter(fitted), genes)

    monkeypatch.setattr(MetricSpace, "fit", remember)
    evaluated(files, "--truth", files / "real.h5ad")
    source = cell_source_from_file(
        files / "real.h5ad", DataConfig(path="", scale="counts"), [f"g{i}" for i in range(8)]
    )
    # 90 cells: every third, as every second would be 45.
    assert [block.shape[0] for block in fitted] == [7, 7, 7, 7, 2]
    expected = source.read(np.arange(0, 90, 3)).toarray()
    np.testing.assert_array_equal(np.concatenate([block.toarray() for block in fitted]), expected)

    real = cells("re")
    real.X = np.log1p(real.X.toarray() / real.X.toarray().sum(axis=1, keepdims=True) * 1e4)
    real.X[63, 0] = np.nan
    real.uns["gensim"] = json.dumps({"scale": "log1p_cp10k"})
    real.write_h5ad(files / "real.h5ad")
    said = refused(capsys, files, "--truth", files / "real.h5ad", *DATA)
    assert f"cell {real.obs_names[63]!r} has a value that is not finite" in said


def test_a_context_with_one_control_cell_has_reasons_and_no_traceback(files):
    for name in ("real", "pred"):
        made = ad.read_h5ad(files / f"{name}.h5ad")
        made.obs["line"] = "x"
        other = made[made.obs["perturbation"] != "control"].copy()
        one = made[made.obs["perturbation"] == "control"][:1].copy()
        other.obs["line"] = one.obs["line"] = "y"
        other.obs_names, one.obs_names = [f"y{i}" for i in range(len(other))], ["z"]
        joined = ad.concat([made, other, one])
        joined.write_h5ad(files / f"{name}.h5ad")
    found = evaluated(files, "--truth", files / "real.h5ad", "--metrics", "vcc2026", "data.context_columns=[line]")
    assert rows_of(found) == {"no_change", "replicate", "model"}


def test_the_page_has_the_rows_of_metrics_of_all_conditions(files):
    for name, prefix in (("real", "re"), ("pred", "prediction")):
        cells(prefix, n=80).write_h5ad(files / f"{name}.h5ad")
    evaluated(files, "--truth", files / "real.h5ad", "--metrics", "deg_macro_f1")
    assert ">model</th>" in (files / "pred.evaluation" / "report.html").read_text()


def test_the_score_of_a_challenge_stands_in_every_file_and_can_be_required(files, capsys):
    asked = ["evaluate", str(files / "pred.h5ad"), "--truth", str(files / "real.h5ad"), *DATA]
    asked += ["--metrics", "vcc2025_score", "--require", "vcc2025_score>=0.3"]
    assert main(asked) == 1
    assert "cannot be told: effects of training conditions are not known" in capsys.readouterr().err
    assert main([*asked, "--train", str(files / "train.h5ad")]) == 0
    folder = files / "pred.evaluation"
    found = json.loads((folder / "metrics.json").read_text())
    assert {metric["key"]: metric["combines"] for metric in found["catalogue"]} == {
        "mae_delta": [], "pds_l1": [], "des_wilcoxon": [], "vcc2025_score": ["mae_delta", "pds_l1", "des_wilcoxon"]
    }  # fmt: skip
    averages = found["groups"][0]["averages"]
    keys = ("mae_delta", "pds_l1", "des_wilcoxon")
    u, b = ([averages[row][key]["value"] for key in keys] for row in ("model", "mean_response"))
    parts = [1 - u[0] / b[0], *((x - y) / (1 - y) for x, y in zip(u[1:], b[1:], strict=True))]
    score = averages["model"]["vcc2025_score"]["value"]
    assert score == pytest.approx(np.mean(np.maximum(parts, 0)))
    assert 0.3 <= score <= 1
    assert averages["mean_response"]["vcc2025_score"]["value"] == 0
    assert "vcc2025_score ↑" in (folder / "report.txt").read_text()
    assert 'href="#metric-vcc2025_score"' in (folder / "report.html").read_text()
    table = pd.read_csv(folder / "metrics.csv", float_precision="round_trip")
    (line,) = table[(table["metric"] == "vcc2025_score") & (table["row"] == "model")].to_dict("records")
    assert (line["value"], line["group"]) == (score, "all")
    assert pd.isna(line["condition"])
    annotated = ad.read_h5ad(folder / "metrics.h5ad")
    assert annotated.var.loc["vcc2025_score", "average_all"] == score
    assert np.isnan(annotated[:, "vcc2025_score"].X).all()
    assert main(["compare-predictions", str(folder), str(folder)]) == 0
    assert "not compared: vcc2025_score" in capsys.readouterr().out


def test_the_score_of_2026_of_files_of_counts(files):
    """Each of four perturbations raises 12 genes of 60; training has two of them."""
    rng = np.random.default_rng(1)
    sets = {name: ("control", *perturbed) for name, perturbed in (("train", "AB"), ("real", "CD"), ("pred", "CD"))}
    for name, labels in sets.items():
        x = rng.poisson(5.0, (60 * len(labels), 60)).astype(np.float32) + 1
        for k, label in enumerate(labels):
            if label != "control":
                first = 12 * "ABCD".index(label)
                x[60 * k : 60 * (k + 1), first : first + 12] += rng.poisson(6.0, (60, 12))
        adata_of(np.repeat(labels, 60), x, name).write_h5ad(files / f"{name}.h5ad")
    asked = ["--truth", files / "real.h5ad", "--train", files / "train.h5ad", "--metrics", "vcc2026_score"]
    averages = evaluated(files, *asked)["groups"][0]["averages"]
    parts = []
    for key in ("pds_cosine_2026", "direction_fidelity", "direction_reach", "de_jaccard", "lfc_nmae", "mse_ratio_2026"):
        u, b, r = (averages[row][key]["value"] for row in ("model", "mean_response", "replicate"))
        s = (u - b) / (r - b)
        parts.append(min(max(s, 0), 1) if key == "mse_ratio_2026" else s)
    assert averages["model"]["vcc2026_score"]["value"] == pytest.approx(np.mean(parts))
    assert averages["model"]["vcc2026_score"]["value"] == pytest.approx(1.0, abs=0.3)
    assert averages["replicate"]["vcc2026_score"]["value"] == pytest.approx(1.0)
    assert averages["mean_response"]["vcc2026_score"]["value"] == pytest.approx(0.0)
