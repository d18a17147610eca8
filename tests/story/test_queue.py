"""The queue when a route is down for long, and when much waits: nobody pays for it but time."""

import asyncio
import re
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from gateway import record
from gateway.keys import key_ring
from gateway.lane import AHEAD
from gateway.route_rest import Rest
from gateway.store.waiting import HELD
from tests.installation import ANNA, Installation, consent, lines_of, newsletter, order
from tests.peers import ScriptedPeer, Silence
from tests.ports import free_ports
from tests.story.relay import fresh, load, load_people, relaying
from tests.story.test_hand_over import SENDER, Working, report_of, working
from tests.story.upstream import Gate

PEOPLE = [f"q{n:02d}@example.org" for n in range(12)]


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with people who agreed."""
    new = fresh(made, tmp_path / "installation")
    load_people(new)
    load(new, "consents", [consent(address) for address in PEOPLE])
    return new


def rest_of(work: Working) -> Rest:
    return work.worker._deliver._lanes["main"]._rest


def sent_with(work: Working, notify: dict[str, str]) -> None:
    """One message, each recipient with a NOTIFY of their own."""
    with work.gateway.client() as session:
        session.mail(SENDER)
        for address, what in notify.items():
            session.rcpt(address, [f"NOTIFY={what}"])
        assert session.data(newsletter("laat"))[0] == 250


async def time_passes(work: Working, how_much: timedelta) -> None:
    """Set the clock forward, and have looked at what time alone asks for."""
    await work.pass_time(how_much)
    await work.worker._deliver._lanes["main"].look_at_overdue()


async def test_a_route_that_is_down_costs_no_copy_an_attempt_and_all_leave_once_it_is_back(
    installation: Installation,
) -> None:
    [port] = free_ports(1)
    async with working(installation, port) as work:
        for address in PEOPLE:
            await work.send(address, newsletter(f"voor {address}"))
        await work.until(lambda: rest_of(work).failures >= 2)
        await work.until(lambda: Counter(copy[0] for copy in work.copies())["queued"] >= len(PEOPLE) - 1)
        assert {copy[1] for copy in work.copies()} == {0}, "no copy was tried"
        assert any("4.4.1 connection refused" in (copy[3] or "") for copy in work.copies())
        async with ScriptedPeer(port=port) as peer:
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})
            assert sorted(t.rcpts[0].partition(":")[2][1:-1] for t in peer.transactions) == PEOPLE
            assert rest_of(work).failures == 0


async def test_a_route_that_goes_down_while_much_is_ready_rests_and_comes_back(installation: Installation) -> None:
    """The feeder has as much ahead as it wants then, and would wait for sessions that take nothing any more."""
    [port] = free_ports(1)
    async with working(installation, port) as work:
        lane = work.worker._deliver._lanes["main"]
        async with ScriptedPeer({"CONNECT": [Silence()] * 4}, port=port):
            for number in range(2 * AHEAD // len(PEOPLE)):
                await work.send(PEOPLE, newsletter(f"veel {number}"))
            await work.until(lambda: len(lane._ready) >= AHEAD and len(lane._under_way) == 2)
        await work.until(lambda: rest_of(work).failures >= 1 and not lane._ready)
        async with ScriptedPeer(port=port) as peer:
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})
            assert {copy[1] for copy in work.copies()} == {1} and len(peer.transactions) == 2 * AHEAD


async def test_a_sender_who_asked_is_told_of_the_delay_and_everybody_of_the_end(installation: Installation) -> None:
    """RFC 3461 4.1, RFC 3464: one report for all recipients of a message, also where no server was ever reached."""
    [port] = free_ports(1)
    async with working(installation, port) as work:
        await asyncio.to_thread(sent_with, work, dict.fromkeys(PEOPLE[:2], "DELAY,FAILURE") | {PEOPLE[2]: "NEVER"})
        await work.until(lambda: rest_of(work).failures >= 1)
        await work.until(lambda: sum(copy[0] == "queued" for copy in work.copies()) >= 2)
        await time_passes(work, timedelta(hours=5))
        await work.until(lambda: len(work.copies()) == 4)
        await time_passes(work, timedelta(hours=5))
        assert len(work.copies()) == 4, "told once"
        async with ScriptedPeer(port=port) as peer:
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})
            [delayed] = [report_of(sent.data) for sent in peer.transactions if sent.mail.startswith("MAIL FROM:<>")]
            assert [about["Final-Recipient"] for about in delayed] == [f"rfc822; {one}" for one in PEOPLE[:2]]
            assert {(about["Action"], about["Status"]) for about in delayed} == {("delayed", "4.4.7")}
            assert all(about["Will-Retry-Until"] for about in delayed)


async def test_what_no_server_took_in_time_ends_with_one_report(installation: Installation) -> None:
    [port] = free_ports(1)
    async with working(installation, port) as work:
        await work.send(PEOPLE, newsletter("nooit"))
        await work.until(lambda: rest_of(work).failures >= 1)
        await work.until(lambda: sum(copy[0] == "queued" for copy in work.copies()) >= len(PEOPLE) - 1)
        await time_passes(work, timedelta(days=2, hours=1))
        await work.until(lambda: Counter(copy[0] for copy in work.copies())["failed"] == len(PEOPLE))
        async with ScriptedPeer(port=port) as peer:
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"failed", "delivered"})
            reports = [report_of(sent.data) for sent in peer.transactions]
            assert sorted(about["Final-Recipient"] for one in reports for about in one) == [
                f"rfc822; {one}" for one in PEOPLE
            ]
            assert len(reports) <= 2, "the copy that tried the route out may end by itself"
            assert {about["Status"] for one in reports for about in one} == {"5.4.7"}


async def test_a_report_that_cannot_be_delivered_is_reported_to_nobody(installation: Installation) -> None:
    """No loops: from the null sender, and nothing answers it (RFC 3464 2, RFC 3834)."""
    script = {f"RCPT TO:<{ANNA}": "550 5.1.1 who?", f"RCPT TO:<{SENDER}": "550 5.1.1 who are you yourself?"}
    async with ScriptedPeer(script) as peer, working(installation, peer.port) as work:
        await work.send(ANNA, newsletter("kring"))
        await work.until(lambda: [copy[0] for copy in work.copies()] == ["failed", "failed"])
        await peer.seen(f"RCPT TO:<{SENDER}", 1)
        await work.worker._deliver._lanes["main"].look_at_overdue()
        assert [copy[0] for copy in work.copies()] == ["failed", "failed"]
        assert [line for line in peer.commands if line.startswith("MAIL")][-1].startswith("MAIL FROM:<>")


def test_a_held_campaign_stops_at_once_in_every_worker_and_goes_on_when_it_is_let_go(
    installation: Installation,
) -> None:
    """What lies rendered or in a session's hand is set aside by whoever would have written MAIL FROM."""
    gate = Gate()
    with relaying(installation, {".": gate}, connections=2, workers=2) as relay:
        for address in PEOPLE:
            relay.taken(address, newsletter("met een fout erin"))
        relay.gateway.eventually(lambda: gate.waiting >= 2)
        [campaign] = {row["campaign"] for row in listed(installation)}
        place = ("--stream", "newsletter", "--campaign", campaign, "--reason", "fout in de prijs")
        assert installation.tool("queue", "hold", *place).returncode == 0
        promised = time.monotonic() + 1.0
        relay.gateway.eventually(lambda: time.monotonic() > promised)
        under_way = gate.waiting
        gate.open()
        relay.gateway.eventually(lambda: {row["state"] for row in listed(installation)} == {"held"})
        assert len(relay.upstream.mails) == under_way, "only what was on the line already"
        assert {row["reply"] for row in listed(installation, "--state", "held")} == {HELD}
        relay.taken(ANNA, order(ANNA), login="orders", sender="orders@acme.example")
        relay.upstream.until(lambda: len(relay.upstream.to(ANNA)) == 1)
        assert installation.tool("queue", "release", *place).returncode == 0
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails if mail.recipient != ANNA) == PEOPLE
        assert listed(installation) == []


