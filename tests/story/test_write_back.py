"""What people said reaches those who keep sending: the tool's one-click address, signed webhooks, and no one else."""

import base64
import contextlib
import hmac
import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config import Config
from gateway.keys import key_ring
from gateway.settle import settle
from gateway.store.contract import Store
from tests.endpoints import Call, Endpoint, Reply, trusted
from tests.installation import ANNA, Installation, consent, newsletter, order
from tests.story.relay import Relay, fresh, load, load_people, one_click_url, relaying, with_store
from tests.story.reports import come_back, replied

SECRET, OLD = base64.b64encode(b"n" * 32).decode(), base64.b64encode(b"o" * 32).decode()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def installation(made: Path, tmp_path: Path, authority: trustme.CA) -> Installation:
    """With the four people, and our own authority trusted; on this machine `localhost` may be called."""
    found = fresh(made, tmp_path / "installation")
    load_people(found)
    trusted(authority, found.dir / "authority.pem")
    add(found, '\n[write_back]\nauthorities = "authority.pem"\n')
    found.change("[controllers.acme]\n", '[controllers.acme]\nwrite_back_hosts = ["localhost", "127.0.0.1"]\n')
    return found


def add(installation: Installation, text: str) -> None:
    with installation.config.open("a", encoding="utf-8") as out:
        out.write(text)


def webhook(name: str, endpoint: Endpoint, more: str = "") -> str:
    return f'\n[controllers.acme.webhooks.{name}]\nurl = "{endpoint.url("/hook")}"\nsecret = "whsec_{SECRET}"\n{more}\n'


