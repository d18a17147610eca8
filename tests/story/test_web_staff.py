"""Staff pages: who gets in, what each role may see, and that a look at a mail can never act.

Invariants: no page without a session whose account still stands; nobody sees another controller's rows (P8); addresses
in full for the privacy officer only (RULES.md S2); a captured mail cannot run, post, load or leave its frame.
"""

import asyncio
import csv
import io
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from gateway.store.staff import Staff
from gateway.web.guard import FREE_TRIES
from gateway.web.session import LASTS
from tests.acme import OTHER, PASSWORD, Acme, acme, newsletter, pressed

PAGES = [
    "/staff/rehearsals",
    "/staff",
    "/staff/campaigns",
    "/staff/blocked",
    "/staff/captured",
    "/staff/consents",
    "/staff/rules",
    "/staff/told",
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=OTHER) as made:
        yield made


async def a_campaign(world: Acme) -> str:
    """anna got it, bob opted out, wim bought something else, niemand is unknown."""
    return await world.send({
        "anna@example.org": "ALLOW_OPT_IN", "bob@example.org": "SUPPRESSED_PURPOSE",
        "wim@example.org": "PRODUCT_NOT_SIMILAR", "niemand@example.org": "RECIPIENT_UNKNOWN",
    })  # fmt: skip


@pytest.mark.parametrize(
    "path", [*PAGES, "/staff/campaigns/0", "/staff/captured/acme/0/0", "/staff/captured/acme/0/0/html"]
)
async def test_without_a_session_every_page_leads_to_the_login(world: Acme, path: str) -> None:
    async with world.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/staff/login?next=")


async def test_signing_in_and_out(world: Acme) -> None:
    await world.staff("mara", "marketer")
    async with world.client(headers={"Accept-Language": "nl"}) as client:
        form = await client.get("/staff/login?next=/staff/blocked")
        assert 'name="next" value="/staff/blocked"' in form.text
        entered = {"name": "mara", "password": PASSWORD, "next": "/staff/blocked"}
        answer = await client.post("/staff/login", data=entered)
        assert (answer.status_code, answer.headers["location"]) == (303, "/staff/blocked")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
        page = await client.get("/staff")
        assert "Ingelogd als mara" in page.text
        value = re.search(r'name="form" value="([^"]+)"', page.text)
        assert value is not None
        kept = dict(client.cookies)
        refused = await client.post("/staff/logout", data={"form": "0" * 64})
        assert refused.status_code == 403
        out = await client.post("/staff/logout", data={"form": value[1]})
        assert "U bent uitgelogd." in out.text
        assert (await client.get("/staff")).status_code == 303
        async with world.client(cookies=kept) as thief:
            assert (await thief.get("/staff")).status_code == 303, "a kept cookie outlived signing out"


async def test_over_https_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    async with acme(tmp_path, public_url="https://mail.acme.example") as world:
        await world.staff("mara", "marketer")
        async with world.client() as client:
            answer = await client.post("/staff/login", data={"name": "mara", "password": PASSWORD})
            assert answer.headers["set-cookie"].startswith("__Host-consentgate=")
            assert "secure" in answer.headers["set-cookie"].lower()
            assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "next_", ["https://evil.example/", "//evil.example", "/staff/../u/", "/staff//evil", "javascript:1", "/staff/\\x"]
)
async def test_after_signing_in_nobody_is_sent_elsewhere(world: Acme, next_: str) -> None:
    await world.staff("mara", "marketer")
    async with world.client() as client:
        answer = await client.post("/staff/login", data={"name": "mara", "password": PASSWORD, "next": next_})
    where = httpx.URL(world.config.public_url).join(answer.headers["location"])
    assert str(where).startswith(world.config.public_url + "/staff")


