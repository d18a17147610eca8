"""Keys are made, published, take over and go, by the commands an operator types, against a name server of the test."""

import json
import re
import smtplib
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.settings.load import load
from tests.installation import ANNA, Installation, newsletter
from tests.name_server import NameServer
from tests.story.relay import Mail, load_people, relaying, verify_dkim
from tests.story.test_reload import reload

DOMAIN = "acme.example"


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture
def installation(installation: Installation, names: NameServer) -> Installation:
    """The example installation, asking the name server of the test."""
    with installation.config.open("a") as file:
        file.write("\n" + names.setting)
    return installation


def states(installation: Installation) -> dict[str, str]:
    """The state of each key of the domain, by selector."""
    rows = installation.tool("dkim", "list", "--json").stdout.splitlines()
    return {row["selector"]: row["state"] for row in map(json.loads, rows) if row["domain"] == DOMAIN}


def publish(names: NameServer, printed: bytes) -> None:
    """What an operator does with the printed records."""
    for line in re.findall(r"(?ms)^\S+ IN TXT \(.*?\)\n", printed.decode()):
        names.publish(line)


def selectors(mail: Mail) -> list[str]:
    """The selectors of the mail's signatures, the topmost first."""
    return [
        found[1] for name, value in mail.message.raw_items()
        if name.lower() == "dkim-signature" and (found := re.search(r"\bs=([^;\s]+)", value))
    ]  # fmt: skip


def test_a_new_key_waits_for_dns_takes_over_on_reload_and_the_old_one_goes_later(
    installation: Installation, names: NameServer
) -> None:
    load_people(installation)
    with relaying(installation) as relay:
        before = relay.passes(ANNA, newsletter("voor"))
        assert selectors(before) == ["cg1", "cg1e"]

        made = installation.tool("dkim", "new", DOMAIN)
        assert made.returncode == 0 and made.stdout.count(b" IN TXT ") == 2, made.stderr
        assert states(installation) == {"cg1": "signing", "cg1e": "signing", "cg2": "waiting", "cg2e": "waiting"}
        for name in ("cg2", "cg2e"):
            assert stat.S_IMODE((installation.dir / f"keys/dkim/{DOMAIN}.{name}.pem").stat().st_mode) == 0o600
        refused = installation.tool("dkim", "activate", DOMAIN)
        assert refused.returncode == 1 and b"there is no record" in refused.stderr
        assert states(installation)["cg2"] == "waiting"

        publish(names, made.stdout)
        done = installation.tool("dkim", "activate", DOMAIN)
        assert done.returncode == 0, done.stderr
        assert states(installation) == {"cg1": "retired", "cg1e": "retired", "cg2": "signing", "cg2e": "signing"}
        assert selectors(relay.passes(ANNA, newsletter("nog niet geladen"))) == ["cg1", "cg1e"]
        reload(relay)
        after = relay.passes(ANNA, newsletter("na"))
        assert selectors(after) == ["cg2", "cg2e"]
        verify_dkim(after, installation)
        verify_dkim(before, installation)  # its records are still there to be published
    early = installation.tool("dkim", "remove", DOMAIN, "cg1")
    assert early.returncode == 1 and b"under way until" in early.stderr
    [row] = [r for r in map(json.loads, installation.tool("dkim", "list", "--json").stdout.splitlines())
             if (r["domain"], r["selector"]) == (DOMAIN, "cg1")]  # fmt: skip
    kept = datetime.fromisoformat(row["removable_at"]) - datetime.fromisoformat(row["retired_at"])
    assert kept == timedelta(days=5 + 7)  # the orders stream tries for five days; seven on the way
    long_ago = (datetime.now(UTC) - kept - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = installation.config.read_text()
    installation.config.write_text(re.sub(r"retired_at = \S+", f"retired_at = {long_ago}", text))
    gone = installation.tool("dkim", "remove", DOMAIN, "cg1")
    assert gone.returncode == 0, gone.stderr
    assert "cg1" not in states(installation)
    assert not (installation.dir / f"keys/dkim/{DOMAIN}.cg1.pem").exists()
    files = {file.name: file.read_text() for file in (installation.dir / "dkim").glob(f"{DOMAIN}*")}
    assert set(files) == {f"{DOMAIN}.txt", f"{DOMAIN}.cg1e.txt", f"{DOMAIN}.cg2e.txt"}
    assert files[f"{DOMAIN}.txt"].startswith(f"cg2._domainkey.{DOMAIN}. IN TXT (")
    assert all(line.count("IN TXT") == 1 for line in files.values())


def test_a_change_keeps_comments_mode_and_every_other_line(installation: Installation) -> None:
    text = installation.config.read_text()
    text = text.replace('selector = "cg1e"', '# our second key\nselector = "cg1e"  # RFC 8463', 1)
    installation.config.write_text(text)
    installation.config.chmod(0o640)
    assert installation.tool("dkim", "new", DOMAIN, "--algorithm", "rsa", "--selector", "juni").returncode == 0
    assert installation.tool("dkim", "activate", DOMAIN, "juni", "--force").returncode == 0
    after = installation.config.read_text()
    lines = set(text.splitlines())
    assert lines <= set(after.splitlines()) and stat.S_IMODE(installation.config.stat().st_mode) == 0o640
    assert states(installation) == {"cg1": "retired", "cg1e": "signing", "juni": "signing"}
    assert installation.tool("dkim", "remove", DOMAIN, "cg1", "--force").returncode == 0
    assert states(installation) == {"cg1e": "signing", "juni": "signing"}
    assert load(installation.config).controllers["acme"].streams.keys() == {"newsletter", "events", "orders"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "nobody.example"), "is not a domain of acme"),
        (("new", DOMAIN, "--selector", "cg1"), "is taken"),
        (("new", "no domain"), "is not a domain name"),
        (("activate", DOMAIN), "waits to be activated"),
        (("retire", DOMAIN, "cg9"), "There is no key cg9"),
        (("remove", DOMAIN, "cg1"), "cg1._domainkey.acme.example signs"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    installation: Installation, words: tuple[str, ...], said: str
) -> None:
    before = {
        path: path.read_bytes() for path in installation.dir.rglob("*") if path.suffix in (".toml", ".pem", ".txt")
    }
    done = installation.tool("dkim", *words)
    assert done.returncode == 1 and said in done.stderr.decode()
    after = {
        path: path.read_bytes() for path in installation.dir.rglob("*") if path.suffix in (".toml", ".pem", ".txt")
    }
    assert after == before


