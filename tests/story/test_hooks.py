"""Providers tell of mail they took: proven, once, and in memory before 200 is said.

Invariants: of a request that is not proven nothing is stored; an event counts once, whenever and however often it is
told; nothing a provider says lifts an opt-out; what was sent about a person goes with them.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from gateway import hook_keys
from gateway.heed import Known, keep_returned
from gateway.hooks.told import Provider
from gateway.outbound.http_client import HttpClient
from gateway.store.evidence import Erasure
from gateway.tools.reach import Peer
from gateway.web.edge import HOOK_BYTES
from tests import providers
from tests.acme import NOW, OTHER, Acme, acme
from tests.endpoints import Endpoint, Reply
from tests.providers import Sent, Sns

ANNA, BOB = "anna@example.org", "bob@example.net"
SES_URL = providers.CERTIFICATE


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=OTHER) as made:
        await made.consented(ANNA, BOB)
        yield made


@dataclass
class Hook:
    """One hook of Acme, as its provider calls it."""

    world: Acme
    provider: str
    opaque: str
    hook_id: bytes

    async def post(self, sent: Sent, *, opaque: str | None = None, provider: str | None = None) -> httpx.Response:
        body, fields = sent
        async with self.world.client() as client:
            return await client.post(
                f"/api/v1/hooks/{provider or self.provider}/{opaque or self.opaque}", content=body, headers=fields
            )

    async def told(self, sent: Sent) -> dict[str, int]:
        answer = await self.post(sent)
        assert answer.status_code == 200, answer.text
        found: dict[str, int] = answer.json()
        return found

    async def refused(self, sent: Sent, status: int) -> str:
        before = await rows(self.world)
        answer = await self.post(sent)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert ANNA not in answer.text
        assert await rows(self.world) == before, "nothing was stored"
        return str(answer.json()["detail"])


async def hook(
    world: Acme, provider: Provider, credentials: dict[str, Any] | None = None, controller: str = "acme"
) -> Hook:
    known: dict[str, dict[str, Any]] = {
        "sendgrid": {"public_key": providers.public(providers.ec_key())}, "postmark": {},
        "mailgun": {"signing_key": providers.MAILGUN_KEY}, "ses": {"topics": [providers.TOPIC]},
        "postal": {"public_key": providers.public(providers.rsa_key()), "sha1": False},
    }  # fmt: skip
    made, opaque = hook_keys.make(world.ring, controller, provider, credentials or known[provider], now=world.now)
    await world.store.add_hook(made)
    return Hook(world, provider, opaque, made.hook_id)


async def rows(world: Acme, address: str | None = None) -> list[Any]:
    """What came back, oldest first."""
    key = world.key(address) if address else None
    found = await world.store.came_back("acme", recipient_key=key, n=5000)
    return found[::-1]


async def dead(world: Acme, address: str) -> bool:
    [person] = await world.store.people([world.who(address)])
    return person.standing.recipient.undeliverable


async def stopped(world: Acme, address: str) -> list[tuple[str, str | None, str]]:
    found = await world.store.suppressions_of("acme", world.key(address))
    return [(row.scope, row.purpose, row.reason) for row in found if row.lifted_at is None]


def spam(address: str, id_: str = "e1") -> dict[str, Any]:
    return {"email": address, "event": "spamreport", "sg_event_id": id_, "timestamp": int(NOW.timestamp()) - 60}


def gone(address: str, id_: str, days: int = 0) -> dict[str, Any]:
    at = int((NOW - timedelta(days=days)).timestamp()) - 60
    return {
        "email": address, "event": "bounce", "type": "bounce", "reason": "550 5.1.1 user unknown", "status": "5.1.1",
        "sg_event_id": id_, "timestamp": at,
    }  # fmt: skip


# Every provider


async def test_a_complaint_told_by_sendgrid_stops_the_sender(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    assert await sendgrid.told(providers.sendgrid([spam(ANNA)], NOW)) == {"events": 1, "repeats": 0, "ignored": 0}
    assert await stopped(world, ANNA) == [("sender", None, "complaint")]
    assert await stopped(world, BOB) == []
    [row] = await rows(world, ANNA)
    assert (row.kind, row.source, row.proven) == ("complaint", "sendgrid", True)
    assert json.loads(row.content["raw"])["sg_event_id"] == "e1"


async def test_two_reports_on_two_days_make_an_address_undeliverable(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    await sendgrid.told(providers.sendgrid([gone(ANNA, "a", 3), gone(ANNA, "b", 3), gone(BOB, "c", 3)], NOW))
    assert not await dead(world, ANNA)
    await sendgrid.told(providers.sendgrid([gone(ANNA, "d")], NOW))
    assert await dead(world, ANNA)
    assert not await dead(world, BOB)


async def test_mailgun_postmark_and_postal_tell_too(world: Acme) -> None:
    mailgun, postal = await hook(world, "mailgun"), await hook(world, "postal")
    failed = providers.mailgun_failed(ANNA, 550, "5.1.1 does not exist")
    assert (await mailgun.told(providers.mailgun(failed, NOW)))["events"] == 1
    said = providers.postal_failed(BOB, "550 5.1.1 user unknown") | {"timestamp": NOW.timestamp()}
    assert (await postal.told(providers.postal(said)))["events"] == 1
    username, password, kept = hook_keys.login()
    postmark = await hook(world, "postmark", dict(kept))
    said = providers.postmark_change(BOB, suppress=True)
    assert (await postmark.told(providers.postmark(said, username, password)))["events"] == 1
    assert await stopped(world, BOB) == [("sender", None, "unsubscribe")]
    assert [row.source for row in await rows(world)] == ["mailgun", "postal", "postmark"]


async def test_nothing_a_provider_says_lifts_an_opt_out(world: Acme) -> None:
    username, password, kept = hook_keys.login()
    postmark, sendgrid = await hook(world, "postmark", dict(kept)), await hook(world, "sendgrid")
    await postmark.told(providers.postmark(providers.postmark_change(ANNA, suppress=True), username, password))
    lifting = providers.postmark_change(ANNA, suppress=False, reason=None)
    assert (await postmark.told(providers.postmark(lifting, username, password)))["ignored"] == 1
    back = {**spam(ANNA), "event": "group_resubscribe"}
    assert (await sendgrid.told(providers.sendgrid([back], NOW)))["ignored"] == 1
    assert await stopped(world, ANNA) == [("sender", None, "unsubscribe")]


async def test_an_unsubscribe_that_carries_our_token_stops_its_purpose_alone(world: Acme) -> None:
    mailgun = await hook(world, "mailgun")
    event = {
        "event": "unsubscribed", "id": "u1", "recipient": ANNA, "timestamp": NOW.timestamp(),
        "user-variables": {"link": f"https://u.example/o/{world.link(ANNA)}"},
    }  # fmt: skip
    await mailgun.told(providers.mailgun(event, NOW))
    assert await stopped(world, ANNA) == [("purpose", "newsletter", "unsubscribe")]
    sold = event | {"id": "u2", "recipient": BOB, "user-variables": {"link": world.link(BOB, basis="soft_opt_in")}}
    await mailgun.told(providers.mailgun(sold, NOW, token="u" * 50))
    assert await stopped(world, BOB) == [("sender", None, "unsubscribe")]


async def test_a_token_of_another_controller_counts_for_nobody_there(world: Acme) -> None:
    """P8: a provider of one controller cannot stop the mail of another."""
    mailgun = await hook(world, "mailgun", controller="other")
    event = {
        "event": "unsubscribed", "id": "u1", "recipient": ANNA, "timestamp": NOW.timestamp(),
        "user-variables": {"link": world.link(ANNA)},
    }  # fmt: skip
    await mailgun.told(providers.mailgun(event, NOW))
    assert await stopped(world, ANNA) == []
    theirs = await world.store.suppressions_of("other", world.key(ANNA, "other"))
    assert [(row.scope, row.reason) for row in theirs] == [("sender", "unsubscribe")]


# Once


async def test_what_is_told_again_days_later_changes_nothing(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    event = gone(ANNA, "a")
    await sendgrid.told(providers.sendgrid([event], NOW))
    world.now = NOW + timedelta(days=9)
    assert await sendgrid.told(providers.sendgrid([event], world.now)) == {"events": 0, "repeats": 1, "ignored": 0}
    assert not await dead(world, ANNA), "one report told twice is one"


async def test_the_same_request_many_times_at_once_counts_once(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    sent = providers.sendgrid([spam(ANNA), gone(BOB, "b")], NOW)
    answers = await asyncio.gather(*(sendgrid.post(sent) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["events"] for answer in answers) == 2
    assert len(await rows(world)) == 2 and len(await stopped(world, ANNA)) == 1


async def test_a_thousand_events_in_one_request(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    people = [f"reader{n}@example.org" for n in range(1000)]
    await world.consented(*people)
    sent = providers.sendgrid([spam(one, f"e{n}") for n, one in enumerate(people)], NOW)
    assert (await sendgrid.told(sent))["events"] == 1000
    assert len(await rows(world)) == 1000
    for one in (people[0], people[500], people[999]):
        assert await stopped(world, one) == [("sender", None, "complaint")]


async def test_one_entry_that_cannot_be_read_loses_none_of_the_others(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    answer = await sendgrid.post(providers.sendgrid([spam(ANNA), {"event": "bounce", "email": f"{ANNA} no"}, 7], NOW))
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["errors"]] == ["2"]
    broken = await sendgrid.post(providers.sendgrid([{**spam(BOB), "email": "niemand"}], NOW))
    assert [fault["field"] for fault in broken.json()["errors"]] == ["0.email"]
    assert "niemand" not in broken.text
    assert await stopped(world, ANNA) == [("sender", None, "complaint")]


# Not proven


async def test_forged_stale_and_unsigned_requests_store_nothing(world: Acme) -> None:
    sendgrid, postal, mailgun = [await hook(world, one) for one in ("sendgrid", "postal", "mailgun")]
    body, fields = providers.sendgrid([spam(ANNA)], NOW)
    await sendgrid.refused((body, {}), 401)
    await sendgrid.refused((body.replace(b"e1", b"e2"), fields), 403)
    await sendgrid.refused((body, fields | {"X-Twilio-Email-Event-Webhook-Timestamp": "1"}), 403)
    await sendgrid.refused(providers.sendgrid([spam(ANNA)], NOW - timedelta(days=3)), 403)
    await sendgrid.refused(providers.sendgrid([spam(ANNA)], NOW + timedelta(hours=1)), 403)
    said = providers.postal_failed(ANNA, "550 5.1.1 user unknown") | {"timestamp": NOW.timestamp()}
    await postal.refused(providers.postal(said, providers.rsa_key(5)), 403)
    await postal.refused(providers.postal(said, sha256=False), 401)
    await postal.refused(providers.postal(said, sha256=False, sha1=True), 403)
    await postal.refused(providers.postal(said | {"timestamp": NOW.timestamp() - 9 * 86_400}), 403)
    failed = providers.mailgun_failed(ANNA, 550, "5.1.1 does not exist")
    await mailgun.refused(providers.mailgun(failed, NOW, key="another"), 403)
    await mailgun.refused(providers.mailgun(failed, NOW - timedelta(hours=13)), 403)
    await mailgun.refused((json.dumps({"event-data": failed}).encode(), {}), 401)
    await mailgun.refused((b"no json", {}), 400)


async def test_a_seen_signature_of_mailgun_is_good_for_its_own_content_alone(world: Acme) -> None:
    """Mailgun signs a token, not the event: whoever saw a request could put other words under it."""
    mailgun = await hook(world, "mailgun")
    first = providers.mailgun(providers.mailgun_failed(ANNA, 550, "5.1.1 does not exist"), NOW)
    assert (await mailgun.told(first))["events"] == 1
    complained = {"event": "complained", "id": "x", "recipient": BOB, "timestamp": NOW.timestamp()}
    await mailgun.refused(providers.mailgun(complained, NOW), 403)
    assert (await mailgun.told(first))["repeats"] == 1, "a redelivery is none"
    assert await world.store.drop_hook_tokens(before=NOW - timedelta(days=2), n=10) == 0
    assert await world.store.drop_hook_tokens(before=NOW + timedelta(seconds=1), n=10) == 1


async def test_old_signatures_of_postal_where_the_hook_takes_them(world: Acme) -> None:
    postal = await hook(world, "postal", {"public_key": providers.public(providers.rsa_key()), "sha1": True})
    said = providers.postal_failed(ANNA, "550 5.1.1 user unknown") | {"timestamp": NOW.timestamp()}
    body, fields = providers.postal(said, sha1=True)
    forged = base64.b64encode(bytes(256)).decode()
    await postal.refused((body, fields | {"X-Postal-Signature-256": forged}), 403)
    assert (await postal.told(providers.postal(said, sha256=False, sha1=True)))["events"] == 1


async def test_postmark_has_its_own_credentials(world: Acme) -> None:
    username, password, kept = hook_keys.login()
    postmark, other = (
        await hook(world, "postmark", dict(kept)),
        await hook(world, "postmark", dict(hook_keys.login()[2])),
    )
    said = providers.postmark_bounce(ANNA, "HardBounce", "550 5.1.1 user unknown")
    answer = await postmark.post((json.dumps(said).encode(), {}))
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic")
    await postmark.refused(providers.postmark(said, username, password + "x"), 403)
    await postmark.refused(providers.postmark(said, username.upper(), password), 403)
    await other.refused(providers.postmark(said, username, password), 403)
    assert (await postmark.told(providers.postmark(said, username, password)))["events"] == 1


async def test_addresses_that_are_none(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    sent = providers.sendgrid([spam(ANNA)], NOW)
    for opaque in ("A" * 22, "short", "A" * 64, sendgrid.opaque[:-1] + ("A" if sendgrid.opaque[-1] != "A" else "Q")):
        assert (await sendgrid.post(sent, opaque=opaque)).status_code == 404
    assert (await sendgrid.post(sent, provider="postal")).status_code == 404, "the hook of another provider"
    assert (await sendgrid.post(sent, provider="brevo")).status_code in (404, 422)
    assert await world.store.revoke_hook("acme", sendgrid.hook_id, NOW)
    assert (await sendgrid.post(sent)).status_code == 404
    assert await rows(world) == []
    async with world.client() as client:
        assert (await client.get(f"/api/v1/hooks/sendgrid/{sendgrid.opaque}")).status_code == 405


async def test_a_body_past_the_limit_is_refused(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    assert (await sendgrid.post((b" " * (HOOK_BYTES + 1), {}))).status_code == 413


async def test_while_the_store_is_down_the_provider_is_asked_to_come_again(
    world: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    sendgrid = await hook(world, "sendgrid")
    sent = providers.sendgrid([spam(ANNA)], NOW)
    await world.store._writer.close()
    answer = await sendgrid.post(sent)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


# Personal data


async def test_what_was_told_of_a_person_goes_with_them(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    await sendgrid.told(providers.sendgrid([{**gone(ANNA, "a"), "note": "only-of-anna"}, gone(BOB, "b")], NOW))
    await world.store.erase(Erasure(
        controller_id="acme", recipient_keys=world.ring.recipient_keys("acme", ANNA), at=NOW, by="privacy", address=ANNA
    ))  # fmt: skip
    assert await rows(world, ANNA) == []
    [row] = await rows(world)
    assert BOB in row.content["raw"]
    await world.store.empty_logs()
    stored = b"".join(file.read_bytes() for file in world.config.dir.iterdir() if file.is_file())
    for plain in (b"only-of-anna", ANNA.encode(), BOB.encode(), sendgrid.opaque.encode()):
        assert plain not in stored


async def test_it_is_kept_for_24_months(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    await sendgrid.told(providers.sendgrid([gone(ANNA, "a")], NOW))
    await keep_returned(world.store, NOW + timedelta(days=700))
    assert len(await rows(world)) == 1
    await keep_returned(world.store, NOW + timedelta(days=800))
    assert await rows(world) == []


# SES, over SNS


class SnsAtHome(HttpClient):
    """The outbound client, to whom every name of SNS is this machine and the port of the test's own server."""

    port = 0

    async def _connect(self, place: Any, addresses: Sequence[Any]) -> Any:
        moved = type(place)(host=place.host, port=self.port, tls=place.tls, target=place.target)
        return await super()._connect(moved, addresses)

    async def _addresses(self, place: Any, peers: Sequence[Peer]) -> Any:
        return await super()._addresses(place, [*peers, Peer(host="127.0.0.1")])