def listed(installation: Installation, *options: str) -> list[dict[str, object]]:
    return lines_of(installation.tool("queue", "list", "--json", *options))


def test_commands_act_on_what_they_name_and_refuse_what_they_do_not_understand(installation: Installation) -> None:
    with relaying(installation, {"RCPT": "451 4.2.0 later"}) as relay:
        one, other = relay.taken(PEOPLE[:2], newsletter("een")), relay.taken(PEOPLE[2], newsletter("twee"))
        relay.gateway.eventually(lambda: [row["attempts"] for row in listed(installation)] == [1, 1, 1])
        assert {row["message_id"] for row in listed(installation)} == {one, other}
        assert len(listed(installation, "--limit", "2", "--domain", "example.org")) == 2
        assert listed(installation, "--domain", "example.com") == []
        assert listed(installation, "--stream", "orders") == []
        for wrong in (["hold"], ["hold", "--stream", "nix"], ["release", "0123"], ["drop", one, "--reason", " "]):
            reason = [] if "--reason" in wrong else ["--reason", "x"]
            done = installation.tool("queue", *wrong, *reason)
            assert (done.returncode, done.stderr != b"") == (1, True), wrong
        assert installation.tool("queue", "hold", one, "--reason", "even wachten").returncode == 0
        assert [row["state"] for row in listed(installation, "--state", "held")] == ["held", "held"]
        assert installation.tool("queue", "drop", one, "--reason", "toch niet").returncode == 0
        assert {row["message_id"] for row in listed(installation)} == {other}
        page = relay.http("GET", f"http://127.0.0.1:{installation.http_port}/metrics").text
        assert re.search(r"^consentgate_queue_copies 1", page, re.MULTILINE)
        assert re.search(r"^consentgate_queue_held 0", page, re.MULTILINE)
        assert re.search(r'^consentgate_queue_late_seconds{route="main"} \d', page, re.MULTILINE)