async def test_wrong_name_and_wrong_password_look_alike_and_get_slower(world: Acme) -> None:
    await world.staff("mara", "marketer")
    async with world.client(headers={"Accept-Language": "en"}, host="203.0.113.5") as client:
        nobody = await client.post("/staff/login", data={"name": "nobody", "password": "x"})
        wrong = await client.post("/staff/login", data={"name": "mara", "password": "x"})
        assert nobody.status_code == wrong.status_code == 403
        assert nobody.text.replace('value="nobody"', "") == wrong.text.replace('value="mara"', "")
        for _ in range(3):
            last = await client.post("/staff/login", data={"name": "mara", "password": "x"})
        assert last.status_code == 429 and int(last.headers["retry-after"]) >= 1
        right = {"name": "mara", "password": PASSWORD}
        assert (await client.post("/staff/login", data=right)).status_code == 429, "guessing went on during the wait"
        world.now += timedelta(minutes=15)
        assert (await client.post("/staff/login", data=right)).status_code == 303


async def test_tries_sent_all_at_once_are_counted_like_others(world: Acme) -> None:
    async with world.client(host="203.0.113.5") as client:
        sent = [client.post("/staff/login", data={"name": "mara", "password": str(n)}) for n in range(30)]
        statuses = [answer.status_code for answer in await asyncio.gather(*sent)]
    assert statuses.count(403) <= FREE_TRIES + 1, "two are checked at a time"
    assert statuses.count(403) + statuses.count(429) == 30


async def test_strangers_who_know_a_name_do_not_keep_its_owner_out_for_long(world: Acme) -> None:
    await world.staff("mara", "marketer")
    for n in range(40):
        async with world.client(host=f"203.0.113.{n}") as stranger:
            await stranger.post("/staff/login", data={"name": "mara", "password": "x"})
            world.now += timedelta(minutes=1)
    async with world.client(host="198.51.100.1") as owner:
        assert (await owner.post("/staff/login", data={"name": "mara", "password": PASSWORD})).status_code == 303


@pytest.mark.parametrize("header", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_a_form_from_another_site_signs_nobody_in(world: Acme, header: dict[str, str]) -> None:
    await world.staff("mara", "marketer")
    async with world.client() as client:
        entered = {"name": "mara", "password": PASSWORD}
        assert (await client.post("/staff/login", data=entered, headers=header)).status_code == 403
        own = {"Origin": world.config.public_url}
        assert (await client.post("/staff/login", data=entered, headers=own)).status_code == 303


@pytest.mark.parametrize("change", ["time", "clock set back", "password", "removed", "forged", "other key"])
async def test_a_session_ends_with_what_it_rests_on(world: Acme, change: str, tmp_path: Path) -> None:
    client = await world.signed_in("mara", "marketer")
    assert (await client.get("/staff")).status_code == 200
    if change == "time":
        world.now += LASTS
    elif change == "clock set back":  # it would last for as long more
        world.now -= timedelta(hours=1)
    elif change == "password":
        await world.store.put_staff(
            Staff(name="mara", password_hash="$argon2id$other", roles=("marketer",), controllers=()), world.now
        )
    elif change == "removed":
        assert await world.store.remove_staff("mara")
    else:
        name, value = next(iter(client.cookies.items()))
        claim, mac = value.strip('"').split(".")
        client.cookies.clear()
        client.cookies.set(name, f"{claim}.{mac[::-1]}" if change == "forged" else f"{claim}.{'0' * 64}")
    assert (await client.get("/staff")).status_code == 303


async def test_every_form_of_the_pages_has_to_come_from_a_page_of_the_session(world: Acme) -> None:
    client = await world.signed_in("pia", "privacy")
    asked = [
        re.sub(r"\{[\w:]+\}", "0", route.path)
        for route in world.app.router.routes
        if isinstance(route, Route) and route.path.startswith("/staff/") and "POST" in (route.methods or ())
    ]
    pages = [path for path in asked if path not in ("/staff/login", "/staff/logout")]
    assert "/staff/blocked.csv" in pages and "/staff/rehearsals/0/release" in pages
    for path in pages:
        for form in ({}, {"form": "0" * 64}):
            refused = await client.post(path, data=form)
            assert refused.status_code == 403 and "Dit formulier is verlopen" in refused.text, path


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("marketer", set(PAGES)), ("privacy", set(PAGES)), ("operator", {"/staff", "/staff/told"}),
        ("auditor", {"/staff", "/staff/consents", "/staff/rules", "/staff/told"}),
        ("administrator", {"/staff", "/staff/rules", "/staff/told"}),
        ("submitter", {"/staff"}),
    ],
)  # fmt: skip
async def test_each_role_opens_its_own_pages_only(world: Acme, role: str, allowed: set[str]) -> None:
    message_id = await a_campaign(world)
    client = await world.signed_in("somebody", role)
    for path in [*PAGES, f"/staff/captured/acme/{message_id}/0"]:
        answer = await client.get(path)
        expected = path in allowed or (path.endswith("/0") and "/staff/captured" in allowed)
        assert answer.status_code == (200 if expected else 403), path
        if not expected:
            assert "hoort niet bij uw rol" in answer.text
            assert "Nieuwe wijnen" not in answer.text
    if role == "operator":
        overview = (await client.get("/staff")).text
        assert "Nieuwe wijnen" not in overview and "Tegengehouden" in overview


