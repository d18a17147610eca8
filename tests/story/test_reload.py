"""SIGHUP: new settings take effect on what comes and on what waits; broken ones change nothing and say so."""

import contextlib
import hashlib
import json
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.installation import ANNA, KLEED, NIEMAND, WIM, Installation, Make, newsletter
from tests.story.relay import Relay, load_people, on_both, relaying, verify_dkim
from tests.story.upstream import Gate


@pytest.fixture
def installation(make: Make, tmp_path: Path) -> Installation:
    """A fresh example installation with the four people on file."""
    new = make(tmp_path / "installation")
    load_people(new)
    return new


def reload(relay: Relay, event: str = "event=reloaded") -> None:
    """SIGHUP, and until the gateway says what it made of it."""
    before = relay.gateway.log().count(event)
    relay.gateway.signal(signal.SIGHUP)
    relay.gateway.eventually(lambda: relay.gateway.log().count(event) > before)


def noted_settings(installation: Installation) -> list[str]:
    """The digests of the settings that came into force, as the ledger has them."""
    rows = installation.ask("SELECT public FROM ledger WHERE kind = 'staff_act' ORDER BY entry_id")
    return [json.loads(public)["settings"] for (public,) in rows]


@on_both
def test_a_changed_stream_counts_from_the_reload_on(installation: Installation) -> None:
    with relaying(installation) as relay, relay.gateway.client() as before:
        assert relay.kept_out(KLEED, newsletter("wijn")) == "PRODUCT_NOT_SIMILAR"
        installation.change('categories = ["wine"]\n', 'categories = ["clothing"]\n')
        assert relay.kept_out(KLEED, newsletter("nog wijn")) == "PRODUCT_NOT_SIMILAR"
        reload(relay)
        assert noted_settings(installation)[-1] == hashlib.sha256(installation.config.read_bytes()).hexdigest()
        relay.passes(KLEED, newsletter("kleding"))
        assert relay.kept_out(WIM, newsletter("kleding")) == "PRODUCT_NOT_SIMILAR"
        # a session that was open before is served by the new settings
        before.mail("news@acme.example")
        before.rcpt(KLEED)
        assert before.data(newsletter("oude sessie"))[0] == 250
        relay.upstream.until(lambda: len(relay.upstream.to(KLEED)) == 2)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('route = "main"', 'route = "mian"', "controllers.acme.streams.newsletter.route"),
        ("[keys]", "[kees]", "kees"),
        ('public_url = "', "public_url = '''", "consentgate.toml"),
    ],
    ids=["unknown route", "unknown table", "no TOML"],
)
def test_a_broken_file_keeps_the_old_settings_and_says_what_is_wrong(
    relay: Relay, old: str, new: str, named: str
) -> None:
    text = relay.installation.config.read_text("utf-8")
    relay.installation.change(old, new)
    try:
        reload(relay, "event=reload_refused")
        relay.gateway.eventually(lambda: named in relay.gateway.log())
        relay.taken([NIEMAND, ANNA], newsletter(f"gaat door {named}"))
        relay.upstream.until(lambda: f"gaat door {named}" in [m.message["Subject"] for m in relay.upstream.to(ANNA)])
        assert not relay.upstream.to(NIEMAND)
    finally:
        relay.installation.config.write_text(text, "utf-8")
    reload(relay)


def test_a_reload_while_the_database_is_locked_is_refused_and_nothing_ends(installation: Installation) -> None:
    with relaying(installation) as relay:
        relay.passes(ANNA, newsletter("ervoor"))
        relay.drained()
        installation.change("purposes.events]", "purposes.nieuw]")
        installation.change('purpose = "events"', 'purpose = "nieuw"')
        installation.change('purposes = ["newsletter", "events"]', 'purposes = ["newsletter", "nieuw"]')
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            reload(relay, "event=reload_refused")
            db.execute("ROLLBACK")
        relay.passes(ANNA, newsletter("erna"))
        reload(relay)
        relay.passes(ANNA, newsletter("na het tweede"))


def test_what_waits_is_decided_and_written_by_the_new_settings(installation: Installation) -> None:
    gate = Gate()
    with relaying(installation, {".": gate}, connections=1) as relay:
        relay.taken(ANNA, newsletter("bezet"))
        relay.gateway.eventually(lambda: gate.waiting == 1)
        relay.taken([ANNA, WIM], newsletter("wacht"))
        installation.change('default_country = "NL"', 'require_opt_in = true\ndefault_country = "NL"')
        installation.change('display_name = "Acme Wijnen"', 'display_name = "Acme Mode"')
        reload(relay)
        gate.open()
        relay.drained()
        mails = [mail for mail in relay.upstream.mails if mail.message["Subject"] == "wacht"]
        assert [mail.recipient for mail in mails] == [ANNA], "who has only bought is not asked for any more"
        assert "Acme Mode" in mails[0].message["List-Id"]
        verify_dkim(mails[0], installation)
        [row] = relay.blocked()
        assert (row.address, row.decision) == (WIM, "block")


def test_a_new_route_and_stream_work_without_a_restart(installation: Installation) -> None:
    with relaying(installation) as relay:
        relay.passes(ANNA, newsletter("oud"))
        text = installation.config.read_text("utf-8")
        route = text[text.index("[routes.main]") : text.index("[controllers.acme]")]
        text = text.replace(route, route + route.replace("routes.main", "routes.second"))
        head, mark, tail = text.partition("[controllers.acme.streams.newsletter]")
        text = head + mark + tail.replace('route = "main"', 'route = "second"', 1)
        installation.config.write_text(text, "utf-8")
        reload(relay)
        assert relay.passes(ANNA, newsletter("nieuw")).recipient == ANNA


def test_a_reload_under_load_loses_and_delays_nothing(installation: Installation) -> None:
    with relaying(installation) as relay, relay.gateway.client() as session:
        for n in range(120):
            session.mail("news@acme.example")
            session.rcpt(ANNA)
            assert session.data(newsletter(f"last {n}"))[0] == 250
            if n % 30 == 15:
                relay.gateway.signal(signal.SIGHUP)
        relay.upstream.wait(120)
        relay.drained()
        subjects = [mail.message["Subject"] for mail in relay.upstream.mails]
        assert sorted(subjects) == sorted(f"last {n}" for n in range(120))
        assert "event=tried" not in relay.gateway.log()
        assert "event=bug" not in relay.gateway.log()
