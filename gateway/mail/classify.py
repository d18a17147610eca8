"""What kind of mail a message is: stream, purpose, categories, campaign; and what in it decided (DESIGN section 6).

Order: X-Consentgate-* fields, login suffix, the tool's campaign id, provider tags, List-Id, Feedback-ID, a fingerprint.
A value that was not declared is refused, never replaced by a default; a field that is there twice is refused too.
It never says whether mail may be sent. Failures: `Refused` with the reply and, for staff, why; nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.mail import reply
from gateway.mail.campaign import campaign_of, fingerprint, recipient_words, tidy, tool_of
from gateway.mail.categories import CategoryMap
from gateway.mail.control_fields import hidden_recipients, is_test
from gateway.mail.from_field import read_author
from gateway.mail.headers import decode_words
from gateway.mail.mime import Message
from gateway.mail.promotional import PromotionalRules, Sign
from gateway.mail.reply import Reply
from gateway.mail.skeleton import folded, shown_text, skeleton
from suppression.facts import MARKETING, Exemption, MessageClass
from suppression.frozen import quick_init

NO_REFERENCE = frozenset({"no", "none", "false", "0", "-"})


class Stream(Protocol):
    """What is read of a configured stream."""

    @property
    def name(self) -> str: ...
    @property
    def message_class(self) -> MessageClass: ...
    @property
    def purpose(self) -> str | None: ...
    @property
    def purposes(self) -> tuple[str, ...]: ...
    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def transaction_ref(self) -> str | None: ...


class Login(Protocol):
    """What is read of a configured login: the streams it may use, the first one is its default."""

    @property
    def streams(self) -> tuple[str, ...]: ...


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a message is.

    `promotional`: it looks like advertising by its `signs`, although its stream is not for marketing; unless somebody
    knows better it is then marketing by law (RULES 2.2, effective class). `skeleton`: of its text, b"" for marketing
    and for short texts; `likeness`: of sender and form of subject, "" for marketing. `categories`: those the message
    names; else those that its links and subject lead to, where the controller has patterns; else all of the stream's.
    `from_domain`: of the one From address, lower-case A-label. `test`: the sender asked that nothing of it is
    delivered. `matched`: what decided what, for staff, without personal data.
    """

    stream: str
    message_class: MessageClass
    promotional: bool
    signs: tuple[Sign, ...]
    skeleton: bytes
    likeness: str
    purpose: str | None
    categories: tuple[str, ...]
    campaign: str
    transaction_ref: bool
    restriction_exemption: Exemption | None
    from_domain: str
    test: bool
    matched: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message that cannot be classified. `why` for the report, without personal data."""

    reply: Reply
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What message or login name asks for: the value and where it stands."""

    value: str
    place: str


class _Fault(Exception):
    """Ends the reading of a message; never leaves this module."""

    def __init__(self, answer: Reply, why: str) -> None:
        super().__init__(why)
        self.refused = Refused(reply=answer, why=why)


def classify(
    message: Message, login: Login, streams: Mapping[str, Stream], suffix: str | None, rules: PromotionalRules,
    mapped: CategoryMap | None = None,
) -> Kind | Refused:  # fmt: skip
    """Say what kind of mail this is.

    `streams`: those of the login's controller by name. `suffix`: what stood behind the last `+` of the login name:
    `purpose`, `purpose.category` or `.category`. `mapped`: its patterns of links and subjects, None without any; they
    are asked for marketing that names no category.
    """
    try:
        return _classify(message, login, streams, suffix, rules, mapped)
    except _Fault as fault:
        return fault.refused


