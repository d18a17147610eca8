"""Where the mail of a domain goes is what DNS says, never inside, and "nobody answered" is never "there is none"."""

import asyncio
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.outbound import resolver as resolver_module
from gateway.outbound.mx import ABREAST, ADDRESSES, HOSTS, QUESTIONS, Bounds, NoWay, domain_of, find_way
from gateway.outbound.resolver import Resolver, Unanswered
from tests.name_server import NameServer

LOCAL = Bounds(inside=[ipaddress.ip_network("127.0.0.0/8")])


@pytest.fixture
def zone() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


def asking(zone: NameServer, **more: Any) -> Resolver:
    return Resolver([("127.0.0.1", zone.port)], **more)


async def status(zone: NameServer, domain: str, bounds: Bounds = LOCAL) -> tuple[str, str | None]:
    """The state and code of a domain that has no way."""
    with pytest.raises(NoWay) as none:
        await find_way(domain, asking(zone), bounds)
    return none.value.outcome.state, none.value.outcome.enhanced


async def test_the_best_comes_first_and_equals_take_turns(zone: NameServer) -> None:
    zone.table |= {
        ("a.test", "MX"): ["20 last.a.test.", "10 one.a.test.", "10 two.a.test."],
        ("one.a.test", "A"): ["127.0.0.2"], ("two.a.test", "A"): ["127.0.0.3"], ("last.a.test", "A"): ["127.0.0.4"],
    }  # fmt: skip
    resolver, orders = asking(zone), set()
    for _ in range(64):
        way = await find_way("a.test", resolver, LOCAL)
        orders.add(tuple(one.name for one in way.exchanges))
        assert way.site == "one.a.test,two.a.test" and not way.implicit
    assert orders == {("one.a.test", "two.a.test", "last.a.test"), ("two.a.test", "one.a.test", "last.a.test")}
    assert len(zone.asked) == 7, "asked once, then kept"


async def test_without_mx_the_domain_is_its_own_server(zone: NameServer) -> None:
    zone.table |= {("b.test", "A"): ["127.0.0.2"], ("b.test", "AAAA"): ["2001:db8::1"]}
    way = await find_way("b.test", asking(zone), LOCAL)
    assert way.implicit
    assert [(one.name, list(map(str, one.addresses))) for one in way.exchanges] == [("b.test", ["127.0.0.2"])]


async def test_an_mx_that_leads_to_a_cname_is_followed(zone: NameServer) -> None:
    zone.table |= {
        ("c.test", "MX"): ["10 mx.c.test."], ("mx.c.test", "CNAME"): ["Real.c.test."],
        ("real.c.test", "A"): ["127.0.0.5"],
    }  # fmt: skip
    [one] = (await find_way("c.test", asking(zone), LOCAL)).exchanges
    assert (one.name, one.canonical, list(map(str, one.addresses))) == ("mx.c.test", "real.c.test", ["127.0.0.5"])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, ("failed", "5.1.2")),  # NXDOMAIN
        ({("d.test", "MX"): ["0 ."]}, ("failed", "5.1.10")),  # RFC 7505
        ({("d.test", "MX"): None}, ("retry", "4.4.3")),  # SERVFAIL
        ({("d.test", "TXT"): ['"x"']}, ("failed", "5.4.4")),  # it exists, and has neither MX nor address
        ({("d.test", "TXT"): ['"x"'], ("d.test", "A"): None}, ("retry", "4.4.3")),
        ({("d.test", "MX"): ["10 gone.d.test."]}, ("failed", "5.4.4")),
        ({("d.test", "MX"): ["10 m.d.test."], ("m.d.test", "A"): None}, ("retry", "4.4.3")),
        ({("d.test", "MX"): ["10 m.d.test.", "20 gone.d.test."], ("m.d.test", "A"): None}, ("retry", "4.4.3")),
        ({("d.test", "MX"): ["10 192.0.2.1."]}, ("failed", "5.4.4")),  # an address in the place of a name
        ({("d.test", "MX"): [r"10 we\ ird\(\).d.test."]}, ("failed", "5.4.4")),
        ({("d.test", "MX"): ["10 m.d.test."], ("m.d.test", "A"): ["10.0.0.1", "192.168.1.1"]}, ("failed", "5.4.4")),
        ({("d.test", "MX"): ["10 m.d.test."], ("m.d.test", "AAAA"): ["::1", "fe80::1"]}, ("failed", "5.4.4")),
        ({("d.test", "CNAME"): ["e.test."], ("e.test", "CNAME"): ["d.test."]}, ("retry", "4.4.3")),  # a loop
        ({("d.test", "MX"): ["10 d.test."], ("d.test", "CNAME"): ["d.test."]}, ("retry", "4.4.3")),
    ],
)
async def test_what_dns_says_for_good_is_final_and_the_rest_waits(
    zone: NameServer, table: dict[tuple[str, str], list[str] | None], said: tuple[str, str]
) -> None:
    zone.table |= table
    assert await status(zone, "d.test") == said


