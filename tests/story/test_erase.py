"""A person is erased while the gateway runs: nothing readable is left, and nobody mails them again."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Gateway, Installation, Make, consent, lines_of, newsletter, program
from tests.story.relay import Relay, load, on_both, relaying

WHO, OTHER = "zeldzaam.vdberg@example.org", "blijft@example.org"


@pytest.fixture
def installation(make: Make, tmp_path: Path) -> Installation:
    new = make(tmp_path / "installation")
    load(new, "consents", [consent(WHO), consent(OTHER)])
    (new.dir / "consents.csv").unlink()
    return new


@pytest.fixture
def relay(installation: Installation) -> Iterator[Relay]:
    with relaying(installation) as running:
        yield running


def erase(installation: Installation, *more: str) -> dict[str, object]:
    """`person erase` as a process of its own, beside the gateway."""
    done = program("person", "erase", WHO, "--controller", "acme", "--json", "--config", installation.config, *more)
    [row] = lines_of(done)
    return row


def readable_in(installation: Installation, plain: str) -> list[str]:
    """Files of an installation in which an address stands, in any form in which it can be looked up."""
    name, whole = plain.partition("@")[0], plain.encode()
    forms = [name.encode(), name.encode("utf-16-le"), plain.encode().hex().encode()]
    forms += [base64.b64encode(b"x" * k + whole)[4 if k else 0 : 24] for k in range(3)]
    for digest in (hashlib.sha256(whole), hashlib.sha1(whole), hashlib.md5(whole)):
        forms += [digest.digest(), digest.hexdigest().encode()]
    return [
        file.name for file in installation.dir.rglob("*")
        if file.is_file() and any(form in file.read_bytes() for form in forms)
    ]  # fmt: skip


def wrapped_keys(installation: Installation) -> set[bytes]:
    with sqlite3.connect(installation.dir / "keys.db") as db:
        return {row[0] for row in db.execute("SELECT wrapped FROM person_keys")}


def test_erased_remembered_and_verified(relay: Relay) -> None:
    installation, upstream = relay.installation, relay.upstream
    relay.passes(WHO, newsletter())
    relay.kept_out("niemand@example.org", newsletter())
    before = wrapped_keys(installation)
    row = erase(installation)
    assert (row["known"], row["already"], row["history"], row["wiped"]) == (True, False, 1, True)
    [gone] = before - wrapped_keys(installation)
    files = [file for file in installation.dir.rglob("*") if file.is_file()]
    assert not any(gone in file.read_bytes() for file in files), "the wrapped key lingers"
    assert readable_in(installation, WHO) == []

    file = installation.dir / "again.csv"
    columns = consent(WHO)
    file.write_text(",".join(columns) + "\n" + ",".join(columns.values()) + "\n")
    [summary] = lines_of(installation.tool("import", "consents", file, "--controller", "acme", "--json"))
    file.unlink()
    assert (summary["kept"], summary["skipped"]) == (0, 1)
    done = installation.tool("consent", "add", WHO, "--evidence", "phone")
    assert (done.returncode, b"erased" in done.stderr) == (1, True)

    assert relay.kept_out(WHO, newsletter("weer")) == "ERASED_DO_NOT_CONTACT"
    relay.passes(OTHER, newsletter("nog"))
    assert len(upstream.to(WHO)) == 1
    assert readable_in(installation, WHO) == []
    assert installation.tool("ledger", "verify").returncode == 0
    assert installation.tool("ledger", "rebuild", "--check").returncode == 0
    [person] = lines_of(installation.tool("person", "show", WHO, "--json"))
    assert (person["address"], person["erased"], person["consents"]) == (None, True, [])


def test_an_old_link_still_works_and_keeps_nothing_new(relay: Relay) -> None:
    """P10: links outlive the person's data; a click says what is true already."""
    copy = relay.passes(WHO, newsletter())
    erase(relay.installation)
    [value] = copy.message.get_all("List-Unsubscribe")
    url = value.split("<http")[1].partition(">")[0]
    assert relay.one_click("http" + url).status_code == 200
    rows = lines_of(relay.installation.tool("suppress", "list", "--json"))
    assert [row["reason"] for row in rows] == ["erasure"]
    assert readable_in(relay.installation, WHO) == []


