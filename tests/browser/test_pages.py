"""Pages as people meet them, in Debian's Chromium: on a desk and on a small phone, in four languages, without scripts.

Invariants: nothing scrolls sideways, text can be read, every control has a name and is large enough, the keyboard
reaches the buttons in order, the page's language is the language of its text, and a captured mail stays in its frame.
Scripts are off in the pages (`java_script_enabled=False`); what a test measures it measures from outside.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, Request

from gateway import appraise
from gateway.words import LANGUAGES
from suppression.provenance import ListSource
from tests.acme import PASSWORD, Acme, acme
from tests.story.test_proof_pages import FORM
from tests.story.test_web_staff import captured_evil

SIZES = {"desk": (1280, 800), "phone": (360, 740)}
ANNA, WIM = "anna@example.org", "wim@example.org"
LOCALES = {"nl": "nl-NL", "en": "en-GB", "fr": "fr-FR", "de": "de-DE"}

# Every text of the page with the colours it really has: the nearest ancestor that paints a background counts.
TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    const box = element.getBoundingClientRect();
    if (!text || box.right <= 0 || box.width <= 1 || getComputedStyle(element).visibility === 'hidden') continue;
    let under = element, background = 'rgba(0, 0, 0, 0)';
    while (under && background === 'rgba(0, 0, 0, 0)') {
      background = getComputedStyle(under).backgroundColor; under = under.parentElement;
    }
    const style = getComputedStyle(element);
    found.push({text, color: style.color, background, size: parseFloat(style.fontSize), weight: +style.fontWeight});
  }
  return found;
}"""
CONTROLS = """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')]
  .filter(e => e.checkVisibility()).map(e => ({
  tag: e.tagName, name: e.getAttribute('aria-label') || (e.labels && e.labels[0] ? e.labels[0].innerText : e.innerText),
  height: (e.type === 'checkbox' ? e.parentElement : e).getBoundingClientRect().height,
  width: e.getBoundingClientRect().width,
  inline: getComputedStyle(e).display === 'inline' || e.className === 'skip',
}))"""
# Where a table's cells stand below each other (narrow windows): widths of each row's heading and of the row.
STACKED = """() => [...document.querySelectorAll('tbody th')]
  .filter(e => getComputedStyle(e).display === 'block')
  .map(e => [e.getBoundingClientRect().width, e.parentElement.getBoundingClientRect().width])"""
OUTLINE = """() => [...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])"""


