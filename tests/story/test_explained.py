"""Every decision of a running gateway can be explained, allowed or not, with the facts of then (GDPR art. 5(2), 15)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.keys import key_ring, signers
from gateway.recall import Gone, weighed_again
from gateway.weigh import Scales
from tests.installation import ago, consent, lines_of, newsletter, order, sale
from tests.story.relay import Relay, fresh, load, one_click_url, relaying, with_store

VERA, KEES, OTTO, ERNA, NOBODY = (f"{name}@example.org" for name in ("vera", "kees", "otto", "erna", "nobody"))


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    installation = fresh(made, tmp_path_factory.mktemp("explain") / "installation")
    load(installation, "consents", [consent(VERA), consent(ERNA), consent(OTTO, given_at=ago(2000))])
    load(installation, "sales", [sale(KEES, "wine")])
    with relaying(installation) as running:
        yield running


def explained(relay: Relay, message: str, *more: object, code: int = 0) -> list[dict[str, Any]]:
    done = relay.installation.tool("report", "explain", message, "--json", *more)
    assert done.returncode == code, done.stderr
    return lines_of(done)


def test_an_allowed_mail_is_explained_by_its_consent_and_today_by_the_click_since(relay: Relay) -> None:
    first = relay.passes(VERA, newsletter("een"))
    [row] = relay.installation.report("campaigns")
    assert relay.one_click(one_click_url(first)).status_code == 200
    message = relay.taken(VERA, newsletter("twee"))
    [blocked] = explained(relay, message)
    assert (blocked["reason_code"], blocked["explanation"]["rule"]) == ("SUPPRESSED_PURPOSE", "C1")
    assert blocked["explanation"]["since"] and blocked["explanation"]["actor"] == "person"
    allowed = next(one for one in relay_decisions(relay) if one.decided.reason_code == "ALLOW_OPT_IN")
    name = allowed.decided.message_id.hex()
    [told] = explained(relay, f"{name}/0", "--language", "nl")
    assert told["decision"] == "allow" and told["explanation"]["facts"][0]["carries"]
    assert told["text"].startswith("Mag verstuurd worden. Heeft toestemming gegeven. Toestemming van ")
    assert told["today"]["explanation"]["code"] == "SUPPRESSED_PURPOSE"
    assert row["allowed"] == 1


def relay_decisions(relay: Relay) -> list[Any]:
    """All decisions so far, weighed again on the facts of their own instant."""

    async def ask(store: Any, config: Any) -> list[Any]:
        ring = key_ring(config)
        stored = await store.decided_after("acme", after=(b"", 0), upto=b"\xff" * 17, n=500)
        return await weighed_again(store, config, Scales(config, frozenset(signers(config))), ring, stored)

    return with_store(relay.installation, ask)


def test_what_was_decided_is_decided_again_on_the_facts_of_then(relay: Relay) -> None:
    """For every decision of the running gateway: recalled facts give the stored code, whatever happened since."""
    relay.agree("mien@example.org")
    relay.passes("mien@example.org", newsletter("drie"))
    relay.passes(KEES, newsletter("vier"))
    relay.passes(KEES, order(KEES), login="orders", sender="orders@acme.example")
    relay.taken([OTTO, NOBODY, VERA], newsletter("vijf"))
    relay.drained()
    load(relay.installation, "suppressions", [{"email": KEES, "scope": "sender", "reason": "objection", "at": ago(0)}])
    again = relay_decisions(relay)
    assert len(again) >= 8
    for one in again:
        if not isinstance(one.person, Gone):
            assert one.agrees, (one.decided.reason_code, one.ruling)


def test_each_record_of_a_blocked_person_says_why_it_failed(relay: Relay) -> None:
    message = relay.taken([OTTO, NOBODY], newsletter("zes"))
    rows = {row["reason_code"]: row for row in explained(relay, message)}
    stale = rows["CONSENT_STALE"]["explanation"]
    assert (stale["rule"], stale["facts"][0]["code"], stale["remedy"]) == ("D1-19", "CONSENT_STALE", "ask_first")
    assert rows["RECIPIENT_UNKNOWN"]["explanation"]["rule"] == "D8"
    [only] = explained(relay, message, "--recipient", OTTO)
    assert only["reason_code"] == "CONSENT_STALE"
    printed = relay.installation.tool("report", "explain", message, "--language", "nl").stdout.decode()
    assert printed.count("Vandaag zou het antwoord hetzelfde zijn.") == 2
    assert printed.count("Dit is zo sinds ") == 1 and OTTO not in printed
    everything = json.dumps(list(rows.values()))
    assert OTTO not in everything and NOBODY not in everything


def test_the_report_of_blocked_copies_explains_each_and_without_the_option_stays_as_it_was(relay: Relay) -> None:
    relay.taken(OTTO, newsletter("zeven"))
    before = relay.installation.tool("ledger", "export").stdout.count(b'"looked_at"')
    plain, told = relay.installation.report("blocked"), relay.installation.report("blocked", "--explain")
    assert relay.installation.tool("ledger", "export").stdout.count(b'"looked_at"') == before
    assert not any({"facts", "since", "until"} & set(row["explanation"]) for row in told)
    assert "@" not in json.dumps(told).replace("@acme", "").replace("NL@", "")
    assert [{name: row[name] for name in plain[0]} for row in told] == plain
    assert all(row["text"].startswith("Kept out. ") and row["explanation"]["rule"] for row in told)
    assert not {"text", "explanation"} & set(plain[0])
    dutch = relay.installation.tool("report", "blocked", "--language", "nl").stdout.decode()
    assert "  Tegengehouden. De toestemming is te lang niet gebruikt." in dutch and "Toestemming van" not in dutch
    dutch = relay.installation.tool("report", "blocked", "--language", "nl", "--addresses").stdout.decode()
    assert "  Tegengehouden. De toestemming is te lang niet gebruikt. Toestemming van " in dutch


def test_whoever_was_erased_is_explained_without_facts_and_that_is_said(relay: Relay) -> None:
    relay.passes(ERNA, newsletter("acht"))
    [before] = [one for one in relay_decisions(relay) if one.address == ERNA]
    name = before.decided.message_id.hex()
    assert relay.installation.tool("person", "erase", ERNA).returncode == 0
    [told] = explained(relay, name, "--language", "en")
    assert (told["decision"], told["unknown"], told["explanation"].get("facts")) == ("allow", "gone", [])
    assert told["text"].endswith("What was known of this person then has been erased.")
    message = relay.taken(ERNA, newsletter("negen"))
    [after] = explained(relay, message)
    assert after["reason_code"] == "ERASED_DO_NOT_CONTACT" and after["explanation"]["since"]


def test_a_look_is_written_to_the_ledger_and_what_is_not_there_is_refused(relay: Relay) -> None:
    message = relay.taken(OTTO, newsletter("tien"))

    def looks() -> int:
        done = relay.installation.tool("ledger", "export")
        return sum(b'"looked_at"' in line for line in done.stdout.splitlines())

    before = looks()
    explained(relay, message)
    assert looks() == before + 1
    done = relay.installation.tool("report", "explain", "01a200f5ddaf7667b8e8ce96c23f120a")
    assert done.returncode == 1 and b"no copy of such a message" in done.stderr
    done = relay.installation.tool("report", "explain", "nonsense")
    assert done.returncode == 1 and b"no message id" in done.stderr
    done = relay.installation.tool("report", "explain", message, "--language", "xx")
    assert done.returncode == 1 and b"nl, en, fr, de" in done.stderr


def test_person_show_says_what_each_stream_may_send_now_and_why(relay: Relay) -> None:
    [shown] = lines_of(relay.installation.tool("person", "show", OTTO, "--json", "--language", "de"))
    streams = {one["stream"]: one for one in shown["may_receive"]}
    assert streams["newsletter"]["reason_code"] == "CONSENT_STALE" and streams["orders"]["decision"] == "allow"
    assert streams["newsletter"]["text"].startswith("Zurückgehalten. ")
    told = relay.installation.tool("person", "show", OTTO).stdout.decode()
    assert "  newsletter: block CONSENT_STALE. Kept out. " in told
