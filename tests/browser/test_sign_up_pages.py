"""Signing up as people meet it, in Chromium without scripts: the form, its mistakes, the answer, the button.

What holds for every page of ours holds here too (test_pages.check).
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser

from gateway.words import LANGUAGES
from tests.browser.test_pages import SIZES, Quiet, check, window
from tests.story.sign_ups import Forms, forms

NEW = "nieuw@example.org"
TITLES = {
    "nl": ("Bijna klaar", "U bent aangemeld"), "en": ("Almost done", "You are signed up"),
    "fr": ("C'est presque fini", "Vous êtes inscrit"), "de": ("Fast geschafft", "Sie sind angemeldet"),
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def here(tmp_path: Path) -> AsyncIterator[Forms]:
    """Acme's forms behind a real web server on a free port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    async with forms(tmp_path, public_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as made:
        server = Quiet(uvicorn.Config(made.world.app, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield made
        server.should_exit = True
        await serving


async def token_of(here: Forms, address: str) -> str:
    [asked] = [one for one in await here.entries(address) if one.kind == "opt_in_requested"]
    return str(asked.fields["sign_up"]["mail"]["text"]).partition("/c/")[2].split()[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_from_the_form_to_the_button(here: Forms, browser: Browser, size: str, language: str) -> None:
    context = await window(browser, size, language)
    page = await context.new_page()
    own = here.world.config.public_url
    await page.goto(f"{own}/s/acme/newsletter")
    await check(page, language)
    assert await page.locator("input[type=checkbox]").count() == 2
    assert await page.locator("input[type=checkbox]:checked").count() == 0
    await page.click("main button")
    await check(page, language)
    assert await page.evaluate("document.activeElement.getAttribute('role')") == "alert"
    assert await page.locator("[role=alert] a").count() == 2
    await page.check("#purpose-newsletter")
    await page.fill("#address", NEW)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f'h1:has-text("{TITLES[language][0]}")')
    await check(page, language)
    await page.goto(f"{own}/c/{await token_of(here, NEW)}")
    await check(page, language)
    button = page.locator("main button")
    box = await button.bounding_box()
    assert await button.count() == 1 and box is not None and box["y"] + box["height"] <= SIZES[size][1]
    await button.click()
    await page.wait_for_selector(f'[role=status] h1:has-text("{TITLES[language][1]}")')
    await check(page, language)
    await page.click("main a")
    await check(page, language)
    assert "/p/" in page.url and await context.cookies() == []


async def test_by_keyboard_alone(here: Forms, browser: Browser) -> None:
    page = await (await window(browser, "desk")).new_page()
    await page.goto(f"{here.world.config.public_url}/s/acme/newsletter")
    reached = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", reached
    assert reached == ["purpose-newsletter", "purpose-events", "address", "A", "BUTTON"]
    await page.focus("#purpose-newsletter")
    await page.keyboard.press("Space")
    await page.focus("#address")
    await page.keyboard.type(NEW)
    await page.keyboard.press("Enter")
    await page.wait_for_selector('h1:has-text("Bijna klaar")')
    assert (await here.person(NEW)).standing.consents[0].purposes == ("newsletter",)


async def test_whole_at_four_times_the_size(here: Forms, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 320, "height": 256}, java_script_enabled=False)
    page = await context.new_page()
    own = here.world.config.public_url
    token = await here.asked(NEW)
    for path in ("/s/acme/newsletter", "/s/acme/youth", f"/c/{token}"):
        await page.goto(own + path)
        wide = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], path


@pytest.mark.parametrize("size", SIZES)
async def test_a_child_is_led_to_a_parent(here: Forms, browser: Browser, size: str) -> None:
    page = await (await window(browser, size)).new_page()
    await page.goto(f"{here.world.config.public_url}/s/acme/youth")
    await check(page, "nl")
    await page.check("#purpose-events")
    await page.fill("#address", "kind@example.org")
    await page.fill("#birth", f"{here.world.now.year - 10}-01-02")
    await page.click("main button")
    await page.wait_for_selector('h1:has-text("ouder")')
    await check(page, "nl")
    assert await page.input_value("#address") == "" and await page.locator("#birth").count() == 0
    await page.check("#purpose-events")
    await page.fill("#address", "ouder@example.org")
    await page.click("main button")
    await page.wait_for_selector('h1:has-text("Bijna klaar")')
    assert "Vraag uw ouder of voogd de mail te openen die naar ouder@example.org gaat" in await page.inner_text("main")
    await page.goto(f"{here.world.config.public_url}/c/{await token_of(here, 'ouder@example.org')}")
    await check(page, "nl")
    await page.click("main button")
    [consent] = (await here.person("ouder@example.org")).standing.consents
    assert consent.parental_authorisation and not (await here.person("kind@example.org")).seen
