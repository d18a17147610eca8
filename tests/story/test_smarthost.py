"""Handing over to smarthosts: rates per domain, replies that are lost, logins that are refused, and who is told."""

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from gateway import report
from gateway.counters import REPLIES_LOST
from gateway.doctor import noted, smarthosts
from tests.installation import Installation, consent, newsletter
from tests.peers import FEATURES, Close, ScriptedPeer
from tests.story.relay import config_of, fresh, load, load_people
from tests.story.test_hand_over import working

SLOW = [f"s{n}@slow.example" for n in range(6)]
QUICK = [f"q{n}@quick.example" for n in range(6)]


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with some people who agreed to the newsletter."""
    new = fresh(made, tmp_path / "installation")
    load_people(new)
    load(new, "consents", [consent(address) for address in (*SLOW, *QUICK)])
    return new


def smarthost(installation: Installation, more: str) -> None:
    """Further settings of the route; `working` puts its hosts before them."""
    installation.change("[routes.main]\n", f"[routes.main]\n{more}\n")


@contextlib.asynccontextmanager
async def browser(installation: Installation, name: str) -> AsyncIterator[httpx.AsyncClient]:
    """A member of staff, signed in."""
    async with httpx.AsyncClient(base_url=installation.url, headers={"Accept-Language": "nl"}, timeout=30) as client:
        entered = {"name": name, "password": installation.passwords[name]}
        assert (await client.post("/staff/login", data=entered)).status_code == 303
        yield client


async def test_a_limit_on_one_domain_holds_back_no_copy_for_another(installation: Installation) -> None:
    smarthost(installation, 'domain_rates = { "slow.example" = 0.01 }')
    async with ScriptedPeer() as peer, working(installation, peer.port) as work:
        await work.send([*SLOW, *QUICK], newsletter("tempo"))
        await work.until(lambda: [copy[0] for copy in work.copies()[6:]] == ["delivered"] * 6)
        await work.until(lambda: "claimed" not in [copy[0] for copy in work.copies()])
        waiting = [copy for copy in work.copies()[:6] if copy[0] == "queued"]
        assert [copy[0] for copy in work.copies()[:6]].count("delivered") == 1 and len(waiting) == 5
        # no attempt was made, and each is looked at again when its turn is about to come
        assert {attempts for _, attempts, _, _ in waiting} == {0}
        dues = sorted(due for _, _, due, _ in waiting if due is not None)
        gaps = [later - earlier for earlier, later in zip([work.clock.now, *dues], dues, strict=False)]
        assert all(gap > timedelta(seconds=99) for gap in gaps), gaps


async def test_domains_of_a_star_are_limited_each_for_itself(installation: Installation) -> None:
    smarthost(installation, 'domain_rates = { "*" = 0.01, "quick.example" = 1000 }')
    async with ScriptedPeer() as peer, working(installation, peer.port) as work:
        await work.send([*SLOW[:3], *QUICK, "anna@example.org"], newsletter("ster"))
        await work.until(lambda: len(peer.transactions) == 8)
        took = sorted(one.rcpts[0].rpartition("@")[2].partition(">")[0] for one in peer.transactions)
        assert took == ["example.org", *["quick.example"] * 6, "slow.example"]


async def test_a_route_that_comes_back_goes_on_with_limited_domains(installation: Installation) -> None:
    """What waited for its turn when the route went down is given back, and called again."""
    smarthost(installation, 'domain_rates = { "slow.example" = 50 }')
    down = ["554 5.3.2 no service"] * 2
    async with ScriptedPeer({"CONNECT": [*down, "220 hi"]}) as peer, working(installation, peer.port) as work:
        await work.send([*SLOW, *QUICK], newsletter("terug"))
        await work.until(lambda: [copy[0] for copy in work.copies()] == ["delivered"] * 12, 40)
        assert len(peer.transactions) == 12


async def test_a_limit_that_is_lifted_lets_what_waits_go(installation: Installation) -> None:
    smarthost(installation, 'domain_rates = { "slow.example" = 0.01 }')
    async with ScriptedPeer() as peer, working(installation, peer.port) as work:
        await work.send(SLOW[:3], newsletter("los"))
        await work.until(lambda: [copy[:2] for copy in work.copies()].count(("queued", 0)) == 2)
        installation.change('domain_rates = { "slow.example" = 0.01 }', "")
        await work.worker.reload()
        await work.pass_time(timedelta(minutes=10))
        await work.until(lambda: [copy[0] for copy in work.copies()] == ["delivered"] * 3)


# a reply that is lost


async def test_a_copy_whose_reply_was_lost_goes_again_and_that_is_told(installation: Installation) -> None:
    """P1: twice, never zero times; the report, the queue, the page and the counter say so."""
    before = REPLIES_LOST.labels("main")._value.get()
    async with ScriptedPeer({".": [Close(), "250 2.0.0 ok"]}) as peer, working(installation, peer.port) as work:
        await work.send(SLOW[0], newsletter("weg"))
        await work.until(lambda: work.copies()[0][:2] == ("queued", 1))
        assert "may go twice" in work.copies()[0][3]
        store = work.worker._store
        pages = [await store.line_page(line, past=None, n=10) for line in await store.lines()]
        assert [copy.maybe_twice for copies, _ in pages for copy in copies] == [1]
        await work.pass_time(timedelta(minutes=2))
        await work.until(lambda: work.copies()[0][0] == "delivered")
        assert len(peer.transactions) == 2
        assert REPLIES_LOST.labels("main")._value.get() == before + 1
        [campaign] = await report.campaigns(work.worker._store, controllers=["acme"])
        assert (campaign.delivered, campaign.maybe_twice) == (1, 1)
        async with browser(installation, "marketer") as client:
            [path] = set(
                re.findall(r'href="(/staff/campaigns/[0-9a-f]+)"', (await client.get("/staff/campaigns")).text)
            )
            assert "kan dubbel zijn aangekomen" in (await client.get(path)).text


# a login that is refused


async def test_a_refused_login_waits_and_is_loud_until_it_is_mended(installation: Installation) -> None:
    smarthost(installation, 'username = "acme"\npassword = "geheim"')
    features = (*FEATURES, "AUTH PLAIN")
    script = {"AUTH": ["535 5.7.8 wrong password", "235 ok"]}
    async with ScriptedPeer(script, features=features) as peer, working(installation, peer.port) as work:
        await work.send(SLOW[0], newsletter("deur"))
        await work.until(lambda: "535" in (work.copies()[0][3] or ""))
        await work.worker._note_hosts()
        [fault] = await work.worker._store.host_faults()
        assert (fault.host, fault.stage, fault.code) == (f"127.0.0.1:{peer.port}", "auth", 535)
        assert "geheim" not in fault.said
        [found] = await noted.hosts(work.worker.config, work.worker._store, work.clock.now)
        said = found.text
        assert "username and password" in said and f"127.0.0.1:{peer.port}" in said and "geheim" not in said
        async with browser(installation, "operator") as client:
            page = (await client.get("/staff")).text
            assert "weigert sinds" in page and f"127.0.0.1:{peer.port}" in page and "geheim" not in page
        # a burst of mail does not become a burst of logins: somebody would lock us out
        await work.send(SLOW[1:4], newsletter("nog meer"))
        assert {copy[0] for copy in work.copies()} <= {"queued", "claimed"} and len(work.copies()) == 4
        assert sum(line.startswith("AUTH") for line in peer.commands) == 1
        installation.change('"geheim"', '"beter"')
        await work.worker.reload()
        await work.pass_time(timedelta(minutes=2))
        await work.until(lambda: [copy[0] for copy in work.copies()] == ["delivered"] * 4)
        await work.worker._note_hosts()
        assert await work.worker._store.host_faults() == []


async def test_doctor_logs_in_at_every_smarthost_and_says_what_it_takes(installation: Installation) -> None:
    small = ("SIZE 1000", "8BITMIME", "AUTH LOGIN PLAIN", "PIPELINING", "DSN")
    async with (
        ScriptedPeer(features=(*FEATURES[:2], *FEATURES[3:], "SIZE 0", "AUTH PLAIN")) as good,
        ScriptedPeer(features=small) as narrow,
        ScriptedPeer({"AUTH": "535 5.7.8 no"}, features=small) as shut,
    ):
        hosts = ", ".join(f'"127.0.0.1:{peer.port}"' for peer in (good, narrow, shut))
        installation.change('kind = "capture"', f'kind = "smarthost"\nhosts = [{hosts}]\ntls = "none"')
        smarthost(installation, 'username = "acme"\npassword = "geheim"')
        found = await smarthosts.reached(config_of(installation))
        assert [one.good for one in found] == [True, False, False]
        assert found[0].text == "in clear; takes our login"
        assert "limits.message_bytes" in found[1].text and "without SMTPUTF8" in found[1].text
        assert found[2].text == "auth: 535 no" and str(shut.port) in found[2].check
        assert not any(line.startswith("MAIL") for peer in (good, narrow, shut) for line in peer.commands)