class Quiet(uvicorn.Server):
    """uvicorn that leaves the signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    """Acme behind a real web server on a free port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    async with acme(tmp_path, public_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as made:
        await made.consented(ANNA)
        await made.bought(WIM)
        server = Quiet(uvicorn.Config(made.app, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield made
        server.should_exit = True
        await serving


async def window(browser: Browser, size: str, language: str = "nl", **more: Any) -> BrowserContext:
    """A fresh window of one of SIZES, scripts off."""
    width, height = SIZES[size]
    return await browser.new_context(
        viewport={"width": width, "height": height}, locale=LOCALES[language], java_script_enabled=False, **more
    )


async def signed_in(world: Acme, context: BrowserContext, role: str) -> Page:
    """A page of a member of staff, signed in by typing."""
    await world.staff(role, role)
    page = await context.new_page()
    await page.goto(world.config.public_url + "/staff")
    await page.fill("#name", role)
    await page.fill("#password", PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/staff")
    return page


def recipient_pages(world: Acme) -> dict[str, str]:
    """Every page a recipient can meet with GET."""
    return {
        "stop": f"/u/{world.link(ANNA)}", "customer": f"/u/{world.link(WIM, basis='soft_opt_in')}",
        "why": f"/w/{world.link(ANNA, kind='why')}", "choices": f"/p/{world.link(ANNA, kind='preferences')}",
        "lost": "/u/kapot", "missing": "/nope",
    }  # fmt: skip


def luminance(colour: str) -> float:
    """WCAG's relative luminance of `rgb(r, g, b)`."""
    shares = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


async def check(page: Page, language: str) -> None:
    """What holds for every page of ours."""
    where = page.url
    assert await page.get_attribute("html", "lang") == language, where
    assert (await page.title()).strip(), where
    wide = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], f"{where} scrolls sideways: {wide}"
    texts = await page.evaluate(TEXTS)
    assert texts, where
    for text in texts:
        light, dark = sorted((luminance(text["color"]), luminance(text["background"])), reverse=True)
        large = text["size"] >= 24 or (text["size"] >= 18.66 and text["weight"] >= 700)
        assert (light + 0.05) / (dark + 0.05) >= (3 if large else 4.5), (where, text)
        assert text["size"] >= 12, (where, text)
    for control in await page.evaluate(CONTROLS):
        assert control["name"].strip(), (where, control)
        if not control["inline"]:
            assert control["height"] >= 24 and control["width"] >= 24, (where, control)
        if control["tag"] in ("BUTTON", "INPUT", "SELECT", "SUMMARY"):
            assert control["height"] >= 44, (where, control)
    for head, row in await page.evaluate(STACKED):
        assert head >= row - 1, f"{where} squeezes the first column: {head} of {row}"
    outline = await page.evaluate(OUTLINE)
    assert outline[0] == 1 and outline.count(1) == 1, (where, outline)
    assert all(below <= above + 1 for above, below in pairwise(outline)), (where, outline)
    assert await page.locator("main").count() == 1, where


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_recipients_pages_can_be_read_and_used(world: Acme, browser: Browser, size: str, language: str) -> None:
    context = await window(browser, size, language)
    outside: list[str] = []
    own = world.config.public_url

    def note(request: Request) -> None:
        if not request.url.startswith(own):
            outside.append(request.url)

    context.on("request", note)
    page = await context.new_page()
    for path in recipient_pages(world).values():
        await page.goto(f"{own}{path}?lang={language}")
        await check(page, language)
    await page.goto(f"{own}/u/{world.link(f'{size}.{language}@example.org')}?lang={language}")
    await page.click("main button >> nth=0")
    await check(page, language)
    assert await page.locator("[role=status] h1").count() == 1
    await page.goto(f"{own}/u/kapot?lang={language}")
    await page.fill("#address", "geen adres")
    await page.click("main button")
    await check(page, language)
    assert outside == [], "a page asked another host for something"
    assert await context.cookies() == []


async def test_one_tap_on_a_phone_stops_the_mail_and_one_more_takes_it_back(world: Acme, browser: Browser) -> None:
    context = await window(browser, "phone")
    page = await context.new_page()
    await page.goto(f"{world.config.public_url}/u/{world.link(ANNA)}")
    first = page.locator("main button").nth(0)
    box = await first.bounding_box()
    assert box is not None and box["y"] + box["height"] <= SIZES["phone"][1], "the button is below the fold"
    await first.click()
    assert await page.inner_text("h1") == "U krijgt de nieuwsbrief niet meer"
    rows = await world.store.suppressions_of("acme", world.key(ANNA))
    assert [(row.scope, row.lifted_at) for row in rows] == [("purpose", None)]
    await page.click("text=Dit was een vergissing")
    assert "Teruggedraaid" in await page.inner_text("h1")
    rows = await world.store.suppressions_of("acme", world.key(ANNA))
    assert all(row.lifted_at is not None for row in rows)


async def test_both_ways_out_are_equally_prominent(world: Acme, browser: Browser) -> None:
    context = await window(browser, "phone")
    page = await context.new_page()
    await page.goto(f"{world.config.public_url}/u/{world.link(ANNA)}")
    looks = await page.evaluate("""() => [...document.querySelectorAll('main button')].map(e => {
      const s = getComputedStyle(e);
      return [s.backgroundColor, s.color, s.fontSize, s.fontWeight, e.getBoundingClientRect().width].join(' ');
    })""")
    assert len(looks) == 2 and looks[0] == looks[1]


async def test_the_keyboard_reaches_the_buttons_first_and_shows_where_it_is(world: Acme, browser: Browser) -> None:
    context = await window(browser, "desk")
    page = await context.new_page()
    await page.goto(f"{world.config.public_url}/u/{world.link(ANNA)}")
    reached = []
    for _ in range(4):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.innerText.trim()"))
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached
    assert reached == [
        "Stop de nieuwsbrief", "Stop alle reclame van Acme Wijnen", "Waarom krijg ik dit?",
        "Andere mails van Acme Wijnen kiezen of stoppen",
    ]  # fmt: skip
    await page.goto(f"{world.config.public_url}/u/{world.link(ANNA)}")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=status]")
    assert len(await world.store.suppressions_of("acme", world.key(ANNA))) == 1


async def test_a_wrong_address_takes_focus_to_what_is_wrong(world: Acme, browser: Browser) -> None:
    context = await window(browser, "phone")
    page = await context.new_page()
    await page.goto(f"{world.config.public_url}/u/")
    await page.fill("#address", "geen adres")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=alert]")
    assert await page.evaluate("document.activeElement.getAttribute('role')") == "alert"
    assert await page.input_value("#address") == "geen adres"


async def test_pages_are_whole_at_four_times_the_size_and_without_style(world: Acme, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 320, "height": 256}, java_script_enabled=False)
    page = await context.new_page()
    for path in recipient_pages(world).values():
        await page.goto(world.config.public_url + path)
        wide = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], path
    await page.goto(f"{world.config.public_url}/u/{world.link(ANNA)}")
    await page.evaluate("document.querySelectorAll('style').forEach(e => e.remove())")
    order = await page.evaluate("document.body.innerText")
    places = [order.index(text) for text in ("Acme Wijnen", "stopzetten", "Stop de nieuwsbrief", "Nederlands")]
    assert places == sorted(places)


