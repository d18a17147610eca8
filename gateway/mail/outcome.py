"""What became of a copy: the vocabulary of failure, the retry times, and the states of a queue row.

The policy in words (the tables below say the same):

- A reply speaks about the mail only from MAIL on. What a server says before that (greeting, EHLO, STARTTLS, AUTH)
  is about us, our configuration or its health: the copy waits, whatever the code.
- From MAIL on 4yz waits and 5yz is final (RFC 5321 4.2.1). The basic code rules where the enhanced one disagrees.
  Three 5yz are about the session and wait: "log in first" (530, 534, 535, 538), "bad sequence" (503), and 552 at RCPT
  unless it names the mailbox, because RFC 5321 4.5.3.1.10 has servers that say 552 for "too many recipients".
- 421 means the connection is over (RFC 5321 3.8), at any stage; so does every failure without a reply.
- No reply (refused, silent, lost, TLS failed, nonsense) always waits.
- A reply lost after the final dot waits too and is flagged: the server may have the copy, and twice is better than
  never (RFC 5321 4.5.4.1 puts the retry on us).
- What the server cannot carry (8-bit content, UTF-8 addresses, the size) is final at once: waiting changes nothing.
- What DNS says for good about a domain (it does not exist, takes no mail, has no server) is final at once; what it does
  not say waits (RFC 5321 5.1).
- A 5yz that says the mailbox or its domain does not exist marks the address as dead. A full mailbox, a policy
  refusal or a bare 550 never does (judgement.py, which judges reports that come back by the same rules).
- Waiting ends after `retry_for`, with one last try at that instant.

Pure and total but for broken promises: ValueError for a question that has no answer (the retry time of a delivered
copy, an impossible transition).

Sources: RFC 5321 4.2, 4.5.4.1; RFC 3463 and RFC 5248 (classes); RFC 3464 2.3 (Status, Diagnostic-Code).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from gateway.mail.answer import Answer

Stage = Literal["connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body"]
"""Where in the dialogue: `body` is the message itself up to the reply to its final dot."""

FailureKind = Literal[
    "refused", "unreachable", "dns", "timeout", "lost", "tls", "no_tls", "no_auth", "protocol", "stopping",
    "needs_8bit", "needs_utf8", "too_large", "dns_silent", "tls_policy", "not_a_domain", "no_domain", "null_mx",
    "no_host", "loop",
]  # fmt: skip

Lack = Literal["8bit", "utf8"]
"""What a copy may be made to do without: 8-bit content (RFC 6152), addresses in UTF-8 (RFC 6531)."""

Ending = Literal["delivered", "failed", "retry", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt for one copy came to.

    `state`: delivered, failed (final), retry (wait), skipped (the check at hand-over said no; nothing was sent).
    `code`: the basic reply code, None when there was no reply. `enhanced`: RFC 3463, the server's own or ours; it is
    the Status of RFC 3464. `text`: what was said, addresses removed (the Diagnostic-Code). `stage`: where.
    `connection_over`: the session must not be used again. `maybe_delivered`: the final dot was sent, its reply never
    came, or was none to a final dot. `lacks`: what the server cannot carry, where the copy may be made to do without.
    """

    state: Ending
    code: int | None
    enhanced: str | None
    text: str
    stage: Stage
    connection_over: bool = False
    maybe_delivered: bool = False
    lacks: Lack | None = None


SKIPPED = Outcome(state="skipped", code=None, enhanced=None, text="", stage="mail")
"""The last check before MAIL FROM said no."""

ABOUT_US: frozenset[Stage] = frozenset({"connect", "greeting", "ehlo", "starttls", "auth"})
SESSION_CODES: frozenset[int] = frozenset({503, 530, 534, 535, 538})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    state: Ending
    enhanced: str
    text: str


FAILURES: Mapping[FailureKind, _Failure] = {
    "refused": _Failure(state="retry", enhanced="4.4.1", text="connection refused"),
    "unreachable": _Failure(state="retry", enhanced="4.4.1", text="host or network not reachable"),
    "dns": _Failure(state="retry", enhanced="4.4.3", text="host name not found"),
    "timeout": _Failure(state="retry", enhanced="4.4.2", text="no answer in time"),
    "lost": _Failure(state="retry", enhanced="4.4.2", text="connection lost"),
    "tls": _Failure(state="retry", enhanced="4.7.5", text="TLS failed"),
    "no_tls": _Failure(state="retry", enhanced="4.7.5", text="TLS is required and not offered"),
    "no_auth": _Failure(state="retry", enhanced="4.7.0", text="no way to log in that may be used"),
    "dns_silent": _Failure(state="retry", enhanced="4.4.3", text="DNS did not answer"),
    "tls_policy": _Failure(state="retry", enhanced="4.7.5", text="no mail server that meets the domain's TLS policy"),
    "protocol": _Failure(state="retry", enhanced="4.5.0", text="answer is not SMTP"),
    "stopping": _Failure(state="retry", enhanced="4.3.2", text="the gateway is being stopped"),
    "needs_8bit": _Failure(state="failed", enhanced="5.6.3", text="server does not take 8-bit content"),
    "needs_utf8": _Failure(state="failed", enhanced="5.6.7", text="server does not take UTF-8 addresses"),
    "too_large": _Failure(state="failed", enhanced="5.3.4", text="message is larger than the server takes"),
    "not_a_domain": _Failure(state="failed", enhanced="5.1.2", text="mail is sent to domain names only"),
    "no_domain": _Failure(state="failed", enhanced="5.1.2", text="the domain does not exist"),
    "null_mx": _Failure(state="failed", enhanced="5.1.10", text="the domain takes no mail (RFC 7505)"),
    "no_host": _Failure(state="failed", enhanced="5.4.4", text="the domain has no mail server that can be used"),
    "loop": _Failure(state="failed", enhanced="5.4.6", text="DNS names us as the mail server of the domain"),
}
"""How each failure without a reply is judged. The failed ones leave the session usable, the others end it."""
_LACKS: Mapping[FailureKind, Lack] = {"needs_8bit": "8bit", "needs_utf8": "utf8"}


