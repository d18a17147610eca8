"""One claimed copy on its way out: what is carried along, and the last steps it takes.

`HandOver` decides once more, sends, and says what came of it; the lanes of deliver.py only move parcels to it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from gateway import log
from gateway.clock_watch import seconds_passed
from gateway.config import Config
from gateway.mail.dsn import Action, Reported, is_owed, reported
from gateway.mail.envelope import Rcpt, in_ascii
from gateway.mail.headers import decode_words
from gateway.mail.judgement import BounceRules, judge_live
from gateway.mail.outcome import Lack, Outcome, Retry, after
from gateway.mail.plan import make_plan
from gateway.mail.reply import OnBlock
from gateway.mail.rewrite import NotInjectable
from gateway.notice import Notices
from gateway.outbound.client import Session
from gateway.outbound.connect import ConnectFailed
from gateway.outbound.direct import Direct, NoRoom
from gateway.outbound.pool import Pool
from gateway.outbound.traffic import Ticket
from gateway.recheck import Recheck, Sent
from gateway.render import Original, Renderer, wants
from gateway.return_paths import ReturnPaths
from gateway.route_rest import is_down
from gateway.store.contract import Arrival, ClaimedCopy, Ending, Person, Ruling, Who
from gateway.store.returned import STOPPED, Refusal
from gateway.store.waiting import CopyKey
from gateway.weigh import Scales
from suppression.decision import MESSAGE_LEVEL
from suppression.explain import Explanation, impersonal
from suppression.observe import passed

CHECK_AGE = timedelta(seconds=1)
"""How old the state may be on which MAIL FROM is written (DESIGN P2)."""
DEFERRED_AGAIN = timedelta(minutes=1)
"""When a copy that could not be decided is looked at again."""


UNRELAYABLE = Outcome(
    state="failed", code=None, enhanced="5.6.3", stage="body",
    text="signed content with a line over 998 octets cannot be relayed unchanged",
)  # fmt: skip


class Seen(NamedTuple):
    """What stood of a recipient when it was asked for, in seconds that only grow (clock_watch.py)."""

    person: Person
    asked: float


@dataclass(slots=True, kw_only=True)
class Parcel:
    """A copy and all that its hand-over needs. `ruling` is the last one made, `was` how the report counts it now.

    `dsn`: the server it was offered to reports on delivery itself (RFC 3461), which is only known after an attempt.
    `ticket`: its right to a session, on a route that gives them (outbound/traffic.py); `heard`: what came of the last.
    `claimed`: what stood in the store, where it comes from there.
    `data` is the rendered copy, `rendered_for` the ground and jurisdiction its links and footer speak of; `broken` is
    the kind of error that kept it from being rendered; `uncarried`: no place was found for the opt-out after all.
    `lacks`: what the next server cannot carry, so that the copy does without. `paced`: its domain, where that may
    be sent only so fast (shelf.py). `session`: the task that has it in hand, as long as nothing of it is under way.
    `seen`: what stood of its recipient last; `asked`: when that was last asked for, whether it was answered or not
    (look.py).
    """

    original: Original
    weigh: Callable[[Person | None, datetime], Ruling]
    mail_from: str
    ret: str | None
    envid: str | None
    body_8bit: bool
    smtputf8: bool
    campaign: str
    copy_no: int
    rcpt: Rcpt
    who: Who
    recipient_key: bytes
    attempts: int
    ruling: Ruling
    was: str
    claimed: ClaimedCopy | None = None
    dsn: bool = False
    ticket: Ticket | None = None
    heard: Outcome | None = None
    data: tuple[bytes | memoryview, ...] = ()
    rendered_for: tuple[str | None, ...] | None = None
    broken: str = ""
    uncarried: bool = False
    lacks: frozenset[Lack] = frozenset()
    paced: str | None = None
    session: asyncio.Task[Any] | None = None
    seen: Seen | None = None
    asked: float = 0.0

    @property
    def octets(self) -> int:
        """How long the rendered copy is."""
        return sum(map(len, self.data))

    @property
    def name(self) -> str:
        """How the log calls this copy."""
        return f"{UUID(bytes=self.original.message_id)}/{self.copy_no}"

    @property
    def key(self) -> CopyKey:
        """How the store calls this copy."""
        return CopyKey(self.original.controller.id, self.original.message_id, self.copy_no)

    @property
    def ground(self) -> tuple[str | None, ...]:
        """What a rendered copy depends on besides its recipient."""
        ruling = self.ruling
        return ruling.decision.basis, ruling.packs, ruling.language, ruling.obtained_from

    def render(self, renderer: Renderer) -> bool:
        """Make the bytes that leave. False: a fault of ours, which sets this copy aside; the others go on."""
        try:
            address = in_ascii(self.rcpt.address) if "utf8" in self.lacks else self.rcpt.address
            self.data = renderer.copy(
                self.original, address, self.recipient_key, self.ruling, seven_bit="8bit" in self.lacks
            )
            self.rendered_for = self.ground
        except NotInjectable:
            self.uncarried = True
            return False
        except Exception as bug:
            log.held(message_id=str(UUID(bytes=self.original.message_id)), stage="render", error=bug)
            self.broken = type(bug).__name__
        return not self.broken

    def refit(self, config: Config, scales: Scales) -> None:
        """Go on under another configuration; under the one it was taken in with where its stream is gone."""
        old = self.original
        found = config.stream_of(old.controller.id, old.stream.name)
        if found is not None:
            controller, stream = found
            plan = old.plan
            if (wanted := wants(stream, marketing=old.case.marketing)) != plan.wants:
                plan = make_plan(plan.message, wanted)
            self.original = replace(old, controller=controller, stream=stream, plan=plan)
            self.weigh = scales.lay(old.case, controller, stream)
        self.rendered_for = None  # footer and keys may have changed: it is rendered anew before it leaves

    def ending(
        self, state: str, at: datetime, *, said: str = "", due_at: datetime | None = None, dead_address: bool = False,
        mailed: bool = False, notice: Arrival | None = None, refused: Refusal | None = None, tried: bool = True,
        maybe_twice: bool = False, alarm_at: datetime | None = None,
    ) -> Ending:  # fmt: skip
        """What is written down about this copy."""
        confirms = state == "delivered" and self.ruling.decision.basis == "doi"
        return Ending(
            controller_id=self.original.controller.id, message_id=self.original.message_id, copy_no=self.copy_no,
            stream=self.original.stream.name, campaign=self.campaign, state=state, ruling=self.ruling, was=self.was,
            reply=said, at=at, due_at=due_at, recipient_key=self.recipient_key, dead_address=dead_address,
            mailed=mailed, confirmation_of=self.original.case.purpose if confirms else None, notice=notice,
            refused=refused, tried=tried, maybe_twice=maybe_twice, alarm_at=alarm_at,
        )  # fmt: skip


class Owed(NamedTuple):
    """What the sender of a copy has to be told about it, and what explains that."""

    parcel: Parcel
    about: Reported
    why: Explanation


class Lanes(Protocol):
    """The ways out, as whoever has something to send sees them (deliver.py)."""

    worker: str
    threads: ThreadPoolExecutor

    def room(self, route: str, copies: int, size: int, *, marketing: bool) -> bool:
        """Whether a fresh message may go straight to its lane."""

    def offer(self, route: str, parcels: Sequence[Parcel]) -> None:
        """Committed copies of one message, in state claimed, held by this worker."""

    def wake(self, route: str) -> None:
        """Copies were left in the queue."""


Look = Callable[[Parcel], Awaitable[Seen]]
"""What stands of a copy's recipient, on state that is fresh enough to send on. Raises StoreUnavailable."""


