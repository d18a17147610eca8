"""Rehearse: the verdict on a list of recipients or on a whole campaign, and the release of its lawful part.

Simulating writes nothing: everybody is decided as if the message were handed over now. A campaign is one that a stream
in mode `rehearse` took in over SMTP. Releasing it decides every copy once more and moves it, in the same transaction
as its new decision, to the queue or to those kept out; from the queue it leaves as any mail does, decided once more by
the session that is about to write MAIL FROM. So nothing leaves that became unlawful meanwhile, a copy moves once only,
and whoever is cut off goes on where it stopped.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from gateway import log, show
from gateway.accept import Read, read_message
from gateway.config import Config, Controller, Login, Stream
from gateway.mail.dsn import is_owed
from gateway.mail.envelope import Envelope, Rcpt
from gateway.mail.reply import OnBlock, Reply
from gateway.notice import Notices
from gateway.parcel import blocked
from gateway.post import unpack_rcpt
from gateway.record import staff_acts
from gateway.render import Renderer
from gateway.store.contract import Arrival, Person, Ruling, Store, StoreUnavailable
from gateway.store.rehearsal import Moved, RehearsedMessage, Released, ReleasedCopy
from gateway.weigh import Case, Scales, Weigh
from gateway.who import whose
from suppression.address import canonical
from suppression.decision import MESSAGE_LEVEL
from suppression.explain import impersonal
from suppression.rescue import lacking, rescuable
from suppression.vault import KeyRing

BATCH = 500
"""People decided in one go: so many look-ups cost little more than one, and memory stays flat."""
RELEASED_AT_ONCE = 200
"""Copies moved in one transaction, or those of one message: a bound on how long mail waits for it."""
KEPT = timedelta(days=5)
"""How long what was not released is kept (RULES.md 7.2, captured or rehearsed mail)."""
SAMPLES = 5
"""People shown per reason."""

Progress = Callable[[int], None]
"""Told how many recipients are done."""


@dataclass(slots=True, kw_only=True)
class Outlook:
    """What would become of some recipients. Counts are recipients.

    `grounds`: of those allowed, by ground; "" for what observing lets through. `rescues`: by reason code and what is
    lacking, for whatever somebody could mend. `samples`: addresses per reason code. `unreadable`: put-by copies whose
    key is gone.
    """

    decided: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    grounds: Counter[str] = field(default_factory=Counter)
    rescues: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)
    unreadable: int = 0

    def add(self, ruling: Ruling, address: str, detail: str) -> None:
        """Count one recipient."""
        decision = ruling.decision
        self.decided += 1
        self.verdicts[decision.verdict] += 1
        self.reasons[decision.reason_code] += 1
        if decision.verdict == "allow":
            self.grounds[decision.basis or ""] += 1
        elif rescuable(decision.reason_code):
            self.rescues[decision.reason_code, detail] += 1
        samples = self.samples.setdefault(decision.reason_code, [])
        if len(samples) < SAMPLES:
            samples.append(address)


@dataclass(frozen=True, slots=True)
class Judged:
    """One recipient of a list, decided. `number` counts from 1."""

    number: int
    address: str
    ruling: Ruling
    lacking: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A rehearsed campaign: which one."""

    controller_id: str
    stream: str
    campaign: str


