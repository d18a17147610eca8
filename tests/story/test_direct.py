"""Mail sent directly: DNS names the servers, a slow domain holds nobody up, and the last check is made there too."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.outbound.direct import Direct
from tests.installation import Gateway, Installation, consent, free_ports, newsletter
from tests.name_server import NameServer
from tests.peers import Close, ScriptedPeer, Silence
from tests.postfix import running_postfix
from tests.story.at_work import at_work
from tests.story.relay import Relay, fresh, load, one_click_url, path_of, verify_dkim
from tests.story.upstream import Gate, Upstream

GATED = [f"{name}@gated.test" for name in "abcde"]
PEOPLE = [f"{name}@{domain}.test" for domain in ("postfix", "open", "hangs", "nobody", "down") for name in "abcde"]


@pytest.fixture
def zone() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture
def installation(made: Path, tmp_path: Path, zone: NameServer) -> Installation:
    """An example installation that sends directly, to servers of this machine."""
    new = fresh(made, tmp_path / "installation")
    load(new, "consents", [consent(address) for address in (*PEOPLE, *GATED)])
    new.change(f'public_url = "http://127.0.0.1:{new.http_port}"', 'public_url = "https://news.acme.example"')
    new.config.write_text(new.config.read_text("utf-8") + zone.setting, "utf-8")
    return new


def send_directly(installation: Installation, port: int) -> Gateway:
    """The gateway at work, handing over to servers that listen on this port."""
    installation.change('kind = "capture"', f'kind = "mx"\nport = {port}\ninside = ["127.0.0.0/8"]')
    return Gateway(installation).start()


def copies(installation: Installation) -> list[tuple[str, int, str]]:
    """State, attempts and last word of every copy, in the order they came."""
    with contextlib.closing(sqlite3.connect(f"file:{installation.dir / 'consentgate.db'}?mode=ro", uri=True)) as db:
        return list(db.execute("SELECT state, attempts, coalesce(reply, '') FROM copies ORDER BY message_id, copy_no"))


def test_each_domain_by_its_own_servers_and_none_waits_for_another(
    installation: Installation, zone: NameServer
) -> None:
    with Upstream() as sink, running_postfix(sink.port) as postfix:
        zone.table |= {
            ("postfix.test", "MX"): ["10 down.test.", "20 mx.postfix.test."], ("mx.postfix.test", "A"): ["127.0.0.1"],
            ("open.test", "A"): ["127.0.0.2"], ("hangs.test", "A"): ["127.0.0.3"], ("nobody.test", "MX"): ["0 ."],
            ("down.test", "A"): ["127.0.0.9"], ("acme.example", "A"): ["127.0.0.2"],
        }  # fmt: skip
        with (
            Upstream(port=postfix.port, host="127.0.0.2") as opened,
            Upstream({"CONNECT": Silence()}, port=postfix.port, host="127.0.0.3"),
        ):
            gateway = send_directly(installation, postfix.port)
            try:
                relay = Relay(installation, gateway, opened)
                relay.taken(PEOPLE, newsletter("direct"))
                sink.wait(5)
                assert {mail.recipient for mail in sink.mails} == {f"{name}@postfix.test" for name in "abcde"}
                for name in "abcde":
                    opened.until(lambda name=name: len(opened.to(f"{name}@open.test")) == 1)  # type: ignore[misc]
                opened.until(lambda: len(opened.to("news@acme.example")) == 5)
                assert all(b"Status: 5.1.10" in report.raw for report in opened.to("news@acme.example"))
                gateway.eventually(
                    lambda: any(row[0] == "queued" and "4.4.1" in row[2] for row in copies(installation))
                )
                rows = dict(zip(PEOPLE, copies(installation), strict=False))
                assert rows["a@nobody.test"] == ("failed", 1, "5.1.10 the domain takes no mail (RFC 7505)")
                assert all(rows[f"{name}@hangs.test"][0] in ("queued", "claimed") for name in "abcde")
                [mail] = opened.to("a@open.test")
                verify_dkim(mail, installation)
                assert mail.mail_from.endswith("@bounce.acme.example")
                through = sink.to("a@postfix.test")[0]
                assert b"by gate.test (Postfix)" in through.raw
                verify_dkim(through, installation)
            finally:
                gateway.kill()  # a stop would wait for the server that hangs


def test_what_finds_no_session_goes_back_and_an_opt_out_meanwhile_counts(
    installation: Installation, zone: NameServer
) -> None:
    [port] = free_ports(1)
    gate = Gate("250-peer.test\r\n250-PIPELINING\r\n250 8BITMIME")
    zone.table |= {("gated.test", "A"): ["127.0.0.2"], ("open.test", "A"): ["127.0.0.3"]}
    script = {"EHLO": gate, ".": [Close("250 ok"), "250 ok"]}
    with (
        Upstream(script, port=port, host="127.0.0.2") as slow, Upstream(port=port, host="127.0.0.3") as quick,
    ):  # fmt: skip
        gateway = send_directly(installation, port)
        try:
            relay = Relay(installation, gateway, slow)
            gate.open()
            relay.passes("a@gated.test", newsletter("first"))
            url = one_click_url(slow.to("a@gated.test")[0])
            gate.close()
            for address in GATED:
                relay.taken(address, newsletter("second"))
            relay.taken("a@open.test", newsletter("second"))
            quick.wait(1)
            gateway.eventually(lambda: gate.waiting >= 1)
            waits = [row for row in copies(installation)[1:6] if row[0] == "queued"]
            assert len(waits) >= 1 and all(row[1] == 0 for row in waits), "it was no attempt"
            assert relay.one_click(installation.url + path_of(url)).status_code == 200
            relay.a_second_passes()
            gate.open()
            gateway.eventually(lambda: slow.count == 5)
            gateway.eventually(lambda: all(row[0] in ("delivered", "blocked") for row in copies(installation)))
            began = [recipient for _, recipient in slow.began]
            assert sorted(began) == sorted(["a@gated.test", *GATED[1:]]), "after the opt-out nothing for its person"
            assert gateway.stop() == 0
        finally:
            gateway.kill()


def test_plain_http_links_are_not_sent_to_everybody(installation: Installation) -> None:
    installation.change('"https://news.acme.example"', f'"{installation.url}"')
    installation.change('kind = "capture"', 'kind = "mx"')
    done = installation.tool("serve")
    assert done.returncode == 1
    assert b"routes.main.kind: is mx" in done.stderr and b"plain http" in done.stderr
    installation.change('kind = "mx"', 'kind = "mx"\nhosts = ["127.0.0.1:25"]\nport = 70000\ndkim = "upstream"')
    done = installation.tool("check-config", "--json")
    keys = {json.loads(line).get("key") for line in done.stdout.splitlines()}
    assert done.returncode == 1 and {"routes.main.hosts", "routes.main.port", "routes.main.dkim"} <= keys


async def test_a_copy_is_given_up_in_time_though_its_servers_rest_and_a_reload_forgets_nothing(
    installation: Installation, zone: NameServer
) -> None:
    [port] = free_ports(1)
    zone.table |= {("down.test", "A"): ["127.0.0.9"], ("acme.example", "A"): ["127.0.0.2"]}
    installation.change('kind = "capture"', f'kind = "mx"\nport = {port}\ninside = ["127.0.0.0/8"]')
    people = [f"{name}@down.test" for name in "abcde"]
    async with ScriptedPeer(port=port, host="127.0.0.2") as back, at_work(installation) as work:
        way = work.worker._pools["main"]
        assert isinstance(way, Direct)
        await work.send(people, newsletter("to the end"))
        await work.until(lambda: sum(attempts for _, attempts, _, _ in work.copies()) == 2)
        await work.pass_time(timedelta(seconds=2))
        await work.until(lambda: way.traffic.resting == 1)
        rows = work.copies()
        assert sum(attempts for _, attempts, _, _ in rows) < 5, "those behind the failure were not tried"
        await work.worker.reload()
        again = work.worker._pools["main"]
        assert isinstance(again, Direct) and again is not way and again.traffic is way.traffic
        assert isinstance(again.admit("a@down.test"), float), "it rests still"
        await work.pass_time(timedelta(days=2, minutes=1))
        await work.until(lambda: all(row[0] == "failed" for row in work.copies()[:5]))
        async with asyncio.timeout(20):
            while len(back.transactions) < 5:  # the reports share two sessions
                await work.pass_time(timedelta(seconds=1))
                await asyncio.sleep(0.05)
        for transaction in back.transactions:
            assert transaction.mail.startswith("MAIL FROM:<>") and b"Status: 5.4.7" in transaction.data
        # each was tried, or went by what the last one met
        assert all("4.4.1" in reply for _, _, _, reply in work.copies()[:5])