class HandOver:
    """The last steps of a copy on one route. `holds`: whether a copy is still this worker's. `believed`: whether the
    clock says surely enough that a copy's time is over (clock_watch.py)."""

    def __init__(
        self, look: Look, scales: Scales, renderer: Renderer, pool: Pool | Direct | None, route: str, *,
        rules: BounceRules, notices: Notices, clock: Callable[[], datetime], holds: Callable[[Parcel], bool],
        believed: Callable[[], bool],
        returns: ReturnPaths, stopped: Callable[[Parcel], str], recheck: Recheck,
    ) -> None:  # fmt: skip
        self._look, self._scales, self._renderer, self._pool, self._route = look, scales, renderer, pool, route
        self._rules, self._notices, self._clock, self._holds = rules, notices, clock, holds
        self._believed = believed
        self._returns, self.stopped, self._recheck = returns, stopped, recheck
        self.lacks: frozenset[Lack] = frozenset()
        """What a server of this route could not carry: copies are made without it from then on."""

    async def __call__(self, parcel: Parcel) -> Ending | None:
        """One attempt. None: the copy may be another worker's by now. Raises StoreUnavailable, or NoRoom
        where the servers have no session free after all."""
        if self.stopped(parcel):
            return self.set_aside(parcel)
        if parcel.broken or parcel.uncarried:
            return await self._unrendered(parcel)
        if self._pool is None:
            if not await self.may_go(parcel):  # allowed, but on state too old or under a lease that is over: once more
                return None if parcel.ruling.decision.verdict == "allow" else self.put_by(parcel)
            log.captured(copy=parcel.name, route=self._route)
            return parcel.ending("captured", self._clock())
        if parcel.original.plan.long_lines:
            return self._judged(parcel, UNRELAYABLE)
        while True:
            outcome = await self._send(self._pool, parcel)
            lack = outcome.lacks if outcome.lacks not in parcel.lacks else None
            if outcome.state != "skipped" and lack is None:
                return self._judged(parcel, outcome)
            if not self._holds(parcel):
                return None
            if self.stopped(parcel):
                return self.set_aside(parcel)
            if parcel.ruling.decision.verdict != "allow":
                return self.put_by(parcel)
            if not await self._made_anew(parcel, lack):
                return await self._unrendered(parcel)

    async def _made_anew(self, parcel: Parcel, lack: Lack | None) -> bool:
        """Render a copy without what the next server cannot carry, and those that follow; or, allowed on another ground
        than before, with links and footer that say so. False: it cannot be."""
        if lack is None:
            return parcel.render(self._renderer)
        parcel.lacks |= {lack}
        if isinstance(self._pool, Pool):  # elsewhere each domain has servers of its own
            self.lacks |= {lack}
        return await asyncio.to_thread(parcel.render, self._renderer)

    def set_aside(self, parcel: Parcel) -> Ending:
        """A copy whose mail was stopped: kept until somebody lets it go on, and then decided anew."""
        return parcel.ending("held", self._clock(), said=self.stopped(parcel) or STOPPED, tried=False)

    async def _unrendered(self, parcel: Parcel) -> Ending:
        """A fault of ours: kept for a person. No place for the opt-out: decided again with that as a fact (E6)."""
        if not parcel.uncarried:
            return parcel.ending("held", self._clock(), said=f"render: {parcel.broken}")
        original = parcel.original
        case = replace(original.case, unsubscribe="not_injectable")
        parcel.weigh = self._scales.lay(case, original.controller, original.stream)
        await self.may_go(parcel)
        return self.put_by(parcel)

    def out_of_turn(self, parcel: Parcel, seconds: float, why: Outcome | None) -> Ending:
        """A copy that cannot go for so many seconds, which is no attempt. `why`: what its servers said last; past the
        end of its time it is given up with that."""
        now, until = self._clock(), parcel.original.since + parcel.original.stream.retry_for
        if why is not None and now >= until and self._believed():
            return self._judged(parcel, why)
        due = now + timedelta(seconds=seconds)
        return parcel.ending("queued", now, due_at=min(due, until) if now < until else due, tried=False)

    def _session(self, pool: Pool | Direct, parcel: Parcel) -> AbstractAsyncContextManager[Session]:
        """Where the copy goes. Raises NoRoom."""
        if isinstance(pool, Pool):
            return pool.session()
        if parcel.ticket is None:  # made ready under other settings
            ticket = pool.admit(parcel.rcpt.address)
            if not isinstance(ticket, Ticket):
                raise NoRoom(ticket)
            parcel.ticket = ticket
        return pool.session(parcel.rcpt.address, parcel.original.controller.id, parcel.ticket)

    async def _send(self, pool: Pool | Direct, parcel: Parcel) -> Outcome:
        parcel.heard = outcome = await self._transaction(pool, parcel)
        return outcome

    async def _transaction(self, pool: Pool | Direct, parcel: Parcel) -> Outcome:
        mail_from, rcpt = self._returns.outer(parcel.original, parcel.copy_no, parcel.mail_from, parcel.rcpt)
        try:
            async with self._session(pool, parcel) as session:
                parcel.dsn = session.features.dsn
                return await session.transaction(
                    mail_from, rcpt, parcel.data, before_mail=lambda: self.may_go(parcel),
                    body_8bit=parcel.body_8bit, smtputf8=parcel.smtputf8, ret=parcel.ret, envid=parcel.envid,
                )  # fmt: skip
        except ConnectFailed as failed:
            return failed.outcome

    async def may_go(self, parcel: Parcel) -> bool:
        """The last check, by the session that is about to write MAIL FROM: the whole decision, on fresh facts.

        Age and lease are measured by clocks that nobody sets.
        """
        seen = await self._look(parcel)
        now = self._clock()
        parcel.ruling = parcel.weigh(seen.person, now)
        fresh = seconds_passed() - seen.asked < CHECK_AGE.total_seconds()
        ours = self._holds(parcel) and not self.stopped(parcel)
        fits = self._pool is None or parcel.ground == parcel.rendered_for
        if not (parcel.ruling.decision.verdict == "allow" and fresh and ours and fits):
            return False
        parcel.session = None  # from here on it is waited for
        return True

    def put_by(self, parcel: Parcel, owed: list[Owed] | None = None) -> Ending:
        """A copy that may not go now: put off where that is technical, kept out where it is the law.

        `owed`: where what its sender has to be told is put, by whoever tells of several copies together.
        """
        decision = parcel.ruling.decision
        if decision.verdict == "defer":
            return self._put_off(parcel, owed)
        log.kept_out(copy=parcel.name, route=self._route, reason_code=decision.reason_code)
        # what is wrong with the whole message is told, whatever the stream says (RULES.md 2.4)
        on_block: OnBlock = "bounce" if decision.reason_code in MESSAGE_LEVEL else parcel.original.stream.on_block
        now = self._clock()
        if not is_owed("blocked", parcel.rcpt.notify, parcel.mail_from, on_block):
            return parcel.ending("blocked", now)
        about = Owed(parcel, blocked(parcel.rcpt, decision.reason_code), impersonal(decision))
        return parcel.ending("blocked", now, notice=self._told(about, now, owed))

    def _told(self, about: Owed, now: datetime, owed: list[Owed] | None) -> Arrival | None:
        if owed is None:
            return self.notice(about.parcel, [about.about], now, [about.why])
        owed.append(about)
        return None

    def _put_off(self, parcel: Parcel, owed: list[Owed] | None) -> Ending:
        """Again in a minute, for as long as a hand-over would be tried; then it is given up like one."""
        now, original, code = self._clock(), parcel.original, parcel.ruling.decision.reason_code
        if now < original.since + original.stream.retry_for or not self._believed():
            return parcel.ending("queued", now, due_at=now + DEFERRED_AGAIN, tried=False)
        log.failed(
            copy=parcel.name, route=self._route, stage="check", code=None, enhanced="5.4.7", attempts=parcel.attempts
        )
        if not is_owed("failed", parcel.rcpt.notify, parcel.mail_from):
            return parcel.ending("failed", now, said=code)
        expired = replace(blocked(parcel.rcpt, code), status="5.4.7", last_attempt=now)
        about = Owed(parcel, expired, impersonal(parcel.ruling.decision))
        return parcel.ending("failed", now, said=code, notice=self._told(about, now, owed))

    def notice(
        self, parcel: Parcel, about: Sequence[Reported], now: datetime, why: Sequence[Explanation] = ()
    ) -> Arrival | None:
        """The report on recipients of a parcel's message; None where its return path is no address."""
        original = parcel.original
        message = original.plan.message
        return self._notices.report(
            original.controller, original.stream, about, mail_from=parcel.mail_from, envid=parcel.envid,
            ret=parcel.ret, original=message.raw, subject=decode_words(message.get(b"subject") or b"")[:200],
            arrived=original.at, now=now, why=why,
        )  # fmt: skip

    def _about(self, parcel: Parcel, outcome: Outcome, action: Action, now: datetime) -> Arrival | None:
        rcpt = parcel.rcpt
        about = reported(rcpt.address, outcome, action=action, orcpt=rcpt.orcpt, last_attempt=now)
        return self.notice(parcel, [about], now)

    def _judged(self, parcel: Parcel, outcome: Outcome) -> Ending:
        said = f"{outcome.code or ''} {outcome.enhanced or ''} {outcome.text}".strip()
        original, now, attempts = parcel.original, self._clock(), parcel.attempts + 1
        if outcome.state == "delivered":
            log.delivered(
                copy=parcel.name, route=self._route, attempts=attempts, seconds=(now - original.at).total_seconds()
            )
            if parcel.rendered_for is not None:  # else it left while the keys were changed
                self._recheck.sent(Sent(
                    copy=parcel.name, controller_id=original.controller.id, data=parcel.data,
                    signers=self._renderer.signers(original), marketing=original.case.marketing,
                ))  # fmt: skip
            lawful = not passed(parcel.ruling.decision)  # what was only let through renews no customer relation
            mailed = original.case.marketing and lawful and self._scales.rolling(original.controller.id, parcel.ruling)
            told = None
            if not parcel.dsn and is_owed("relayed", parcel.rcpt.notify, parcel.mail_from):
                told = self._about(parcel, outcome, "relayed", now)  # RFC 3461 5.2.2: nobody else will report
            return parcel.ending("delivered", now, said=said, mailed=mailed, notice=told)
        step = after(
            outcome, attempts=attempts, first_at=original.since, now=now, retry_for=original.stream.retry_for,
            jitter=random.random(), believed=self._believed(),
        )  # fmt: skip
        if isinstance(step, Retry) and isinstance(self._pool, Pool) and is_down(outcome):
            return parcel.ending("queued", now, said=said, due_at=now, tried=False)  # the route pays, not the copy
        event = log.tried if isinstance(step, Retry) else log.failed
        event(
            copy=parcel.name, route=self._route, stage=outcome.stage, code=outcome.code, enhanced=outcome.enhanced,
            attempts=attempts,
        )  # fmt: skip
        maybe = outcome.maybe_delivered
        if maybe:
            log.reply_lost(copy=parcel.name, route=self._route)
        if isinstance(step, Retry):
            return parcel.ending("queued", now, said=said, due_at=step.at, maybe_twice=maybe)
        judged = judge_live(self._rules, outcome)
        refused = Refusal(
            bounce_class=judged.bounce_class, reason=judged.reason, status=outcome.enhanced,
            undeliverable=judged.undeliverable, said=said,
        ) if outcome.code is not None and outcome.state == "failed" else None  # fmt: skip
        notice = None
        if is_owed("failed", parcel.rcpt.notify, parcel.mail_from):
            notice = self._about(parcel, outcome, "failed", now)
        return parcel.ending(
            "failed", now, said=said, dead_address=judged.undeliverable, notice=notice, refused=refused,
            maybe_twice=maybe,
        )  # fmt: skip


def blocked(rcpt: Rcpt, reason_code: str) -> Reported:
    """What a report says of a recipient who was kept out: 5.7.1 and the reason code (RULES.md 2.4)."""
    return Reported(
        address=rcpt.address, orcpt=rcpt.orcpt, action="failed", status="5.7.1",
        diagnostic=f"X-Consentgate; {reason_code}",
    )  # fmt: skip
