"""One message into the queue: bytes in, envelope, class, decision, plan, commit, reply.

250 is said only after the commit (RFC 5321 6.1, P1). A message refused after DATA still gets its decision rows, without
body, so that the report shows what a wrong setting cost. Nothing here raises to the peer: a store that is down is 451.

On a stream that rehearses everything is the same, but every copy is put by in a state of its own, the blocked ones too:
rehearse.py decides them again and lets go what is lawful then.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

import uuid_utils

from gateway import log, record
from gateway.addressees import link_of
from gateway.config import MARKETING, Config, Controller, Login, Stream
from gateway.lookalikes import NOTHING, Judged, Lookalikes, unwatched
from gateway.mail import reply
from gateway.mail.classify import Kind, Refused, classify
from gateway.mail.dsn import is_owed
from gateway.mail.envelope import Envelope, Rcpt
from gateway.mail.headers import Unparsable, decode_words
from gateway.mail.mime import Message, parse
from gateway.mail.outcome import alarm
from gateway.mail.plan import Plan, make_plan
from gateway.mail.reply import Reply
from gateway.notice import Notices
from gateway.parcel import Lanes, Parcel, blocked
from gateway.post import pack_rcpt
from gateway.render import Original, received, wants
from gateway.return_paths import ReturnPaths
from gateway.room import Room
from gateway.store.contract import Arrival, NewCopy, Person, Ruling, Store, StoreUnavailable, Who, tally
from gateway.weigh import Case, Scales
from gateway.who import whose
from suppression.address import canonical
from suppression.decision import MESSAGE_LEVEL
from suppression.explain import impersonal
from suppression.frozen import quick_init
from suppression.reason_code import FAMILY
from suppression.suppression_list import HASH_LIST
from suppression.vault import KeyRing

LARGE = 256 * 1024
"""From this size on a message is taken apart in a thread, not on the loop (bytes)."""
LARGE_MAPPED = 16 * 1024
"""The same where every link is held against patterns: half a millisecond per kilobyte (bytes)."""
JOINERS = "\u200c\u200d"
"""Not printed, and part of how words and pictures are written."""
HOPS = 100
"""Servers a message has been through, at most: more is a loop (RFC 5321 6.3)."""


Judge = Callable[[Kind, Controller, Stream, Sequence[str]], Judged]
"""What is done about a service message that may be advertising, sent to these addresses."""


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A message taken apart. `plan` None: it could not be, or it was refused with `refusal`.

    `test`: the sender asked that it is not delivered (Mailgun's test mode): it is rehearsed on any stream.
    """

    case: Case
    stream: Stream
    campaign: str
    subject: str
    plan: Plan | None
    refusal: Reply | None
    test: bool = False

    @property
    def rehearses(self) -> bool:
        """Whether everything is decided and nothing leaves."""
        return self.test or self.stream.mode == "rehearse"