async def test_a_silent_name_server_is_no_answer_and_is_not_asked_by_everybody(
    zone: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "DNS_SECONDS", 0.2)
    zone.silent.add("quiet.test")
    resolver = asking(zone)
    found = await asyncio.gather(*(find_way("quiet.test", resolver, LOCAL) for _ in range(20)), return_exceptions=True)
    assert {one.outcome.enhanced for one in found if isinstance(one, NoWay)} == {"4.4.3"} and len(found) == 20
    assert len(zone.asked) == 1
    with pytest.raises(NoWay):
        await find_way("quiet.test", resolver, LOCAL)
    assert len(zone.asked) == 1, "kept for a moment"


async def test_a_silence_that_lasts_is_kept_longer_each_time(zone: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "DNS_SECONDS", 0.02)
    zone.silent.add("quiet.test")
    resolver, spans = asking(zone), []
    for _ in range(7):
        with pytest.raises(Unanswered):
            await resolver.look_up("quiet.test", "A")
        kept = resolver._kept["quiet.test", "A"]
        assert isinstance(kept, resolver_module._Silence)
        spans.append(kept.seconds)
        resolver._kept["quiet.test", "A"] = replace(kept, until=0.0)
    assert spans == [10, 20, 40, 80, 160, 300, 300]
    zone.silent.clear()
    zone.table[("quiet.test", "A")] = ["127.0.0.2"]
    assert (await resolver.look_up("quiet.test", "A")).records == (("127.0.0.2",),)


async def test_domains_whose_servers_nobody_knows_hold_up_no_other(zone: NameServer) -> None:
    """Each names eight servers about which the name server says nothing."""
    for d in range(40):
        zone.table[f"dead{d}.test", "MX"] = [f"{n} mx{n}.dead{d}.test." for n in range(8)]
        zone.silent |= {f"mx{n}.dead{d}.test" for n in range(8)}
    zone.table |= {("good.test", "MX"): ["10 mx.good.test."], ("mx.good.test", "A"): ["127.0.0.2"]}
    resolver = asking(zone, queries=QUESTIONS * 41)
    async with asyncio.timeout(30):
        dead = [asyncio.create_task(find_way(f"dead{d}.test", resolver, LOCAL)) for d in range(40)]
        while sum(name.startswith("mx") for name, _ in zone.asked) < QUESTIONS * 40:
            await asyncio.sleep(0)
        assert (await find_way("good.test", resolver, LOCAL)).site == "mx.good.test"
        assert not any(task.done() for task in dead)
        assert len({name for name, _ in zone.asked if name.startswith("mx")}) == ABREAST * 40 + 1
    for task in dead:
        task.cancel()
    await asyncio.wait(dead)


async def test_after_a_silence_no_more_servers_are_looked_up_than_are_needed(
    zone: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "DNS_SECONDS", 0.2)
    zone.table[("k.test", "MX")] = [f"{n} mx{n}.k.test." for n in range(8)]
    zone.table |= {(f"mx{n}.k.test", "A"): [f"127.0.0.{n + 1}"] for n in range(8)}
    zone.table[("mx2.k.test", "A")] = ["10.0.0.1"]
    zone.table[("mx3.k.test", "A")] = ["10.0.0.1"]
    zone.silent |= {"mx0.k.test", "mx1.k.test", "mx6.k.test", "mx7.k.test"}
    way = await find_way("k.test", asking(zone), LOCAL)
    assert [one.name for one in way.exchanges] == ["mx4.k.test", "mx5.k.test"]
    assert not any(name in ("mx6.k.test", "mx7.k.test") for name, _ in zone.asked)


async def test_of_several_one_that_works_is_enough(zone: NameServer) -> None:
    zone.table |= {
        ("f.test", "MX"): ["10 silent.f.test.", "20 10.0.0.1.", "30 good.f.test.", "40 inside.f.test."],
        ("silent.f.test", "A"): None, ("good.f.test", "A"): ["127.0.0.9", "10.9.9.9"],
        ("inside.f.test", "A"): ["169.254.169.254"],
    }  # fmt: skip
    way = await find_way("f.test", asking(zone), LOCAL)
    assert [(one.name, list(map(str, one.addresses))) for one in way.exchanges] == [("good.f.test", ["127.0.0.9"])]


async def test_ourselves_and_what_stands_behind_us_is_left_out(zone: NameServer) -> None:
    zone.table |= {
        ("g.test", "MX"): ["10 out.g.test.", "20 us.test.", "20 equal.g.test.", "30 behind.g.test."],
        ("h.test", "MX"): ["10 us.test.", "20 other.h.test."],
        ("i.test", "MX"): ["10 alias.i.test.", "20 other.h.test."],
        **{(f"{name}.test", "A"): [f"127.0.0.{n}"] for n, name in enumerate(
            ("out.g", "us", "equal.g", "behind.g", "other.h", "alias.i"), 2
        )},
    }  # fmt: skip
    bounds = Bounds(inside=LOCAL.inside, own_names={"us.test"}, is_ours=lambda address: str(address) == "127.0.0.7")
    assert [one.name for one in (await find_way("g.test", asking(zone), bounds)).exchanges] == ["out.g.test"]
    assert await status(zone, "h.test", bounds) == ("failed", "5.4.6")
    assert await status(zone, "i.test", bounds) == ("failed", "5.4.6")


