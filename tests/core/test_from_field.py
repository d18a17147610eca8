"""gateway/mail/from_field.py: the one address a message is from (RFC 5322 3.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.from_field import read_author


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"anna@acme.example", "anna@acme.example"),
        (b"<anna@acme.example>", "anna@acme.example"),
        (b"Anna <anna@ACME.Example>", "anna@acme.example"),
        (b'"Anna, of Acme: <x@y.example>" <anna@acme.example>', "anna@acme.example"),
        (b'"An\\"na" <anna@acme.example>', "anna@acme.example"),
        (b"Anna (sales, <x@y.example>) <anna@acme.example> (really)", "anna@acme.example"),
        (b"anna@acme.example (Anna (and \\) Bob))", "anna@acme.example"),
        (b"=?utf-8?Q?Wijn=2C_wijn_=3Cx=40y.example=3E?= <anna@acme.example>", "anna@acme.example"),
        ("Zoë Müller <zoë@bücher.example>".encode(), "zoë@xn--bcher-kva.example"),
        (b"Anna \xe9 <anna@acme.example>", "anna@acme.example"),
        (b'"anna s"@acme.example', '"anna s"@acme.example'),
        (b"Anna\t<anna @ acme.example>", "anna@acme.example"),
        (b"Acme B.V. <info@acme.example>", "info@acme.example"),
        (b"info@acme.example <info@acme.example>", "info@acme.example"),
        (b'"info@other.example" <info@acme.example>', "info@acme.example"),
    ],
)
def test_one_address(value: bytes, address: str) -> None:
    author = read_author([value])
    assert author is not None
    assert author.address == address
    assert author.domain == address.rpartition("@")[2]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Anna",
        b"<>",
        b"Anna <>",
        b"anna@",
        b"@acme.example",
        b"anna@localhost",
        b"anna@[192.0.2.1]",
        b"<@relay.example:anna@acme.example>",
        b"anna@acme.example, bob@acme.example",
        b"Anna <anna@acme.example>, Bob <bob@acme.example>",
        b"anna@acme.example,",
        b"anna@acme.example bob@acme.example",
        b"Anna <anna@acme.example> <bob@acme.example>",
        b"Anna <anna@acme.example> bob@acme.example",
        b"bank@bank.example <anna@acme.example>",
        b"Friends: anna@acme.example;",
        b"Friends: anna@acme.example, bob@acme.example;",
        b"undisclosed: ;",
        b"Anna <anna@acme.example",
        b"Anna anna@acme.example>",
        b'"Anna <anna@acme.example>',
        b"Anna (<anna@acme.example>",
        b"Anna ) <anna@acme.example>",
        b"Anna <<anna@acme.example>>",
        b"Anna <an na@acme.example>",
        b"Anna <anna@acme.example@evil.example>",
        b"Anna <anna@acme(x).example>",
        b"Anna <anna@acme.exa mple>",
        b"Anna <.anna@acme.example>",
        b"Anna <an..na@acme.example>",
        b"Anna <ann\xe9@acme.example>",
        b"=?utf-8?Q?anna=40acme.example?=",
        b"Anna <" + b"a" * 65 + b"@acme.example>",
    ],
)
def test_not_one_address(value: bytes) -> None:
    assert read_author([value]) is None


def test_one_field() -> None:
    assert read_author([]) is None
    assert read_author([b"anna@acme.example", b"anna@acme.example"]) is None


@given(st.text(alphabet='ab@.<>(),;:"\\ \té', max_size=40))
def test_any_text_gives_an_address_or_none(text: str) -> None:
    """Whatever stands in From, what comes back has one @ outside quotes and a domain of plain labels."""
    author = read_author([text.encode()])
    if author is not None:
        assert author.address.endswith(f"@{author.domain}")
        assert not set(author.domain) & set('<>(),;:"\\ \t@')
        local = author.address[: -len(author.domain) - 1]
        assert local.startswith('"') or not set(local) & set('<>(),;:"\\ \t@')


def test_time_is_linear() -> None:
    for value in (b"(" * 200_000, b'"\\' * 100_000, b"<" * 200_000, b"a@" * 100_000, b"a," * 100_000):
        assert read_author([value]) is None
    assert read_author([b"a " * 100_000 + b"<a@b.example>"]) is not None