class Accept:
    """Takes messages in. One per process; `configure` swaps the configuration between messages."""

    def __init__(
        self, store: Store, lanes: Lanes, *, ring: KeyRing, lookalikes: Lookalikes, clock: Callable[[], datetime],
        room: Room,
    ) -> None:  # fmt: skip
        self._store, self._lanes, self._ring, self._clock = store, lanes, ring, clock
        self._lookalikes = lookalikes
        self.room = room

    def configure(self, config: Config, scales: Scales, notices: Notices) -> None:
        self._config, self._scales, self._notices = config, scales, notices
        self._returns = ReturnPaths(config, self._ring)

    async def __call__(self, envelope: Envelope) -> Reply:
        """Decide, store, answer. The last word of a 250 is the message id."""
        began = monotonic()
        if self.room.full:
            log.turned_away(cause=self.room.full)
            return reply.QUEUE_FULL
        login = self._config.logins[envelope.login]
        controller = self._config.controllers[login.controller]
        made, now = uuid_utils.uuid7(), self._clock()
        message_id, name = made.bytes, str(made)
        read = await self._read(envelope, login, controller, self._lookalikes.at(now).judge)
        try:
            whos = [self._who(controller.id, rcpt) for rcpt in envelope.rcpts]
            people = await self._people(whos, now)
            weigh = self._scales.lay(read.case, controller, read.stream)
            rulings = [weigh(person, now) for person in people]
            # in a rehearsal nobody's list is cleaned: the sender hears of what is wrong with the message, no more
            on_block = "record" if read.rehearses else read.stream.on_block
            answer = read.refusal or reply.for_decisions(
                [ruling.decision for ruling in rulings], on_block, name,
                message_level=MESSAGE_LEVEL,
            )  # fmt: skip
            if answer.accepts and read.case.handling == "hold" and any(r.decision.verdict == "allow" for r in rulings):
                answer = reply.queued(name, reply.OK_HELD)
            if answer.code in (451, 452):
                log.refused(controller=controller.id, stream=read.stream.name, code=answer.code, reason="deferred")
                return answer  # not taken: the client comes again, and then it is decided anew
            await self._keep(envelope, controller, read, whos, people, rulings, message_id, now, answer, weigh)
        except StoreUnavailable as down:
            log.store_unavailable(where="accept", error=down)
            return reply.STORE_DOWN
        self._tell(controller, read, rulings, name, envelope, answer, monotonic() - began)
        return answer

    async def rcpt(self, login: str, mail_from: str, address: str) -> Reply | None:
        """What is known of a recipient before the message: None to go on.

        Only a dead address is refused here, and only where the login has one stream and that stream rejects: every
        other finding may still depend on what the message says it is.
        """
        known = self._config.logins[login]
        controller = self._config.controllers[known.controller]
        plain = canonical(address)
        if plain is None:
            return reply.BAD_RECIPIENT
        stream = controller.streams[known.streams[0]]
        if len(known.streams) > 1 or stream.on_block != "reject" or stream.mode == "rehearse":
            return None
        try:
            person = (await self._store.people([whose(self._ring, controller.id, plain)]))[0]
        except StoreUnavailable as down:
            log.store_unavailable(where="rcpt", error=down)
            return reply.STORE_DOWN
        return reply.DEAD_ADDRESS if person.readable and person.standing.recipient.undeliverable else None

    async def _read(self, envelope: Envelope, login: Login, controller: Controller, judge: Judge) -> Read:
        service = controller.streams[login.streams[0]].message_class not in MARKETING
        if len(envelope.content) < (LARGE_MAPPED if service or controller.category_map is not None else LARGE):
            return read_message(envelope, login, controller, judge)
        return await asyncio.get_running_loop().run_in_executor(
            self._lanes.threads, read_message, envelope, login, controller, judge
        )

    def _who(self, controller_id: str, rcpt: Rcpt) -> Who | None:
        address = canonical(rcpt.address)
        return whose(self._ring, controller_id, address) if address is not None else None

    async def _people(self, whos: Sequence[Who | None], now: datetime) -> list[Person | None]:
        """What is known of each. Who is on a list of hashes is from now on kept out by a suppression of their own."""
        known = await self._store.people([who for who in whos if who is not None])
        if listed := [person for person in known if person.by_hash]:
            await asyncio.gather(*(  # in one commit: one for each of a thousand recipients would outlast the client
                record.suppress(
                    self._store, person.controller_id, person.recipient_key, purpose=None, reason="admin",
                    source=HASH_LIST, now=now,
                )
                for person in listed
            ))  # fmt: skip
        found = iter(known)
        return [next(found) if who is not None else None for who in whos]

    async def _keep(
        self, envelope: Envelope, controller: Controller, read: Read, whos: Sequence[Who | None],
        people: Sequence[Person | None], rulings: Sequence[Ruling], message_id: bytes, now: datetime, answer: Reply,
        weigh: Callable[[Person | None, datetime], Ruling],
    ) -> None:  # fmt: skip
        """Commit the message with its decisions; then hand what is allowed to its lane."""
        taken, route = answer.accepts, read.stream.route
        rehearsing, held = read.rehearses, taken and read.case.handling == "hold"
        waits = not taken or rehearsing or held
        leaving = 0 if waits else sum(1 for r in rulings if r.decision.verdict == "allow")
        direct = leaving > 0 and self._lanes.room(route, leaving, len(envelope.content), marketing=read.case.marketing)
        copies = []
        for n, (rcpt, who, person, ruling) in enumerate(zip(envelope.rcpts, whos, people, rulings, strict=True)):
            state = "rehearsed" if taken and rehearsing else self._state(ruling.decision.verdict, taken, direct, held)
            copies.append(NewCopy(
                copy_no=n, recipient_key=self._key(who, person, controller.id, rcpt), address=rcpt.address,
                rcpt=pack_rcpt(rcpt), state=state, ruling=ruling, route=route,
                due_at=now if state == "queued" else None, addressed=person is not None and person.addressed,
                alarm_at=alarm(
                    now, read.stream.retry_for, now=now,
                    delay_asked=is_owed("delayed", rcpt.notify, envelope.mail_from),
                ),
            ))  # fmt: skip
        arrival = Arrival(
            controller_id=controller.id, message_id=message_id, at=now, stream=read.stream.name,
            campaign=read.campaign, mode="rehearse" if read.test else read.stream.mode_at(now),
            kind=read.case.to_json(), envelope=outer(envelope),
            subject=read.subject, body=envelope.content if taken else None, size=len(envelope.content), copies=copies,
            worker=self._lanes.worker, login=envelope.login,
            link=link_of(read.plan, read.case.purpose, controller, read.stream)
            if taken and read.case.marketing and len(copies) == 1 else None,
            return_to=self._returns.return_to(
                controller, read.stream, envelope.mail_from, {n: one.notify for n, one in enumerate(envelope.rcpts)}
            ) if taken else None,
            held_until=now + read.stream.retry_for if any(copy.state == "held" for copy in copies) else None,
        )  # fmt: skip
        notice = self._notice(envelope, controller, read, rulings, now) if taken and not rehearsing else None
        await self._store.enqueue(arrival, *([notice] if notice is not None else []))
        if direct and read.plan is not None:
            original = Original(
                controller=controller, stream=read.stream, case=read.case, message_id=message_id, at=now,
                plan=read.plan, size=len(envelope.content),
                received=received(
                    helo=envelope.helo, peer_ip=envelope.peer_ip, tls=envelope.tls, login=True,
                    hostname=self._config.hostname, message_id=message_id, at=now,
                ),
            )  # fmt: skip
            self._lanes.offer(route, [
                Parcel(
                    original=original, weigh=weigh, mail_from=envelope.mail_from, ret=envelope.ret,
                    envid=envelope.envid, body_8bit=envelope.body_8bit, smtputf8=envelope.smtputf8,
                    campaign=read.campaign, copy_no=copy.copy_no, rcpt=envelope.rcpts[copy.copy_no], who=who,
                    recipient_key=copy.recipient_key, attempts=0, ruling=copy.ruling,
                    was=tally(copy.ruling.decision.verdict, copy.ruling.decision.reason_code),
                )
                for copy, who in zip(copies, whos, strict=True)
                if copy.state == "claimed" and who is not None
            ])  # fmt: skip
        if taken and not rehearsing and (notice is not None or not direct):
            self._lanes.wake(route)

    def _notice(
        self, envelope: Envelope, controller: Controller, read: Read, rulings: Sequence[Ruling], now: datetime
    ) -> Arrival | None:
        """The report on recipients who were kept out of a message that was taken, where one is owed."""
        owed = [
            (blocked(rcpt, ruling.decision.reason_code), ruling.decision)
            for rcpt, ruling in zip(envelope.rcpts, rulings, strict=True)
            if ruling.decision.verdict == "block"
            and is_owed("blocked", rcpt.notify, envelope.mail_from, read.stream.on_block)
        ]
        return self._notices.report(
            controller, read.stream, [about for about, _ in owed], mail_from=envelope.mail_from, envid=envelope.envid,
            ret=envelope.ret, original=envelope.content, subject=read.subject, arrived=now, now=now,
            why=[impersonal(decision) for decision in {one.reason_code: one for _, one in owed}.values()],
        )  # fmt: skip

    @staticmethod
    def _state(verdict: str, taken: bool, direct: bool, held: bool) -> str:
        if not taken or verdict == "block":
            return "blocked"
        if held and verdict == "allow":
            return "held"
        return "claimed" if direct and verdict == "allow" else "queued"

    def _key(self, who: Who | None, person: Person | None, controller_id: str, rcpt: Rcpt) -> bytes:
        """The key a copy is stored under; what is no address gets one of its own, so that its row can be told apart."""
        if person is not None:
            return person.recipient_key
        return self._ring.recipient_keys(controller_id, "\0" + rcpt.address)[0]

    def _tell(
        self, controller: Controller, read: Read, rulings: Sequence[Ruling], name: str, envelope: Envelope,
        answer: Reply, seconds: float,
    ) -> None:  # fmt: skip
        counts = {"allow": 0, "block": 0, "defer": 0}
        for ruling in rulings:
            counts[ruling.decision.verdict] += 1
            log.decided(decision=ruling.decision.verdict, reason_code=ruling.decision.reason_code)
        if read.case.handling:
            log.mislabelled(
                controller=controller.id, stream=read.stream.name, handling=read.case.handling,
                signs=sorted({sign.partition(" ")[0] for sign in read.case.signs}), message_id=name,
            )  # fmt: skip
        if not answer.accepts:
            log.refused(
                controller=controller.id, stream=read.stream.name, code=answer.code,
                reason=_reason(answer, rulings), message_id=name,
            )  # fmt: skip
            return
        log.accepted(
            message_id=name, controller=controller.id, stream=read.stream.name,
            size=len(envelope.content), allowed=counts["allow"], blocked=counts["block"], deferred=counts["defer"],
            seconds=seconds,
        )  # fmt: skip


