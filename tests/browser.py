"""A page in a real browser: headless Chromium, opened from disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.remote.command import Command

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
# A browser in a container without a network: no sandbox, and nothing that calls home.
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1200,900"
)


@contextmanager
def browse(page: Path) -> Iterator[webdriver.Chrome]:
    """A browser that shows a page and keeps what it writes to the console."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in OPTIONS.split():
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as driver:
        driver.get(page.as_uri())
        yield driver


def console(browser: webdriver.Chrome) -> list[object]:
    """What the page wrote to the console since the last call."""
    return list(browser.execute(Command.GET_LOG, {"type": "browser"})["value"])
