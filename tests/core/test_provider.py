"""Whose host it is, what is left out of signatures for it, and who signs where nobody said."""

import pytest

from gateway.mail.dkim import OVERSIGNED, SIGNED
from gateway.mail.provider import PROVIDERS, Provider, omitted, provider_of, usual

SES, OWN = "email-smtp.eu-west-1.amazonaws.com", "relay.acme.example"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (SES, "Amazon SES"),
        ("Email-SMTP-fips.us-east-1.amazonaws.com.", "Amazon SES"),
        ("smtp-broadcasts.postmarkapp.com", "Postmark"),
        ("acme-nl.mail.protection.outlook.com", "Microsoft 365"),
        ("ec2-3-4-5-6.compute-1.amazonaws.com", None),  # somebody's own server, not SES
        ("smtp.sendgrid.net.evil.example", None),
        (OWN, None),
        ("192.0.2.7", None),
    ],
)
def test_a_host_is_known_by_its_whole_name(host: str, name: str | None) -> None:
    found = provider_of(host)
    assert (found.name if found else None) == name


def test_what_any_host_of_a_route_rewrites_is_left_out() -> None:
    assert omitted([SES]) == {b"date", b"message-id"}
    assert omitted(["smtp-relay.brevo.com", OWN]) == {b"message-id"}
    assert omitted([OWN]) == omitted([]) == frozenset()


def test_the_provider_signs_only_where_every_host_is_one() -> None:
    assert usual([SES]) == usual([SES, "smtp.sendgrid.net"]) == "upstream"
    assert usual([SES, OWN]) == usual([OWN]) == usual([]) == "own"


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_a_row_leaves_from_and_the_opt_out_signed_and_says_where_it_is_from(row: Provider) -> None:
    assert row.rewrites <= (frozenset(OVERSIGNED) | frozenset(SIGNED)) - {
        b"from", b"list-unsubscribe", b"list-unsubscribe-post",
    }  # fmt: skip
    assert row.source and row.hosts and all(h == h.lower() for h in row.hosts)
