"""The page of who was told, in Chromium: on a desk and on a small phone, in four languages, empty and full."""

import pytest
from playwright.async_api import Browser

from gateway.words import LANGUAGES
from tests.acme import Acme
from tests.browser.test_pages import SIZES, check, signed_in, window, world
from tests.story.test_web_told import told

__all__ = ["world"]


@pytest.mark.parametrize("size", SIZES)
async def test_the_page_of_who_was_told_can_be_read_and_used(world: Acme, browser: Browser, size: str) -> None:
    for full in (False, True):
        if full:
            await told(world)
        for language in LANGUAGES:
            context = await window(browser, size, language)
            page = await signed_in(world, context, "privacy")
            await page.goto(world.config.public_url + f"/staff/told?lang={language}")
            await check(page, language)
            await context.close()
