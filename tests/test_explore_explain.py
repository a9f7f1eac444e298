"""The page on where the bits go: its sums are the file's, and it works in a real browser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from neurocodec import api, container, model, weights
from neurocodec.explore import charts, explain, page, usage
from neurocodec.fixedpoint import POSITION_BITS
from neurocodec.images import Picture
from neurocodec.model import Codec
from neurocodec.windows import silent
from tests.browser import CHROMIUM, DRIVER, browse, console
from tests.commands import MODEL, assert_error, run
from tests.drawing import draw
from tests.golden.make import TINY

POSITION = 3 << (POSITION_BITS - 1)  # between two anchors
COFFEE = Path(skimage.__file__).parent / "data" / "coffee.png"


@pytest.mark.parametrize("name", [str(TINY), "visual", "psnr"])
def test_rates_are_those_of_the_file(name: str) -> None:
    """Bits of y and z against the latents of a real file, within one percent; and the coder's own bytes."""
    loaded = weights.load(name, torch.device("cpu"))
    with Image.open(COFFEE) as image:
        pixels = np.asarray(image)[100:292, 200:420]
    for quality in (20, 75):
        real = container.unpack(api.compress(pixels, quality, name), max_pixels=10**6).latents
        found = usage.measure(loaded.codec, torch.from_numpy(pixels.copy()), loaded.position(100 * quality))
        assert found.bits == pytest.approx(8 * len(real), rel=0.01, abs=64)
        assert found.coded == real
        assert float(found.channels.sum()) == pytest.approx(float(found.y.sum()))
        assert min(found.y.min(), found.z.min(), found.channels.min()) >= 0
        assert found.y.shape == (12, 16)
        assert found.z.shape == (3, 4)


def test_the_map_knows_its_place(plain: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are coded one by one put their bits where one block does; noise in a corner is dear there."""
    pixels = draw("flat", 256, 320)
    pixels[:64, 256:] = draw("noise", 64, 64)
    x = torch.from_numpy(pixels)
    one = usage.measure(plain, x, POSITION)
    monkeypatch.setattr(model, "BLOCK", 1)
    many = usage.measure(plain, x, POSITION)
    assert torch.equal(one.y_hat, many.y_hat)
    torch.testing.assert_close(one.y, many.y)
    torch.testing.assert_close(one.channels, many.channels)
    corner = float(one.y[:4, 16:].mean())
    assert corner > 3 * float(one.y[8:, :12].mean())


def test_costs_count_escapes(tiny: weights.LoadedModel) -> None:
    tables = tiny.codec.y_tables
    radius = int(tables.radius[3])
    symbols = np.array([0, radius, radius + 1, -radius - 900], np.int32)
    bits = usage.costs_of(symbols, np.full(4, 3, np.uint8), tables)
    row = tables.row(3) / 2**20
    assert bits[0] == pytest.approx(-math.log2(row[radius]))
    assert bits[1] == pytest.approx(-math.log2(row[2 * radius]))
    assert bits[2] == bits[3] == pytest.approx(16 - math.log2(row[-1]))


def test_sigma_makes_the_loss_a_likelihood() -> None:
    """weight * 255^2 MSE is -log2 of a normal density of this sigma, but for its constant."""
    errors = np.array([[3.0, -7.0, 0.5], [1.0, 2.0, -4.0]])  # two pixels, in levels
    weight = 0.0137
    sigma = explain.sigma(weight)
    density = -np.log2(np.exp(-(errors**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))).sum() / len(errors)
    constant = 3 * math.log2(sigma * math.sqrt(2 * math.pi))
    assert density == pytest.approx(weight * (errors**2).mean() + constant)


def test_terms_of_the_elbo() -> None:
    """Of a shipped model: lambda is the objective's, D is squared error, and more quality is more rate."""
    loaded = weights.load("psnr", torch.device("cpu"))
    with Image.open(COFFEE) as image:
        picture = Picture(np.asarray(image)[100:292, 200:392].copy())
    levels = explain.levels(loaded, picture, [20, 60, 90], silent)
    for level in levels:
        mse = np.mean((level.decoded.astype(float) - picture.pixels) ** 2)
        assert level.distortion == pytest.approx(mse, rel=1e-4)
        assert level.multiplier is not None
        assert level.loss == pytest.approx(level.rate + level.multiplier * mse, rel=1e-4)
        decoded = api.decompress(api.compress(picture, level.quality, "psnr"))
        # From a file or not: another layout in memory may round a float otherwise, and so a pixel by one level.
        assert np.abs(decoded.pixels.astype(int) - level.decoded).max() <= 1
    rates, multipliers = [v.rate for v in levels], [v.multiplier or 0 for v in levels]
    assert rates == sorted(rates)
    assert multipliers == sorted(multipliers)
    assert [v.psnr for v in levels] == sorted(v.psnr for v in levels)


def test_heat_rises() -> None:
    ramp = charts.heat(np.linspace(0, 9, 50)[None], 9.0)[0].astype(int).sum(1)
    assert (np.diff(ramp) > 0).all()
    assert (charts.heat(np.zeros((2, 2)), 0.0) == charts.HEAT[0]).all()


def test_channels_that_matter() -> None:
    assert page.most([50, 40, 6, 4]) == 2
    assert page.most([50, 39, 7, 4]) == 3
    assert page.most([0.0, 0.0]) == 0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 3), (170, 200)])