async def test_the_first_page_teaches_how_to_begin(world: Acme) -> None:
    client = await world.signed_in("mara", "marketer")
    page = (await client.get("/staff")).text
    for told in ("127.0.0.1", "2525", "newsletter", "orders", "passwords.txt"):
        assert told in page
    assert "Nog geen opgevangen mail" in (await client.get("/staff/captured")).text
    assert "Hier is niets tegengehouden" in (await client.get("/staff/blocked")).text


async def test_overview_and_campaign_tell_the_same_numbers_with_reasons(world: Acme) -> None:
    await a_campaign(world)
    client = await world.signed_in("mara", "marketer")
    overview = (await client.get("/staff")).text
    numbers = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", overview))
    assert numbers == {
        "Aangeboden": "4", "Toegestaan": "1", "Tegengehouden": "3", "Verstuurd": "0", "Opgevangen": "1",
        "Afgemeld": "0",
    }  # fmt: skip
    assert re.findall(r'class="chip f-([a-z-]+)"', overview) == ["opt-out", "no-ground", "product"]
    assert overview.count('<rect class="f-') == 3
    link = re.search(r'href="(/staff/campaigns/[0-9a-f]{20})"', overview)
    assert link is not None
    campaign = (await client.get(link[1])).text
    assert "3 van 4 tegengehouden" in campaign
    assert "Productgroepen" in campaign and "klanten zonder toestemming krijgen deze mail niet" in campaign
    for told in (
        "Staat voor deze mails op de afmeldlijst.", "Toestemming kan altijd worden ingetrokken",
        "Alleen de persoon zelf kan dit terugdraaien.", "Klant, maar kocht iets anders dan wat nu wordt aangeboden.",
    ):  # fmt: skip
        assert told in campaign
    assert (await client.get("/staff/campaigns/ffffffffffffffffffff")).status_code == 404


async def test_a_campaign_name_from_a_tool_never_stands_in_a_url(world: Acme) -> None:
    await world.send({"bob@example.org": "SUPPRESSED_SENDER"}, campaign="bob@example.org welcome/1?x=<b>")
    client = await world.signed_in("mara", "marketer")
    page = (await client.get("/staff/campaigns")).text
    assert "welcome" not in page
    link = re.search(r'href="(/staff/campaigns/[0-9a-f]+)"', page)
    assert link is not None and (await client.get(link[1])).status_code == 200


async def test_marketers_see_short_addresses_and_privacy_officers_whole_ones(world: Acme) -> None:
    await a_campaign(world)
    short, whole = "b***@example.org", "bob@example.org"
    for role, shown, unseen in (("marketer", short, whole), ("privacy", whole, short)):
        client = await world.signed_in(role, role)
        page = (await client.get("/staff/blocked?period=all")).text
        assert short in page and whole not in page, role
        text = (await pressed(client, "/staff/blocked.csv?period=all")).text
        assert shown in text and unseen not in text, role
        assert (await client.get("/staff/blocked.csv?period=all")).status_code == 405
        campaign = re.search(r'href="(/staff/campaigns/[0-9a-f]{20})"', (await client.get("/staff/campaigns")).text)
        assert campaign is not None
        download = re.search(r'action="(/staff/blocked\.csv\?[^"]+)"', (await client.get(campaign[1])).text)
        assert download is not None and (await pressed(client, download[1])).text == text
        revealed = await pressed(client, "/staff/blocked?period=all")
        assert revealed.status_code == (200 if role == "privacy" else 403)
        assert (whole in revealed.text) == (role == "privacy")


