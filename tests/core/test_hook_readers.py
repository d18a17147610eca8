"""What providers tell, bytes to values. Invariant: whatever the bytes, a reader raises nothing but its own refusals."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bounce_rules import read_bounce_rules
from gateway.hooks import mailgun, postal, postmark, sendgrid, ses, sns
from gateway.hooks.fields import Malformed
from gateway.hooks.told import Context, Post, Reading, Unproven
from gateway.mail.event import Event
from gateway.tools.reach import Peer
from tests import providers
from tests.providers import Sns

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTEXT = Context(rules=read_bounce_rules(), now=NOW)
ANNA, BOB = "anna@example.org", "bob@example.net"


def of_ses(said: Any) -> Reading:
    return ses.read(json.dumps(said), "m1", CONTEXT)


def of_sendgrid(**event: Any) -> Reading:
    said = {"email": ANNA, "timestamp": 1763632800, "sg_event_id": "e1", **event}
    return sendgrid.read(json.dumps([said]).encode(), CONTEXT)


def of(room: Any, said: Any) -> Reading:
    found: Reading = room.read(json.dumps(said).encode(), CONTEXT)
    return found


def only(reading: Reading) -> Event:
    [piece] = reading.pieces
    assert not reading.faults
    assert piece.event.authenticated
    return piece.event


def judged(reading: Reading) -> tuple[str, str, bool]:
    event = only(reading)
    [one] = event.recipients
    assert event.kind == "bounce" and one.address == ANNA
    return one.bounce_class, one.reason, one.undeliverable


# SES


@pytest.mark.parametrize("form", ["eventType", "notificationType"])
def test_ses_says_that_a_mailbox_does_not_exist(form: str) -> None:
    reading = of_ses(providers.ses_bounce(ANNA, form=form))
    assert judged(reading) == ("hard", "unknown-user", True)
    assert only(reading).label == "Permanent/General"
    assert only(reading).at == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_what_ses_calls_transient_is_judged_by_code_and_words() -> None:
    said = "smtp; 550 5.1.2 <anna@example.org>: Recipient address rejected: Domain not found"
    reading = of_ses(providers.ses_bounce(ANNA, type_="Transient", status="5.1.2", said=said))
    assert judged(reading) == ("hard", "unknown-host", True)
    assert only(reading).label == "Transient/General", "the provider's word is kept beside ours"
    assert ANNA not in only(reading).recipients[0].diagnostic


def test_a_full_mailbox_never_dies_whatever_ses_calls_it() -> None:
    said = "smtp; 552 5.2.2 mailbox full"
    reading = of_ses(providers.ses_bounce(ANNA, type_="Permanent", status="5.2.2", said=said))
    assert judged(reading) == ("hard", "mailbox-full", False)


def test_without_code_and_words_the_label_of_ses_decides_the_class_alone() -> None:
    assert judged(of_ses(providers.ses_bounce(ANNA, type_="Transient", status="", said="")))[0] == "soft"
    assert judged(of_ses(providers.ses_bounce(ANNA, type_="Permanent", status="", said=""))) == (
        "hard", "undefined", False
    )  # fmt: skip


@pytest.mark.parametrize("sub", ["Suppressed", "OnAccountSuppressionList"])
def test_what_ses_did_not_even_send_says_nothing_new(sub: str) -> None:
    assert judged(of_ses(providers.ses_bounce(ANNA, sub=sub))) == ("hard", "suppressed", False)


def test_several_recipients_are_split_and_no_piece_names_another() -> None:
    reading = of_ses(providers.ses_bounce(ANNA, BOB))
    assert [piece.event.recipients[0].address for piece in reading.pieces] == [ANNA, BOB]
    assert len({piece.event.event_id for piece in reading.pieces}) == 2
    assert BOB not in reading.pieces[0].raw and ANNA in reading.pieces[0].raw
    assert ANNA not in reading.pieces[1].raw and BOB in reading.pieces[1].raw


@pytest.mark.parametrize(
    ("kind", "sub", "expected"),
    [
        ("abuse", None, "complaint"), ("fraud", None, "complaint"), (None, None, "complaint"),
        ("not-spam", None, "other"), ("auth-failure", None, "other"), (None, "OnAccountSuppressionList", "complaint"),
    ],
)  # fmt: skip
def test_complaints_of_ses(kind: str | None, sub: str | None, expected: str) -> None:
    event = only(of_ses(providers.ses_complaint(ANNA, kind, sub)))
    assert (event.kind, event.needs_person) == (expected, False)


def test_a_complaint_of_an_unknown_type_is_for_a_person() -> None:
    event = only(of_ses(providers.ses_complaint(ANNA, "virus")))
    assert (event.kind, event.needs_person) == ("other", True)


def test_subscriptions_of_ses_count_where_something_was_stopped() -> None:
    said = providers.ses_subscription(ANNA, new={"wine": "OptOut"}, old={"wine": "OptIn"})
    assert only(of_ses(said)).kind == "unsubscribe"
    assert only(of_ses(providers.ses_subscription(ANNA, new={}, old={}, all_=True))).kind == "unsubscribe"
    for new, old in (("OptIn", "OptOut"), ("OptOut", "OptOut"), ("OptIn", "OptIn")):
        reading = of_ses(providers.ses_subscription(ANNA, new={"wine": new}, old={"wine": old}))
        assert (reading.pieces, reading.ignored) == ((), 1)


def test_who_unsubscribed_at_ses_is_not_a_bounce() -> None:
    assert only(of_ses(providers.ses_bounce(ANNA, sub="UnsubscribedRecipient"))).kind == "unsubscribe"


def test_a_virus_in_our_mail_and_a_delay_say_nothing_bad_of_the_address() -> None:
    said = {"eventType": "Reject", "reject": {"reason": "Bad content"}, "mail": {"destination": [ANNA]}}
    assert judged(of_ses(said)) == ("hard", "virus", False)
    delayed = [{"emailAddress": ANNA, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect"}]
    said = {"eventType": "DeliveryDelay", "deliveryDelay": {"delayType": "General", "delayedRecipients": delayed}}
    assert judged(of_ses(said))[0] == "delayed"


@pytest.mark.parametrize("event", ["Delivery", "Send", "Open", "Click", "Rendering Failure", "Something new"])
def test_what_ses_tells_besides_is_passed_over(event: str) -> None:
    assert of_ses({"eventType": event}) == Reading(ignored=1)


def test_the_copy_and_the_token_are_found_in_what_ses_quotes() -> None:
    token = "A" * 83
    headers = [{"name": "List-Unsubscribe", "value": f"<https://u.example/o/{token}>"}]
    reading = of_ses(providers.ses_bounce(ANNA, source="b+abcdef@bounce.acme.example", headers=headers))
    assert only(reading).original.tokens == (token,)
    assert only(reading).original.return_ids == ("abcdef",)


# SendGrid


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "bounce", "reason": "550 5.1.1 user unknown", "status": "5.1.1"}, ("hard", "unknown-user", True)),
        ({"type": "bounce", "reason": "550 5.1.1 user unknown"}, ("hard", "unknown-user", True)),
        ({"type": "blocked", "reason": "550 5.1.1 user unknown"}, ("hard", "unknown-user", False)),
        ({"type": "blocked", "reason": "552 5.2.2 mailbox full"}, ("hard", "mailbox-full", False)),
        ({"type": "blocked", "reason": ""}, ("soft", "undefined", False)),
        ({"type": "bounce", "reason": "", "status": ""}, ("hard", "undefined", False)),
    ],
)
def test_bounces_of_sendgrid(event: dict[str, str], expected: tuple[str, str, bool]) -> None:
    assert judged(of_sendgrid(event="bounce", **event)) == expected


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("Bounced Address", "bounce"), ("Unsubscribed Address", "unsubscribe"), ("Spam Reporting Address", "complaint"),
     ("Invalid", "bounce"), ("Spam Content (if Spam Checker app enabled)", "bounce")],
)  # fmt: skip
def test_what_sendgrid_drops_is_told_as_what_it_is(reason: str, kind: str) -> None:
    event = only(of_sendgrid(event="dropped", reason=reason))
    assert event.kind == kind
    assert not event.recipients[0].undeliverable


@pytest.mark.parametrize("event", ["spamreport", "unsubscribe", "group_unsubscribe"])
def test_wishes_told_by_sendgrid(event: str) -> None:
    expected = "complaint" if event == "spamreport" else "unsubscribe"
    assert only(of_sendgrid(event=event, asm_group_id=7)).kind == expected


@pytest.mark.parametrize("event", ["group_resubscribe", "delivered", "processed", "open", "click"])
def test_sendgrid_lifts_nothing(event: str) -> None:
    assert of_sendgrid(event=event) == Reading(ignored=1)


def test_one_entry_that_cannot_be_read_does_not_hide_the_others() -> None:
    good = {"email": ANNA, "event": "spamreport", "sg_event_id": "a"}
    entries = [good, "x", {**good, "email": "nobody"}, {"event": 7}, good | {"sg_event_id": "b"}]
    reading = sendgrid.read(json.dumps(entries).encode(), CONTEXT)
    assert [piece.event.event_id for piece in reading.pieces] == [f"a/complaint/{ANNA}", f"b/complaint/{ANNA}"]
    assert [fault.field for fault in reading.faults] == ["1", "2.email"]


def test_an_event_without_an_id_is_told_apart_by_what_it_says() -> None:
    first, again, other = (only(of_sendgrid(event="spamreport", sg_event_id="", url=url)) for url in ("a", "a", "b"))
    assert first.event_id == again.event_id != other.event_id


# Mailgun


@pytest.mark.parametrize(
    ("code", "message", "more", "expected"),
    [
        (550, "5.1.1 The email account that you tried to reach does not exist", {}, ("hard", "unknown-user", True)),
        (452, "4.2.2 over quota", {"severity": "temporary"}, ("delayed", "mailbox-full", False)),
        (605, "Not delivering to previously bounced address", {"reason": "suppress-bounce"},
         ("hard", "suppressed", False)),
        (554, "5.7.1 blocked using a list", {}, ("hard", "blocked", False)),
    ],
)  # fmt: skip
def test_failures_of_mailgun(code: int, message: str, more: Any, expected: tuple[str, str, bool]) -> None:
    assert judged(of(mailgun, {"event-data": providers.mailgun_failed(ANNA, code, message, **more)})) == expected


@pytest.mark.parametrize(
    ("event", "reason", "kind"),
    [("complained", "", "complaint"), ("unsubscribed", "", "unsubscribe"),
     ("failed", "suppress-complaint", "complaint"),
     ("failed", "suppress-unsubscribe", "unsubscribe")],
)  # fmt: skip
def test_wishes_told_by_mailgun(event: str, reason: str, kind: str) -> None:
    said = {"event": event, "reason": reason, "severity": "permanent", "recipient": ANNA, "timestamp": 1763632800.5}
    assert only(of(mailgun, {"event-data": said})).kind == kind


def test_mailgun_names_the_copy_by_its_sender() -> None:
    said = providers.mailgun_failed(ANNA, 550, "x", envelope={"sender": "b+abc@bounce.acme.example"})
    assert only(of(mailgun, {"event-data": said})).original.return_ids == ("abc",)


# Postmark


@pytest.mark.parametrize(
    ("type_", "words", "expected"),
    [
        ("HardBounce", "smtp;550 5.1.1 user unknown", ("hard", "unknown-user", True)),
        ("SoftBounce", "smtp;552 5.2.2 mailbox full", ("hard", "mailbox-full", False)),
        ("SoftBounce", "", ("soft", "undefined", False)),
        ("DnsError", "", ("delayed", "undefined", False)),
        ("Blocked", "smtp;550 5.1.1 user unknown", ("hard", "unknown-user", False)),
        ("ManuallyDeactivated", "550 5.1.1 user unknown", ("hard", "suppressed", False)),
        ("VirusNotification", "", ("hard", "virus", False)),
        ("SomethingNew", "", ("soft", "undefined", False)),
    ],
)
def test_bounces_of_postmark(type_: str, words: str, expected: tuple[str, str, bool]) -> None:
    assert judged(of(postmark, providers.postmark_bounce(ANNA, type_, words))) == expected


@pytest.mark.parametrize(
    ("type_", "kind"),
    [("SpamComplaint", "complaint"), ("Unsubscribe", "unsubscribe"), ("AutoResponder", "auto-reply"),
     ("AddressChange", "auto-reply")],
)  # fmt: skip
def test_types_of_postmark_that_are_no_bounces(type_: str, kind: str) -> None:
    assert only(of(postmark, providers.postmark_bounce(ANNA, type_, ""))).kind == kind


@pytest.mark.parametrize("type_", ["Subscribe", "OpenRelayTest", "InboundError"])
def test_types_of_postmark_that_say_nothing(type_: str) -> None:
    assert of(postmark, providers.postmark_bounce(ANNA, type_, "")) == Reading(ignored=1)


def test_a_change_at_postmark_stops_and_never_lifts() -> None:
    assert only(of(postmark, providers.postmark_change(ANNA, suppress=True))).kind == "unsubscribe"
    complained = providers.postmark_change(ANNA, suppress=True, reason="SpamComplaint")
    assert only(of(postmark, complained)).kind == "complaint"
    assert of(postmark, providers.postmark_change(ANNA, suppress=False, reason=None)) == Reading(ignored=1)


# Postal


@pytest.mark.parametrize(
    ("event", "status", "output", "expected"),
    [
        ("MessageDeliveryFailed", "HardFail", "550 5.1.1 user unknown", ("hard", "unknown-user", True)),
        ("MessageDeliveryFailed", "HardFail", "552 5.2.2 mailbox full", ("hard", "mailbox-full", False)),
        ("MessageDelayed", "SoftFail", "421 4.4.1 try later", ("delayed", "system", False)),
        ("MessageHeld", "Held", "Recipient is on the suppression list", ("delayed", "suppressed", False)),
    ],
)
def test_failures_of_postal(event: str, status: str, output: str, expected: tuple[str, str, bool]) -> None:
    kind, reason, dead = judged(of(postal, providers.postal_failed(ANNA, output, event, status)))
    assert (kind, dead) == (expected[0], expected[2])
    assert reason == expected[1]


def test_postal_says_only_that_a_report_came_back() -> None:
    message = {"to": ANNA, "direction": "outgoing"}
    said = {"event": "MessageBounced", "uuid": "u", "payload": {
        "original_message": message, "bounce": {"subject": "550 5.1.1 user unknown"}}}  # fmt: skip
    assert judged(of(postal, said))[2] is False
    message["direction"] = "incoming"
    assert of(postal, said) == Reading(ignored=1)


def test_a_key_of_postal_may_be_the_record_it_prints() -> None:
    key = providers.public(providers.rsa_key())
    for text in (
        key,
        f"v=DKIM1; t=s; h=sha256; p={key};",
        f"-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----",
    ):
        assert postal.public_key(text) == providers.rsa_key().public_key()


# SNS


HOSTILE = [
    "https://sns.evil.com/a.pem", "https://sns.eu-west-1.amazonaws.com.evil.com/a.pem",
    "http://sns.eu-west-1.amazonaws.com/a.pem", "https://user@sns.eu-west-1.amazonaws.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com@evil.com/a.pem", "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
    "https://sns.eu-west-1.amazonaws.com/a.pem?x=https://evil.com", "https://sns.eu-west-1.amazonaws.com/../a",
    "https://evilsns.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com\\.evil.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com#.evil.com/a.pem", "https://bucket.s3.amazonaws.com/a.pem", "",
    "https://sns.amazonaws.com.evil.com/a.pem", "https://sns.a/b.amazonaws.com/a.pem", "https://[::1/a.pem",
    "https://sns.eu-west-1.amazonaws.com:443x/a.pem", "https://sns.eu_west.amazonaws.com/a.pem",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
def test_a_certificate_comes_from_sns_or_not_at_all(url: str) -> None:
    body, _ = Sns(certificate=url or "x").notification({}, NOW)
    with pytest.raises(Unproven):
        sns.certificate_url(sns.opened(body), ())


@pytest.mark.parametrize("host", ["sns.eu-west-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn"])
def test_where_sns_keeps_its_certificates(host: str) -> None:
    url = f"https://{host}/SimpleNotificationService-abc.pem"
    body, _ = Sns(certificate=url).notification({}, NOW)
    assert sns.certificate_url(sns.opened(body), ()) == url
    assert sns.peers_for(url, ()) == (Peer(host=host, port=443),)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon SES Email Event"}])
def test_both_versions_of_the_signature(version: str, subject: dict[str, str]) -> None:
    topic = Sns()
    body, _ = topic.notification({"a": "é\n"}, NOW, version=version, **subject)
    sns.verify(sns.opened(body), topic.pem(NOW), [providers.TOPIC], NOW)
    forged = sns.opened(body.replace(b"m1", b"m2"))
    with pytest.raises(Unproven, match="wrong signature"):
        sns.verify(forged, topic.pem(NOW), [providers.TOPIC], NOW)


def refused(topic: Sns, body: bytes, pem: bytes, now: datetime = NOW) -> str:
    with pytest.raises(Unproven) as why:
        sns.verify(sns.opened(body), pem, [providers.TOPIC], now)
    return why.value.cause


def test_what_else_an_sns_message_has_to_be() -> None:
    topic = Sns()
    body, _ = topic.notification({}, NOW)
    assert refused(topic, body, topic.pem(NOW), NOW + timedelta(days=31)) == "stale"
    assert refused(topic, body, topic.pem(NOW), NOW + timedelta(days=400)) == "certificate out of date"
    assert refused(topic, body, Sns(name="evil.example").pem(NOW)) == "certificate of somebody else"
    assert refused(topic, body, Sns(key=providers.rsa_key(2)).pem(NOW)) == "wrong signature"
    assert (
        refused(topic, body, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        == "unusable certificate"
    )
    assert (
        refused(topic, Sns(topic="arn:aws:sns:eu-west-1:1:x").notification({}, NOW)[0], topic.pem(NOW))
        == "another topic"
    )
    assert (
        refused(topic, topic.notification({}, NOW, version="3")[0], topic.pem(NOW))
        == "unknown version of the signature"
    )


def test_a_chain_in_the_file_has_to_hold() -> None:
    topic, other = Sns(), Sns(key=providers.rsa_key(3), name="Somebody")
    body, _ = topic.notification({}, NOW)
    assert refused(topic, body, topic.pem(NOW) + other.pem(NOW)) == "unusable certificate"


@pytest.mark.parametrize("url", [
    "https://sns.evil.com/?Action=ConfirmSubscription&TopicArn=" + providers.TOPIC,
    "https://sns.eu-west-1.amazonaws.com/?Action=DeleteTopic&TopicArn=" + providers.TOPIC,
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:1:other",
])  # fmt: skip
def test_only_the_subscription_that_was_proven_is_confirmed(url: str) -> None:
    body, _ = Sns().confirmation(NOW, url)
    with pytest.raises(Unproven):
        sns.subscribe_url(sns.opened(body), ())


# Whatever the bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
NAMES = """
event email eventType notificationType bounce complaint bouncedRecipients emailAddress mail headers name value tags
destination subscription newTopicPreferences topicSubscriptionStatus Type RecordType ID Email Recipient status code to
SuppressSending event-data recipient severity reason message delivery-status payload original_message timestamp uuid
sg_event_id reject signature token Message MessageId Timestamp TopicArn Signature SigningCertURL Token deliveryDelay
delayedRecipients complainedRecipients user-variables Metadata envelope sender SubscribeURL
"""
WORDS = f"""
Bounce Complaint Subscription Reject DeliveryDelay bounce dropped spamreport failed complained unsubscribed rejected
SubscriptionChange SpamComplaint HardBounce MessageDeliveryFailed MessageBounced MessageHeld 5.1.1 1e400 permanent
Notification SubscriptionConfirmation https://[ ² \ud800 {ANNA} {"9" * 400}
"""
SHAPED = st.recursive(
    st.sampled_from(WORDS.split()) | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip
BODIES = st.binary(max_size=200) | (JSON | SHAPED | st.lists(SHAPED, max_size=3)).map(lambda v: json.dumps(v).encode())
READERS: tuple[Callable[[bytes], Any], ...] = (
    lambda body: sendgrid.read(body, CONTEXT), lambda body: mailgun.read(body, CONTEXT),
    lambda body: postmark.read(body, CONTEXT), lambda body: postal.read(body, CONTEXT),
    lambda body: ses.read(body.decode("utf-8", "surrogateescape"), "m1", CONTEXT),
    lambda body: sns.certificate_url(sns.opened(body), ()), lambda body: sns.subscribe_url(sns.opened(body), ()),
)  # fmt: skip


@given(BODIES)
def test_readers_raise_nothing_but_their_refusals(body: bytes) -> None:
    for read in READERS:
        found, refusal = None, ""
        try:
            found = read(body)
        except (Malformed, Unproven) as why:
            refusal = str(why)
        assert ANNA not in refusal, "a refusal repeats nothing that was sent"
        for piece in getattr(found, "pieces", ()):
            assert piece.raw.encode() and repr(piece.event).encode("utf-8", "strict")
            assert piece.event.event_id


@given(BODIES, st.dictionaries(
    st.sampled_from((sendgrid.SIGNATURE, sendgrid.TIMESTAMP, postal.SIGNATURE, postal.OLD_SIGNATURE, "authorization")),
    st.text(max_size=60) | st.sampled_from(("Basic é", "Basic Og==", "1763632800", "1e400", "AAAA")), max_size=4,
))  # fmt: skip
def test_nothing_made_up_is_proven(body: bytes, headers: dict[str, str]) -> None:
    credentials = {
        sendgrid: {"public_key": providers.public(providers.ec_key())}, mailgun: {"signing_key": "k"},
        postmark: {"digest": postmark.digest_of("a", "b")},
        postal: {"public_key": providers.public(providers.rsa_key()), "sha1": True},
    }  # fmt: skip
    for room, known in credentials.items():
        with pytest.raises((Unproven, Malformed)):
            room.prove(Post(body=body, headers=headers), known, NOW)


def test_deep_json_is_refused() -> None:
    for read in READERS:
        with pytest.raises((Malformed, Unproven)):
            read(b"[" * 100_000)
