"""What a message says to the mail provider behind us: fields that are orders to it, secrets, and more recipients.

A provider acts on its own fields: it tags, tracks, drops, or mails more people. They go to that provider and to nobody
else. Recipients come from the envelope alone, so that a field which names further ones refuses the message: the
provider would mail them behind the back of every decision.

Pure and total. Known limit: who hosts such software on a name of its own says so (`routes.*.provider`).
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.mail.headers import decode_words
from gateway.mail.mime import Message
from gateway.mail.provider import provider_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose fields these are. `title`: the provider's name (provider.PROVIDERS); `fields`: beginnings, lower case."""

    title: str
    fields: tuple[bytes, ...]


OWNERS = {
    "ses": Owner(title="Amazon SES", fields=(b"x-ses-",)),
    "mailgun": Owner(title="Mailgun", fields=(b"x-mailgun-",)),
    "postmark": Owner(title="Postmark", fields=(b"x-pm-",)),
    "sendgrid": Owner(title="SendGrid", fields=(b"x-smtpapi",)),
    "mandrill": Owner(title="Mandrill", fields=(b"x-mc-",)),
    "sparkpost": Owner(title="SparkPost", fields=(b"x-msys-api",)),
    "mailjet": Owner(title="Mailjet", fields=(b"x-mailjet-", b"x-mj-")),
    "brevo": Owner(title="Brevo", fields=(b"x-mailin-",)),
    "postal": Owner(title="Postal", fields=(b"x-postal-",)),
}
"""By the name that settings give it."""

_OWNERS = tuple((start, name) for name, owner in OWNERS.items() for start in owner.fields)
_NAMES = {owner.title: name for name, owner in OWNERS.items()}
_STARTS = tuple(start for start, _ in _OWNERS)
_TRACES = frozenset((
    b"x-mailgun-incoming", b"x-mailgun-sid", b"x-mailgun-sending-ip", b"x-ses-outgoing", b"x-ses-receipt",
    b"x-ses-dkim-signature", b"x-ses-spam-verdict", b"x-ses-virus-verdict", b"x-pm-message-id", b"x-mc-user",
    b"x-mj-mid", b"x-mailin-client", b"x-mailin-eid",
))  # fmt: skip
"""What a provider wrote into mail that came by it: no order to anybody."""

SECRETS = frozenset((
    b"x-mailtrain-dkim", b"x-postmark-server-token", b"x-postmark-account-token", b"x-api-key", b"x-auth-token",
    b"authorization", b"proxy-authorization", b"x-server-api-key",
))  # fmt: skip
"""Fields that are a tool's keys to something: they never leave, whoever is behind us."""

_PRIVATE_KEY = b"PRIVATE KEY"
"""In the armour of every private key (RFC 7468); a field with one is a secret, whatever its name."""

_HIDING = {b"x-smtpapi": ("to", "cc", "bcc"), b"x-msys-api": ("cc", "bcc", "archive")}
"""JSON fields, and the keys under which their provider finds more recipients than the envelope has."""
_BARE = frozenset((b"x-mc-bccaddress", b"x-mailgun-recipient", b"x-mailjet-bcc"))
"""The same, where the field itself is the address."""
_WRITTEN = {
    b"x-smtpapi": "X-SMTPAPI", b"x-msys-api": "X-MSYS-API", b"x-mc-bccaddress": "X-MC-BccAddress",
    b"x-mailgun-recipient": "X-Mailgun-Recipient", b"x-mailjet-bcc": "X-Mailjet-Bcc",
}  # fmt: skip
"""As tools write them, for the reply."""
_EMPTY = re.compile(rb'[\s{}"\[\]]*\Z')


def owner_of(hosts: Iterable[str]) -> str | None:
    """Whose servers these are, by their names; None where nobody knows, or where they are not all of one."""
    known = {provider_of(host) for host in hosts}
    one = known.pop() if len(known) == 1 else None
    return None if one is None else _NAMES.get(one.name)


def withheld(message: Message, names: Collection[bytes], provider: str | None) -> frozenset[bytes]:
    """Names of the fields that must not go to this provider (None: to whoever is next): secrets, and others' orders."""
    kept = {name for name in names if name.startswith(_STARTS) and name not in _TRACES and not _is_of(name, provider)}
    kept.update(SECRETS.intersection(names))
    if message.raw.find(_PRIVATE_KEY, 0, message.head_end) >= 0:
        kept.update(
            field.name for field in message.fields if message.raw.find(_PRIVATE_KEY, field.value, field.end) >= 0
        )
    return frozenset(kept)


def _is_of(name: bytes, provider: str | None) -> bool:
    return any(owner == provider and name.startswith(start) for start, owner in _OWNERS)


def hidden_recipients(message: Message, present: Collection[bytes]) -> str | None:
    """The field in which a provider would find more recipients than the envelope has; None without one.

    Every copy of the field is read, unfolded, decoded and whatever the case of its JSON keys; what cannot be read
    counts as naming somebody, since the provider may read it with more patience than we do.
    """
    for name, keys in _HIDING.items():
        if name in present and any(_names_recipients(value, keys) for value in message.get_all(name)):
            return _WRITTEN[name]
    for name in _BARE.intersection(present):
        if any(not _EMPTY.match(value) for value in message.get_all(name)):
            return _WRITTEN[name]
    return None


def _names_recipients(value: bytes, keys: Collection[str]) -> bool:
    try:
        top = json.loads(decode_words(value), object_pairs_hook=_gathered)
    except (ValueError, RecursionError):
        return True
    if not isinstance(top, dict):
        return True
    return not top.keys().isdisjoint(keys) or any(map(_copies_somebody, top.get("filters", ())))


def _gathered(pairs: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """A JSON object whose keys are read without case, with all values of a key that is there twice."""
    found: dict[str, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key.strip().casefold(), []).append(value)
    return found


def _copies_somebody(filters: Any) -> bool:
    """Whether SendGrid's filters have one that sends a copy to an address (`bcc` with `settings.email`)."""
    if not isinstance(filters, dict):
        return False
    return any("@" in text for of in filters.get("bcc", ()) for text in _texts(of))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def is_test(message: Message, present: Collection[bytes]) -> bool:
    """Whether the sender asked that it is not delivered (Mailgun's test mode)."""
    name = b"x-mailgun-drop-message"
    return name in present and any(v.strip().lower() in (b"yes", b"true") for v in message.get_all(name))