class Scene:
    """A message on the scales and people to be found: what deciding a list takes."""

    def __init__(self, store: Store, scales: Scales, ring: KeyRing, case: Case, controller: Controller, stream: Stream):
        self._store, self._ring, self._case, self._controller = store, ring, case, controller
        self._weigh = scales.lay(case, controller, stream)

    async def simulate(
        self, addresses: Iterable[str], outlook: Outlook, *, now: datetime,
        each: Callable[[Judged], None] | None = None, progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """Decide every address, in batches. Writes nothing."""
        source = iter(addresses)
        while batch := list(islice(source, BATCH)):
            plains = [canonical(address) for address in batch]
            whos = [whose(self._ring, self._controller.id, plain) for plain in plains if plain is not None]
            people = iter(await self._store.people(whos))
            for address, plain in zip(batch, plains, strict=True):
                self._judge(next(people) if plain is not None else None, address, outlook, now, each)
            if progress is not None:
                progress(outlook.decided)

    def _judge(
        self, person: Person | None, address: str, outlook: Outlook, now: datetime,
        each: Callable[[Judged], None] | None,
    ) -> None:  # fmt: skip
        ruling = self._weigh(person, now)
        detail = _detail(ruling, person, self._case, self._controller.id)
        outlook.add(ruling, address, detail)
        if each is not None:
            each(Judged(outlook.decided, address, ruling, detail))


def _detail(ruling: Ruling, person: Person | None, case: Case, controller_id: str) -> str:
    if ruling.decision.verdict != "block" or person is None:
        return ""
    standing = person.standing
    return lacking(
        ruling.decision, categories=case.categories, consents=standing.consents, sales=standing.sales,
        controller_id=controller_id, apart=person.ruled.apart,
    )  # fmt: skip


def case_of(
    controller: Controller, stream: Stream, *, message: bytes | None = None, purpose: str | None = None,
    categories: Sequence[str] = (),
) -> Case | Reply:  # fmt: skip
    """What a message (CRLF) is: as acceptance would find it, or as the stream declares where there is none.

    `purpose` and `categories` override either. A reply: what acceptance would refuse it with.
    """
    if message is None:
        return Case(
            message_class=stream.message_class, promotional=False, purpose=purpose or stream.purpose,
            categories=tuple(categories) or stream.categories, transaction_ref=stream.transaction_ref == "stream",
            restriction_exemption=None, unsubscribe="injectable", from_domain=stream.from_domains[0],
        )  # fmt: skip
    read = _read(controller, stream, message)
    if read.refusal is not None:
        return read.refusal
    return replace(
        read.case, purpose=purpose or read.case.purpose, categories=tuple(categories) or read.case.categories
    )


def _read(controller: Controller, stream: Stream, message: bytes) -> Read:
    """A message as acceptance reads it on this stream."""
    login = Login(name="", controller=controller.id, password_hash=None, streams=(stream.name,), allowed_ips=())
    envelope = Envelope(
        login=login.name, suffix=None, mail_from="", rcpts=(), content=message, body_8bit=True, smtputf8=True,
        ret=None, envid=None, peer_ip="127.0.0.1", helo="localhost", tls=False,
    )  # fmt: skip
    return read_message(envelope, login, controller)


async def simulate_campaign(
    store: Store, config: Config, scales: Scales, ring: KeyRing, campaign: Campaign, outlook: Outlook, *,
    now: datetime, most: int | None = None, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Decide a rehearsed campaign again, as if it were released now; `most`: no more than about so many copies.

    Writes nothing. LookupError where its stream is configured no more.
    """
    decide = _Campaign(store, config, scales, ring, campaign)
    async for message, rulings in decide.pages(lambda: now, BATCH):
        for rcpt, person, ruling, case in rulings:
            outlook.unreadable += rcpt is None
            if rcpt is not None:
                outlook.add(ruling, rcpt.address, _detail(ruling, person, case, message.controller_id))
        if progress is not None:
            progress(outlook.decided)
        if most is not None and outlook.decided >= most:
            return


async def release(
    store: Store, config: Config, scales: Scales, notices: Notices, ring: KeyRing, campaign: Campaign, *,
    by: str, clock: Callable[[], datetime], user: str | None = None, progress: Progress | None = None,
) -> Moved:  # fmt: skip
    """Let go what is lawful now, keep out the rest. Once only: what is released already is passed by.

    `by`, and the name of the signed-in `user`: who said so, as in `record.staff_acts`; it is in the ledger before
    anything moves. LookupError where the stream is configured no more; StoreUnavailable: what was moved stays moved,
    and the next call goes on.
    """
    letting_go = _Campaign(store, config, scales, ring, campaign)
    queued = kept_out = 0
    noted = False
    waiting: list[Released] = []
    copies = 0

    async def move() -> None:
        nonlocal queued, kept_out, copies
        moved = await store.release(waiting, at=clock())
        queued, kept_out, copies = queued + moved.queued, kept_out + moved.blocked, 0
        waiting.clear()
        if progress is not None:
            progress(queued + kept_out)

    async for message, rulings in letting_go.pages(clock, RELEASED_AT_ONCE):
        if not noted:
            await _note(store, campaign, by, user, clock())
            noted = True
        waiting.append(await letting_go.released(message, rulings, notices, clock()))
        copies += len(message.copies)
        if copies >= RELEASED_AT_ONCE:
            await move()
    if waiting:
        await move()
    log.rehearsal_released(controller=campaign.controller_id, stream=campaign.stream, queued=queued, blocked=kept_out)
    return Moved(queued=queued, blocked=kept_out)


async def _note(store: Store, campaign: Campaign, by: str, user: str | None, at: datetime) -> None:
    """Who let it go, for the ledger: a tool may put anything in a campaign's name, so that is sealed."""
    private = {"campaign": campaign.campaign, "user": user}
    for note in staff_acts(
        [campaign.controller_id], "rehearsal released", by=by, at=at, private=private, stream=campaign.stream
    ):
        await store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)


_Rulings = list[tuple[Rcpt | None, Person | None, Ruling, Case]]


class _Campaign:
    """Decides the put-by copies of one campaign, page by page."""

    def __init__(self, store: Store, config: Config, scales: Scales, ring: KeyRing, campaign: Campaign) -> None:
        found = config.stream_of(campaign.controller_id, campaign.stream)
        if found is None:
            raise LookupError(f"there is no stream {campaign.stream} any more")
        self._store, self._scales, self._ring, self._campaign = store, scales, ring, campaign
        self._controller, self._stream = found

    async def pages(self, clock: Callable[[], datetime], n: int) -> AsyncIterator[tuple[RehearsedMessage, _Rulings]]:
        """Every message with its copies decided, in their order."""
        after = b""
        while page := await self._store.rehearsed(
            self._campaign.controller_id, self._campaign.stream, self._campaign.campaign, after=after, n=n
        ):
            rcpts = [unpack_rcpt(copy.rcpt) if copy.rcpt else None for one in page for copy in one.copies]
            keys = [copy.recipient_key for one in page for copy in one.copies]
            plains = [canonical(rcpt.address) if rcpt is not None else None for rcpt in rcpts]
            whos = [
                whose(self._ring, self._controller.id, plain, key)
                for plain, key in zip(plains, keys, strict=True)
                if plain is not None
            ]
            people = iter(await self._store.people(whos))
            now = clock()
            found = iter([(rcpt, next(people) if plain else None) for rcpt, plain in zip(rcpts, plains, strict=True)])
            for message in page:
                yield message, self._decided(message, islice(found, len(message.copies)), now)
            after = page[-1].message_id

    def _decided(
        self, message: RehearsedMessage, found: Iterator[tuple[Rcpt | None, Person | None]], now: datetime
    ) -> _Rulings:
        case = Case.from_json(message.kind)
        weigh: Weigh = self._scales.lay(case, self._controller, self._stream)
        return [(rcpt, person, weigh(person, now), case) for rcpt, person in found]

    async def released(self, message: RehearsedMessage, rulings: _Rulings, notices: Notices, now: datetime) -> Released:
        """One message as it is moved. Copies that cannot be opened stay where they are."""
        copies = tuple(
            ReleasedCopy(copy.copy_no, "blocked" if ruling.decision.verdict == "block" else "queued", ruling)
            for copy, (rcpt, _, ruling, _) in zip(message.copies, rulings, strict=True)
            if rcpt is not None
        )
        mode = self._stream.mode_at(now)
        return Released(
            controller_id=message.controller_id, message_id=message.message_id, stream=message.stream,
            campaign=message.campaign, mode="enforce" if mode == "rehearse" else mode, copies=copies,
            notice=await self._notice(message, rulings, notices, now),
        )  # fmt: skip

    async def _notice(
        self, message: RehearsedMessage, rulings: _Rulings, notices: Notices, now: datetime
    ) -> Arrival | None:
        """The report on those kept out, where one is owed, as for mail that was never rehearsed."""
        owed = [
            (rcpt, ruling.decision) for rcpt, _, ruling, _ in rulings
            if rcpt is not None and ruling.decision.verdict == "block"
            and is_owed("blocked", rcpt.notify, "somebody", self._on_block(ruling))
        ]  # fmt: skip
        stored = await self._store.message(message.controller_id, message.message_id) if owed else None
        if stored is None or not stored.envelope["mail_from"]:
            return None
        subject = _read(self._controller, self._stream, stored.body).subject
        return notices.report(
            self._controller, self._stream, [blocked(rcpt, decision.reason_code) for rcpt, decision in owed],
            mail_from=stored.envelope["mail_from"], envid=stored.envelope["envid"], ret=stored.envelope["ret"],
            original=stored.body, subject=subject, arrived=message.at, now=now,
            why=[impersonal(decision) for _, decision in owed],
        )  # fmt: skip

    def _on_block(self, ruling: Ruling) -> OnBlock:
        # what is wrong with the whole message is told, whatever the stream says (RULES.md 2.4)
        return "bounce" if ruling.decision.reason_code in MESSAGE_LEVEL else self._stream.on_block


class Rehearsals:
    """Rehearsals as the pages need them, under one configuration. `spawn` owns the releases, which take their time.

    `wake` is told of a route that has something to carry.
    """

    def __init__(
        self, store: Store, config: Config, scales: Scales, notices: Notices, ring: KeyRing, renderer: Renderer, *,
        clock: Callable[[], datetime], spawn: Callable[[Coroutine[Any, Any, None]], None], wake: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store, self._config, self._scales, self._notices = store, config, scales, notices
        self._ring, self._renderer, self._clock, self._spawn, self._wake = ring, renderer, clock, spawn, wake
        self.under_way: set[Campaign] = set()
        """Campaigns that this process is releasing."""

    async def outlook(self, campaign: Campaign, *, most: int) -> Outlook:
        """The verdict of now on a campaign, on about the first `most` copies. LookupError as in `release`."""
        outlook = Outlook()
        await simulate_campaign(
            self._store, self._config, self._scales, self._ring, campaign, outlook, now=self._clock(), most=most
        )
        return outlook

    async def sample(self, campaign: Campaign) -> bytes | None:
        """A mail of the campaign as it would leave, for an invented recipient; None where none is put by any more."""
        page = await self._store.rehearsed(
            campaign.controller_id, campaign.stream, campaign.campaign, after=b"", n=1
        )  # fmt: skip
        if not page:
            return None
        return await show.sample_mail(
            self._store, self._config, self._renderer, self._ring, campaign.controller_id, page[0].message_id
        )

    def begin(self, campaign: Campaign, *, by: str, user: str) -> None:
        """Release a campaign, unless that is under way here."""
        if campaign not in self.under_way:
            self.under_way.add(campaign)
            self._spawn(self._release(campaign, by, user))

    async def _release(self, campaign: Campaign, by: str, user: str) -> None:
        """To its end, or as far as it gets: whoever asks again goes on from there."""
        try:
            await release(
                self._store, self._config, self._scales, self._notices, self._ring, campaign, by=by, user=user,
                clock=self._clock,
            )  # fmt: skip
        except StoreUnavailable as down:
            log.store_unavailable(where="release", error=down)
        except Exception as error:  # it must not take the worker along
            log.bug(where="release", error=error)
        finally:
            self.under_way.discard(campaign)
            if found := self._config.stream_of(campaign.controller_id, campaign.stream):
                self._wake(found[1].route)