def with_link(url: str, subject: str = "Nieuwe wijnen") -> bytes:
    """A newsletter as a tool sends it: with its own one-click address."""
    fields = (
        f"List-Unsubscribe: <mailto:off@tool.example>, <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    return fields.encode() + newsletter(subject)


def opted_out(relay: Relay, address: str, message: bytes | None = None) -> None:
    mail = relay.passes(address, message or newsletter())
    assert relay.one_click(one_click_url(mail)).status_code == 200


def told(relay: Relay, *states: str) -> None:
    """Wait until no job is in any other state than these."""
    path = relay.installation.dir / "consentgate.db"

    def all_ended() -> bool:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            found = {row[0] for row in db.execute("SELECT state FROM write_backs")}
        return bool(found) and found <= set(states)

    relay.gateway.eventually(all_ended)


def verified(call: Call, secret: str) -> dict[str, Any]:
    """A message as its receiver checks it (Standard Webhooks)."""
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    right = "v1," + base64.b64encode(hmac.digest(base64.b64decode(secret), signed, "sha256")).decode()
    assert right in call.headers["webhook-signature"].split(" ")
    found: dict[str, Any] = json.loads(call.body)
    return found


@pytest.fixture
def endpoint(authority: trustme.CA) -> Iterator[Endpoint]:
    with Endpoint(authority) as running:
        yield running


def test_the_tools_own_one_click_address_is_called_after_an_opt_out(
    installation: Installation, endpoint: Endpoint
) -> None:
    with relaying(installation) as relay:
        opted_out(relay, ANNA, with_link(endpoint.url("/unsubscribe/campaign-1/anna-7f")))
        [call] = endpoint.until(lambda calls: len(calls) > 0)
        told(relay, "done")
    assert (call.method, call.target, call.body) == (
        "POST", "/unsubscribe/campaign-1/anna-7f", b"List-Unsubscribe=One-Click"
    )  # fmt: skip
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "cookie" not in call.headers and "authorization" not in call.headers
    [row] = installation.report("writeback")
    assert (row["target"], row["state"], row["jobs"], row["said"]) == ("one-click", "done", 1, "200")


def test_an_address_elsewhere_and_one_for_several_people_are_not_called(
    installation: Installation, endpoint: Endpoint
) -> None:
    """SSRF: whoever may send a newsletter may name any address, and only listed hosts are called."""
    add(installation, webhook("crm", endpoint))
    with relaying(installation) as relay:
        relay.agree("bob@example.org")
        with Endpoint(None) as other:
            relay.taken([ANNA, "bob@example.org"], with_link(endpoint.url("/whose")))
            relay.passes(ANNA, with_link(other.url("/plain")))
            opted_out(relay, ANNA, with_link("https://169.254.169.254/latest/meta-data"))
            endpoint.until(lambda calls: len(calls) > 0)
            told(relay, "done")
            assert other.calls == []
    assert [call.path for call in endpoint.calls] == ["/hook"]


def test_a_webhook_is_signed_by_both_secrets_and_tried_again_with_the_same_id(
    installation: Installation, authority: trustme.CA
) -> None:
    with Endpoint(authority, [500, 200]) as endpoint:
        add(installation, webhook("crm", endpoint, f'old_secret = "whsec_{OLD}"'))
        with relaying(installation) as relay:
            opted_out(relay, ANNA)
            first, second = endpoint.until(lambda calls: len(calls) > 1)
            told(relay, "done")
    for call in (first, second):
        message = verified(call, SECRET)
        assert verified(call, OLD) == message
        assert (message["type"], message["data"]["address"]) == ("opt_out.recorded", ANNA)
        assert (message["data"]["scope"], message["data"]["purpose"]) == ("purpose", "newsletter")
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_killed_between_opt_out_and_call_nothing_is_forgotten(
    installation: Installation, authority: trustme.CA
) -> None:
    """P1 for what others have to be told: the opt-out was answered, the call never was."""
    answers: list[Any] = [Reply(stall=True), 200]
    with Endpoint(authority, answers) as endpoint:
        add(installation, webhook("crm", endpoint))
        with relaying(installation) as relay:
            opted_out(relay, ANNA)
            endpoint.until(lambda calls: len(calls) == 1)
            relay.gateway.kill()
            relay.gateway.start()
            first, second = endpoint.until(lambda calls: len(calls) == 2)
            told(relay, "done")
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_nobody_who_opts_out_waits_for_hosts_that_are_dead(installation: Installation, authority: trustme.CA) -> None:
    """Every opt-out is answered while no endpoint has answered anything; one that works is told meanwhile."""
    people = [f"p{n}@example.org" for n in range(8)]
    load(installation, "consents", [consent(one) for one in people])
    with Endpoint(authority, [Reply(stall=True)]) as dead, Endpoint(authority) as living:
        add(installation, webhook("dead", dead))
        add(installation, webhook("living", living))
        with relaying(installation) as relay:
            for one in people:
                opted_out(relay, one)
            living.until(lambda calls: len(calls) == len(people))
            assert {json.loads(call.body)["data"]["address"] for call in living.calls} == set(people)
            assert len(dead.calls) <= 2  # at one time, and none of them was answered


def test_whoever_is_erased_is_erased_elsewhere_and_then_forgotten(
    installation: Installation, endpoint: Endpoint
) -> None:
    """GDPR art. 17 and 19; the keys database holds nothing of the person once everybody was told."""
    add(installation, webhook("crm", endpoint))
    with relaying(installation) as relay:
        relay.passes(ANNA, with_link(endpoint.url("/off")))
        with contextlib.closing(sqlite3.connect(installation.dir / "keys.db")) as db:
            before = {row[0] for row in db.execute("SELECT recipient_key FROM person_keys")}
        done = installation.tool("person", "erase", ANNA)
        assert done.returncode == 0, done.stderr.decode()
        calls = endpoint.until(lambda calls: len(calls) == 2)
        told(relay, "done")
    hook = next(call for call in calls if call.path == "/hook")
    assert verified(hook, SECRET)["type"] == "person.erased"
    assert verified(hook, SECRET)["data"]["address"] == ANNA
    assert next(call for call in calls if call.path == "/off").body == b"List-Unsubscribe=One-Click"
    with contextlib.closing(sqlite3.connect(installation.dir / "keys.db")) as db:
        after = {row[0] for row in db.execute("SELECT recipient_key FROM person_keys")}
    [gone] = before - after
    assert not any(key.startswith(gone) for key in after)
    with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db:
        assert db.execute("SELECT count(*) FROM write_backs WHERE content IS NOT NULL").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM tool_links").fetchone() == (0,)


def test_the_advertiser_hears_of_opt_outs_of_people_who_got_its_offers(
    installation: Installation, endpoint: Endpoint, authority: trustme.CA
) -> None:
    """RULES.md 5.2.10."""
    installation.change(
        "[controllers.acme.streams.newsletter]\n",
        '[controllers.acme.streams.newsletter]\nadvertiser = { id = "vinea", legal_name = "Vinea N.V." }\n',
    )
    add(installation, webhook("vinea", endpoint, 'advertiser = "vinea"'))
    load(installation, "consents", [consent("bob@example.org", advertisers="vinea", purposes="newsletter|events")])
    with relaying(installation) as relay:
        assert relay.gateway.send(["wim@example.org"], order("wim@example.org"), login="orders")[1][0] == 250
        suppressed = installation.tool("suppress", "add", "wim@example.org", "--reason", "objection")
        assert suppressed.returncode == 0, suppressed.stderr.decode()
        opted_out(relay, "bob@example.org")
        [call] = endpoint.until(lambda calls: len(calls) > 0)
        told(relay, "done")
    said = verified(call, SECRET)
    assert said["data"] == {"controller": "acme", "address": "bob@example.org", "at": said["data"]["at"]}
    assert len(endpoint.calls) == 1


def test_drift_says_who_goes_on_mailing_people_who_opted_out(installation: Installation, endpoint: Endpoint) -> None:
    add(installation, webhook("crm", endpoint))
    with relaying(installation) as relay:
        opted_out(relay, ANNA)
        told(relay, "done")
        for n in range(3):
            assert relay.kept_out(ANNA, newsletter(f"Nog eens {n}")) == "SUPPRESSED_PURPOSE"
        assert relay.kept_out("niemand@example.org", newsletter()) != "SUPPRESSED_PURPOSE"
    [row] = installation.report("drift")
    assert (row["login"], row["stream"], row["tried"], row["people"]) == ("newsletter", "newsletter", 3, 1)
    assert (row["told"], row["told_people"]) == (3, 1)
    assert installation.report("drift", "--since", "2099-01-01") == []


def test_what_was_given_up_is_shown_tried_again_and_dropped(installation: Installation, authority: trustme.CA) -> None:
    with Endpoint(authority, [410, 200]) as endpoint:
        add(installation, webhook("crm", endpoint))
        with relaying(installation) as relay:
            opted_out(relay, ANNA)
            told(relay, "failed")
            [row] = [json.loads(line) for line in _jobs(installation, "list", "--state", "failed", "--json")]
            assert (row["target"], row["said"], row["attempts"]) == ("webhook/crm", "410 gone", 1)
            assert ANNA not in json.dumps(row)
            _jobs(installation, "retry", row["job_id"])
            told(relay, "done")
    assert installation.tool("writeback", "retry", "--all").returncode == 1
    assert installation.tool("writeback", "drop", "not-a-job").returncode == 1
    assert installation.tool("writeback", "drop").returncode == 2


def _jobs(installation: Installation, *args: str) -> Sequence[str]:
    done = installation.tool("writeback", *args)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def test_an_opt_out_of_somebody_known_by_address_alone_is_told_too(
    installation: Installation, endpoint: Endpoint
) -> None:
    add(installation, webhook("crm", endpoint))
    with relaying(installation) as relay:
        assert installation.tool("suppress", "add", "stranger@example.org").returncode == 0
        [call] = endpoint.until(lambda calls: len(calls) > 0)
        told(relay, "done")
    assert verified(call, SECRET)["data"]["address"] == "stranger@example.org"


def test_nobody_is_told_of_an_unclear_reply_before_somebody_has_read_it(
    installation: Installation, endpoint: Endpoint
) -> None:
    """It counts as an objection at once (RULES.md 5.2.8), but a tool that was told could not be untold."""
    add(installation, webhook("crm", endpoint))
    with relaying(installation) as relay:
        mail = relay.passes(ANNA, with_link(endpoint.url("/off")))
        reply = replied(mail, "Hoe komen jullie aan mijn adres?", author="elders@example.net")
        assert come_back(relay, mail.mail_from, reply, sender="elders@example.net")[0] == 250
        assert relay.kept_out(ANNA, with_link(endpoint.url("/off"), "Nog eens")) == "OBJECTED_TO_MARKETING"
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db:
            assert db.execute("SELECT count(*) FROM write_backs").fetchone() == (0,)
        assert with_store(installation, _read_as_objection) == "objection"
        calls = endpoint.until(lambda calls: len(calls) == 2)
        told(relay, "done")
    assert {call.path for call in calls} == {"/hook", "/off"}
    hook = next(call for call in calls if call.path == "/hook")
    assert verified(hook, SECRET)["data"]["address"] == ANNA


async def _read_as_objection(store: Store, config: Config) -> str:
    [row] = await store.came_back("acme", waiting=True, n=9)
    return await settle(
        store, key_ring(config), "acme", row.report_id, "objection", by="privacy", role="privacy", two=False,
        now=datetime.now(UTC),
    )  # fmt: skip


def test_no_line_of_the_log_names_anybody(installation: Installation, authority: trustme.CA) -> None:
    """P9: neither an address nor a tool's link, which tells the same."""
    with Endpoint(authority, [404, 200]) as endpoint:
        add(installation, webhook("crm", endpoint))
        with relaying(installation) as relay:
            opted_out(relay, ANNA, with_link(endpoint.url("/off?email=anna%40example.org&sub=7f3e")))
            told(relay, "done")
            metrics = relay.http("GET", f"{installation.url}/metrics").text
            log = relay.gateway.log()
    assert 'consentgate_write_backs_total{outcome="done",target="one-click"} 1.0' in metrics
    assert "event=told " in log and "event=telling_put_off " in log
    for word in ("anna", "7f3e", "/off", "/hook"):
        assert word not in log