def judge(stage: Stage, answer: Answer, *, rcpt: str = "") -> Outcome:
    """What a reply means for the copy. `rcpt`: the recipient's address, so that it can be taken out of the text.

    A positive reply that is not the last one, or not the one that was due, is out of step and judged as such.
    """
    code, enhanced = answer.code, answer.enhanced
    text = without_addresses(answer.text, rcpt)
    if stage == "body" and 200 <= code <= 299:
        return Outcome(state="delivered", code=code, enhanced=enhanced or "2.0.0", text=text, stage=stage)
    over = code == 421 or code in SESSION_CODES or stage in ABOUT_US or code < 400
    if code >= 500 and not _waits(stage, code, enhanced):
        return Outcome(
            state="failed", code=code, enhanced=enhanced or "5.0.0", text=text, stage=stage,
        )  # fmt: skip
    lost = code < 400 and stage == "body"
    if code < 400:
        text = f"out of step: {text}" if not lost else f"no reply to the final dot, may go twice: {text}"
    status = enhanced if enhanced and enhanced[0] == "4" else _WAITING_STATUS.get(stage, "4.0.0")
    return Outcome(
        state="retry", code=code, enhanced=status, text=text, stage=stage, connection_over=over, maybe_delivered=lost
    )


_WAITING_STATUS: Mapping[Stage, str] = {"starttls": "4.7.5", "auth": "4.7.0"}


def _waits(stage: Stage, code: int, enhanced: str | None) -> bool:
    if stage in ABOUT_US or code in SESSION_CODES:
        return True
    return stage == "rcpt" and code == 552 and (enhanced is None or enhanced == "5.5.3")


def judge_failure(stage: Stage, kind: FailureKind, detail: str = "") -> Outcome:
    """What a failure without a reply means. `detail`: a short word of the cause; addresses are taken out."""
    row = FAILURES[kind]
    text = f"{row.text}: {without_addresses(detail)}" if detail else row.text
    outcome = Outcome(
        state=row.state, code=None, enhanced=row.enhanced, text=text, stage=stage,
        connection_over=row.state == "retry", lacks=_LACKS.get(kind),
    )  # fmt: skip
    if stage == "body" and row.state == "retry":
        return replace(outcome, text=f"reply lost after final dot, may go twice ({text})", maybe_delivered=True)
    return outcome