async def with_proof(world: Acme) -> None:
    """Somebody agreed to a wording that is on file, another list is not checked yet, and all of it is counted."""
    await world.consented(ANNA, "bob@example.org")
    await world.store.keep_wording("acme", FORM, at=world.now)
    expo = ListSource(name="expo2026", kind="purchased_list", seller="Expo B.V.", version=1)
    await world.store.keep_source("acme", expo, at=world.now)
    await appraise.current(world.store, "acme", clock=world.clock)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
async def test_what_somebody_was_shown_can_be_read(world: Acme, browser: Browser, size: str, language: str) -> None:
    await with_proof(world)
    page = await (await window(browser, size, language)).new_page()
    await page.goto(f"{world.config.public_url}/w/{world.link(ANNA, kind='why')}?lang={language}")
    await page.click("summary")
    await check(page, language)
    assert "Altijd opzegbaar" in await page.inner_text("details")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_staff_pages_can_be_read_and_used(world: Acme, browser: Browser, size: str, scheme: Any) -> None:
    context = await window(browser, size, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(world.config.public_url + "/staff/login")
    await check(page, "nl")
    page = await signed_in(world, context, "marketer")
    await check(page, "nl")
    await world.send({
        "anna@example.org": "ALLOW_OPT_IN", "bob@example.org": "SUPPRESSED_PURPOSE",
        "wim.met.een.lange.naam@onderdeel.van.een.lang.domein.example.org": "PRODUCT_NOT_SIMILAR",
        "niemand@example.org": "RECIPIENT_UNKNOWN", "c@example.org": "CONSENT_UNPROVEN",
        "d@example.org": "ADDRESS_UNDELIVERABLE",
    }, subject="Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz " * 2)  # fmt: skip
    for name in ("", "/campaigns", "/blocked", "/rehearsals", "/captured", "/consents", "/rules"):
        path = "/staff" + name
        await page.goto(world.config.public_url + path)
        await check(page, "nl")
    await with_proof(world)
    await page.goto(world.config.public_url + "/staff/consents")
    await check(page, "nl")
    await page.click("tbody a")
    await check(page, "nl")
    await page.goto(world.config.public_url + "/staff/campaigns")
    await page.click("tbody a")
    await check(page, "nl")
    await page.goto(world.config.public_url + "/staff/captured")
    await page.click("tbody a")
    await check(page, "nl")
    await world.bought("wim@example.org", "clothing")
    await world.send({
        "anna@example.org": "ALLOW_OPT_IN", "wim@example.org": "PRODUCT_NOT_SIMILAR", "x@example.org": "ALLOW_OPT_IN",
    }, subject="Proef", campaign="c2", rehearsed=True)  # fmt: skip
    await world.consented("x@example.org")
    await page.goto(world.config.public_url + "/staff/rehearsals")
    await check(page, "nl")
    await page.click("tbody a")
    await check(page, "nl")
    await page.goto(page.url + "/release")
    await check(page, "nl")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_staff_pages_speak_four_languages(world: Acme, browser: Browser, language: str) -> None:
    await world.send({"bob@example.org": "SUPPRESSED_PURPOSE", "anna@example.org": "ALLOW_OPT_IN"})
    context = await window(browser, "phone", language)
    page = await signed_in(world, context, "privacy")
    for path in ("/staff", "/staff/campaigns", "/staff/blocked", "/staff/rehearsals", "/staff/captured"):
        await page.goto(world.config.public_url + path)
        await check(page, language)


async def test_a_captured_mail_cannot_act_load_or_leave(world: Acme, browser: Browser) -> None:
    asked: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url, own = await captured_evil(world, f"http://127.0.0.1:{port}"), world.config.public_url
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="nl-NL")  # scripts on
    page = await signed_in(world, context, "privacy")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.goto(own + url)
    await page.wait_for_load_state("networkidle")
    frame = page.frames[1]
    assert "Hallo b***@example.org" in await frame.locator("body").inner_text()
    world.requests.clear()
    await frame.locator("button").click()
    await frame.locator("#out").click()
    await page.wait_for_load_state("networkidle")
    await page.goto(f"{own}{url}/html")  # the part by itself, as a curious reader may open it
    await page.wait_for_load_state("networkidle")
    await page.locator("button").click()
    await page.wait_for_load_state("networkidle")
    assert {method for _, method, _ in world.requests} == {"GET"}, "a form or script in the mail was sent"
    assert asked == [], "the mail reached another host"
    assert dialogs == []
    await page.goto(own + "/staff")
    assert await page.locator("text=Ingelogd als privacy").count() == 1, "the mail signed the reader out"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("basis", ["opt_in", "soft_opt_in"])
