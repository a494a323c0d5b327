"""The page of a report: self-contained, bounded, right to 11 bits, and safe whatever names hold."""

import base64
import dataclasses
import hashlib
import html
import json
import re
from importlib import resources

import numpy as np
import pytest
from pages import EVIL, evaluation_with_pictures

from gensim.metrics import html_data
from gensim.metrics.catalogue import DEFAULT
from gensim.metrics.html_data import page_data
from gensim.metrics.html_report import ROW_MEANINGS, SCRIPTS, as_html
from gensim.metrics.results import ROWS

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module")
def evaluation():
    return evaluation_with_pictures(n_conditions=3)


@pytest.fixture(scope="module")
def page(evaluation):
    return as_html(evaluation, {"seed": 1, "note": EVIL}, [f"a note, {EVIL}"])


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_page_holds_scores_n_seeds_reasons_notes_and_provenance(page, evaluation):
    text = html.unescape(re.sub(r"<[^>]+>", " ", without_scripts(page)))
    text = " ".join(text.split())
    for expected in (
        "Conditions scored 3", "Seed of the evaluation 3", "Repeats 5", "never | D, 1 : no cell", "ignored: x",
        f"a note, {EVIL}", '"seed": 1', "unseen: scores and averages of 1 conditions",
    ):  # fmt: skip
        assert expected in text, expected
    estimate = evaluation.group("all").scores["model", "l2_delta"]
    assert f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]" in text
    assert all(metric.name in text for metric in DEFAULT)
    assert all(meaning in text for meaning in ROW_MEANINGS.values())


def test_every_row_has_a_meaning():
    assert set(ROW_MEANINGS) == set(ROWS)


def test_names_are_text_and_no_script_but_the_pages_own_may_run(page):
    assert EVIL not in page
    assert EVIL in html.unescape(without_scripts(page)), "as text"
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(re.findall("<script", page)) == 3, "library, script, data"
    allowed = re.search(r"script-src ([^;]*);", page).group(1).split()
    assert allowed == [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts]
    assert "default-src 'none'" in page


def test_page_asks_the_network_for_nothing(page):
    body = without_scripts(page)
    links = re.findall(r"""(?:src|href|action)\s*=\s*["']([^"']*)""", body)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "url(" not in body
    assert "@import" not in body


def test_data_of_the_page_are_the_evaluations(page, evaluation):
    data = json.loads(DATA.search(page).group(1))
    assert data == json.loads(json.dumps(page_data(evaluation)))
    condition, result = data["conditions"][1], evaluation.results[1]
    assert condition["name"] == EVIL
    row, metric = data["rows"].index("model"), [m["key"] for m in data["metrics"]].index("l2_delta")
    assert condition["values"][row][metric] == pytest.approx(result.measurements["model", "l2_delta"].value, rel=5e-4)
    missing = data["conditions"][2]["values"][row][0]
    assert data["reasons"][int(missing)] == "too few cells"
    pictures, packed = result.pictures, condition["pictures"]
    numbers = np.frombuffer(base64.b64decode(packed["numbers"]), dtype="<f2")
    genes = np.frombuffer(base64.b64decode(packed["genes"]), dtype="<u4")
    assert [data["genes"][gene] for gene in genes] == list(pictures.genes)
    start = 2 * sum(packed["n_places"])
    np.testing.assert_array_equal(numbers[:start:2][: packed["n_places"][0]], pictures.places["control"][:, 0])
    assert data["gene_columns"][0] == "effect_real"
    np.testing.assert_array_equal(numbers[start : start + len(genes)], pictures.of_genes["effect_real"])
    np.testing.assert_array_equal(numbers[-19:], list(pictures.coverage.values())[-1])


def test_a_thousand_conditions_stay_below_twenty_megabytes():
    of_many_genes = evaluation_with_pictures(n_conditions=3, n_genes=300, n_cells=200)
    results = tuple(of_many_genes.results[i % 3] for i in range(1000))
    page = as_html(dataclasses.replace(of_many_genes, results=results))
    assert len(page.encode()) < 20e6


def test_pictures_of_the_first_conditions_are_kept_and_the_page_says_so(evaluation, monkeypatch):
    data = page_data(evaluation)
    conditions = data["conditions"]
    sizes = [len(json.dumps(c.pop("pictures"), separators=(",", ":"))) for c in conditions]
    others = sum(len(json.dumps(part, separators=(",", ":"))) for part in (conditions, data["spread"]))
    monkeypatch.setattr(html_data, "MOST_BYTES", others + sizes[0] + sizes[1])
    assert ["pictures" in c for c in page_data(evaluation)["conditions"]] == [True, True, False]
    assert "this page holds those of the first 2 conditions" in as_html(evaluation)


def test_an_evaluation_without_pictures_has_a_page(evaluation):
    results = tuple(dataclasses.replace(result, pictures=None) for result in evaluation.results)
    page = as_html(dataclasses.replace(evaluation, results=results))
    assert "the evaluation was not asked for them" in page
    assert not any("pictures" in c for c in json.loads(DATA.search(page).group(1))["conditions"])


def test_spread_of_all_conditions_is_there_with_numbers_in_words(page, evaluation):
    data = json.loads(DATA.search(page).group(1))["spread"]
    assert (data["n"], data["n_all"], data["n_conditions"]) == (24, 24, 2)
    logs = np.frombuffer(base64.b64decode(data["numbers"]), dtype="<f2").reshape(4, 24)
    (mean, variance), (_, simulated) = (evaluation.results[1].moments[side] for side in ("real", "model"))
    np.testing.assert_array_equal(logs[:2, 12:], np.log10([mean, variance]).astype(np.float16))
    np.testing.assert_allclose(logs[3, 12:], np.log10(simulated / variance), rtol=1e-3)
    ratios = np.concatenate([r.moments["model"][1] / r.moments["real"][1] for r in evaluation.results if r.moments])
    low, middle, high = (f"{q:.3g}" for q in np.quantile(ratios, [0.25, 0.5, 0.75], method="linear"))
    assert f"Median {middle}; half of all points lie between {low} and {high}." in page
    assert f"24 points: median {middle}, half of all points between {low} and {high}." in page, "to be read aloud"
    assert "log1p CP10k: 24. Genes without" in page
    assert "a single real or simulated cell: 1 of 3 conditions" in page


def test_where_no_gene_has_a_variance_a_sentence_stands_for_the_plots(evaluation):
    results = tuple(dataclasses.replace(result, moments={}) for result in evaluation.results)
    page = as_html(dataclasses.replace(evaluation, results=results))
    assert "There is no plot: no gene has a mean and a variance above 0" in page
    assert "a single real or simulated cell: 3 of 3 conditions" in page
    assert 'id="plot-ratios"' not in page


def test_of_very_many_points_the_page_says_how_many_are_drawn(evaluation):
    many = np.ones(3_000, dtype=np.float32)
    results = tuple(
        dataclasses.replace(result, moments={"real": (many, many), "model": (many, many)})
        for result in evaluation.results
    )
    page = as_html(dataclasses.replace(evaluation, results=results))
    assert "log1p CP10k: 4,000 of 9,000, drawn by seed. " in page
    assert "single real or simulated cell" not in page


def test_scripts_and_templates_are_in_the_package():
    files = {file.name for file in resources.files("gensim.metrics").joinpath("html").iterdir()}
    assert files == {*SCRIPTS, "page.css", "page.html", "summary.html", "spread.html", "meanings.html"}