def test_any_picture_has_a_page(tmp_path: Path, height: int, width: int) -> None:
    pixels = np.concatenate([draw("shapes", height, width), draw("gradient", height, width)[:, :, :1]], 2)
    Image.fromarray(pixels).save(tmp_path / "<b>.png")
    out = tmp_path / "x.html"
    result = run("explain", tmp_path / "<b>.png", out, "--qualities", "30", "--json", *MODEL)
    assert result.exit_code == 0, result.output
    fields = json.loads(result.stdout)
    html = out.read_text()
    assert "<b>" not in html
    assert "&lt;b&gt;.png" in html
    assert "$" not in re.sub(r"\$\{?[0-9]", "", html)  # every place is filled
    assert fields["bits_y"] + fields["bits_z"] == pytest.approx(8 * fields["bytes"], rel=0.02, abs=64)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in.png", "x.pdf"], ["x.pdf", ".html"]),
        (["in.png", "old.html"], ["old.html exists", "--force"]),
        (["old.html", "x.html"], ["old.html", "not a picture"]),
        (["none.png", "x.html"], ["none.png", "No such file"]),
        (["in.png", "x.html", "--max-pixels", "5"], ["limit of 5"]),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(draw("shapes", 20, 20)).save("in.png")
    Path("old.html").write_text("hello")
    before = {p: p.read_bytes() for p in Path().iterdir()}
    assert_error(run("explain", *arguments, *MODEL), *words)
    assert {p: p.read_bytes() for p in Path().iterdir()} == before


@pytest.mark.parametrize("qualities", ["", "5,high", "0", "101", "nan", ",".join(["5"] * 13)])
def test_wrong_usage(tmp_path: Path, qualities: str) -> None:
    result = run("explain", COFFEE, tmp_path / "x.html", "--qualities", qualities)
    assert result.exit_code == 2
    assert "--qualities" in result.stderr


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    folder = tmp_path_factory.mktemp("explain")
    with Image.open(COFFEE) as image:
        image.crop((200, 80, 400, 260)).save(folder / "cup.png")
    arguments = ["--qualities", "20,60", "-q", "75", "--model", "psnr"]
    assert run("explain", folder / "cup.png", folder / "cup.html", *arguments).exit_code == 0
    with browse(folder / "cup.html") as driver:
        yield driver


def test_it_renders_without_an_error_or_a_request(browser: webdriver.Chrome) -> None:
    assert console(browser) == []
    widths = browser.execute_script("return [...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
    assert widths == [[200, 180], [13, 12]]
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith("data:") for name in fetched)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#levels tbody tr")) == 3
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg")) == 2
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg circle")) == 3
    y, z, both = (
        float(row.find_elements(By.TAG_NAME, "td")[1].text.replace(",", ""))
        for row in browser.find_elements(By.CSS_SELECTOR, "#rate tbody tr")
    )
    assert y + z == pytest.approx(both, abs=1.5)
    left, right = browser.find_element(By.ID, "loss").text.removesuffix(" bits per pixel").split(" = ")[1:]
    rate, weighed = left.split(" + ")
    factor, distortion = weighed.split(" · ")
    assert float(rate) + float(factor) * float(distortion) == pytest.approx(float(right), rel=1e-3)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_its_controls_work(browser: webdriver.Chrome) -> None:
    picture, heat = (browser.find_element(By.ID, name) for name in ("picture", "heat"))
    # The map's last squares reach beyond the picture, whose sides are no multiples of 16.
    assert heat.size["width"] / picture.size["width"] == pytest.approx(13 * 16 / 200, abs=0.01)
    shown = {}
    for quality in ("20", "60", "75"):
        Select(browser.find_element(By.ID, "level")).select_by_visible_text(quality)
        shown[quality] = (picture.get_attribute("src"), heat.get_attribute("src"))
        assert browser.find_element(By.ID, "figures").text.startswith(f"Quality {quality}:")
    assert len({src for pair in shown.values() for src in pair}) == 6
    Select(browser.find_element(By.ID, "view")).select_by_value("original")
    assert picture.get_attribute("src") not in {decoded for decoded, _ in shown.values()}
    slider = browser.find_element(By.ID, "opacity")
    browser.execute_script("arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input'))", slider)
    assert heat.value_of_css_property("opacity") == "0"
    assert console(browser) == []
