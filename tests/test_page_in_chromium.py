"""The page as a reader uses it, in a headless Chromium: sorts, searches, switches, and stays silent."""

import dataclasses

import numpy as np
import pytest
from chromium import chromium_page, installed
from pages import EVIL, evaluation_with_pictures

from gensim.metrics.html_report import as_html

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium on this machine (apt-get install chromium)")
N_CONDITIONS = 12
NAMES = "[...document.querySelectorAll('#table tbody tr:not([hidden])')].map(r => r.cells[0].textContent)"
SETTLED = "new Promise(done => setTimeout(done, 300))"


@pytest.fixture(scope="module")
def evaluation():
    return evaluation_with_pictures(N_CONDITIONS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser, evaluation, tmp_path):
    file = _written(evaluation, tmp_path / "report.html")
    browser.ask("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(file)
    browser.run(SETTLED)
    yield browser
    assert browser.complaints == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
    assert browser.run("document.title") != "run", "a name was run as a script"


def _written(evaluation, file):
    file.write_text(as_html(evaluation, {}, [EVIL]), encoding="utf-8")
    return file


def head(page, column):
    return f"document.querySelector('#table thead').rows[0].cells[{column}]"


def press_enter_on(page, element):
    page.run(f"{element}.querySelector('button').focus()")
    page.press("Enter", 13)


def test_it_opens_with_plots_of_the_first_condition(page, evaluation):
    assert page.run(f"{NAMES}.length") == N_CONDITIONS
    assert page.run("document.querySelectorAll('#plot-places .point').length") == 3 * 30
    assert page.run("document.querySelectorAll('#plot-effects .scatterlayer .trace:first-child .point').length") == 12
    assert page.run("[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('svg'))")
    assert page.run("[...document.querySelectorAll('.plot')].every(plot => plot.getAttribute('aria-label'))")
    assert "n = 30 real cells (of 39), 30 simulated cells" in page.run("document.getElementById('cells').textContent")


def test_the_script_reads_what_was_written(page, evaluation):
    pictures = evaluation.results[3].pictures
    read = page.run("picturesOf(DATA.conditions[3])")
    assert read["genes"] == list(pictures.genes)
    for name, values in pictures.of_genes.items():
        np.testing.assert_array_equal(np.array(read["ofGenes"][name], dtype=np.float16), values)
    np.testing.assert_array_equal(np.float16(read["places"]["simulated"]), pictures.places["simulated"])
    last = [read["distributions"][-1][name] for name in ("control", "real", "simulated")]
    np.testing.assert_array_equal(np.float16(last), pictures.distributions[-1])
    for name, values in pictures.coverage.items():
        np.testing.assert_array_equal(np.float16(read["coverage"][name]), values)


def test_spread_of_all_conditions_stands_where_it_belongs(page, evaluation):
    found = [result.moments for result in evaluation.results if result.moments]
    read = page.run("spreadOf(DATA.spread)")
    for k, name in enumerate(("mean", "variance")):
        for side, population in (("real", "real"), ("model", "simulated")):
            np.testing.assert_allclose(read[name][population], np.concatenate([m[side][k] for m in found]), rtol=2e-3)
    assert len(read["ratio"]) == 11 * 12, "P2 has no variances"
    assert page.run("document.querySelectorAll('#plot-all-spread .point').length") == 2 * 11 * 12
    assert page.run("document.querySelectorAll('#plot-ratios .point').length") == 11 * 12
    line = "document.querySelector('#plot-ratios .shapelayer path').getBoundingClientRect()"
    plot = "document.getElementById('plot-ratios')"
    bottom = f"{plot}.querySelector('.bglayer rect, .plotbg rect, .nsewdrag').getBoundingClientRect().bottom"
    axis = f"{plot}._fullLayout.yaxis"
    assert page.run(f"{axis}.type") == "log"
    assert page.run(f"{axis}.range[0] < 0 && {axis}.range[1] > 0")
    at = f"{bottom} - {axis}._length * (0 - {axis}.range[0]) / ({axis}.range[1] - {axis}.range[0])"
    assert page.run(f"Math.abs({line}.top - ({at}))") < 2, "the line is where variances are equal"


@pytest.mark.parametrize("empty", [{}, dict.fromkeys(("real", "model"), (np.zeros(3, np.float32),) * 2)])
def test_without_variances_there_is_a_sentence(page, evaluation, tmp_path, empty):
    results = tuple(dataclasses.replace(result, moments=empty) for result in evaluation.results)
    page.open(_written(dataclasses.replace(evaluation, results=results), tmp_path / "empty.html"))
    assert "There is no plot" in page.run("document.getElementById('spread').textContent")
    page.run("choose(4)")
    page.run(SETTLED)
    assert page.run("document.querySelectorAll('#plot-places .point').length") == 3 * 30, "the others are there"


def test_half_precision_has_zeros_subnormals_and_infinities(page):
    values = np.array([0, -1.5, 6e-8, 65504, np.inf, -np.inf, np.nan, 1 / 3], dtype="<f2")
    read = page.run(f"float16(new Uint8Array({list(values.tobytes())})).map(String)")
    np.testing.assert_array_equal(np.array([float(v.replace("Infinity", "inf")) for v in read]), values.astype(float))


def test_columns_sort_by_keyboard_and_say_so(page):
    worst_first = page.run(NAMES)
    assert worst_first[:3] == ["P0", EVIL, "P3"], "score 0, 0.1, 0.3"
    assert worst_first[-1] == "P2", "without a score: last"
    assert page.run(f"{head(page, 2)}.getAttribute('aria-sort')") == "ascending"
    press_enter_on(page, head(page, 2))
    assert page.run(f"{head(page, 2)}.getAttribute('aria-sort')") == "descending"
    assert page.run(NAMES)[:2] == ["P11", "P10"]
    assert page.run(NAMES)[-1] == "P2", "still last"
    press_enter_on(page, head(page, 0))
    assert page.run(f"{head(page, 2)}.getAttribute('aria-sort')") == "none"
    assert page.run(NAMES)[-2:] == ["P10", "P11"], "numbers in names are numbers"


def test_search_hides_what_does_not_match(page):
    assert page.run("document.querySelector('label[for=search]').textContent") == "Search conditions"
    page.run("document.getElementById('search').focus()")
    page.ask("Input.insertText", text="p1")
    assert set(page.run(NAMES)) == {"P10", "P11"}
    assert page.run("document.getElementById('count').textContent") == "2 of 12 conditions"


def test_a_condition_is_chosen_by_list_by_row_and_by_button(page, evaluation):
    effects = "document.getElementById('plot-effects').data[0].x"

    def shows(i):
        page.run(SETTLED)
        assert page.run("document.getElementById('choice').value") == str(i)
        assert page.run("document.querySelector('[aria-current]').cells[0].textContent") == f"P{i}"
        np.testing.assert_array_equal(
            np.float16(page.run(effects)), evaluation.results[i].pictures.of_genes["effect_real"]
        )

    page.run("(c => { c.value = '4'; c.dispatchEvent(new Event('change')); })(document.getElementById('choice'))")
    shows(4)
    page.run("[...document.querySelectorAll('#table tbody tr')].find(r => r.cells[0].textContent === 'P7').click()")
    shows(7)
    assert page.run("document.activeElement.id") == "choice"
    press_enter_on(page, "[...document.querySelectorAll('#table tbody th')].find(c => c.textContent === 'P9')")
    shows(9)
    page.run("document.getElementById('next').click()")
    shows(10)


def test_names_are_shown_as_they_are(page):
    page.run("choose(1)")
    page.run(SETTLED)
    assert page.run("document.getElementById('choice').selectedOptions[0].textContent") == EVIL
    assert page.run("document.querySelector('#genes tbody th').textContent") == EVIL
    assert page.run("document.querySelector('#plot-effects .textpoint text').textContent") == EVIL
    assert page.run("document.querySelectorAll('img, body b').length") == 0


def test_another_metric_changes_values_and_explanation(page):
    page.run(
        "(m => { m.value = String(DATA.metrics.findIndex((metric) => metric.key === 'l2_delta'));"
        " m.dispatchEvent(new Event('change')); })(document.getElementById('metric'))"
    )
    assert page.run("document.getElementById('metric-meaning').textContent").startswith("L2 of the difference")
    assert page.run(NAMES)[:3] == ["P0", EVIL, "P2"], "of this metric P2 has a score"


def test_a_missing_value_has_its_reason(page):
    page.run("choose(2)")
    assert page.run("document.getElementById('reasons').textContent") == "(1) too few cells"
    assert page.run("document.querySelector('#values tbody tr').cells[1].textContent") == "– (1)"


def test_a_phone_needs_no_horizontal_scroll(page):
    page.ask("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    page.reload()
    page.run(SETTLED)
    assert page.run("innerWidth") == 360
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.run("[...document.querySelectorAll('.plot')].every(p => p.getBoundingClientRect().right <= 360)")


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_text_can_be_read_in_light_and_dark(page, scheme, dark):
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.run(SETTLED)
    colours = {name: page.run(f"colour('{name}')") for name in ("back", "fore", "soft", "link", "panel")}
    assert (luminance(colours["back"]) < 0.1) == dark
    for name in ("fore", "soft", "link"):
        for behind in ("back", "panel"):
            assert contrast(colours[name], colours[behind]) >= 4.5, f"{name} on {behind}: WCAG AA"
    for population in ("control", "real", "simulated", "replicate"):
        assert contrast(page.run(f"colour('{population}')"), colours["back"]) >= 3, population
    of_plots = page.run("[...document.querySelectorAll('.plot')].map(plot => plot.layout.font.color)")
    assert set(of_plots) == {colours["fore"]}, "plots follow"


def luminance(colour):
    """Relative luminance of #rrggbb, after WCAG 2."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
