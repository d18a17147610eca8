"""One copy as it leaves: the original, the recipient's own links and footer, our signature, one Received field.

What depends on the message only (parse, plan, footer) is made once per message; per copy the links, the join and the
signature remain. Runs in worker threads: it holds no state but caches that are safe to fill twice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from uuid_utils import UUID

from gateway.config import Config, Controller, Stream
from gateway.keys import key_ring, signers, token_keys
from gateway.mail.dkim import Signer, sign
from gateway.mail.dsn import without_body
from gateway.mail.footer import Footer, Links
from gateway.mail.mime import parse
from gateway.mail.plan import Plan, Wants, make_plan
from gateway.mail.provider import omitted
from gateway.mail.rewrite import Fill, Rewritten, rewrite
from gateway.post import DELIVERY_REPORT
from gateway.store.contract import Ruling, Store, StoredMessage
from gateway.weigh import Case
from gateway.words import Words
from suppression.frozen import quick_init
from suppression.link_token import Kind, LinkToken, TokenKeys

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9.:\[\]_-]")


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A message ready to be copied. `received`: the trace field, unsigned. `size` in bytes.

    `released_at`: when it was let go after a rehearsal; None where it never was one. `verbatim`: the message of others
    that is passed on as it is; its plan is of no message then.
    """

    controller: Controller
    stream: Stream
    case: Case
    message_id: bytes
    at: datetime
    plan: Plan
    received: bytes
    size: int
    released_at: datetime | None = None
    verbatim: bytes | None = None

    @property
    def since(self) -> datetime:
        """From when on hand-over is tried."""
        return self.released_at or self.at


_NOTHING = b"Subject: \r\n\r\n"
"""What stands for a message that is not ours to take apart."""
_OFFERING = 8
"""Service messages whose plan with an opt-out is remembered; and messages whose plan without 8-bit content is."""


class Renderer:
    """Makes copies. Made anew when the configuration changes."""

    def __init__(
        self, config: Config, words: Words, token_keys: TokenKeys, numbers: Mapping[tuple[str, str, str], int],
        signers: Mapping[tuple[str, str], Sequence[Signer]],
    ) -> None:  # fmt: skip
        self._config = config
        self._public_url = config.public_url.rstrip("/")
        self._hostname = config.hostname
        self._words = words
        self._tokens = token_keys
        self._numbers = numbers
        self._signers = signers
        self._omitted = {name: omitted(one.host for one in route.hosts) for name, route in config.routes.items()}
        self._offering: dict[bytes, Plan] = {}
        self._seven_bit: dict[tuple[bytes, Wants], Plan] = {}

    def copy(
        self, original: Original, address: str, recipient_key: bytes, ruling: Ruling, *, seven_bit: bool = False
    ) -> tuple[bytes | memoryview, ...]:  # fmt: skip
        """The octets of one copy, CRLF, not dot-stuffed: one piece, or several where long attachments are views of the
        original, which all copies share. `seven_bit`: without octets over 127 in its body, where that can be done."""
        if original.verbatim is not None:
            return original.received, original.verbatim
        rewritten = self.unsigned(original, address, recipient_key, ruling, seven_bit=seven_bit)
        first, *rest = rewritten.pieces
        body = rewritten.pieces if rest or isinstance(first, memoryview) else first
        signature = b""
        if signers := self.signers(original):
            at, omit = int(original.at.timestamp()), self._omitted[original.stream.route]
            signature = sign(rewritten.head, body, signers, at=at, omit=omit)
        return b"".join((original.received, signature, rewritten.head, b"\r\n", first)), *rest

    def signers(self, original: Original) -> Sequence[Signer]:
        """The keys that its copies are signed with; none where the provider behind the route signs."""
        if self._config.signing(original.stream) == "upstream":
            return ()
        return self._signers.get((original.controller.id, original.case.from_domain), ())

    def unsigned(
        self, original: Original, address: str, recipient_key: bytes, ruling: Ruling, *, seven_bit: bool = False
    ) -> Rewritten:
        """The copy before it is signed, without its trace field."""
        plan = original.plan
        if "CA" in ruling.codes and not plan.wants.marketing:
            plan = self._offering_plan(original)
        if seven_bit:
            plan = self._seven_bit_plan(original, plan)
        offered, basis = plan.wants.marketing, ruling.decision.basis
        return rewrite(plan, Fill(
            links=self.links(original, recipient_key, basis) if offered else None,
            footer=self._footer(original, ruling) if offered else None,
            recipient=address,
            list_id=_list_id(original) if offered else None,
            feedback_id=self._feedback_id(original) if offered else None,
            add_date=rfc5322_date(original.at).encode(),
            add_message_id=f"<{original.message_id.hex()}@{original.case.from_domain or self._hostname}>".encode(),
        ))  # fmt: skip

    def _offering_plan(self, original: Original) -> Plan:
        """The plan that adds an opt-out to service mail too: Canada asks for it (RULES.md section 3 note 6).

        Service mail that has no place for one goes as it is.
        """
        plan = self._offering.get(original.message_id)
        if plan is None:
            plan = make_plan(original.plan.message, replace(original.plan.wants, marketing=True))
            if len(self._offering) >= _OFFERING:
                self._offering.clear()
            self._offering[original.message_id] = plan
        return plan if plan.unsubscribe != "not_injectable" else original.plan

    def _seven_bit_plan(self, original: Original, plan: Plan) -> Plan:
        """The plan that encodes what is 8-bit, for a server that takes no such octets.

        A report on our own mail leaves out what cannot be encoded: else nobody would be told.
        """
        key = (original.message_id, plan.wants)
        found = self._seven_bit.get(key)
        if found is None:
            message = plan.message
            if original.case.matched == (DELIVERY_REPORT,):
                message = parse(without_body(message.raw))
            found = make_plan(message, replace(plan.wants, seven_bit=True))
            if len(self._seven_bit) >= _OFFERING:
                self._seven_bit.clear()
            self._seven_bit[key] = found
        return found

    def links(self, original: Original, recipient_key: bytes, basis: str | None) -> Links:
        """The links of one copy. The page and the one-click address take the same token."""
        stop = self.token("unsubscribe", original, recipient_key, basis)
        why = self.token("why", original, recipient_key, basis)
        domain = original.controller.return_domain
        return Links(
            page=f"{self._public_url}/u/{stop}", one_click=f"{self._public_url}/o/{stop}",
            mailto=f"mailto:unsub@{domain}?subject={stop}" if domain else None,
            why=f"{self._public_url}/w/{why}",
            preferences=f"{self._public_url}/p/{self.token('preferences', original, recipient_key, basis)}",
        )  # fmt: skip

    def token(self, kind: Kind, original: Original, recipient_key: bytes, basis: str | None) -> str:
        """A link token for one copy."""
        controller, purpose = original.controller.id, original.case.purpose
        return self._tokens.make(LinkToken(
            kind=kind, controller_no=self._numbers[controller, "controller", controller],
            recipient_key=recipient_key, stream_no=self._numbers[controller, "stream", original.stream.name],
            purpose_no=self._numbers[controller, "purpose", purpose] if purpose is not None else 0, basis=basis,
            message_id=original.message_id,
        ))  # fmt: skip

    def _footer(self, original: Original, ruling: Ruling) -> Footer:
        language = original.case.language or ruling.language or original.stream.language
        pack = "BE" if "BE" in ruling.codes else ruling.decision.pack or ruling.codes[0]
        return self._words.footer(
            original.controller, original.stream, ruling.decision.basis, language, pack=pack,
            purpose=original.case.purpose, obtained_from=ruling.obtained_from,
        )  # fmt: skip

    def _feedback_id(self, original: Original) -> str:
        """campaign:stream:controller:sender, most specific first, the sender last (RULES.md 5.3)."""
        campaign = original.message_id[:6].hex()
        return f"{campaign}:{original.stream.name}:{original.controller.id}:cgate"


