"""What each input goes through. A target returns, or raises `Broken` for a broken promise; all else is a bug."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.bounce_rules import read_bounce_rules
from gateway.mail import dkim
from gateway.mail.classify import Kind, Refused, classify
from gateway.mail.headers import Unparsable
from gateway.mail.mime import Message, Part, parse
from gateway.mail.plan import Plan, Wants, make_plan
from gateway.mail.returned import read
from gateway.mail.rewrite import NotInjectable, Rewritten, rewrite
from gateway.promotional_rules import read_promotional_rules
from tests.mails import FOOTER, FRENCH, PAGE, fill

AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
SIGNER = dkim.load_signer("acme.example", "cg1", dkim.generate("ed25519-sha256"))
RULES = read_bounce_rules()
PROMOTIONAL = read_promotional_rules()


class Broken(Exception):
    """A promise that did not hold for some input."""


@dataclass(frozen=True)
class AStream:
    name: str
    message_class: str
    purpose: str | None = "newsletter"
    purposes: tuple[str, ...] = ("newsletter", "events")
    categories: tuple[str, ...] = ("wine", "spirits")
    transaction_ref: str | None = "header"


@dataclass(frozen=True)
class ALogin:
    streams: tuple[str, ...] = ("newsletter", "orders")


STREAMS = {"newsletter": AStream("newsletter", "marketing"), "orders": AStream("orders", "transactional")}


def rewriting(raw: bytes, chance: random.Random) -> None:
    """Refused as a declared refusal, or a copy comes out that holds the link and all else that the message held."""
    try:
        message = parse(raw)
    except Unparsable:
        return
    wants = Wants(
        marketing=chance.random() < 0.9, footer=chance.choice(("auto", "auto", "always", "never")),  # type: ignore[arg-type]
        show_to=chance.choice(("auto", "keep", "recipient")), relay=chance.random() < 0.7,  # type: ignore[arg-type]
    )  # fmt: skip
    plan = make_plan(message, wants)
    try:
        copy = rewrite(plan, fill(footer=chance.choice((FOOTER, FRENCH))))
    except NotInjectable:
        if not wants.marketing:
            raise Broken("service mail was refused for want of an opt-out") from None
        return
    _judge(message, plan, copy)
    dkim.sign(copy.head, copy.pieces, [SIGNER], at=1)


def _judge(message: Message, plan: Plan, copy: Rewritten) -> None:
    whole = copy.head + b"\r\n" + copy.body
    if not whole.count(b"\r\n") == whole.count(b"\r") == whole.count(b"\n") or b"\0" in whole:
        raise Broken("a copy with a bare line end")
    again = parse(whole).parts()
    before = message.parts()
    if [(part.path, part.type) for part in again] != [(part.path, part.type) for part in before]:
        raise Broken("a copy with other parts")
    edited = {leaf.part.path for leaf in plan.leaves} | {part.path for part in plan.reencoded}
    for old, new in zip(before, again, strict=True):
        if old.path not in edited and not old.children and _octets(old) != _octets(new):
            raise Broken("an untouched part is not what it was")
    if (
        plan.wants.marketing
        and plan.leaves
        and PAGE.encode()[:60] not in whole.replace(b"=\r\n", b"")
        and not _encoded(plan)
    ):
        raise Broken("no link in a copy")


def _octets(part: Part) -> bytes:
    return part.raw[part.start : part.end] if part.start else part.body


def _encoded(plan: Plan) -> bool:
    return any(leaf.encoding != "identity" or leaf.transcoded for leaf in plan.leaves)


def classifying(raw: bytes, chance: random.Random) -> None:
    """Every message has a kind or is refused with a reply."""
    try:
        message = parse(raw)
    except Unparsable:
        return
    suffix = chance.choice((None, None, "newsletter", "events.wine", ".wine", "nonsense"))
    found = classify(message, ALogin(), STREAMS, suffix, PROMOTIONAL)
    if not isinstance(found, Kind | Refused):
        raise Broken("neither a kind nor a refusal")


def coming_back(raw: bytes, _chance: random.Random) -> None:
    """Whatever comes to the return path is an event."""
    event = read(raw, rules=RULES, at=AT)
    if event.kind not in ("bounce", "complaint", "auto-reply", "unsubscribe", "other"):
        raise Broken("an event of no kind")


TARGETS: tuple[Callable[[bytes, random.Random], None], ...] = (rewriting, classifying, coming_back)
