"""Handing over to smarthosts: rates per domain, replies that are lost, logins that are refused, and who is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.installation import Installation, consent, newsletter
from tests.peers import ScriptedPeer
from tests.story.relay import fresh, load, load_people
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


async def test_a_limit_that_is_lifted_lets_what_waits_go(installation: Installation) -> None:
    smarthost(installation, 'domain_rates = { "slow.example" = 0.01 }')
    async with ScriptedPeer() as peer, working(installation, peer.port) as work:
        await work.send(SLOW[:3], newsletter("los"))
        await work.until(lambda: [copy[:2] for copy in work.copies()].count(("queued", 0)) == 2)
        installation.change('domain_rates = { "slow.example" = 0.01 }', "")
        await work.worker.reload()
        await work.pass_time(timedelta(minutes=10))
        await work.until(lambda: [copy[0] for copy in work.copies()] == ["delivered"] * 3)
