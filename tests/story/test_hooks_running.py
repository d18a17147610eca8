"""Hooks of the whole program: made by the command, told over real HTTP, and nothing lost when it is killed."""

import json
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests import providers
from tests.endpoints import Endpoint, Reply, trusted
from tests.installation import ANNA, Gateway, Installation, lines_of, newsletter
from tests.providers import Sent, Sns
from tests.story.relay import fresh, load_people, relaying

EVENTS = 400


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    found = fresh(made, tmp_path / "installation")
    load_people(found)
    return found


def add(installation: Installation, provider: str, *args: str, key: str = "") -> dict[str, str]:
    done = installation.tool("hook", "add", "--provider", provider, *args, "--json", stdin=key.encode())
    [row] = lines_of(done)
    return {name: str(value) for name, value in row.items()}


def post(url: str, sent: Sent) -> httpx.Response:
    return httpx.post(url, content=sent[0], headers=sent[1], timeout=60)


def reports(installation: Installation) -> int:
    with closing(sqlite3.connect(f"file:{installation.dir / 'consentgate.db'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM returns").fetchone()[0])


def complaints(n: int) -> list[dict[str, Any]]:
    return [{"email": f"reader{one}@example.org", "event": "spamreport", "sg_event_id": f"e{one}"} for one in range(n)]


def test_a_complaint_at_the_provider_stops_the_next_newsletter(installation: Installation) -> None:
    hook = add(installation, "sendgrid", "--key", "-", key=providers.public(providers.ec_key()))
    with relaying(installation) as relay:
        event = {"email": ANNA, "event": "spamreport", "sg_event_id": "e1"}
        answer = post(hook["url"], providers.sendgrid([event], datetime.now(UTC)))
        assert (answer.status_code, answer.json()) == (200, {"events": 1, "repeats": 0, "ignored": 0})
        assert relay.kept_out(ANNA, newsletter()) == "COMPLAINT_RECEIVED"
        assert post(hook["url"], (b"[]", {})).status_code == 401
        log = relay.gateway.log()
    [row] = lines_of(installation.tool("hook", "list", "--json"))
    assert row["url"] == hook["url"] and row["last"] and row["state"] == "in use"
    assert "hook_told" in log and "hook_refused" in log
    for secret in (hook["url"].rpartition("/")[2], providers.public(providers.ec_key()), ANNA):
        assert secret not in log


def test_what_was_told_when_it_was_killed_is_told_again_and_counts_once(installation: Installation) -> None:
    """P1 of hooks: 200 only after every commit; a provider that got none sends the same again."""
    hook = add(installation, "sendgrid", "--key", "-", key=providers.public(providers.ec_key()))
    sent = providers.sendgrid(complaints(EVENTS), datetime.now(UTC))
    answers: list[httpx.Response | Exception] = []

    def tell() -> None:
        try:
            answers.append(post(hook["url"], sent))
        except httpx.HTTPError as cut:
            answers.append(cut)

    gateway = Gateway(installation).start()
    telling = threading.Thread(target=tell)
    telling.start()
    gateway.eventually(lambda: reports(installation) > 0)
    gateway.kill()
    telling.join()
    kept = reports(installation)
    if isinstance(answers[0], httpx.Response):
        assert kept == EVENTS, "200 was said for all of them"
    gateway = Gateway(installation).start()
    try:
        answer = post(hook["url"], sent)
    finally:
        gateway.kill()
    assert answer.json() == {"events": EVENTS - kept, "repeats": kept, "ignored": 0}
    assert reports(installation) == EVENTS


def test_ses_tells_over_sns_and_its_subscription_confirms_itself(installation: Installation) -> None:
    """A server of our own speaks SNS here: `hooks.sns_hosts` names it, and its address on this machine."""
    authority, now = trustme.CA(), datetime.now(UTC)
    trusted(authority, installation.dir / "authority.pem")
    with installation.config.open("a") as out:
        out.write('\n[write_back]\nauthorities = "authority.pem"\n[hooks]\nsns_hosts = ["localhost", "127.0.0.1"]\n')
    hook = add(installation, "ses", "--topic", providers.TOPIC)
    pem = Sns().pem(now)
    with Endpoint(authority, [lambda call: Reply(body=pem if call.path == "/sns.pem" else b"")]) as server:
        topic = Sns(certificate=server.url("/sns.pem"))
        gateway = Gateway(installation).start()
        try:
            confirm = server.url(f"/?Action=ConfirmSubscription&TopicArn={providers.TOPIC}&Token=t")
            assert post(hook["url"], topic.confirmation(now, confirm)).status_code == 200
            said = topic.notification(providers.ses_complaint(ANNA), now)
            assert post(hook["url"], said).json() == {"events": 1, "repeats": 0, "ignored": 0}
            assert post(hook["url"], (said[0].replace(b"anna", b"anny"), said[1])).status_code == 403
        finally:
            gateway.kill()
        assert [call.path for call in server.calls] == ["/sns.pem", "/"]
    assert reports(installation) == 1


def test_a_revoked_hook_is_no_more(installation: Installation) -> None:
    hook = add(installation, "postmark")
    said = providers.postmark_bounce(ANNA, "HardBounce", "550 5.1.1 user unknown")
    sent = providers.postmark(said, hook["username"], hook["password"])
    gateway = Gateway(installation).start()
    try:
        assert post(hook["url"], sent).status_code == 200
        assert installation.tool("hook", "revoke", hook["hook"]).returncode == 0
        assert post(hook["url"], sent).status_code == 404
    finally:
        gateway.kill()
    assert installation.tool("hook", "revoke", hook["hook"]).returncode == 1
    shown = installation.tool("hook", "list").stdout.decode()
    assert "revoked" in shown and hook["password"] not in shown


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--provider", "brevo"], 2, "ses, sendgrid"),
        (["--provider", "ses"], 2, "--topic"),
        (["--provider", "ses", "--topic", "events"], 2, "arn:aws:sns"),
        (["--provider", "sendgrid"], 2, "--key"),
        (["--provider", "sendgrid", "--key", "-"], 1, "no public key"),
        (["--provider", "postal", "--key", "/nowhere/key"], 1, "cannot be read"),
        (["--provider", "postmark", "--sha1"], 2, "--sha1 for postal"),
    ],
)
def test_what_a_hook_cannot_be_made_of(installation: Installation, args: list[str], code: int, says: str) -> None:
    done = installation.tool("hook", "add", *args, stdin=b"no key")
    assert (done.returncode, done.stdout) == (code, b"")
    assert says in done.stderr.decode()


def test_doctor_misses_a_hook_where_a_provider_takes_the_mail(installation: Installation) -> None:
    def found() -> dict[str, dict[str, Any]]:
        rows = map(json.loads, installation.tool("doctor", "--json").stdout.splitlines())
        return {row["check"]: row for row in rows if row["check"].startswith("hook ")}

    assert found() == {}
    installation.change('kind = "capture"', 'kind = "smarthost"\nhosts = ["smtp.mailgun.org:587"]')
    assert found()["hook acme/mailgun"]["good"] is False
    hook = add(installation, "mailgun", "--key", "-", key=providers.MAILGUN_KEY)
    [(name, row)] = found().items()
    assert name == f"hook acme/mailgun {hook['hook']}" and row["good"] and "nothing told yet" in row["text"]
