"""The pages about one decision and one person, in Chromium: on a desk and on a small phone, in four languages."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Browser

from gateway.words import LANGUAGES
from tests.acme import NOW, Acme
from tests.browser.test_pages import ANNA, SIZES, WIM, check, signed_in, window, world

__all__ = ["world"]
LONG = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz " * 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_why_and_who_can_be_read_and_used(world: Acme, browser: Browser, size: str, scheme: Any) -> None:
    world.now = NOW + timedelta(hours=1)
    async with world.client() as client:
        await client.post(f"/o/{world.link(ANNA)}", data={"List-Unsubscribe": "One-Click"})
    world.now = NOW + timedelta(hours=2)
    await world.send({ANNA: "SUPPRESSED_PURPOSE", WIM: "PRODUCT_NOT_SIMILAR"}, subject=LONG)
    page = await signed_in(world, await window(browser, size, color_scheme=scheme), "privacy")
    await page.goto(world.config.public_url + "/staff/blocked")
    await check(page, "nl")
    await page.click("main form.act button")
    await check(page, "nl")
    await page.click(f"tbody tr:has-text('{ANNA}') a")
    await check(page, "nl")
    await page.click("text=Toon de gegevens van deze persoon")
    assert await page.inner_text("h1") == "Waarom is deze mail tegengehouden?"
    assert "Afmelding van" in await page.inner_text(".facts")
    await check(page, "nl")
    await page.click("text=Alles over deze persoon")
    assert await page.locator("h2").first.inner_text() == ANNA
    await check(page, "nl")
    assert await page.locator(".verdicts tbody tr").count() == 2
    assert await page.locator(".moments").count() == 2
    await page.fill("#address", "niemand@example.org")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=Van dit adres is hier niets vastgelegd.")
    await check(page, "nl")
    assert "@" not in page.url


@pytest.mark.parametrize("language", LANGUAGES)
async def test_both_pages_speak_four_languages(world: Acme, browser: Browser, language: str) -> None:
    world.now = NOW + timedelta(hours=2)
    message = await world.send({ANNA: "ALLOW_OPT_IN"})
    page = await signed_in(world, await window(browser, "phone", language), "privacy")
    await page.goto(f"{world.config.public_url}/staff/decisions/acme/{message}/0")
    await check(page, language)
    await page.click("main form[action^='/staff/decisions'] button")
    await check(page, language)
    await page.click("main form[action='/staff/people'] button")
    await check(page, language)
    assert await page.locator(".moments tbody tr").count() >= 2