def read_message(envelope: Envelope, login: Login, controller: Controller, judge: Judge = unwatched) -> Read:
    """Take a message apart and say what it is. Total: what cannot be read becomes a refusal with its reason."""
    stream = controller.streams[login.streams[0]]
    try:
        message = parse(envelope.content, lines_checked=True)  # the front door saw to that
    except Unparsable:
        return Read(case=_unknown(), stream=stream, campaign="", subject="", plan=None, refusal=reply.MESSAGE_FAULT)
    subject = on_paper(decode_words(message.get(b"subject") or b"")[:500])
    if [field.name for field in message.fields].count(b"received") > HOPS:
        return Read(case=_unknown(), stream=stream, campaign="", subject=subject, plan=None, refusal=reply.MAIL_LOOP)
    kind = classify(
        message, login, controller.streams, envelope.suffix, controller.promotional, controller.category_map
    )
    if isinstance(kind, Refused):
        return Read(case=_unknown(), stream=stream, campaign="", subject=subject, plan=None, refusal=kind.reply)
    stream = controller.streams[kind.stream]
    judged = judge(kind, controller, stream, [rcpt.address for rcpt in envelope.rcpts]) if kind.likeness else NOTHING
    return _classified(message, kind, stream, judged, subject)


def _reason(answer: Reply, rulings: Sequence[Ruling]) -> str:
    """Why a message was refused, for the log: the code that the sender was told, where it was told one."""
    told = answer.text.partition(" ")[0]
    return told if told in FAMILY or not rulings else rulings[0].decision.reason_code


