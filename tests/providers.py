"""Providers that tell of mail: their payloads as they document them, and signatures made with keys of the test."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
MAILGUN_KEY = "key-0123456789abcdef0123456789abcdef"
Sent = tuple[bytes, dict[str, str]]
"""Body and header fields of a request."""


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: Any) -> str:
    """A public key as providers show it: DER in base64."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def sendgrid(events: Any, at: datetime, key: ec.EllipticCurvePrivateKey | None = None) -> Sent:
    body, stamp = json.dumps(events).encode(), str(int(at.timestamp()))
    signature = (key or ec_key()).sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    return body, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
    }  # fmt: skip


def mailgun(event: Any, at: datetime, token: str = "t" * 50, key: str = MAILGUN_KEY) -> Sent:
    stamp = str(int(at.timestamp()))
    signature = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    said = {"signature": {"timestamp": stamp, "token": token, "signature": signature}, "event-data": event}
    return json.dumps(said).encode(), {}


def postmark(said: Any, username: str, password: str) -> Sent:
    basic = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps(said).encode(), {"Authorization": f"Basic {basic}"}


def postal(said: Any, key: rsa.RSAPrivateKey | None = None, *, sha1: bool = False, sha256: bool = True) -> Sent:
    body, key = json.dumps(said).encode(), key or rsa_key()
    fields = {}
    if sha256:
        fields["X-Postal-Signature-256"] = base64.b64encode(key.sign(body, PKCS1v15(), SHA256())).decode()
    if sha1:
        fields["X-Postal-Signature"] = base64.b64encode(key.sign(body, PKCS1v15(), SHA1())).decode()
    return body, fields


@dataclass
class Sns:
    """A topic of SNS: signs messages with the key of its certificate."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa_key(1))
    name: str = "sns.amazonaws.com"
    topic: str = TOPIC
    certificate: str = CERTIFICATE

    def pem(self, now: datetime, days: int = 365) -> bytes:
        """The certificate, self-made; valid from a day ago for so many days."""
        named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])
        made = (
            x509.CertificateBuilder().subject_name(named).issuer_name(named).public_key(self.key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=days))
            .sign(self.key, SHA256())
        )  # fmt: skip
        return made.public_bytes(Encoding.PEM)

    def notification(self, message: Any, at: datetime, *, id_: str = "m1", version: str = "2", **more: str) -> Sent:
        said = {"Type": "Notification", "MessageId": id_, "Message": json.dumps(message), **more}
        return self._signed(said, at, version)

    def confirmation(self, at: datetime, url: str | None = None, kind: str = "SubscriptionConfirmation") -> Sent:
        place = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
        said = {
            "Type": kind, "MessageId": "c1", "Token": "t0k", "Message": "You have chosen to subscribe",
            "SubscribeURL": url or f"{place}&TopicArn={self.topic}&Token=t0k",
        }  # fmt: skip
        return self._signed(said, at, "2")

    def _signed(self, said: dict[str, str], at: datetime, version: str) -> Sent:
        stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        said = {"TopicArn": self.topic, "Timestamp": stamp, **said}
        names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
        text = "".join(f"{name}\n{said[name]}\n" for name in names if name in said).encode()
        signature = self.key.sign(text, PKCS1v15(), SHA1() if version == "1" else SHA256())
        said |= {
            "Signature": base64.b64encode(signature).decode(), "SignatureVersion": version,
            "SigningCertURL": self.certificate,
        }  # fmt: skip
        return json.dumps(said).encode(), {"Content-Type": "text/plain; charset=UTF-8"}


def ses_bounce(
    *addresses: str, type_: str = "Permanent", sub: str = "General", status: str = "5.1.1",
    said: str = "smtp; 550 5.1.1 user unknown", feedback: str = "f1", form: str = "eventType", **mail: Any,
) -> dict[str, Any]:  # fmt: skip
    told = [{"emailAddress": one, "action": "failed", "status": status, "diagnosticCode": said} for one in addresses]
    return {
        form: "Bounce",
        "bounce": {
            "bounceType": type_, "bounceSubType": sub, "bouncedRecipients": told, "feedbackId": feedback,
            "timestamp": "2026-11-20T10:00:00.000Z", "reportingMTA": "dns; a.smtp-out.amazonses.com",
        },
        "mail": {
            "messageId": "ses-1", "source": "news@acme.example", "destination": list(addresses),
            "headers": [{"name": "To", "value": ", ".join(addresses)}], **mail,
        },
    }  # fmt: skip


def ses_complaint(address: str, kind: str | None = "abuse", sub: str | None = None) -> dict[str, Any]:
    told = {
        "complainedRecipients": [{"emailAddress": address}], "complaintSubType": sub, "feedbackId": "fc",
        "timestamp": "2026-11-20T10:00:00.000Z",
    }  # fmt: skip
    if kind:
        told["complaintFeedbackType"] = kind
    return {"notificationType": "Complaint", "complaint": told, "mail": {"destination": [address]}}


def ses_subscription(address: str, *, new: dict[str, str], old: dict[str, str], all_: bool = False) -> dict[str, Any]:
    def topics(of: dict[str, str]) -> list[dict[str, str]]:
        return [{"topicName": name, "subscriptionStatus": status} for name, status in of.items()]

    return {
        "eventType": "Subscription", "mail": {"destination": [address]},
        "subscription": {
            "contactList": "Readers", "timestamp": "2026-11-20T10:00:00.000Z", "source": "UnsubscribeHeader",
            "newTopicPreferences": {"unsubscribeAll": all_, "topicSubscriptionStatus": topics(new)},
            "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": topics(old)},
        },
    }  # fmt: skip


def mailgun_failed(address: str, code: int, message: str, **more: Any) -> dict[str, Any]:
    return {
        "event": "failed", "id": "G9Bn5sl1TC6nu79C8C0bwg", "timestamp": 1763632800.5, "severity": "permanent",
        "reason": "bounce", "recipient": address, "user-variables": {}, "tags": [],
        "message": {"headers": {"to": address, "message-id": "n@acme.example"}, "recipients": [address]},
        "delivery-status": {"code": code, "message": message, "description": ""}, **more,
    }  # fmt: skip


def postmark_bounce(address: str, type_: str, details: str, id_: int = 42) -> dict[str, Any]:
    return {
        "RecordType": "Bounce", "ID": id_, "Type": type_, "TypeCode": 1, "Name": type_, "MessageID": "0a12-3b",
        "Description": "", "Details": details, "Email": address, "From": "news@acme.example",
        "BouncedAt": "2026-11-20T10:00:00.1234567Z", "Inactive": True, "CanActivate": True, "Metadata": {},
    }  # fmt: skip


def postmark_change(address: str, *, suppress: bool, reason: str | None = "ManualSuppression") -> dict[str, Any]:
    return {
        "RecordType": "SubscriptionChange", "MessageID": "0a12-3b", "MessageStream": "broadcast",
        "ChangedAt": "2026-11-20T10:00:00Z", "Recipient": address, "Origin": "Recipient",
        "SuppressSending": suppress, "SuppressionReason": reason, "Tag": "", "Metadata": {},
    }  # fmt: skip


def postal_failed(address: str, output: str, event: str = "MessageDeliveryFailed", status: str = "HardFail") -> Any:
    message = {"id": 12, "direction": "outgoing", "message_id": "n@acme.example", "to": address, "subject": "s"}
    return {
        "event": event, "timestamp": 1763632800.1, "uuid": "0eff4a5c-1c9a",
        "payload": {"message": message, "status": status, "details": "", "output": output, "time": 0.2},
    }  # fmt: skip