def _classify(
    message: Message, login: Login, streams: Mapping[str, Stream], suffix: str | None, rules: PromotionalRules,
    mapped: CategoryMap | None,
) -> Kind:  # fmt: skip
    present = {field.name for field in message.fields}
    if (hiding := hidden_recipients(message, present)) is not None:
        why = f"{hiding} with recipients"
        raise _Fault(reply.HIDDEN_RECIPIENTS.with_text(f"{why} is refused"), why)
    author = read_author(message.get_all(b"from"))
    if author is None:
        text = "SENDER_IDENTITY_CONCEALED There must be one From field with one plain address"
        raise _Fault(reply.POLICY.with_text(text), "From: not exactly one address")

    in_suffix, _, category_in_suffix = (suffix or "").partition(".")
    purpose = _wish(message, present, "X-Consentgate-Purpose", in_suffix)
    category = _wish(message, present, "X-Consentgate-Category", category_in_suffix)
    stream, from_stream = _stream(message, present, login, streams, purpose)
    look = _look(message, present, rules) if stream.message_class not in MARKETING else _MARKETING
    promotional = rules.reached(look.signs)
    marketing = promotional or stream.message_class in MARKETING
    categories, from_category = _categories(stream, category)
    if category is None and mapped is not None and marketing:
        found = mapped.find(message, decode_words(message.get(b"subject") or b""))
        if found is not None:  # also where they are none of the stream's: what the mail is about, nobody wishes away
            categories, from_category = found.categories, found.matched
    matched = [from_stream, f"purpose {purpose.place if purpose else 'stream'}", *from_category]

    named = _wish(message, present, "X-Consentgate-Campaign", "")
    campaign, place = tidy(named.value) if named else "", "X-Consentgate-Campaign"
    if not campaign:
        campaign, place = campaign_of(message, present, author.address)
    matched.append(f"campaign {place}")
    if (tool := tool_of(message, present)) is not None:
        matched.append(f"tool {tool}")

    transaction = stream.transaction_ref == "stream"
    if stream.transaction_ref == "header":
        reference = _wish(message, present, "X-Consentgate-Transaction", "")
        if reference is not None and reference.value.lower() not in NO_REFERENCE:
            transaction = True
            matched.append("transaction X-Consentgate-Transaction")
    test = is_test(message, present)
    if test:
        matched.append("test X-Mailgun-Drop-Message")
    return Kind(
        stream=stream.name,
        message_class=stream.message_class,
        promotional=promotional,
        signs=look.signs,
        skeleton=look.skeleton,
        likeness=fingerprint(message, author.address) if look is not _MARKETING else "",
        purpose=purpose.value if purpose else stream.purpose,
        categories=categories,
        campaign=campaign,
        transaction_ref=transaction,
        restriction_exemption=None,
        from_domain=author.domain,
        test=test,
        matched=tuple(matched),
    )


def _wish(message: Message, present: Collection[bytes], field: str, in_suffix: str) -> _Wish | None:
    """The value of our field, else of the login suffix; None for neither. A field given twice is refused."""
    name = field.lower().encode("ascii")
    if name in present:
        values = message.get_all(name)
        if len(values) > 1:
            raise _undeclared(field, "it is there more than once")
        if value := decode_words(values[0]).strip():
            return _Wish(value=value, place=field)
    return _Wish(value=in_suffix, place="login suffix") if in_suffix else None


def _stream(
    message: Message, present: Collection[bytes], login: Login, streams: Mapping[str, Stream], purpose: _Wish | None
) -> tuple[Stream, str]:
    """The stream asked for, else the first of the login's that has the purpose asked for."""
    wish = _wish(message, present, "X-Consentgate-Stream", "")
    allowed = [streams[name] for name in login.streams]
    if wish is not None:
        if wish.value not in login.streams:
            raise _undeclared(wish.place, _allowed(login.streams))
        allowed = [streams[wish.value]]
    place = f"stream {wish.place if wish else 'login'}"
    if purpose is None:
        return allowed[0], place
    for number, stream in enumerate(allowed):
        if purpose.value in _purposes(stream):
            return stream, place if number == 0 else f"stream {purpose.place}"
    raise _undeclared(purpose.place, _allowed([name for stream in allowed for name in _purposes(stream)]))


def _purposes(stream: Stream) -> tuple[str, ...]:
    return (stream.purpose, *stream.purposes) if stream.purpose is not None else stream.purposes


def _categories(stream: Stream, wish: _Wish | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The categories asked for, several separated by commas; each must be one of the stream's."""
    if wish is None:
        return stream.categories, ("category stream",)
    asked = tuple(dict.fromkeys(part for part in re.split(r"[,\s]+", wish.value) if part))
    if not asked or not set(asked) <= set(stream.categories):
        raise _undeclared(wish.place, _allowed(stream.categories))
    return asked, (f"category {wish.place}",)


def _undeclared(place: str, problem: str) -> _Fault:
    why = f"{place}; {problem}"
    return _Fault(reply.UNDECLARED.with_text(f"{reply.UNDECLARED.text} {why}"[:400]), why)


def _allowed(names: Collection[str]) -> str:
    return f"allowed: {', '.join(dict.fromkeys(names)) or 'none'}"


class _Look(NamedTuple):
    """What a service message looks like."""

    signs: tuple[Sign, ...]
    skeleton: bytes


_MARKETING = _Look((), b"")
"""Of marketing nothing is looked for: it says what it is."""


def _look(message: Message, present: Collection[bytes], rules: PromotionalRules) -> _Look:
    """What makes mail of a service stream look like a campaign (DESIGN section 6)."""
    subject = decode_words(message.get(b"subject") or b"")[:500]
    text = shown_text(message, subject)
    names = frozenset(folded(word) for word in recipient_words(message))
    return _Look((*rules.bulk_signs(message, present), *rules.text_signs(text)), skeleton(text, names))