def _list_id(original: Original) -> str:
    """The value of List-Id: who it is, and the identifier in angle brackets (RFC 2919)."""
    name = "".join(c for c in original.controller.display_name if c.isprintable() and c not in '"\\<>')[:80]
    return f'"{name}" <{original.stream.list_id}>'


async def numbers(store: Store, config: Config) -> dict[tuple[str, str, str], int]:
    """The token numbers of everything that is configured."""
    names = []
    for controller in config.controllers.values():
        names.append((controller.id, "controller", controller.id))
        names += [(controller.id, "stream", name) for name in controller.streams]
        names += [(controller.id, "purpose", name) for name in controller.purposes]
    return {name: await store.number(*name) for name in names}


async def renderer(store: Store, config: Config, words: Words) -> Renderer:
    """What makes copies, for this configuration."""
    return Renderer(config, words, token_keys(key_ring(config)), await numbers(store, config), signers(config))


def rfc5322_date(at: datetime) -> str:
    """An instant as a Date field's value (RFC 5322 3.3), in UTC; never in the locale's language."""
    day, clock = _DAYS[at.weekday()], f"{at.hour:02}:{at.minute:02}:{at.second:02}"
    return f"{day}, {at.day} {_MONTHS[at.month - 1]} {at.year:04} {clock} +0000"


def received(
    *, helo: str, peer_ip: str, tls: bool, login: bool, hostname: str, message_id: bytes, at: datetime
) -> bytes:
    """The trace field of a copy (RFC 5321 4.4; the protocol names are those of RFC 3848)."""
    literal = f"IPv6:{peer_ip}" if ":" in peer_ip else peer_ip
    protocol = "ESMTP" + ("S" if tls else "") + ("A" if login else "")
    name = _NOT_IN_A_NAME.sub("", helo)[:200] or "unknown"
    return (
        f"Received: from {name} ([{literal}])\r\n"
        f" by {hostname} (Consentgate) with {protocol} id {UUID(bytes=message_id)};\r\n"
        f" {rfc5322_date(at)}\r\n"
    ).encode("ascii", "replace")


def open_original(config: Config, stored: StoredMessage) -> Original | None:
    """A stored message as an original again. None where its controller or stream is configured no more."""
    found = config.stream_of(stored.controller_id, stored.stream)
    if found is None:
        return None
    controller, stream = found
    case = Case.from_json(stored.kind)
    meta = stored.envelope
    verbatim = meta.get("verbatim", False)
    return Original(
        controller=controller, stream=stream, case=case, message_id=stored.message_id, at=stored.at,
        plan=make_plan(parse(_NOTHING if verbatim else stored.body), wants(stream, marketing=case.marketing)),
        size=len(stored.body),
        received=received(
            helo=meta["helo"], peer_ip=meta["peer_ip"], tls=meta["tls"], login=meta["login"], hostname=config.hostname,
            message_id=stored.message_id, at=stored.at,
        ),
        released_at=stored.released_at, verbatim=stored.body if verbatim else None,
    )  # fmt: skip


def wants(stream: Stream, *, marketing: bool, relay: bool = True) -> Wants:
    """What is asked of the rewriter for a message of this stream. `relay`: no line may be over 998 octets."""
    return Wants(marketing=marketing, footer=stream.footer, relay=relay, provider=stream.provider)
