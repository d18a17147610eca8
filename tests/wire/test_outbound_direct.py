"""A copy goes to the best mail server of its domain that takes it, over the TLS that the domain asks for, or waits."""

import asyncio
import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config import Route
from gateway.kept_policies import KeptPolicies
from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import Outcome, judge_failure
from gateway.outbound.connect import ConnectFailed, Timeouts
from gateway.outbound.direct import Direct, Habits, NoRoom, Sender
from gateway.outbound.http_client import HttpClient
from gateway.outbound.mta_sts import Memory, Policies, looked_up
from gateway.outbound.mx import Bounds
from gateway.outbound.resolver import Resolver
from gateway.outbound.traffic import Ticket
from tests.installation import free_ports
from tests.name_server import NameServer
from tests.peers import FEATURES, Close, ScriptedPeer, Silence, Step
from tests.store.test_contract import Home

LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)
ROUTE = Route(name="test", kind="mx", hosts=(), tls="opportunistic", connections=50, rate_per_second=None, inside=LOCAL)
QUICK = Timeouts(connect=1, tls=5, greeting=0.3, ehlo=5)


@pytest.fixture
def zone() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Servers:
    """Mail servers on addresses of this machine that share a port, and the way of mail to them."""

    def __init__(self, zone: NameServer, port: int) -> None:
        self.zone, self.port = zone, port
        self.counted: list[tuple[str, str]] = []

    def publish(self, domain: str, *hosts: str, start: int = 2) -> None:
        """An MX for each host, in this order, at 127.0.0.2, 127.0.0.3 ..."""
        self.zone.table[domain, "MX"] = [f"{10 * n} {host}." for n, host in enumerate(hosts, 1)]
        for n, host in enumerate(hosts, start):
            self.zone.table[host, "A"] = [f"127.0.0.{n}"]

    def peer(self, n: int, script: Mapping[str, Step | Sequence[Step]] | None = None, **more: Any) -> ScriptedPeer:
        """The server at 127.0.0.n."""
        return ScriptedPeer(script, port=self.port, host=f"127.0.0.{n}", **more)

    def way(self, **more: Any) -> Direct:
        """The route to them."""
        route = replace(ROUTE, port=self.port, **more.pop("route", {}))
        resolver = Resolver([("127.0.0.1", self.zone.port)], dnssec=more.get("dnssec", False))
        return Direct(
            route, hostname="gate.test", senders={"acme": Sender(helo="out.acme.example"), "bert": Sender(
                helo="out.bert.example", sources=("127.0.0.99",)
            )}, resolver=resolver, bounds=Bounds(inside=LOCAL), timeouts=more.pop("timeouts", QUICK),
            count=lambda demand, result: self.counted.append((demand, result)), **more,
        )  # fmt: skip


@pytest.fixture
def servers(zone: NameServer) -> Servers:
    return Servers(zone, free_ports(1)[0])


async def deliver(direct: Direct, address: str = "bob@a.test", controller: str = "acme") -> Outcome:
    """One copy, as a lane would hand it over."""
    ticket = direct.admit(address)
    assert isinstance(ticket, Ticket), ticket
    try:
        async with direct.session(address, controller, ticket) as session:
            outcome = await session.transaction("news@acme.example", Rcpt(address=address), b"a: b\r\n\r\nc\r\n")
    except ConnectFailed as failed:
        outcome = failed.outcome
    direct.heard(ticket, outcome)
    return outcome