@on_both
def test_what_waits_for_the_person_does_not_leave(installation: Installation) -> None:
    """A copy that an upstream keeps putting off is ended; one for somebody else in the same message is not."""
    later = {"RCPT": [*["451 4.3.0 later"] * 3, "250 2.1.5 ok"]}
    with relaying(installation, later) as relay:
        relay.taken([WHO, OTHER], newsletter("allebei"))
        relay.taken(WHO, newsletter("alleen"))
        relay.gateway.eventually(lambda: states(installation).count("queued") == 3)
        row = erase(installation)
        assert row["ended"] == 2
        relay.gateway.stop()
        installation.tell("UPDATE copies SET due_at = 0 WHERE state = 'queued'")
        relay.gateway.start()
        relay.drained()
        assert (len(relay.upstream.to(OTHER)), relay.upstream.to(WHO)) == (1, [])
        assert sorted(states(installation)) == ["blocked", "blocked", "delivered"]
        assert readable_in(installation, WHO) == []
        assert installation.ask("SELECT count(*) FROM bodies") == [["0"]]
        assert installation.ask("SELECT count(*) FROM copies WHERE rcpt IS NOT NULL") == [["0"]]


def states(installation: Installation) -> list[str]:
    return [row[0] for row in installation.ask("SELECT state FROM copies")]


@on_both
def test_captured_mail_of_the_person_goes(installation: Installation) -> None:
    gateway = Gateway(installation)
    try:
        gateway.start()
        assert gateway.send([WHO], newsletter())[1][0] == 250
        assert gateway.send([WHO, OTHER], newsletter())[1][0] == 250
        gateway.eventually(lambda: states(installation) == ["captured"] * 3)
        assert erase(installation)["captured"] == 2
    finally:
        gateway.kill()
    assert sorted(states(installation)) == ["captured", "dropped", "dropped"]
    assert installation.ask("SELECT count(*) FROM bodies") == [["1"]], "the other recipient's capture stays"
    assert readable_in(installation, WHO) == []


def test_erasures_are_listed_outside_the_database(installation: Installation) -> None:
    """A restored backup brings the person back; the list says whom to erase again."""
    row = erase(installation)
    again = erase(installation)
    assert (row["already"], again["already"]) == (False, True)
    listed = installation.dir / "erasures.jsonl"
    assert listed.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [line["controller"] for line in lines] == ["acme", "acme"]
    assert lines[0]["recipient_keys"] == {"1": row["recipient"]}
    assert lines[0]["at"] == row["at"]


def test_somebody_who_was_never_heard_of_can_be_erased(installation: Installation) -> None:
    done = installation.tool("person", "erase", "niemand@example.org")
    assert done.returncode == 0
    assert b"Nothing readable was on file." in done.stdout
    assert installation.tool("person", "erase", "no address").returncode == 1
    assert installation.tool("ledger", "verify").returncode == 0


@on_both
def test_a_look_at_a_person_is_in_the_ledger(installation: Installation) -> None:
    """RULES.md S5: reads of personal data are in the chained record."""
    [person] = lines_of(installation.tool("person", "show", WHO, "--json"))
    assert (person["address"], person["erased"], len(person["consents"])) == (WHO, False, 1)
    kinds = [kind for (kind,) in installation.ask("SELECT kind FROM ledger WHERE hash IS NOT NULL ORDER BY seq")]
    assert kinds == ["consent", "consent", "looked_at"]
    assert installation.tool("ledger", "rebuild", "--check").returncode == 0
