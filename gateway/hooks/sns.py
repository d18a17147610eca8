"""Amazon SNS, the envelope that SES puts around its events: read, and held against its certificate.

The certificate is named by the message itself. So it may come only from SNS: by https from sns.REGION.amazonaws.com (or
.com.cn) on the usual port, and it has to be valid now and name SNS. The certificates stand in for each other by their
links where the file brings several; their root is not looked for, since the file comes over TLS from SNS itself.

Sources: Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages", signature versions 1 and 2.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from gateway.hooks.fields import Fields, Malformed, iso, parsed
from gateway.hooks.signature import check_age
from gateway.hooks.told import Unproven
from gateway.tools.reach import NotAllowed, Peer, place_of

Kind = Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]
WINDOW: Final = timedelta(days=30)
"""SNS repeats a message for 23 days at most. Its own id tells repeats for much longer."""
_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(?:\.cn)?")
_NAME: Final = re.compile(r"sns(?:\.[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")
_PATH: Final = re.compile(r"/[A-Za-z0-9._-]+\.pem")
_REQUIRED: Final = ("Message", "MessageId", "Timestamp", "TopicArn", "Type", "Signature", "SigningCertURL")
_SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"
    ),
    "UnsubscribeConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message of SNS, not proven yet. `fields`: all its texts, by name."""

    kind: Kind
    fields: Mapping[str, str]

    @property
    def topic(self) -> str:
        return self.fields["TopicArn"]

    @property
    def message_id(self) -> str:
        return self.fields["MessageId"]

    @property
    def message(self) -> str:
        return self.fields["Message"]

    @property
    def signed_text(self) -> bytes:
        """What is signed: name and value of each field in the order of their names, a line each; absent ones not."""
        names = (name for name in _SIGNED[self.kind] if name in self.fields)
        return "".join(f"{name}\n{self.fields[name]}\n" for name in names).encode()


def opened(body: bytes) -> Notice:
    """The envelope. Raises Malformed; Unproven where it has no signature (raw message delivery is on)."""
    said = Fields(parsed(body))
    if "Signature" not in said.said and "Type" not in said.said:
        raise Unproven("no signature", missing=True)
    kind: Any = said.text("Type")
    if kind not in _SIGNED:
        raise Malformed("Type", "is none that SNS sends")
    for name in _REQUIRED:
        said.text(name)
    # texts as they are, since they are what is signed
    texts = {name: value for name, value in said.said.items() if isinstance(value, str)}
    if any("\ud800" <= c <= "\udfff" for value in texts.values() for c in value):
        raise Malformed("body", "has half a character in it")
    if kind != "Notification":
        said.text("SubscribeURL"), said.text("Token")
    return Notice(kind=kind, fields=texts)


def certificate_url(notice: Notice, own: Iterable[Peer]) -> str:
    """Where the certificate is, if it may be fetched. `own`: servers that speak SNS, of the operator's own.

    Raises Unproven.
    """
    url = notice.fields["SigningCertURL"]
    if not (is_sns(url) and _PATH.fullmatch(urlsplit(url).path) and not urlsplit(url).query) and not _own(url, own):
        raise Unproven("certificate from elsewhere")
    return url


def subscribe_url(notice: Notice, own: Iterable[Peer]) -> str:
    """Where a proven subscription is confirmed, for the topic that was proven. Raises Unproven."""
    url = notice.fields["SubscribeURL"]
    if not is_sns(url) and not _own(url, own):
        raise Unproven("confirmation elsewhere")
    asked = parse_qs(urlsplit(url).query)
    if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [notice.topic]:
        raise Unproven("confirmation of something else")
    return url


def peers_for(url: str, own: Iterable[Peer]) -> tuple[Peer, ...]:
    """Whom the outbound client may call for a URL that was allowed here."""
    host = urlsplit(url).hostname or ""
    return (*own, *((Peer(host=host, port=443),) if _HOST.fullmatch(host) else ()))


def is_sns(url: str) -> bool:
    """Whether a URL is one of SNS itself: host, scheme and port as documented, nobody's login, nothing hidden."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.netloc.lower().removesuffix(":443")
    return (
        len(url) <= 4096 and url.isascii() and url.isprintable() and " " not in url and "\\" not in url
        and parts.scheme == "https" and port in (None, 443) and _HOST.fullmatch(host) is not None
        and not parts.fragment
    )  # fmt: skip


def _own(url: str, own: Iterable[Peer]) -> bool:
    try:
        place_of(url, own)
    except NotAllowed:
        return False
    return True


def verify(notice: Notice, pem: bytes, topics: Iterable[str], now: datetime, *, own: bool = False) -> None:
    """Raise Unproven unless the message is of a topic in the list, signed lately by this certificate.

    `own`: the certificate came from a server of the operator's own, and need not name SNS.
    """
    key = _key_of(pem, now, own=own)
    algorithm = {"1": SHA1, "2": SHA256}.get(notice.fields.get("SignatureVersion", ""))
    if algorithm is None:
        raise Unproven("unknown version of the signature")
    try:
        signature = base64.b64decode(notice.fields["Signature"], validate=True)
        key.verify(signature, notice.signed_text, PKCS1v15(), algorithm())
    except (InvalidSignature, binascii.Error, ValueError):
        raise Unproven("wrong signature") from None
    if notice.topic not in topics:
        raise Unproven("another topic")
    made = iso(notice.fields["Timestamp"])
    check_age(made, now, WINDOW)


def _key_of(pem: bytes, now: datetime, *, own: bool) -> rsa.RSAPublicKey:
    try:
        chain = x509.load_pem_x509_certificates(pem)
        for lower, upper in pairwise(chain):
            lower.verify_directly_issued_by(upper)
        leaf, key = chain[0], chain[0].public_key()
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise Unproven("unusable certificate") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Unproven("unusable certificate")
    if any(not one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in chain):
        raise Unproven("certificate out of date")
    if not own and not any(_NAME.fullmatch(name.lower()) for name in _names(leaf)):
        raise Unproven("certificate of somebody else")
    return key


def _names(leaf: x509.Certificate) -> list[str]:
    names = [str(one.value) for one in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return names
    return [*names, *extension.value.get_values_for_type(x509.DNSName)]
