"""Several gateways on one database: what one took another can send, a click counts at all of them, one keeps house.

And the database's worst day: it goes away, comes back, or a standby takes its place; nothing answered 250 is lost.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.deliver import RENEW_SECONDS
from gateway.store import postgres_nodes
from gateway.store.nodes import NameTaken
from tests.installation import (
    Gateway,
    Installation,
    Make,
    another_node,
    consent,
    consentgate,
    lines_of,
    newsletter,
)
from tests.name_thief import name_taken
from tests.peers import ScriptedPeer
from tests.ports import free_ports
from tests.postgres import Pair, Server, running
from tests.story.relay import Relay, one_click_url, relaying
from tests.story.test_hand_over import working
from tests.story.test_killed import PEOPLE, Pump, _all_arrived
from tests.story.upstream import Gate

on_server = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="module")
STOPPED = "SELECT count(*) FROM suppressions"


@contextlib.contextmanager
def second_node(relay: Relay, place: Path) -> Iterator[Gateway]:
    """Another gateway on the same database, handing over to the same server."""
    node = Gateway(another_node(relay.installation, place, "second"))
    try:
        yield node.start()
    finally:
        node.kill()


def run_out(installation: Installation, node: str) -> None:
    """A node is gone for good: without a lease its copies are free at once, and not after twenty seconds."""
    installation.ask(f"DELETE FROM workers WHERE worker = '{node}-0'")


@on_server
def test_copies_of_a_node_that_died_leave_by_another(make: Make, tmp_path: Path) -> None:
    installation, gate = make(tmp_path / "first"), Gate()
    installation.call("first")
    with relaying(installation, {".": gate}, connections=2) as relay:
        installation.load("consents", [consent(address) for address in PEOPLE])
        taken = {
            f"wijn {n}": address for n, address in enumerate(PEOPLE) if relay.taken(address, newsletter(f"wijn {n}"))
        }
        relay.gateway.eventually(lambda: gate.waiting == 2)
        relay.gateway.kill()
        with second_node(relay, tmp_path / "second") as second:
            run_out(installation, "first")
            gate.open()
            counts = _all_arrived(relay, taken)
            relay.drained()
            assert sum(counts.values()) <= len(taken) + 2, "more than the two that were on their way went twice"
            relay.gateway.start()  # under its own name, beside the other
            relay.passes(PEOPLE[0], newsletter("terug"))
            assert second.stop() == 0
        assert relay.gateway.stop() == 0


@pytest.fixture
def four(make: Make, tmp_path: Path) -> Installation:
    """An installation with four people on file."""
    installation = make(tmp_path / "first")
    installation.load("consents", [consent(address) for address in PEOPLE[:4]])
    return installation


@on_server
async def test_a_node_whose_name_another_got_sends_nothing_more_and_ends(
    four: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes of one name would take each other's copies for their own, and send them twice."""
    monkeypatch.setattr(postgres_nodes, "NAME_SECONDS", RENEW_SECONDS + 2.0)  # time to renew its lease
    gate = Gate()

    async def until_it_ends(peer: ScriptedPeer) -> None:
        assert four.pair is not None
        async with working(four, peer.port) as work:
            await work.send(PEOPLE[:4], newsletter("van wie is dit"))
            await work.until(lambda: gate.waiting == 2)
            async with name_taken(four.pair.data, "test-0"):
                await work.until(lambda: not work.worker._deliver.leased())
                gate.open()
                await work.until(lambda: len(peer.transactions) == 2)
                await work.send(PEOPLE[0], newsletter("daarna"))
                await work.until(work.worker.stop.is_set)

    async with ScriptedPeer({"RCPT": gate}) as peer:
        with pytest.raises(NameTaken, match="is called test"):
            await until_it_ends(peer)
        assert len(peer.transactions) == 2, "what was on the line when the name was lost"
    states = "SELECT state, count(*) FROM copies GROUP BY state ORDER BY state"
    assert four.ask(states) == [["claimed", "2"], ["delivered", "2"], ["queued", "1"]]


@on_server
async def test_a_node_that_has_its_name_again_goes_on(four: Installation) -> None:
    gate = Gate()
    assert four.pair is not None
    async with ScriptedPeer({"RCPT": gate}) as peer, working(four, peer.port) as work:
        await work.send(PEOPLE[:4], newsletter("even weg"))
        await work.until(lambda: gate.waiting == 2)
        async with name_taken(four.pair.data, "test-0"):
            await work.until(lambda: not work.worker._deliver.leased())
            gate.open()
        await work.until(lambda: len(peer.transactions) == 4)
    assert four.ask("SELECT state, count(*) FROM copies GROUP BY state") == [["delivered", "4"]]


