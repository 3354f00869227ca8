"""Reports in a real browser: accessible, readable at every width, in light and dark, and on paper."""

import importlib.resources
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from consumers.analysis import local
from tests.unit import material, publishing

CHROMIUM = shutil.which("chromium")
QUIET = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")
"""A browser of the test's own must not look for updates: only what the page itself asks for counts."""

WIDTHS = {"desktop": (1280, 900), "phone": (360, 740)}
AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; 'make test' installs it")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET])
        try:
            yield running
        finally:
            await running.close()


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


@pytest.fixture(params=["full", "thin", "hostile", "second"])
async def page_file(request: pytest.FixtureRequest, tmp_path: Path, analyst: local.LocalAnalyst) -> Path:
    """A report as a file: with much and with little material, from hostile feeds, and one that has a past."""
    match request.param:
        case "hostile":
            result = await publishing.hostile(analyst)
        case "second":
            result = await publishing.second(analyst)
        case kind:
            topic = {"full": "renewable energy", "thin": "medieval coinage"}[kind]
            result = await publishing.build(analyst, material.energy_task(topic=topic))
    path = tmp_path / f"{request.param}.html"
    path.write_bytes(result.files["html"].content)
    return path


async def opened(browser: Browser, path: Path, width: str, scheme: str) -> Page:
    size = WIDTHS[width]
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    await page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_has_no_barrier_that_the_checker_knows(
    browser: Browser, page_file: Path, width: str, scheme: str
) -> None:
    page = await opened(browser, page_file, width, scheme)
    for details in await page.query_selector_all("details"):
        await details.evaluate("node => { node.open = true }")
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate("options => axe.run(options)", RULES)
    assert len(found["passes"]) > 20
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []


@pytest.mark.parametrize("width", WIDTHS)
async def test_nothing_sticks_out_at_the_side(browser: Browser, page_file: Path, width: str) -> None:
    page = await opened(browser, page_file, width, "light")
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_it_asks_the_network_for_nothing_and_runs_no_code(browser: Browser, page_file: Path) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    await page.goto(page_file.as_uri())
    assert asked == [page_file.as_uri()]
    assert complaints == []


async def test_it_can_be_printed(browser: Browser, page_file: Path) -> None:
    page = await opened(browser, page_file, "desktop", "dark")
    paper = await page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    await page.emulate_media(media="print")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