async def test_each_look_at_whole_addresses_is_on_record_and_none_without_the_form(world: Acme) -> None:
    message_id = await a_campaign(world)
    client = await world.signed_in("petra", "privacy")
    one, anna = f"/staff/captured/acme/{message_id}/0", "anna@example.org"
    paths = ("/staff/blocked?period=all", "/staff/captured", one, "/staff/blocked.csv?period=all")
    for path in paths:
        refused = await client.post(path, data={"form": "0" * 64})
        assert refused.status_code == 403 and "@example.org" not in refused.text
    assert await acts(world) == []
    for path in ("/staff/captured", one):
        assert anna not in (await client.get(path)).text
        assert anna in (await pressed(client, path)).text
    for path in ("/staff/blocked?period=all", "/staff/blocked.csv?period=all"):
        assert "bob@example.org" in (await pressed(client, path)).text
    assert [(act["act"], act.get("page"), act.get("rows"), act["by"]) for act in await acts(world)] == [
        ("addresses shown", "captured", 1, "privacy"), ("addresses shown", "blocked", 3, "privacy"),
        ("list of kept out downloaded", None, None, "privacy"),
    ]  # fmt: skip
    [history] = await world.store.histories([world.who(anna)])
    assert [entry.fields["by"] for entry in history.own.entries if entry.kind == "looked_at"] == ["petra"]


async def acts(world: Acme) -> list[dict[str, Any]]:
    """What staff did about nobody in particular, in order."""
    with sqlite3.connect(world.config.database.file) as db:
        rows = db.execute("SELECT public FROM ledger WHERE kind = 'staff_act' ORDER BY entry_id").fetchall()
    return [json.loads(public) for (public,) in rows]


async def test_kept_out_says_reason_ground_and_next_step(world: Acme) -> None:
    await a_campaign(world)
    client = await world.signed_in("mara", "marketer")
    page = (await client.get("/staff/blocked?reason=SUPPRESSED_PURPOSE&period=all")).text
    assert "b***@example.org" in page and "w***@example.org" not in page
    assert "Staat voor deze mails op de afmeldlijst." in page
    assert "(AVG 21(3))" in page
    assert "Laat het zo" in page
    assert not re.search(r"\b(error|fout)\b", page, re.IGNORECASE)


async def test_filters_narrow_and_nonsense_is_ignored(world: Acme) -> None:
    await a_campaign(world)
    client = await world.signed_in("mara", "marketer")

    async def rows(query: str) -> int:
        return (await client.get(f"/staff/blocked?{query}")).text.count('class="person"')

    assert await rows("") == 3
    assert await rows("period=day&stream=newsletter") == 3
    assert await rows("stream=orders") == 0
    assert await rows("reason=RECIPIENT_UNKNOWN") == 1
    assert await rows("period=x&reason=%3Cb%3E&stream=none&campaign=zz&before=%00-1") == 3
    world.now += timedelta(days=2)
    client = await world.signed_in("mara", "marketer")
    assert await rows("period=day") == 0
    assert await rows("period=week") == 3


async def test_a_long_list_goes_on_page_by_page_without_gap_or_repeat(world: Acme) -> None:
    for batch in range(3):
        await world.send({f"p{batch}-{n}@example.org": "RECIPIENT_UNKNOWN" for n in range(40)}, campaign=f"c{batch}")
    client = await world.signed_in("petra", "privacy")
    seen: list[str] = []
    link: str | None = "/staff/blocked?period=all"
    pages = 0
    while link:
        page = (await pressed(client, link)).text
        seen += re.findall(r'class="person">([^<]+)<', page)
        older = re.search(r'href="([^"]*before=[^"]*)">Ouder', page)
        link = older[1].replace("&amp;", "&") if older else None
        pages += 1
    assert pages == 3
    assert sorted(seen) == sorted(f"p{b}-{n}@example.org" for b in range(3) for n in range(40))