async def test_the_footer_takes_few_lines_on_a_phone_and_reads_on_any_ground(
    world: Acme, browser: Browser, language: str, basis: str
) -> None:
    """Three lines; one more for customers, whom it tells that they may object (GDPR 21(4))."""
    most = {"opt_in": 3, "soft_opt_in": 4}[basis]
    sender = world.config.controllers["acme"]
    footer = world.words.footer(sender, sender.streams["newsletter"], basis, language).html
    context = await window(browser, "phone")
    page = await context.new_page()
    for ground in ("#000", "#fff"):
        mail = f'<body style="margin:0;background:{ground};color:{ground}">{footer}</body>'
        await page.set_content(mail)
        height = await page.evaluate("""() => {
          const range = document.createRange(); range.selectNodeContents(document.querySelector('td'));
          return range.getBoundingClientRect().height / 18;
        }""")
        assert height <= most + 0.2, (language, basis, height)
        for text in await page.evaluate(TEXTS):
            light, dark = sorted((luminance(text["color"]), luminance(text["background"])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, text


async def test_on_a_phone_the_places_are_behind_one_word(world: Acme, browser: Browser) -> None:
    page = await signed_in(world, await window(browser, "phone", "nl"), "privacy")
    places = page.get_by_role("link", name="Tegengehouden", exact=True)
    assert await places.count() == 0
    heading = await page.locator("h1").bounding_box()
    assert heading is not None and heading["y"] < 260
    await page.click("summary")
    assert await places.count() == 1
    await check(page, "nl")
    await places.click()
    assert page.url.endswith("/staff/blocked") and await page.inner_text("summary .sub") == "Tegengehouden"
