"""`doctor --dns` against a name server: what is published, what is not, and what that means."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.installation import Installation
from tests.name_server import NameServer

DOMAINS = ("acme.example", "example.com", "example.org", "example.dom")


@pytest.fixture
def names(installation: Installation) -> Iterator[NameServer]:
    """A name server that publishes everything the installation needs."""
    with NameServer() as server:
        for file in (installation.dir / "dkim").iterdir():
            server.publish(file.read_text())
        for domain in DOMAINS[1:]:
            server.table[f"_dmarc.{domain}", "TXT"] = ['"v=DMARC1; p=reject; rua=mailto:d@example.org"']
        server.table["_dmarc.acme.example", "TXT"] = ['"v=DMARC1; p=none"']
        server.table["bounce.acme.example", "MX"] = ["10 mx.acme.example."]
        server.table["bounce.acme.example", "TXT"] = ['"v=spf1 a:relay.acme.example ~all"']
        with installation.config.open("a") as file:
            file.write("\n" + server.setting)
        yield server


def findings(installation: Installation) -> dict[str, dict[str, object]]:
    """What it says of DNS, by what it looked at; the exit code says whether all of it is well."""
    done = installation.tool("doctor", "--dns", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (0 if all(row["good"] for row in rows) else 1)
    return {row["check"].removeprefix("dns "): row for row in rows if row["check"].startswith("dns ")}


def test_all_is_well_where_all_is_published(installation: Installation, names: NameServer) -> None:
    found = findings(installation)
    assert all(row["good"] for row in found.values()), found
    keys = [name for name in found if "._domainkey." in name]
    assert len(keys) == 8 and {found[name]["text"] for name in keys} == {"the key is published"}
    assert found["_dmarc.acme.example"]["text"] == "policy none at acme.example"


def _others(names: NameServer) -> list[str]:
    rows = names.table["cg1._domainkey.example.com", "TXT"]
    assert rows is not None
    return list(rows)


@pytest.mark.parametrize(
    ("name", "published", "said"),
    [
        ("cg1._domainkey.acme.example", [], "there is no record"),
        ("cg1._domainkey.acme.example", None, "DNS did not answer"),
        ("cg1._domainkey.acme.example", ['"v=DKIM1; k=rsa; p="'], "revoked"),
        ("cg1._domainkey.acme.example", ['"v=spf1 -all"'], "cannot be used"),
        ("cg1e._domainkey.acme.example", ['"v=DKIM1; k=ed25519; p=AAAA"'], "holds no key"),
        ("_dmarc.acme.example", [], "none, and large mailbox providers want one"),
        ("_dmarc.acme.example", ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"'], "none counts"),
        ("bounce.acme.example SPF", [], "name who may send"),
        ("bounce.acme.example SPF", ['"v=spf1 -all"', '"v=spf1 ~all"'], "leave one"),
    ],
)
def test_what_is_wrong_is_said(
    installation: Installation, names: NameServer, name: str, published: list[str] | None, said: str
) -> None:
    key = (name.removesuffix(" SPF"), "TXT")
    if published == []:
        del names.table[key]
    else:
        names.table[key] = published
    found = findings(installation)
    assert [check for check, row in found.items() if not row["good"]] == [name]
    assert said in str(found[name]["text"])
    if "._domainkey." in name and published is not None:
        assert str(found[name]["record"]).startswith(f"{name}. IN TXT ("), "what to publish stands below"


def test_another_key_two_records_and_a_test_flag_are_told(installation: Installation, names: NameServer) -> None:
    mine = ("cg1._domainkey.acme.example", "TXT")
    [row] = names.table[mine] or ()
    for rows, said in (
        (_others(names), "another key"),
        ([row, *_others(names)], "2 TXT records"),
        ([row.replace("k=rsa;", "t=y;", 1)], "t=y"),
        ([row.replace("v=DKIM1; k=rsa; ", "", 1)], None),  # both tags have this default
    ):
        names.table[mine] = rows
        found = findings(installation)[mine[0]]
        assert found["good"] is (said is None) and (said or "is published") in str(found["text"])


def test_a_retired_key_has_to_stay_published_until_its_mail_is_there(
    installation: Installation, names: NameServer
) -> None:
    name = "cg1._domainkey.example.org"
    assert installation.tool("dkim", "retire", "example.org", "cg1").returncode == 0
    assert findings(installation)[name]["good"]
    del names.table[name, "TXT"]
    gone = findings(installation)[name]
    assert not gone["good"] and "under way until" in str(gone["text"])
    text = installation.config.read_text()
    old = (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stamp = text.split("retired_at = ")[1].split("\n")[0]
    installation.config.write_text(text.replace(stamp, old))
    assert findings(installation)[name] == {"check": f"dns {name}", "good": True, "text": "no longer published"}


def test_a_waiting_key_is_told_when_it_can_take_over(installation: Installation, names: NameServer) -> None:
    made = installation.tool("dkim", "new", "acme.example", "--algorithm", "ed25519")
    name = "cg2e._domainkey.acme.example"
    assert str(findings(installation)[name]["text"]).startswith("not yet: there is no record")
    names.publish(made.stdout.decode())
    assert findings(installation)[name]["text"] == "published: consentgate dkim activate acme.example"


def test_every_record_stands_in_the_plain_output(installation: Installation) -> None:
    """Without DNS too: what is to be published is printed, word for word as the files have it."""
    said = installation.tool("doctor").stdout.decode()
    squeezed = "".join(said.split())
    for file in (installation.dir / "dkim").iterdir():
        assert "".join(file.read_text().split()) in squeezed, file.name


def test_the_name_in_ehlo_leads_to_the_source_address_and_back(installation: Installation, names: NameServer) -> None:
    installation.change('kind = "capture"', 'kind = "mx"')
    ours = 'helo = "out.acme.example"\nsource_addresses = ["192.0.2.25"]'
    installation.change("\ndomains = [", f"\n{ours}\ndomains = [")
    back = "25.2.0.192.in-addr.arpa"
    steps: list[tuple[dict[tuple[str, str], list[str] | None], str, bool]] = [
        ({}, "has no address", False),
        ({("out.acme.example", "A"): ["192.0.2.1"]}, "does not lead to 192.0.2.25", False),
        ({("out.acme.example", "A"): ["192.0.2.25"]}, "leads back to no name", False),
        ({(back, "PTR"): ["host25.isp.example."]}, "leads back to host25.isp.example: have whoever", False),
        ({(back, "PTR"): None}, "DNS did not answer", False),
        ({(back, "PTR"): ["Out.Acme.Example."]}, "leads to 192.0.2.25 and back", True),
    ]
    for table, said, good in steps:
        names.table |= table
        row = findings(installation)["out.acme.example HELO"]
        assert said in str(row["text"]) and row["good"] is good, row


def test_where_mail_for_a_domain_would_go(installation: Installation, names: NameServer) -> None:
    def said(domain: str) -> tuple[int, list[str]]:
        done = installation.tool("doctor", "--to", domain, "--json")
        return done.returncode, [json.loads(line)["text"] for line in done.stdout.splitlines()]

    assert said("a.test") == (1, ["no route is of kind mx"])
    installation.change('kind = "capture"', 'kind = "mx"\ninside = ["127.0.0.0/8"]')
    installation.change("[dns]\n", "[dns]\ndnssec = true\n")
    names.authentic |= {"a.test", "mx.a.test", "_25._tcp.mx.a.test"}
    names.table |= {
        ("a.test", "MX"): ["10 mx.a.test.", "20 old.a.test."], ("mx.a.test", "A"): ["127.0.0.2"],
        ("old.a.test", "A"): ["127.0.0.3"], ("_25._tcp.mx.a.test", "TLSA"): ["3 1 1 " + "ab" * 32],
        ("n.test", "MX"): ["0 ."], ("_mta-sts.s.test", "TXT"): ['"v=STSv1; id=1"'], ("s.test", "A"): ["127.0.0.4"],
    }  # fmt: skip
    assert said("bob@a.test") == (0, [
        "mx.a.test (127.0.0.2): TLS, and it must prove who it is, as its TLSA records ask",
        "old.a.test (127.0.0.3): TLS where it is offered",
    ])  # fmt: skip
    assert said("n.test") == (1, ["5.1.10 the domain takes no mail (RFC 7505)"])
    assert said("s.test") == (1, [
        "s.test (127.0.0.4): TLS where it is offered",
        "it says that it has an MTA-STS policy, which cannot be fetched",
    ])  # fmt: skip