async def test_csv_cannot_run_as_a_formula(world: Acme) -> None:
    link = '=HYPERLINK("http://evil.example","x")'
    await world.send({"bob@example.org": "SUPPRESSED_SENDER"}, subject=link, campaign="@c")
    await world.send({"+31@example.org": "RECIPIENT_UNKNOWN"}, subject="-1+1", campaign="\tt")
    client = await world.signed_in("petra", "privacy")
    answer = await pressed(client, "/staff/blocked.csv?period=all")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [row["address"] for row in rows] == ["'+31@example.org", "bob@example.org"]
    assert {row["subject"] for row in rows} == {"'-1+1", f"'{link}"}
    cells = [cell for row in rows for cell in row.values()]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


async def test_controllers_are_strangers_to_each_other(world: Acme) -> None:
    theirs = await world.send({"x@example.org": "RECIPIENT_UNKNOWN", "y@example.org": "ALLOW_OPT_IN"},
                              subject="Geheim blad", controller="other")  # fmt: skip
    await a_campaign(world)
    client = await world.signed_in("petra", "privacy")
    for path in PAGES:
        assert "Geheim" not in (await client.get(path)).text
    assert (await client.get(f"/staff/captured/other/{theirs}/1")).status_code == 404
    await world.staff("both", "privacy", controllers=())
    async with world.client() as everywhere:
        await everywhere.post("/staff/login", data={"name": "both", "password": PASSWORD})
        assert "Geheim blad" in (await everywhere.get("/staff/campaigns")).text


EVIL = (
    '<html><head><base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example/">'
    '<script>fetch("/staff/logout",{method:"POST"})</script></head><body onload="alert(1)"><p>Hallo bob@example.org, '
    "ook bob%40example.org</p><a href=\"PUBLIC/u/AAAA_bb-cc\">Afmelden</a> <a href='PUBLIC/w/AAAA'>waarom</a>"
    '<form action="PUBLIC/u/AAAA" method="post"><button>x</button></form><img src="https://evil.example/p.gif">'
    '<link rel="stylesheet" href="https://evil.example/s.css"><iframe src="https://evil.example/f"></iframe>'
    '<a id="out" href="https://evil.example/out">weg</a><style>@import "https://evil.example/i.css";</style>'
    '<img src="cid:logo"></body></html>'
)


async def captured_evil(world: Acme, elsewhere: str = "https://evil.example") -> str:
    """A captured mail that tries everything, against us and against another host; returns its page."""
    html = EVIL.replace("PUBLIC", world.config.public_url).replace("https://evil.example", elsewhere)
    content = (
        "From: Acme <news@acme.example>\r\nTo: Bob <bob@example.org>\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\n"
        f"List-Unsubscribe: <{world.config.public_url}/o/AAAA>,\r\n <mailto:unsub@b.acme.example?subject="
        f"{world.link('bob@example.org')}>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/related; boundary="r"\r\n\r\n--r\r\nContent-Type: text/html; charset=utf-8\r\n\r\n'
        f"{html}\r\n--r\r\nContent-Type: image/png\r\nContent-ID: <logo>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        "iVBORw0KGgo=\r\n--r--\r\n"
    ).encode()
    message_id = await world.send({"bob@example.org": "ALLOW_OPT_IN"}, subject="Café", content=content)
    return f"/staff/captured/acme/{message_id}/0"