async def test_the_first_server_takes_it_and_the_next_one_goes_over_the_same_connection(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test", "two.a.test")
    servers.zone.table["b.test", "MX"] = ["5 one.a.test."]
    direct = servers.way()
    async with servers.peer(2) as one, servers.peer(3) as two:
        for address in ("bob@a.test", "eve@a.test", "zoe@b.test"):
            assert (await deliver(direct, address)).state == "delivered"
        assert (one.connections, two.connections) == (1, 0)
        assert one.commands[0] == "EHLO out.acme.example"
        assert direct.idle == 1
        assert (await deliver(direct, controller="bert")).state == "delivered"
        assert "EHLO out.bert.example" in one.commands and one.connections == 2
        assert direct.idle == 2
        await direct.close()
        await one.all_closed()
    assert direct.idle == 0 and direct.traffic.busy == 0


async def test_mail_leaves_from_the_address_of_its_controller(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test")
    came_from = []

    async def greet(_: str) -> str:
        return "220 hello"

    async with servers.peer(2, {"CONNECT": greet}) as peer:
        accepted = peer._accepted

        async def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came_from.append(writer.get_extra_info("peername")[0])
            await accepted(reader, writer)

        peer._server.close()
        peer._server = await asyncio.start_server(seen, "127.0.0.2", servers.port)
        direct = servers.way()
        assert (await deliver(direct, controller="bert")).state == "delivered"
        assert came_from == ["127.0.0.99"]
        await direct.close()


async def test_a_server_that_hangs_at_all_its_addresses_leaves_time_for_the_next(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test", "two.a.test", start=5)
    servers.zone.table["one.a.test", "A"] = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]
    hangs: dict[str, Step] = {"CONNECT": Silence()}
    direct = servers.way(timeouts=Timeouts(ready=1, each=0.1))
    async with (
        servers.peer(2, hangs) as one, servers.peer(3, hangs) as two, servers.peer(4, hangs), servers.peer(5, hangs),
        servers.peer(6) as good, asyncio.timeout(20),
    ):  # fmt: skip
        assert (await deliver(direct)).state == "delivered"
        assert len(good.transactions) == 1 and one.connections + two.connections >= 1
        await direct.close()


@pytest.mark.parametrize("trouble", ["refused", "silent", "421", "554", "closed", "mail"])
async def test_the_next_server_is_asked_at_once_where_the_first_is_not_well(servers: Servers, trouble: str) -> None:
    servers.publish("a.test", "one.a.test", "two.a.test")
    script: dict[str, Step] = {
        "silent": {"CONNECT": Silence()},
        "421": {"CONNECT": Close("421 4.3.2 later")},
        "554": {"CONNECT": "554 5.7.1 no"},
        "closed": {"CONNECT": Close()},
        "mail": {"MAIL": "451 4.3.0 later"},
    }.get(trouble, {})  # type: ignore[assignment]
    direct = servers.way()
    async with servers.peer(3) as two:
        if trouble == "refused":
            outcome = await deliver(direct)
        else:
            async with servers.peer(2, script):
                outcome = await deliver(direct)
        assert outcome.state == "delivered" and len(two.transactions) == 1
        # the first cools down: it is asked last for a while
        async with servers.peer(2) as one:
            assert (await deliver(direct)).state == "delivered"
            assert one.connections == 0
        await direct.close()


async def test_a_refusal_of_the_recipient_is_final_and_no_other_server_is_asked(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test", "two.a.test")
    direct = servers.way()
    async with servers.peer(2, {"RCPT": "550 5.1.1 unknown"}), servers.peer(3) as two:
        outcome = await deliver(direct)
        assert (outcome.state, outcome.code, outcome.enhanced) == ("failed", 550, "5.1.1")
        assert two.connections == 0
        await direct.close()


async def test_with_all_servers_down_the_copy_waits_and_then_the_place_rests(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test", "two.a.test")
    direct = servers.way()
    for _ in range(2):
        outcome = await deliver(direct)
        assert (outcome.state, outcome.enhanced) == ("retry", "4.4.1")
    assert isinstance(direct.admit("eve@a.test"), float)
    why = direct.why("eve@a.test")
    assert why is not None and why.enhanced == "4.4.1"
    assert isinstance(direct.admit("eve@other.test"), Ticket)


async def test_domains_of_one_server_share_its_room(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test")
    servers.zone.table |= {("b.test", "MX"): ["5 one.a.test."], ("c.test", "MX"): ["5 one.a.test."]}
    direct, gate = servers.way(), asyncio.Event()

    async def held(_: str) -> Step:
        await gate.wait()
        return "250 2.0.0 ok"

    async with servers.peer(2, {".": held}) as peer:
        tasks = [asyncio.create_task(deliver(direct, f"bob@{name}.test")) for name in "ab"]
        await peer.seen(".", 2)
        with pytest.raises(NoRoom) as busy:
            await deliver(direct, "bob@c.test")
        assert busy.value.seconds > 0 and peer.connections == 2
        assert isinstance(direct.admit("eve@c.test"), float), "known without asking anybody"
        gate.set()
        assert {(await task).state for task in tasks} == {"delivered"}
        assert (await deliver(direct, "bob@c.test")).state == "delivered"
        assert direct.traffic.busy == 0
        await direct.close()


async def test_what_dns_says_for_good_ends_the_copy_and_says_nothing_of_a_server(servers: Servers) -> None:
    servers.zone.table["n.test", "MX"] = ["0 ."]
    direct = servers.way()
    for address, enhanced in (("x@gone.test", "5.1.2"), ("x@n.test", "5.1.10"), ("x@[127.0.0.1]", "5.1.2")):
        outcome = await deliver(direct, address)
        assert (outcome.state, outcome.enhanced, outcome.code) == ("failed", enhanced, None)
    assert direct.traffic.resting == 0 and direct.traffic.busy == 0


async def test_an_idle_connection_is_closed_and_a_worn_one_is_not_kept(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test")
    async with servers.peer(2) as peer:
        direct = servers.way(habits=Habits(idle=0.05, copies=2))
        for _ in range(4):
            assert (await deliver(direct)).state == "delivered"
        assert peer.connections == 2
        assert (await deliver(direct)).state == "delivered"
        assert direct.idle == 1
        await peer.all_closed()
        assert direct.idle == 0


async def test_a_connection_gone_stale_costs_nothing(servers: Servers) -> None:
    servers.publish("a.test", "one.a.test")
    async with servers.peer(2, {"MAIL": ["250 ok", Close("421 4.4.2 idle too long"), "250 ok"]}) as peer:
        direct = servers.way()
        for _ in range(2):
            assert (await deliver(direct)).state == "delivered"
        assert peer.connections == 2
        await direct.close()


# TLS


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def ca_file(authority: trustme.CA, folder: Path) -> Path:
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


async def test_tls_is_used_where_offered_and_given_up_where_it_is_broken(
    servers: Servers, authority: trustme.CA
) -> None:
    servers.publish("a.test", "one.a.test")
    servers.publish("b.test", "one.b.test", start=3)
    servers.publish("c.test", "one.c.test", start=4)
    wrong = server_context(authority.issue_cert("other.test"))
    direct = servers.way()
    async with (
        servers.peer(2, context=wrong) as one,
        servers.peer(3, {"STARTTLS": Close("220 go on")}, features=(*FEATURES, "STARTTLS")) as two,
        servers.peer(4) as three,
    ):
        for domain in ("a", "b", "c"):
            assert (await deliver(direct, f"bob@{domain}.test")).state == "delivered"
        assert [peer.transactions[0].encrypted for peer in (one, two, three)] == [True, False, False]
        none = "no-policy-found"
        assert servers.counted[0] == (none, "success") and servers.counted[-1] == (none, "starttls-not-supported")
        assert servers.counted[1:-1] == [(none, "validation-failure")]
        await direct.close()


@pytest.fixture
async def policy_server(servers: Servers, authority: trustme.CA) -> AsyncIterator["dict[str, str | bytes]"]:
    """An https server at 127.0.0.50 that serves `body` with `head`, as mta-sts.a.test; counts its `requests`."""
    said: dict[str, Any] = {
        "head": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", "requests": 0,
        "body": "version: STSv1\r\nmode: enforce\r\nmx: *.a.test\r\nmax_age: 86400\r\n",
    }  # fmt: skip

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said["requests"] += 1
        body = said["body"].encode()
        writer.write(f"{said['head']}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    context = server_context(authority.issue_cert("mta-sts.a.test"))
    server = await asyncio.start_server(serve, "127.0.0.50", 0, ssl=context)
    said["port"] = server.sockets[0].getsockname()[1]
    servers.zone.table[("mta-sts.a.test", "A")] = ["127.0.0.50"]
    servers.zone.table[("_mta-sts.a.test", "TXT")] = ['"v=STSv1; id=1;"']
    yield said
    server.close()


def with_sts(
    servers: Servers, said: Mapping[str, Any], authority: trustme.CA, folder: Path, memory: Memory | None = None,
    **more: Any,
) -> Direct:  # fmt: skip
    """A route that heeds policies, in a world whose only authority is this one."""
    file = ca_file(authority, folder)
    resolver = Resolver([("127.0.0.1", servers.zone.port)])
    client = HttpClient(ssl.create_default_context(cafile=str(file)), agent="test", resolve=looked_up(resolver))
    policies = Policies(
        resolver, client, inside=LOCAL, port=said["port"],
        note=lambda domain, fault: servers.counted.append((domain, fault)), memory=memory,
    )  # fmt: skip
    return servers.way(policies=policies, ca_file=file, **more)


async def test_an_enforced_policy_is_kept(
    servers: Servers, policy_server: Mapping[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    servers.publish("a.test", "mx.elsewhere.test", "wrong.a.test", "clear.a.test", "good.a.test")
    contexts = {
        2: server_context(authority.issue_cert("mx.elsewhere.test")), 3: server_context(authority.issue_cert("x.test")),
        4: None, 5: server_context(authority.issue_cert("good.a.test")),
    }  # fmt: skip
    direct = with_sts(servers, policy_server, authority, tmp_path)
    async with (
        servers.peer(2, context=contexts[2]) as elsewhere, servers.peer(3, context=contexts[3]) as wrong,
        servers.peer(4) as clear, servers.peer(5, context=contexts[5]) as good,
    ):  # fmt: skip
        assert (await deliver(direct)).state == "delivered"
        assert elsewhere.connections == 0 and not wrong.transactions and not clear.transactions
        assert [one.encrypted for one in good.transactions] == [True]
        assert servers.counted == [
            ("sts", "validation-failure"), ("sts", "certificate-host-mismatch"), ("sts", "starttls-not-supported"),
            ("sts", "success"),
        ]  # fmt: skip
        assert (await deliver(direct)).state == "delivered"
        assert policy_server["requests"] == 1, "kept, as its id is the same"
        await direct.close()
    servers.publish("a.test", "wrong.a.test", start=3)
    again = with_sts(servers, policy_server, authority, tmp_path)
    async with servers.peer(3, context=contexts[3]) as wrong:
        outcome = await deliver(again)
        assert (outcome.state, outcome.enhanced) == ("retry", "4.7.5") and not wrong.transactions
    servers.publish("a.test", "mx.elsewhere.test")
    outcome = await deliver(with_sts(servers, policy_server, authority, tmp_path))
    assert (outcome.state, outcome.enhanced) == ("retry", "4.7.5")


@pytest.mark.parametrize("policy", ["names others", "wants a certificate"])
async def test_what_one_domain_demands_of_a_server_does_not_slow_down_the_others_there(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path, policy: str
) -> None:
    """Whoever has a domain can lead it to the servers of a big provider, and demand of them what he likes."""
    servers.publish("a.test", "mx.big.test")
    servers.zone.table["b.test", "MX"] = ["10 mx.big.test."]
    names = "other.test" if policy == "names others" else "mx.big.test"
    policy_server["body"] = f"version: STSv1\nmode: enforce\nmx: {names}\nmax_age: 600\n"
    direct = with_sts(servers, policy_server, authority, tmp_path)
    async with servers.peer(2, context=server_context(trustme.CA().issue_cert("mx.big.test"))) as big:
        for _ in range(4):
            assert (await deliver(direct, "bob@b.test")).state == "delivered"
        for _ in range(6):
            outcome = await deliver(direct, "eve@a.test")
            assert (outcome.state, outcome.enhanced) == ("retry", "4.7.5")
        assert direct.traffic.resting == 0
        assert (await deliver(direct, "bob@b.test")).state == "delivered"
        assert len(big.transactions) == 5
        await direct.close()


async def test_a_server_beside_that_of_others_does_not_speak_for_it(servers: Servers) -> None:
    """A domain whose servers are a big provider's and one of its own, which fails, says nothing of the big one."""
    servers.publish("b.test", "mx.big.test")
    servers.zone.table |= {
        ("a.test", "MX"): ["10 mx.big.test.", "10 zz.a.test."], ("zz.a.test", "A"): ["127.0.0.3"]
    }  # fmt: skip
    direct = servers.way()
    async with servers.peer(2):
        assert (await deliver(direct, "bob@b.test")).state == "delivered"
        while not direct.traffic.resting:
            ticket = direct.admit("eve@a.test")
            assert isinstance(ticket, Ticket)
            async with direct.session("eve@a.test", "acme", ticket):
                direct.heard(ticket, judge_failure("mail", "timeout"))
        assert (await deliver(direct, "bob@b.test")).state == "delivered"
        await direct.close()


async def test_a_policy_in_testing_is_counted_and_stops_nothing(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    policy_server["body"] = "version: STSv1\nmode: testing\nmx: good.a.test\nmax_age: 600\n"
    servers.publish("a.test", "good.a.test")
    direct = with_sts(servers, policy_server, authority, tmp_path)
    async with servers.peer(2, context=server_context(authority.issue_cert("x.test"))) as peer:
        assert (await deliver(direct)).state == "delivered"
        assert [one.encrypted for one in peer.transactions] == [True]
    assert servers.counted == [("sts", "certificate-host-mismatch"), ("no-policy-found", "success")]
    await direct.close()


@pytest.mark.parametrize("fault", ["404", "redirect", "html", "garbage", "too long", "not its name", "servfail"])
async def test_a_policy_that_cannot_be_had_is_none_and_is_told(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path, fault: str
) -> None:
    if fault == "not its name":
        servers.zone.table |= {
            ("_mta-sts.b.test", "TXT"): ['"v=STSv1; id=1;"'], ("mta-sts.b.test", "A"): ["127.0.0.50"],
        }  # fmt: skip
    said = {
        "404": {"head": "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"},
        "redirect": {"head": "HTTP/1.1 301 Moved\r\nContent-Type: text/plain\r\nLocation: https://a.test/\r\n"},
        "html": {"head": "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"}, "garbage": {"body": "hello\n"},
        "too long": {"body": policy_server["body"] + "x: y\r\n" * 12_000},
    }  # fmt: skip
    policy_server |= said.get(fault, {})
    if fault == "servfail":
        servers.zone.table[("mta-sts.a.test", "A")] = None
    domain = "b.test" if fault == "not its name" else "a.test"
    servers.publish(domain, "mx.c.test")
    direct = with_sts(servers, policy_server, authority, tmp_path)
    async with servers.peer(2):
        for _ in range(2):
            assert (await deliver(direct, f"bob@{domain}")).state == "delivered"
    kind = "sts-policy-invalid" if fault in ("html", "garbage", "too long") else "sts-policy-fetch-error"
    kind = "sts-webpki-invalid" if fault == "not its name" else kind
    assert [one for one in servers.counted if one[0] == domain] == [(domain, kind)], "not asked again for a while"
    await direct.close()


async def test_a_policy_goes_on_until_its_end_and_a_new_id_brings_the_next(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    direct = with_sts(servers, policy_server, authority, tmp_path)
    policies = direct.policies
    assert policies is not None
    first = await policies.of("a.test")
    assert first is not None and first.mode == "enforce"
    fresh = Resolver([("127.0.0.1", servers.zone.port)])
    policies._resolver = fresh
    servers.zone.table[("_mta-sts.a.test", "TXT")] = ['"v=STSv1; id=2;"']
    policy_server["head"] = "HTTP/1.1 500 Broken\r\nContent-Type: text/plain\r\n"
    assert await policies.of("a.test") is first, "the new one cannot be had: the old one holds"
    del servers.zone.table[("_mta-sts.a.test", "TXT")]
    policies._resolver = Resolver([("127.0.0.1", servers.zone.port)])
    assert await policies.of("a.test") is first, "who hides the record in DNS changes nothing"
    servers.zone.table[("_mta-sts.a.test", "TXT")] = ['"v=STSv1; id=3;"']
    policies._resolver = Resolver([("127.0.0.1", servers.zone.port)])
    policies._kept["a.test"] = replace(policies._kept["a.test"], again_at=0.0)
    policy_server |= {
        "head": "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n",
        "body": "version: STSv1\nmode: none\nmax_age: 600\n",
    }  # fmt: skip
    assert await policies.of("a.test") is None
    policies._kept["a.test"] = replace(policies._kept["a.test"], policy=first, id="3", until=0.0)
    assert await policies.of("a.test") is None, "over, and fetched anew"


async def test_a_policy_of_no_age_is_kept_for_a_minute(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    """Its domain would have every copy fetch it."""
    policy_server["body"] = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0\n"
    policies = with_sts(servers, policy_server, authority, tmp_path).policies
    assert policies is not None
    first = await policies.of("a.test")
    assert first is not None and first.mode == "enforce"
    assert await policies.of("a.test") is first
    assert policy_server["requests"] == 1


async def test_what_a_domain_asked_for_holds_over_a_restart_for_all_processes(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    """Who hides record and policy in the moment after a start gets no mail in clear (RFC 8461 10.2)."""
    home, now = Home(tmp_path), datetime.datetime(2026, 11, 22, 10, tzinfo=datetime.UTC)

    async def hidden() -> Outcome:
        del servers.zone.table[("_mta-sts.a.test", "TXT")]
        direct = with_sts(servers, policy_server, authority, tmp_path, memory=KeptPolicies(two, home.ring, lambda: now))
        try:
            return await deliver(direct)
        finally:
            await direct.close()
            servers.zone.table[("_mta-sts.a.test", "TXT")] = ['"v=STSv1; id=1;"']

    servers.publish("a.test", "clear.a.test")
    async with home.opened() as one, home.opened() as two, servers.peer(2) as clear:
        assert (await hidden()).state == "delivered", "nobody has heard of a policy"
        kept = KeptPolicies(one, home.ring, lambda: now)
        fetching = with_sts(servers, policy_server, authority, tmp_path, memory=kept).policies
        assert fetching is not None and await fetching.of("a.test") is not None
        outcome = await hidden()
        assert (outcome.state, outcome.stage) == ("retry", "starttls")
        assert len(clear.transactions) == 1
        now += datetime.timedelta(seconds=86_399)
        assert (await hidden()).state == "retry"
        now += datetime.timedelta(seconds=2)
        assert (await hidden()).state == "delivered", "its max_age is over"
        assert b"a.test" not in home.place.on_disk()


async def test_a_policy_is_renewed_before_it_ends(
    servers: Servers, policy_server: dict[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    policies = with_sts(servers, policy_server, authority, tmp_path).policies
    assert policies is not None
    assert await policies.of("a.test") is await policies.of("a.test") is not None
    assert policy_server["requests"] == 1
    kept = policies._kept["a.test"]
    policies._kept["a.test"] = replace(kept, until=kept.until - 43_300)
    assert await policies.of("a.test") == kept.policy and policy_server["requests"] == 2
    renewed = policies._kept["a.test"]
    assert renewed.until >= kept.until
    policy_server["head"] = "HTTP/1.1 500 Broken\r\nContent-Type: text/plain\r\n"
    policies._kept["a.test"] = replace(renewed, until=renewed.until - 43_300)
    for _ in range(2):
        assert await policies.of("a.test") == kept.policy and policy_server["requests"] == 3


# DANE


def tlsa(certificate: trustme.LeafCert | trustme.CA, usage: int, selector: int, matching: int) -> str:
    """The record for a server's certificate, or that of its authority."""
    pem = certificate.cert_pem if isinstance(certificate, trustme.CA) else certificate.cert_chain_pems[0]
    loaded = x509.load_pem_x509_certificate(pem.bytes())
    data = loaded.public_bytes(Encoding.DER)
    if selector == 1:
        data = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = (hashlib.sha256, hashlib.sha512)[matching - 1](data).digest()
    return f"{usage} {selector} {matching} {data.hex()}"


def chained(authority: trustme.CA, *names: str, **more: Any) -> tuple[ssl.SSLContext, trustme.LeafCert, trustme.CA]:
    """A server that shows its certificate and that of an authority below another, which nobody knows."""
    below = authority.create_child_ca()
    leaf = below.issue_cert(*names, **more)
    return server_context(leaf), leaf, below


@pytest.mark.parametrize(
    ("usage", "selector", "matching"),
    [(3, s, m) for s in (0, 1) for m in (0, 1, 2)] + [(2, s, m) for s in (0, 1) for m in (0, 1, 2)],
)
async def test_a_certificate_that_a_tlsa_record_names_is_taken(
    servers: Servers, authority: trustme.CA, usage: int, selector: int, matching: int
) -> None:
    servers.publish("a.test", "one.a.test")
    servers.zone.authentic |= {"a.test", "one.a.test", f"_{servers.port}._tcp.one.a.test"}
    context, leaf, below = chained(authority, "one.a.test")
    named = leaf if usage == 3 else below
    servers.zone.table[(f"_{servers.port}._tcp.one.a.test", "TLSA")] = [tlsa(named, usage, selector, matching)]
    direct = servers.way(dnssec=True)
    async with servers.peer(2, context=context) as peer:
        assert (await deliver(direct)).state == "delivered"
        assert [one.encrypted for one in peer.transactions] == [True]
    assert servers.counted == [("tlsa", "success")]
    await direct.close()


@pytest.mark.parametrize(
    "case", ["other key", "other issuer", "other name", "issuer not shown", "expired", "in clear", "silence", "no tls"]
)
async def test_a_server_that_its_records_do_not_fit_gets_nothing(
    servers: Servers, authority: trustme.CA, case: str
) -> None:
    servers.publish("a.test", "one.a.test")
    place = f"_{servers.port}._tcp.one.a.test"
    servers.zone.authentic |= {"a.test", "one.a.test", place}
    over = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    context, _, below = chained(
        authority,
        "other.test" if case == "other name" else "one.a.test",
        **({"not_after": over} if case == "expired" else {}),
    )
    _, stranger, elsewhere = chained(trustme.CA(), "one.a.test")
    record = {
        "other key": tlsa(stranger, 3, 1, 1), "other issuer": tlsa(elsewhere, 2, 0, 1),
        "issuer not shown": tlsa(authority, 2, 1, 2),
    }.get(case, tlsa(below, 2, 1, 1))  # fmt: skip
    servers.zone.table[(place, "TLSA")] = None if case == "silence" else [record]
    features = FEATURES if case != "no tls" else (*FEATURES, "STARTTLS")
    script: dict[str, Step] = {"STARTTLS": Close("220 go on")} if case == "no tls" else {}
    direct = servers.way(dnssec=True)
    plain = case in ("in clear", "no tls")
    async with servers.peer(2, script, context=None if plain else context, features=features) as peer:
        outcome = await deliver(direct)
        assert (outcome.state, outcome.enhanced) == ("retry", "4.7.5"), outcome
        assert not peer.transactions
    expected = {
        "in clear": "starttls-not-supported", "silence": "dnssec-invalid", "no tls": "validation-failure"
    }.get(case, "tlsa-invalid")  # fmt: skip
    assert servers.counted == [("tlsa", expected)]
    await direct.close()


ODD = b"""\
-----BEGIN CERTIFICATE-----
MIIBnTCCATSgAwIBAgIUd+TOlwtl1zYSyvGjUpQomFO8GEwwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIb2RkLnRlc3QwIBcNMjYxMTIyMTMwNjQxWhgPMjEyNjEwMjkx
MzA2NDFaMBMxETAPBgNVBAMMCG9kZC50ZXN0MGowFAYHKoZIzj0CAQYJKyQDAwII
AQEJA1IABCtmbAkqqFMZlnj1zWv5ImOV5KJfzoeX26LF2DZJo6jcTTga2Oi1oxd7
V7iqpBTqmmCtRUi6JR72eSdA9ggstHGYjYertP0rLy0IYezD7L6so1MwUTAdBgNV
HQ4EFgQU9odH/LFVYY+9QlWzkGAqJKKoUn0wHwYDVR0jBBgwFoAU9odH/LFVYY+9
QlWzkGAqJKKoUn0wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNXADBUAihW
2MLg/VPeVxKcQnWJ4fePHO30qhrrRHe7+1zjid6OSeDf1VOlD2vZAihoKKJhwkB0
sSQg5M5xW41dA60O3a7dx/VpQ/CKIjDa9OWZmpUb0EiR
-----END CERTIFICATE-----
"""
"""A certificate with a key on a curve (brainpoolP320r1) that TLS libraries read and ours for certificates does not."""


@pytest.mark.parametrize("fits", [True, False])
async def test_a_certificate_of_a_rare_kind_among_those_shown_is_no_fault_of_ours(
    servers: Servers, authority: trustme.CA, tmp_path: Path, fits: bool
) -> None:
    """The server's own is enough for DANE-EE (RFC 7671 5.1); for DANE-TA the odd one could be the anchor."""
    servers.publish("a.test", "one.a.test")
    place = f"_{servers.port}._tcp.one.a.test"
    servers.zone.authentic |= {"a.test", "one.a.test", place}
    leaf = authority.issue_cert("one.a.test")
    servers.zone.table[(place, "TLSA")] = [tlsa(leaf, 3, 1, 1) if fits else "2 1 1 " + "00" * 32]
    file = tmp_path / "shown.pem"
    file.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes() + ODD)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    direct = servers.way(dnssec=True)
    async with servers.peer(2, context=context) as peer:
        outcome = await deliver(direct)
        assert (outcome.state, outcome.stage, len(peer.transactions)) == (
            ("delivered", "body", 1) if fits else ("retry", "starttls", 0)
        )
    await direct.close()


async def test_a_name_that_cannot_be_asked_for_in_tls_is_tls_that_failed(
    servers: Servers, authority: trustme.CA
) -> None:
    """A CNAME may lead to any octets; what TLS is asked for there is their name in DNS."""
    servers.publish("a.test", "one.a.test")
    odd = r"\007" * 40 + ".a.test"
    servers.zone.table[("one.a.test", "CNAME")] = [odd + "."]
    servers.zone.table[(odd, "A")] = servers.zone.table.pop(("one.a.test", "A"))
    servers.zone.table[(f"_{servers.port}._tcp.{odd}", "TLSA")] = ["3 1 1 " + "00" * 32]
    servers.zone.authentic |= {"a.test", "one.a.test", odd, f"_{servers.port}._tcp.{odd}"}
    direct = servers.way(dnssec=True)
    async with servers.peer(2, context=server_context(authority.issue_cert("one.a.test"))) as peer:
        outcome = await deliver(direct)
        assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "starttls", "4.7.5")
        await peer.all_closed()
    await direct.close()


@pytest.mark.parametrize("record", ["0 0 1 " + "00" * 32, "3 1 9 " + "00" * 20, "3 7 1 " + "00" * 32])
async def test_with_records_of_no_use_tls_is_needed_and_nobody_says_who_is_there(
    servers: Servers, authority: trustme.CA, record: str
) -> None:
    servers.publish("a.test", "one.a.test", "two.a.test")
    for name in ("one.a.test", "two.a.test"):
        servers.zone.table[(f"_{servers.port}._tcp.{name}", "TLSA")] = [record]
        servers.zone.authentic |= {"a.test", name, f"_{servers.port}._tcp.{name}"}
    direct = servers.way(dnssec=True)
    async with servers.peer(2) as clear, servers.peer(3, context=server_context(authority.issue_cert("x.test"))) as tls:
        assert (await deliver(direct)).state == "delivered"
        assert not clear.transactions and tls.transactions[0].encrypted
    await direct.close()


@pytest.mark.parametrize("demanded", ["enforced", "verify"])
async def test_records_of_no_use_lift_nothing_that_is_demanded_besides(
    servers: Servers, policy_server: Mapping[str, Any], authority: trustme.CA, tmp_path: Path, demanded: str
) -> None:
    servers.publish("a.test", "one.a.test")
    place = f"_{servers.port}._tcp.one.a.test"
    servers.zone.table[(place, "TLSA")] = ["1 1 1 " + "00" * 32]
    servers.zone.authentic |= {"a.test", "one.a.test", place}
    if demanded == "enforced":
        direct = with_sts(servers, policy_server, authority, tmp_path, dnssec=True)
    else:
        direct = servers.way(dnssec=True, ca_file=ca_file(authority, tmp_path), route={"tls": "verify"})
    async with servers.peer(2, context=server_context(trustme.CA().issue_cert("one.a.test"))) as stranger:
        outcome = await deliver(direct)
        assert (outcome.state, outcome.enhanced) == ("retry", "4.7.5") and not stranger.transactions
    await direct.close()


@pytest.mark.parametrize("unsigned", ["a.test", "one.a.test", "_tlsa"])
async def test_records_that_nobody_vouches_for_count_for_nothing(
    servers: Servers, authority: trustme.CA, unsigned: str
) -> None:
    servers.publish("a.test", "one.a.test")
    place = f"_{servers.port}._tcp.one.a.test"
    servers.zone.table[(place, "TLSA")] = ["3 1 1 " + "00" * 32]
    servers.zone.authentic |= {"a.test", "one.a.test", place} - {place if unsigned == "_tlsa" else unsigned}
    direct = servers.way(dnssec=True)
    async with servers.peer(2, context=server_context(authority.issue_cert("x.test"))) as peer:
        assert (await deliver(direct)).state == "delivered"
        assert peer.transactions[0].encrypted
    assert servers.counted == [("no-policy-found", "success")]
    await direct.close()


async def test_dane_comes_before_mta_sts(
    servers: Servers, policy_server: Mapping[str, Any], authority: trustme.CA, tmp_path: Path
) -> None:
    servers.publish("a.test", "one.a.test")
    place = f"_{servers.port}._tcp.one.a.test"
    servers.zone.authentic |= {"a.test", "one.a.test", place}
    servers.zone.table[(place, "TLSA")] = ["3 1 1 " + "00" * 32]
    direct = with_sts(servers, policy_server, authority, tmp_path, dnssec=True)
    async with servers.peer(2, context=server_context(authority.issue_cert("one.a.test"))) as peer:
        outcome = await deliver(direct)
        assert (outcome.state, outcome.enhanced) == ("retry", "4.7.5") and not peer.transactions
    assert servers.counted == [("tlsa", "tlsa-invalid")]
    await direct.close()
