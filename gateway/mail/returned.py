"""Mail to the return path becomes an event: which kind it is, and what it says.

In this order, since each kind may look like the next: feedback, delivery report, bounce in plain words, mailto opt-out,
automatic reply, reply of a person.

Total: never raises, whatever the bytes. What is looked at is bounded (came_back.py).
Sources: RFC 3464, RFC 3834, RFC 5965; RULES.md 5.2.8.
"""

from __future__ import annotations

import re
from datetime import datetime

from gateway.mail import auto_reply, delivery_report, human_reply, plain_bounce
from gateway.mail.came_back import TOKEN_LENGTH, CameBack, bare_address, open_message
from gateway.mail.delivery_report import Told
from gateway.mail.event import COMPLAINTS, Event, Kind, Recipient
from gateway.mail.feedback import Feedback, read_feedback
from gateway.mail.judgement import BounceRules, Said, reply_code_in
from gateway.mail.outcome import MAX_TEXT, without_addresses

SOURCE = "mail"

_ANSWERS = re.compile(r"^\s*(?:re|aw|antw|antwoord|sv|r|rif|ref|fw|fwd|wg|tr|doorst)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}(?![A-Za-z0-9_-])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SELF_MADE = 300
"""Characters of text up to which a machine's mail to unsubscribe is one (programs write a sentence of their own)."""


def read(raw: bytes, *, rules: BounceRules, at: datetime, verbatim: bool = False) -> Event:
    """The event a mail is. `at`: aware UTC, when it came in. `verbatim`: leave addresses in the diagnostics, for
    somebody who holds the mail in his hands anyway. Total."""
    mail = open_message(raw)
    feedback = read_feedback(mail)
    if feedback is not None:
        return _complaint(mail, feedback, at)
    told = delivery_report.read_status(mail)
    inner = None if told else mail.inner
    if inner is not None and (told := delivery_report.read_status(inner)):
        mail = inner  # a gateway passed a report on as an attachment
    if not told and plain_bounce.is_bounce(mail) and not _answered(mail):
        told = plain_bounce.read_words(mail)
    if told:
        label = next((one.label for one in told if one.label), None)
        recipients = tuple(_recipient(one, rules, verbatim) for one in told)
        return Event(kind="bounce", source=SOURCE, at=at, recipients=recipients, original=mail.original(), label=label)
    return _letter(mail, at)


def _answered(mail: CameBack) -> bool:
    """A machine that stands in for a person, though it writes as nobody: no bounce, unless it says which addresses."""
    return (
        not mail.field(b"x-failed-recipients")
        and auto_reply.begins_automatic(mail.field(b"subject"))
    )  # fmt: skip


def _recipient(told: Told, rules: BounceRules, verbatim: bool) -> Recipient:
    status = told.status or _by_reply_code(told.words) or _by_reply_code(told.around)
    said = Said(text=told.words, status=status, stage=told.stage, reporter=told.reporter, label=told.label)
    judged = rules.judge(said, action=told.action, around=told.around)
    kind = judged.bounce_class
    if kind == "hard" and status is None and judged.reason == "expired":
        kind = "soft"  # no code at all, and nothing but patience ran out
    return Recipient(
        address=told.address, original_address=told.original_address, action=told.action, status=told.status,
        bounce_class=kind, reason=judged.reason, undeliverable=judged.undeliverable,
        diagnostic=_diagnostic(told, verbatim),
    )  # fmt: skip


def _by_reply_code(words: str) -> str | None:
    """A reply code alone stands for a class: 450 is temporary."""
    code = reply_code_in(words)
    return f"{code // 100}.0.0" if code is not None else None


def _diagnostic(told: Told, verbatim: bool) -> str:
    words = " ".join(_CONTROL.sub(" ", told.words or told.around).split())
    if verbatim:
        return words[:MAX_TEXT]
    return without_addresses(words, *filter(None, (told.address, told.original_address)))


def _complaint(mail: CameBack, feedback: Feedback, at: datetime) -> Event:
    complains = feedback.type in COMPLAINTS
    return Event(
        kind="complaint" if complains else "other", source=SOURCE, at=at,
        recipients=tuple(Recipient(address=address) for address in feedback.complainants),
        feedback_type=feedback.type, original=mail.original(), label=feedback.said,
        needs_person=feedback.type in ("virus", "other"),
    )  # fmt: skip


def _letter(mail: CameBack, at: datetime) -> Event:
    """What is no report: an opt-out by mail, a machine's answer, a person's."""
    subject = mail.field(b"subject").strip()
    automatic = auto_reply.is_automatic(mail)
    own = human_reply.own_words(mail)
    answers = bool(_ANSWERS.match(subject))
    if (_TOKEN.search(subject) and not answers) or mail.field(b"x-apple-unsubscribe").strip().lower() == "true":
        return _from_author(mail, at, "unsubscribe")
    if automatic:
        # mail programs write opt-outs for people, and say that they did: the subject is all that counts there
        asked = not answers and len(own) <= _SELF_MADE and human_reply.wish_of("", subject, answers=False) == "stop"
        return _from_author(mail, at, "unsubscribe" if asked else "auto-reply", texts=asked)
    if _to_many(mail):
        return _from_author(mail, at, "other", texts=False)
    if human_reply.wish_of(own, subject, answers=answers) == "stop":
        return _from_author(mail, at, "unsubscribe")
    if auto_reply.opens_automatic(own) and not _mentions_stop(own):
        return _from_author(mail, at, "auto-reply", texts=False)
    return _from_author(mail, at, "other", needs_person=True)


def _mentions_stop(own: str) -> bool:
    return human_reply.speaks_of_stopping(own)


def _to_many(mail: CameBack) -> bool:
    """Somebody's newsletter or a list, not an answer to ours."""
    bulk = mail.field(b"precedence").strip().lower() in ("bulk", "list", "junk")
    listed = any(mail.message.get(name) for name in (b"list-id", b"list-unsubscribe", b"list-unsubscribe-post"))
    return (bulk or listed) and not (mail.field(b"in-reply-to") or mail.field(b"references"))


def _from_author(mail: CameBack, at: datetime, kind: Kind, *, needs_person: bool = False, texts: bool = True) -> Event:
    author = bare_address(mail.field(b"from"))
    return Event(
        kind=kind, source=SOURCE, at=at,
        recipients=(Recipient(address=author),) if author is not None else (),
        original=mail.original(texts=texts), needs_person=needs_person,
    )  # fmt: skip