async def test_a_captured_mail_is_shown_with_dead_links_in_a_sandbox(world: Acme) -> None:
    url = await captured_evil(world)
    client = await world.signed_in("mara", "marketer")
    page = await client.get(url)
    assert f'<iframe src="{url}/html" sandbox title=' in page.text
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    assert "Café" in page.text and "<script>" not in page.text
    framed = await client.get(f"{url}/html")
    policy = framed.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "allow-" not in policy
    assert f"{world.config.public_url}/" not in framed.text + page.text
    assert '<a href="#">Afmelden</a>' in framed.text and '<form action="#"' in framed.text
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in framed.text
    assert "&lt;#&gt;, &lt;mailto:unsub@b.acme.example?subject=...&gt;" in page.text
    assert world.link("bob@example.org") not in page.text
    assert "bob@" not in framed.text + page.text and "b***@example.org" in framed.text
    assert '<p class="lead">Aan: b***@example.org</p>' in page.text
    officer = await world.signed_in("petra", "privacy")
    assert "bob@" not in (await officer.get(f"{url}/html")).text + (await officer.get(url)).text
    assert '<p class="lead">Aan: bob@example.org</p>' in (await pressed(officer, url)).text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no header at all",
        b"Subject: =?x-unknown?b?%%%?=\r\nContent-Type: text/html; charset=x-none\r\n\r\n<p>caf\xe9</p>",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nnever closed",
        b'Content-Type: text/plain; charset="iso-8859-1"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!not base64',
        b"Content-Type: text/html; charset=utf-16\r\n\r\n<p>odd",
        b"Subject: \xff\xfe\r\nContent-Disposition: attachment; filename*=x'y\r\n\r\nz",
        "Content-Type: text/html; charset=shift_jis\r\n\r\n<p>日本</p>".encode("shift_jis"),
        b"Content-Type: text/html; charset=idna\r\n\r\n<p>" + b"\xff" * 100,
    ],
)
async def test_any_mail_can_be_looked_at(world: Acme, content: bytes) -> None:
    message_id = await world.send({"bob@example.org": "ALLOW_OPT_IN"}, content=content or b"\r\n")
    client = await world.signed_in("mara", "marketer")
    url = f"/staff/captured/acme/{message_id}/0"
    page = await client.get(url)
    assert page.status_code == 200
    if "iframe" in page.text:
        assert (await client.get(f"{url}/html")).status_code == 200


async def test_letters_of_a_subject_that_were_never_encoded_are_read(world: Acme) -> None:
    client = await world.signed_in("mara", "marketer")
    for octets in ("Café".encode(), "Café".encode("latin-1"), b"=?iso-8859-1?q?Caf=E9?="):
        content = b"Subject: " + octets + b"\r\n\r\nx\r\n"
        message_id = await world.send({"bob@example.org": "ALLOW_OPT_IN"}, content=content)
        page = (await client.get(f"/staff/captured/acme/{message_id}/0")).text
        assert "<h1>Café</h1>" in page and "<dd>Café</dd>" in page


@pytest.mark.parametrize(
    "path",
    [
        "acme/x/0", "nobody/x/0", "acme/x/-1", "acme/00000000-0000-0000-0000-000000000000/0",
        "acme/00000000-0000-0000-0000-000000000000/99999999999999999999",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_there(world: Acme, path: str) -> None:
    client = await world.signed_in("mara", "marketer")
    for url in (f"/staff/captured/{path}", f"/staff/captured/{path}/html"):
        assert (await client.get(url)).status_code == 404


async def test_staff_choose_their_language_and_keep_it(world: Acme) -> None:
    client = await world.signed_in("mara", "marketer")
    assert '<html lang="nl">' in (await client.get("/staff")).text
    assert '<html lang="de">' in (await client.get("/staff?lang=de")).text
    assert '<html lang="de">' in (await client.get("/staff/blocked")).text


async def test_reading_changes_nothing(world: Acme) -> None:
    message_id = await world.send({"anna@example.org": "ALLOW_OPT_IN"}, content=newsletter())
    client = await world.signed_in("petra", "privacy")
    before = await world.store.tallies("acme")
    for path in [*PAGES, f"/staff/captured/acme/{message_id}/0", f"/staff/captured/acme/{message_id}/0/html"]:
        for method in ("GET", "HEAD"):
            assert (await client.request(method, path)).status_code == 200
    assert await world.store.tallies("acme") == before
    assert await world.store.suppressions_of("acme", world.key("anna@example.org")) == []
    assert (await client.get("/staff/logout")).status_code == 405