_ADDRESS = re.compile(
    # the look-behind lets a match begin only where a word does, which keeps the search linear
    r"""(?:"[^"\r\n]{1,64}"|(?<![^\s<>"(),;:\[\]])[^\s<>"(),;:\[\]]+)(?:@|\uff20|%40|\+40|=40)[^\s<>"(),;:\]]+""",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
MAX_TEXT = 500
"""Characters kept of a server's words."""


def without_addresses(text: str, *known: str) -> str:
    """The text fit to be stored and logged: anything like an address becomes "[address]", as do the `known`
    addresses and their local parts where they stand as words; control characters become spaces; 500 characters."""
    text = _CONTROL.sub(" ", text)
    # cut on either side of the replacing: before it so that a huge text costs little, after it for the length
    text = text[: 4 * MAX_TEXT]
    if "@" in text or "40" in text or "\uff20" in text:
        text = _ADDRESS.sub("[address]", text)
    lowered = text.lower()
    for address in known:
        for part in (address, address.rpartition("@")[0]):
            # making the pattern costs more than all else here, and few servers repeat the address
            if part and (part.lower() in lowered or not (lowered.isascii() and part.isascii())):
                text = re.sub(rf"(?<![\w\[]){re.escape(part)}(?!\w)", "[address]", text, flags=re.IGNORECASE)
    return text[:MAX_TEXT]


DELAYS: tuple[timedelta, ...] = tuple(
    timedelta(minutes=m) for m in (1, 2, 5, 10, 20, 30, 60, 60, 120, 120, 180, 240)
)  # fmt: skip
"""How long to wait after the first, second ... attempt; the last row repeats (RFC 5321 4.5.4.1)."""
SPREAD = 0.2
"""Jitter moves a delay by at most this part, so that copies deferred together do not come back together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again at this instant (aware UTC)."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Final. `expired`: it was waiting and `retry_for` is over (status 5.4.7, RFC 3463 3.5); else it was refused."""

    expired: bool


def after(
    outcome: Outcome, *, attempts: int, first_at: datetime, now: datetime, retry_for: timedelta, jitter: float,
    believed: bool = True,
) -> Retry | GiveUp:  # fmt: skip
    """What follows a failed or waiting outcome.

    `attempts`: tries so far, this one included, at least 1. `first_at`: when the copy was accepted; `now`: both aware
    UTC. `jitter`: 0 to 1, random, given by the caller. `believed`: whether `now` is believed enough to end the wait; as
    long as it is not, it goes on. ValueError for an outcome that needs nothing (delivered,
    skipped), naive times, or numbers outside these bounds.
    """
    if outcome.state not in ("failed", "retry"):
        raise ValueError(f"nothing follows {outcome.state}")
    if attempts < 1 or not 0 <= jitter <= 1:
        raise ValueError("attempts count from 1, jitter is within 0 and 1")
    if first_at.utcoffset() is None or now.utcoffset() is None:
        raise ValueError("times must be aware")
    if outcome.state == "failed":
        return GiveUp(expired=False)
    deadline = first_at + retry_for
    delay = DELAYS[min(attempts, len(DELAYS)) - 1] * (1 - SPREAD + 2 * SPREAD * jitter)
    if now < deadline:
        return Retry(at=min(now + delay, deadline))
    return GiveUp(expired=True) if believed else Retry(at=now + delay)


DELAY_TOLD: timedelta = timedelta(hours=4)
"""How long after acceptance a sender who asked (NOTIFY=DELAY, RFC 3461 4.1) is told that a copy still waits."""


LAST_TRY: timedelta = timedelta(minutes=10)


def alarm(first_at: datetime, retry_for: timedelta, *, delay_asked: bool, now: datetime) -> datetime:
    """When time alone next asks for something about a copy that waits: a report on the delay, or its end.

    The end leaves room for the last try, which is due when `retry_for` is over.
    """
    told, end = first_at + DELAY_TOLD, first_at + retry_for + LAST_TRY
    return min(told, end) if delay_asked and now < told else end


QueueState = Literal[
    "queued", "claimed", "held", "rehearsed", "delivered", "captured", "failed", "blocked", "dropped", "lapsed",
]  # fmt: skip
QueueEvent = Literal[
    "claim", "deliver", "capture", "retry", "lease_over", "fail", "give_up", "block", "hold", "release", "drop",
    "lapse",
]  # fmt: skip

START: frozenset[QueueState] = frozenset({"queued", "blocked", "held", "rehearsed"})
"""A row is made in one of these: allowed or deferred, kept out by the decision, set aside for a human, a rehearsal."""

TRANSITIONS: Mapping[tuple[QueueState, QueueEvent], QueueState] = {
    ("queued", "claim"): "claimed",  # a worker takes it, with a lease
    ("queued", "block"): "blocked",  # decided again without a hand-over: an opt-out swept the queue
    ("queued", "hold"): "held",  # an operator stops it
    ("queued", "drop"): "dropped",  # an operator takes it out for good
    ("queued", "give_up"): "failed",  # retry_for ran out while it waited
    ("claimed", "deliver"): "delivered",  # 2yz to the final dot
    ("claimed", "capture"): "captured",  # the route keeps it, nothing leaves
    ("claimed", "retry"): "queued",  # waits; also a decision deferred at hand-over
    ("claimed", "lease_over"): "queued",  # the worker died or was stopped
    ("claimed", "fail"): "failed",  # 5yz, or the server cannot carry it
    ("claimed", "give_up"): "failed",  # waited for as long as it may
    ("claimed", "block"): "blocked",  # the check at hand-over said no
    ("claimed", "hold"): "held",  # a bug struck while it was handled: kept, with its reason
    ("held", "release"): "queued",  # an operator lets it go on; it is decided again
    ("held", "block"): "blocked",  # an opt-out swept the held ones too
    ("held", "drop"): "dropped",  # an operator takes it out for good
    ("rehearsed", "release"): "queued",  # allowed when the lawful part was let go
    ("rehearsed", "block"): "blocked",  # not allowed then
    ("rehearsed", "drop"): "dropped",  # the person was erased
    ("rehearsed", "lapse"): "lapsed",  # nobody let it go in time
}
"""Everything that may happen to a queue row. What is not here is a bug."""

FINAL: frozenset[QueueState] = frozenset({"delivered", "captured", "failed", "blocked", "dropped", "lapsed"})
"""No row leaves these; the message's body goes when its last row is final."""


def move(state: QueueState, event: QueueEvent) -> QueueState:
    """The state after an event. ValueError when the table has no such row."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a {state} copy cannot {event}") from None