@dataclass
class Ses:
    """The topic, its hook, and the server that has its certificate."""

    hook: Hook
    topic: Sns
    server: Endpoint


@pytest.fixture
async def ses(world: Acme) -> AsyncIterator[Ses]:
    authority, topic = trustme.CA(), Sns()
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def answer(call: Any) -> Any:
        return Reply(body=topic.pem(NOW)) if call.target.endswith(".pem") else 200

    async def home(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with Endpoint(authority, [answer], name="sns.eu-west-1.amazonaws.com") as server:
        client = SnsAtHome(context, agent="consentgate/test", resolve=home)
        client.port = server.port
        world.be_told.configure(Known(config=world.config, ring=world.ring, tokens=world.tokens), client)
        yield Ses(await hook(world, "ses"), topic, server)


async def test_ses_tells_over_sns(world: Acme, ses: Ses) -> None:
    for id_, version in (("m1", "1"), ("m2", "2")):
        said = providers.ses_bounce(ANNA, BOB, feedback=id_)
        assert (await ses.hook.told(ses.topic.notification(said, NOW, id_=id_, version=version)))["events"] == 2
    assert [call.target for call in ses.server.calls] == ["/SimpleNotificationService-0123456789abcdef.pem"], "kept"
    assert (await ses.hook.told(ses.topic.notification(said, NOW + timedelta(seconds=5), id_="m2")))["repeats"] == 2
    await ses.hook.told(ses.topic.notification(providers.ses_complaint(BOB), NOW, id_="m3"))
    assert await stopped(world, BOB) == [("sender", None, "complaint")]
    for row in await rows(world, ANNA):
        assert BOB not in row.content["raw"]


async def test_a_subscription_is_confirmed_once_it_is_proven(ses: Ses) -> None:
    body, fields = ses.topic.confirmation(NOW)
    await ses.hook.refused((body.replace(b"t0k", b"t1k"), fields), 403)
    assert len(ses.server.calls) == 1, "the certificate, and no confirmation"
    assert await ses.hook.told((body, fields)) == {"events": 0, "repeats": 0, "ignored": 1}
    assert ses.server.calls[1].target == f"/?Action=ConfirmSubscription&TopicArn={providers.TOPIC}&Token=t0k"
    await ses.hook.refused(ses.topic.confirmation(NOW, "https://sns.evil.com/?Action=ConfirmSubscription"), 403)
    await ses.hook.told(ses.topic.confirmation(NOW, kind="UnsubscribeConfirmation"))
    assert len(ses.server.calls) == 2, "an unsubscription is not taken back"


async def test_nothing_is_fetched_for_whoever_asks(ses: Ses) -> None:
    said = providers.ses_bounce(ANNA)
    stranger = Sns(topic="arn:aws:sns:eu-west-1:999999999999:evil")
    await ses.hook.refused(stranger.notification(said, NOW), 403)
    for url in ("https://sns.evil.com/a.pem", "https://user@sns.eu-west-1.amazonaws.com/a.pem",
                "https://sns.eu-west-1.amazonaws.com:8443/a.pem", "http://sns.eu-west-1.amazonaws.com/a.pem",
                "https://sns.eu-west-1.amazonaws.com.evil.com/a.pem"):  # fmt: skip
        await ses.hook.refused(Sns(certificate=url).notification(said, NOW), 403)
    assert ses.server.calls == []


async def test_forged_and_stale_messages_of_sns(ses: Ses) -> None:
    said = providers.ses_bounce(ANNA)
    body, fields = ses.topic.notification(said, NOW)
    await ses.hook.refused((body.replace(b"example.org", b"example.com"), fields), 403)
    await ses.hook.refused(Sns(key=providers.rsa_key(9)).notification(said, NOW), 403)
    await ses.hook.refused(ses.topic.notification(said, NOW - timedelta(days=31)), 403)
    raw = (json.dumps(said).encode(), fields)
    assert "proves" in await ses.hook.refused(raw, 401), "raw message delivery has no signature"
    await ses.hook.refused((json.dumps({"Type": "Else"}).encode(), fields), 400)


async def test_while_the_certificate_cannot_be_had_sns_is_asked_to_come_again(world: Acme) -> None:
    """The real client: the name leads to a machine inside, and is not followed there."""

    async def inside(host: str, port: int) -> list[str]:
        return ["10.0.0.7"]

    client = HttpClient(ssl.create_default_context(), agent="consentgate/test", resolve=inside)
    world.be_told.configure(Known(config=world.config, ring=world.ring, tokens=world.tokens), client)
    ses = await hook(world, "ses")
    await ses.refused(Sns().notification(providers.ses_bounce(ANNA), NOW), 503)


# What staff and integrators see


async def test_the_description_of_the_api_has_the_hooks(world: Acme) -> None:
    async with world.client() as client:
        described = (await client.get("/api/v1/openapi.json")).json()
    route = described["paths"]["/api/v1/hooks/{provider}/{hook_id}"]["post"]
    assert route["security"] == [] and "application/json" in route["requestBody"]["content"]
    assert {"200", "400", "401", "403", "404", "413", "503"} <= set(route["responses"])


async def test_the_last_request_is_noted(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    [before] = await world.store.hooks("acme")
    await sendgrid.told(providers.sendgrid([spam(ANNA)], NOW))
    [after] = await world.store.hooks("acme")
    assert (before.last_at, after.last_at) == (None, NOW)


async def test_staff_see_which_providers_tell_and_no_address_of_theirs(world: Acme) -> None:
    sendgrid = await hook(world, "sendgrid")
    await hook(world, "ses", controller="other")
    client = await world.signed_in("petra", "privacy")
    before = (await client.get("/staff/returns")).text
    await sendgrid.told(providers.sendgrid([gone(ANNA, "a")], NOW))
    after = (await client.get("/staff/returns")).text
    await client.aclose()
    assert "SendGrid" in before and "nog niets" in before and "nog niets" not in after
    assert sendgrid.opaque not in after and "Amazon SES" not in after, "other senders are strangers"
    assert "sg_event_id" not in after and ANNA not in after