def test_the_last_key_of_a_domain_is_not_retired_by_mistake(installation: Installation) -> None:
    assert installation.tool("dkim", "retire", "example.org", "cg1").returncode == 0
    last = installation.tool("dkim", "retire", "example.org", "cg1e")
    assert last.returncode == 1 and b"the last key" in last.stderr
    assert installation.tool("dkim", "retire", "example.org", "cg1e", "--force").returncode == 0
    assert b"no signing key for example.org" in installation.tool("doctor").stdout
    before = installation.config.read_bytes()
    form = installation.tool("dkim", "retire", DOMAIN, "cg1", "--force")  # a sign-up form mails from this one
    form = installation.tool("dkim", "retire", DOMAIN, "cg1e", "--force")
    assert form.returncode == 1 and b"there is no DKIM key for acme.example" in form.stderr
    assert before != installation.config.read_bytes() and states(installation)["cg1e"] == "signing"


@pytest.mark.parametrize(("host", "ours"), [("localhost", True), ("smtp.sendgrid.net", False)])
def test_the_stream_or_its_route_says_who_signs(installation: Installation, host: str, ours: bool) -> None:
    """A route to a provider is signed by it; what is said of a stream goes first, both ways."""
    load_people(installation)
    with relaying(installation) as relay:
        installation.change(
            f'public_url = "http://127.0.0.1:{installation.http_port}"', 'public_url = "https://a.example"'
        )
        route = f'hosts = ["127.0.0.1:{relay.upstream.port}"]'
        installation.change(route, f'hosts = ["127.0.0.1:{relay.upstream.port}", "{host}:25"]')
        reload(relay)
        mail = relay.passes(ANNA, newsletter("gemengd"))
        covered = verify_dkim(mail, installation)
        assert ("message-id" in covered) is ours, "what any host of the route rewrites is not signed"
        installation.change('kind = "smarthost"', 'kind = "smarthost"\ndkim = "upstream"')
        reload(relay)
        assert selectors(relay.passes(ANNA, newsletter("door de aanbieder"))) == []
        installation.change(
            "[controllers.acme.streams.newsletter]", '[controllers.acme.streams.newsletter]\ndkim = "own"'
        )
        reload(relay)
        verify_dkim(relay.passes(ANNA, newsletter("toch zelf")), installation)


def test_without_a_key_a_route_that_signs_itself_still_takes_marketing(installation: Installation) -> None:
    """`from_domain_verified` holds by the key or by the provider (E2); one that is gone puts off our own mail only."""
    load_people(installation)
    for selector in ("cg1", "cg1e"):
        (installation.dir / f"keys/dkim/{DOMAIN}.{selector}.pem").write_bytes(b"gone")
        (installation.dir / f"keys/dkim/{DOMAIN}.{selector}.pem").chmod(0o600)
    with relaying(installation) as relay:
        refused = relay.gateway.client()
        with refused, pytest.raises(smtplib.SMTPDataError) as told:
            refused.sendmail("news@acme.example", [ANNA], newsletter("geen sleutel"))
        assert told.value.smtp_code == 451
        installation.change('kind = "smarthost"', 'kind = "smarthost"\ndkim = "upstream"')
        reload(relay)
        assert selectors(relay.passes(ANNA, newsletter("door de aanbieder"))) == []