@on_server
def test_a_click_at_one_node_stops_what_the_other_has_in_hand(make: Make, tmp_path: Path) -> None:
    """P3 between nodes."""
    installation, gate = make(tmp_path / "first"), Gate(is_open=True)
    installation.load("consents", [consent(address) for address in PEOPLE[:12]])
    with relaying(installation, {".": gate}, connections=1) as relay, second_node(relay, tmp_path / "second") as second:
        relay.taken(PEOPLE[:12], newsletter("een"))
        links = {mail.recipient: one_click_url(mail) for mail in relay.upstream.wait(12)}
        relay.drained()
        gate.close()
        relay.taken(PEOPLE[:12], newsletter("twee"))
        relay.gateway.eventually(lambda: gate.waiting >= 1)
        on_its_way = {mail.recipient for mail in relay.upstream.mails if mail.message["Subject"] == "twee"}
        stopped = [address for address in PEOPLE[:12] if address not in on_its_way][-4:]
        for address in stopped:
            path = links[address].replace(f":{installation.http_port}/", f":{second.installation.http_port}/")
            assert relay.one_click(path).status_code == 200
        relay.a_second_passes()
        gate.open()
        relay.drained()
        got = [mail.recipient for mail in relay.upstream.mails if mail.message["Subject"] == "twee"]
        assert sorted(got) == sorted(set(PEOPLE[:12]) - set(stopped))


@on_server
def test_another_node_seals_when_the_one_that_kept_house_is_gone(make: Make, tmp_path: Path) -> None:
    installation = make(tmp_path / "first")
    installation.load("consents", [consent(address) for address in PEOPLE[:2]])
    unsealed = "SELECT count(*) FROM ledger WHERE seq IS NULL"
    with relaying(installation) as relay, second_node(relay, tmp_path / "second") as second:
        relay.taken(PEOPLE[:2], newsletter("een"))
        links = [one_click_url(mail) for mail in relay.upstream.wait(2)]
        keeping, other = relay.gateway, second
        assert relay.one_click(links[0]).status_code == 200
        relay.gateway.eventually(lambda: installation.ask(unsealed) == [["0"]])
        keeping.kill()
        path = links[1].replace(f":{installation.http_port}/", f":{other.installation.http_port}/")
        assert relay.one_click(path).status_code == 200
        other.eventually(lambda: installation.ask(unsealed) == [["0"]])
        assert installation.ask(STOPPED) == [["2"]]
        done = other.installation.tool("ledger", "verify", "--json")
        assert {row["controller"]: row["entries"] - row["seq"] for row in lines_of(done)}["acme"] == 0


def installed(server: Server, place: Path, *others: Server) -> Installation:
    """A new installation on a server of its own. `others`: those that may take its place."""
    ports, pair = free_ports(3), server.new_pair()
    urls = Pair(*(server.url(url.rpartition("/")[2], more=others) for url in pair))
    named = zip(("--smtp-port", "--http-port", "--return-port"), ports, strict=True)
    done = consentgate(
        "init", place, "--example", "--database", urls.data, "--keys-database", urls.keys,
        *(word for pair in named for word in pair),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    words = [line.split(" ", 1) for line in (place / "passwords.txt").read_text().splitlines()]
    return Installation(
        dir=place, smtp_port=ports[0], http_port=ports[1], return_port=ports[2], passwords=dict(words), server=server,
        pair=urls,
    )  # fmt: skip


def ready(installation: Installation) -> int:
    return httpx.get(f"{installation.url}/readyz", timeout=30).status_code


def test_mail_is_put_off_while_the_database_is_away_and_all_is_well_after(tmp_path: Path) -> None:
    """P5, and P1 over a crash of the database."""
    with running(name="away") as server:
        installation = installed(server, tmp_path / "installation")
        with relaying(installation) as relay:
            _holds(relay, server.kill, server.start)
            assert relay.gateway.stop() == 0


def test_a_standby_takes_the_place_of_the_primary(tmp_path: Path) -> None:
    """P1 over a failover: what the standby had confirmed is there, whoever was writing."""
    with running() as primary, primary.standby() as second:
        installation = installed(primary, tmp_path / "installation", second)
        with relaying(installation, workers=2) as relay:
            _holds(relay, primary.kill, second.promote)
            installation.server = second
            relay.drained()
            assert relay.gateway.stop() == 0


def _holds(relay: Relay, goes: Callable[[], object], comes: Callable[[], object]) -> None:
    """Under load the database goes away, and comes back: told meanwhile, nothing lost, nobody mailed who said stop."""
    installation = relay.installation
    relay.agree(*PEOPLE)
    stopped = relay.passes(PEOPLE[0], newsletter("vooraf"))
    other = relay.passes(PEOPLE[1], newsletter("vooraf"))
    assert relay.one_click(one_click_url(stopped)).status_code == 200
    pump = Pump(relay.gateway, 240)
    relay.gateway.eventually(lambda: len(pump.taken) >= 80, 120)
    goes()
    relay.gateway.eventually(lambda: bool(pump.failed), 60)
    relay.gateway.eventually(lambda: ready(installation) == 503, 60)
    assert relay.one_click(one_click_url(other)).status_code == 503
    comes()
    pump.end()
    assert {said[:9] for said in pump.failed} == {"451 b'4.3"}, set(pump.failed)
    taken = {subject: who for subject, who in pump.taken.items() if who != PEOPLE[0]}
    _all_arrived(relay, taken)
    assert len(relay.upstream.to(PEOPLE[0])) == 1
    relay.gateway.eventually(lambda: ready(installation) == 200, 60)
    assert relay.one_click(one_click_url(other)).status_code == 200
    done = installation.tool("ledger", "verify", "--json")
    assert done.returncode == 0, done.stdout.decode()
