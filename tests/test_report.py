"""The report's page in a real browser: headless Chromium, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from benchmarks import codecs, equal_bytes, plots, report
from benchmarks.summary import SCORES, BdRate, EqualScore, EqualSize, Point, Summary
from tests.browser import CHROMIUM, DRIVER, browse, console
from tests.commands import PATIENCE
from tests.drawing import draw

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    points = [Point(q, q / 100, 25 + q / 10, 0.9 + q / 1000, 20 + q / 2) for q in (10, 20, 40, 80)]
    ours = Summary("neurocodec-x", "neurocodec (x)", points, BdRate(-20, 25, 30), BdRate(refused="too <narrow>"))
    ours.sizes = [EqualSize(0.9, 0.1, -60.0), EqualSize(0.95, 0.2, -50.0), EqualSize(0.98, None, None)]
    ours.bd_ssimulacra2 = BdRate(-40, 30, 60)
    ours.scores = [EqualScore(30, 0.1, -33.3), *(EqualScore(s, None, None) for s in SCORES[1:])]
    summaries = [ours, Summary("jpeg", "JPEG", points)]
    files = plots.draw_all(folder, "a test", summaries, [])
    shown = []
    for seed, (height, width) in enumerate([(180, 240), (240, 1000)]):
        pixels = draw("shapes", height, width, seed)
        pair = equal_bytes.pair_of(codecs.make("jpeg"), codecs.make("neurocodec-visual"), pixels, 20)
        shown.append(report.show(f"<{seed}>.png", pixels, pair))
    path = folder / "report.html"
    report.write(path, "a <test>", summaries, files, shown, {"date": "today"}, ["a note"])
    return path


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[webdriver.Chrome]:
    with browse(page) as driver:
        WebDriverWait(driver, PATIENCE).until(
            lambda d: d.execute_script("return [...document.images].every(i => i.complete && i.src)")
        )
        yield driver


def clip(image: WebElement) -> str:
    return image.value_of_css_property("clip-path").replace(" ", "")


def test_it_renders_without_an_error_or_a_request(browser: webdriver.Chrome) -> None:
    assert console(browser) == []
    widths = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert len(widths) == 3 + 2 * (2 + 3)
    assert min(widths) > 0
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith("data:") for name in fetched)
    assert browser.find_element(By.TAG_NAME, "h1").text == "neurocodec benchmark: a <test>"
    table = browser.find_element(By.ID, "codecs").text
    assert "-20.0 % (25.0 to 30.0 dB)" in table
    assert "refused" in table
    assert "-40.0 % (30.0 to 60.0)" in table
    assert "-33.3 % (0.100 bpp)" in table
    assert "ColorVideoVDP" not in table
    cells = browser.execute_script("return [...document.querySelectorAll('#codecs tr')].map(r => r.cells.length)")
    assert cells == [1 + 3 + 5 + 3 + 3] * 3
    assert "SSIMULACRA 2 " in browser.find_element(By.CSS_SELECTOR, ".crops").text
    assert "900x240 pixels of 1000x240 are shown" in browser.page_source


def test_the_slider_moves(browser: webdriver.Chrome) -> None:
    figure = browser.find_element(By.CSS_SELECTOR, ".compare")
    right, line = (figure.find_element(By.CSS_SELECTOR, f".slider .{c}") for c in ("right", "line"))
    handle = figure.find_element(By.TAG_NAME, "input")
    assert clip(right) == "inset(0px0px0px50%)"
    middle = line.location["x"]
    webdriver.ActionChains(browser).move_to_element(handle).click_and_hold().move_by_offset(60, 0).release().perform()
    assert line.location["x"] > middle + 40
    handle.send_keys(Keys.HOME)
    assert clip(right) == "inset(0px)" or clip(right).endswith("0%)")


def test_the_sides_can_be_chosen(browser: webdriver.Chrome) -> None:
    figure = browser.find_element(By.CSS_SELECTOR, ".compare")
    left = figure.find_element(By.CSS_SELECTOR, ".slider .left")
    shown = {left.get_attribute("src")}
    for value in ("original", "ours"):
        Select(figure.find_element(By.CSS_SELECTOR, ".left-choice")).select_by_value(value)
        shown.add(left.get_attribute("src"))
    assert len(shown) == 3
    crops = [i.get_attribute("src") for i in figure.find_elements(By.CSS_SELECTOR, ".crop img")]
    assert set(crops) == shown
    assert console(browser) == []