async def test_a_domain_with_thousands_of_servers_costs_no_more_than_others(zone: NameServer) -> None:
    zone.table[("many.test", "MX")] = [f"{n} m{n}.many.test." for n in range(2000)]
    zone.table |= {(f"m{n}.many.test", "A"): [f"127.0.{i}.{n}" for i in range(200)] for n in range(9)}
    way = await find_way("many.test", asking(zone), LOCAL)
    assert [one.name for one in way.exchanges] == [f"m{n}.many.test" for n in range(HOSTS)]
    assert all(len(one.addresses) == ADDRESSES for one in way.exchanges)
    assert len(zone.asked) <= 2 * (1 + 2 * HOSTS), "each over UDP, and again over TCP"


async def test_what_is_kept_is_bounded_and_ends(zone: NameServer) -> None:
    zone.table |= {(f"n{n}.test", "A"): ["127.0.0.2"] for n in range(9)}
    resolver = asking(zone, entries=3)
    for n in range(9):
        await resolver.look_up(f"n{n}.test", "A")
    assert len(resolver._kept) == 3
    zone.asked.clear()
    await resolver.look_up("N8.test", "A")
    assert not zone.asked
    await resolver.look_up("n0.test", "A")
    assert zone.asked == [("n0.test", "A")]
    zone.ttl = 1_000_000
    now = asyncio.get_running_loop().time()
    assert (await resolver.look_up("n1.test", "A")).until - now == pytest.approx(3600, abs=60)
    assert (await resolver.look_up("none.test", "A")).until - now <= 300 + 60
    zone.ttl = 0
    assert (await resolver.look_up("n2.test", "A")).until - now == pytest.approx(5, abs=4)


async def test_answers_that_are_kept_are_bounded_in_octets_too(
    zone: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "OCTETS", 1600)
    zone.table |= {(f"n{n}.test", "TXT"): [f'"{"x" * 255}" "{"y" * 245}"'] for n in range(9)}
    resolver = asking(zone)
    for n in range(9):
        await resolver.look_up(f"n{n}.test", "TXT")
    assert [name for name, _ in resolver._kept] == ["n6.test", "n7.test", "n8.test"]
    for key, kept in list(resolver._kept.items()):
        assert isinstance(kept, resolver_module.Found)
        resolver._kept[key] = replace(kept, until=0.0)
        await resolver.look_up(*key)  # anew, in the place of what is over
    assert len(resolver._kept) == 3 and resolver._octets == 1500


async def test_only_a_validating_server_on_this_machine_makes_an_answer_authentic(zone: NameServer) -> None:
    zone.table |= {
        ("s.test", "MX"): ["10 mx.s.test."], ("mx.s.test", "A"): ["127.0.0.2"], ("plain.test", "A"): ["127.0.0.2"],
    }  # fmt: skip
    zone.authentic |= {"s.test", "mx.s.test"}
    trusting = asking(zone, dnssec=True)
    way = await find_way("s.test", trusting, LOCAL)
    assert way.authentic and way.exchanges[0].authentic
    assert not (await trusting.look_up("plain.test", "A")).authentic
    way = await find_way("s.test", asking(zone), LOCAL)
    assert not way.authentic and not way.exchanges[0].authentic


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("bob@Example.NET", "example.net"), ("bob@example.net.", "example.net"),
        ("zoë@exämple.de", "xn--exmple-cua.de"),
        ('"a@b"@example.net', "example.net"), ("bob@例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)  # fmt: skip
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@pytest.mark.parametrize(
    "address",
    ["bob@[192.0.2.1]", "bob@[IPv6:::1]",
     "bob@192.0.2.1", "bob@0x7f000001", "bob@a..b", "bob@-a.test", "bob@\u2028.test",
     "bob@" + "a" * 64 + ".test", "bob@" + "a." * 130 + "test", "bob@", "bob"],
)  # fmt: skip
def test_what_is_no_domain_is_refused_for_good(address: str) -> None:
    with pytest.raises(NoWay) as none:
        domain_of(address)
    assert (none.value.outcome.state, none.value.outcome.enhanced) == ("failed", "5.1.2")


async def test_no_answer_is_told_apart_from_none(zone: NameServer) -> None:
    zone.table[("x.test", "TXT")] = None
    with pytest.raises(Unanswered):
        await asking(zone).texts("x.test")
    assert await asking(zone).texts("none.test") == ()