def on_paper(text: str) -> str:
    """The text as it could be printed: what would steer a terminal, break a line or turn the direction is a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in JOINERS else " " for c in text)


def _classified(message: Message, kind: Kind, stream: Stream, judged: Judged, subject: str) -> Read:
    rehearses = kind.test or stream.mode == "rehearse"
    handling = "block" if judged.handling == "hold" and rehearses else judged.handling  # nothing waits for a rehearsal
    promotional = handling == "block"
    plan = make_plan(message, wants(stream, marketing=promotional or kind.message_class in MARKETING))
    case = Case(
        message_class=kind.message_class, promotional=promotional, purpose=kind.purpose,
        categories=kind.categories, transaction_ref=kind.transaction_ref,
        restriction_exemption=kind.restriction_exemption, unsubscribe=plan.unsubscribe, from_domain=kind.from_domain,
        language=plan.language, matched=kind.matched, signs=tuple(map(str, judged.signs)), handling=handling,
        skeleton=judged.skeleton if handling else "", likeness=kind.likeness if handling else "",
    )  # fmt: skip
    return Read(
        case=case, stream=stream, campaign=kind.campaign, subject=subject, plan=plan, refusal=None, test=kind.test
    )


def _unknown() -> Case:
    """What a message is that could not be read: of unknown class, so that nothing in it is allowed (RULES.md A4)."""
    return Case(
        message_class="unknown", promotional=False, purpose=None, categories=(), transaction_ref=False,
        restriction_exemption=None, unsubscribe="not_injectable", from_domain="",
    )  # fmt: skip


def outer(envelope: Envelope) -> dict[str, object]:
    """What hand-over needs of an envelope besides its recipients."""
    return {
        "mail_from": envelope.mail_from, "ret": envelope.ret, "envid": envelope.envid, "helo": envelope.helo,
        "peer_ip": envelope.peer_ip, "tls": envelope.tls, "login": True, "body_8bit": envelope.body_8bit,
        "smtputf8": envelope.smtputf8,
    }  # fmt: skip
