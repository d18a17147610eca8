"""What may be called over HTTP: listed hosts, https, and no address inside unless it is listed itself."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.tools.reach import NotAllowed, Peer, inside, literal, place_of, refused

SHOP = Peer(host="lists.shop.example")


@pytest.mark.parametrize(
    ("url", "name", "target"),
    [
        ("https://lists.shop.example/u?x=1", "lists.shop.example:443", "/u?x=1"),
        ("https://LISTS.shop.example./", "lists.shop.example:443", "/"),
        ("https://lists.shop.example:8443", "lists.shop.example:8443", "/"),
        ("https://lists.shop.example/a#part", "lists.shop.example:443", "/a"),
    ],
)
def test_a_listed_host_is_called(url: str, name: str, target: str) -> None:
    place = place_of(url, [SHOP])
    assert (place.name, place.target, place.tls) == (name, target, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://lists.shop.example/", "https://shop.example/", "https://lists.shop.example.evil.example/",
        "https://evil.example/lists.shop.example", "https://lists.shop.example@evil.example/",
        "https://evil.example@lists.shop.example/", "https://lists.shop.example\\@evil.example/",
        "https://lists.shop.example/ a", "https://lists.shop.example/\r\nX: y", "https://lists.shop.example:0/",
        "https://lists.shop.example:99999/", "ftp://lists.shop.example/", "//lists.shop.example/", "", "https://",
        "https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "https://0x7f.1/",
        "https://lists.shop.example/" + "a" * 5000, "https://li\u017fts.shop.example/",
    ],
)  # fmt: skip
def test_nothing_else_is(url: str) -> None:
    with pytest.raises(NotAllowed):
        place_of(url, [SHOP])


def test_a_listed_port_is_the_only_one() -> None:
    peers = [Peer(host="lists.shop.example", port=8443)]
    assert place_of("https://lists.shop.example:8443/", peers).port == 8443
    with pytest.raises(NotAllowed):
        place_of("https://lists.shop.example/", peers)


def test_without_tls_only_where_the_entry_says_so() -> None:
    peers = [Peer(host="127.0.0.1", port=9000, plain=True)]
    assert not place_of("http://127.0.0.1:9000/u", peers).tls
    with pytest.raises(NotAllowed):
        place_of("https://127.0.0.1:9000/u", peers)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.0.8", "198.18.0.1", "203.0.113.7", "240.0.0.1", "::", "::1", "fe80::1", "fc00::1",
        "fd12:3456::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:0a00:0001::1", "2002:0808:0808::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1", "5f00::1", "fec0::1",
    ],
)  # fmt: skip
def test_addresses_inside(address: str) -> None:
    assert inside(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2a00:1450:400e::1", "64:ff9b::808:808"])
def test_addresses_outside(address: str) -> None:
    assert not inside(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
@example(ipaddress.IPv4Address("169.254.169.254"))
@example(ipaddress.IPv4Address("100.100.100.200"))
def test_what_is_inside_stays_so_in_every_wrapping(address: ipaddress.IPv4Address) -> None:
    """No IPv4 address that may not be called can be called as IPv6, and whatever is let through is global unicast."""
    number = int(address)
    mapped, nat64 = ipaddress.IPv6Address((0xFFFF << 32) | number), ipaddress.IPv6Address((0x64FF9B << 96) | number)
    compatible, sixtofour = ipaddress.IPv6Address(number), ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)
    assert inside(mapped) == inside(nat64) == inside(address)
    assert inside(compatible) and inside(sixtofour)
    if not inside(address):
        assert address.is_global and not address.is_multicast and not address.is_reserved


@given(st.ip_addresses(v=6))
def test_ipv6_that_is_let_through_is_global_unicast(address: ipaddress.IPv6Address) -> None:
    if not inside(address) and address not in ipaddress.ip_network("64:ff9b::/96") and address.ipv4_mapped is None:
        assert address in ipaddress.ip_network("2000::/3") and address.is_global
        assert address.sixtofour is None and address.teredo is None


@given(st.lists(st.ip_addresses(), min_size=1), st.ip_addresses())
def test_only_an_address_that_is_listed_itself_is_excused(
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address], listed: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    assert list(refused(found, [Peer(host=str(listed)), SHOP])) == [
        one for one in found if inside(one) and one != listed
    ]


def test_an_address_with_a_zone_is_no_literal() -> None:
    assert literal("fe80::1%eth0") is None
    assert literal("lists.shop.example") is None