async def test_who_was_kept_out_at_hand_over_is_told_of_in_one_report_with_the_reason_code(
    installation: Installation,
) -> None:
    """RULES.md 2.4, RFC 3464: 5.7.1, all recipients of the message that are looked at together, to the return path."""
    [port] = free_ports(1)
    async with working(installation, port) as work:
        store, ring = work.worker._store, key_ring(work.worker.config)
        await asyncio.to_thread(sent_with, work, dict.fromkeys(PEOPLE[:4], "FAILURE"))
        await work.until(lambda: rest_of(work).failures >= 1)
        await work.until(lambda: sum(copy[0] == "queued" for copy in work.copies()) >= 3)
        for address in PEOPLE[:3]:
            await record.suppress(
                store, "acme", ring.recipient_keys("acme", address)[0], purpose=None, reason="unsubscribe",
                source="page", now=work.clock(),
            )  # fmt: skip
        async with ScriptedPeer(port=port) as peer:
            await work.until(lambda: Counter(copy[0] for copy in work.copies())["blocked"] == 3)
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"blocked", "delivered"})
            told = [report_of(sent.data) for sent in peer.transactions if sent.mail.startswith("MAIL FROM:<>")]
            assert {sent.rcpts[0] for sent in peer.transactions if sent.mail.startswith("MAIL FROM:<>")} == {
                f"RCPT TO:<{SENDER}>"
            }
            assert sorted(about["Final-Recipient"] for one in told for about in one) == [
                f"rfc822; {address}" for address in PEOPLE[:3]
            ]
            assert len(told) <= 2, "the copy that tried the route out may be told of by itself"
            assert {about["Status"] for one in told for about in one} == {"5.7.1"}
            assert {about["Diagnostic-Code"].split("; ")[1] for one in told for about in one} == {"SUPPRESSED_SENDER"}
