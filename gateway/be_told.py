"""A provider tells of mail that it took from us: who it is is proven, what it says is read, and `heed` takes it in.

200 is said once every event is committed. What is told again, days later or twice at one time, changes nothing: events
have ids, and heed knows them. Of a request that is not proven nothing is kept. One that names what cannot be read is
refused after all that could be read is in memory, since an opt-out must not be lost for its neighbour.
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from gateway import heed, hook_keys, log
from gateway.heed import Known, Letter, Noted
from gateway.hooks import mailgun, postal, postmark, sendgrid, ses, sns
from gateway.hooks.fields import Malformed
from gateway.hooks.told import Context, Piece, Post, Reading, Unproven
from gateway.outbound.http_client import HttpClient, HttpFailed
from gateway.store.contract import Store
from gateway.store.hooked import Hook
from gateway.tools.dialogue import Request

T = TypeVar("T")
AT_ONCE: Final = 8
"""Requests in memory at one time, per process."""
EVENTS_AT_ONCE: Final = 128
"""Events under way at one time: they share transactions."""
LARGE: Final = 64 * 1024
"""From this size on a request is read in a thread, not on the loop (bytes)."""
NOTED_EVERY: Final = timedelta(minutes=1)
TOKENS_KEPT: Final = timedelta(days=2)
"""How long it is known what a token was spent on: longer than one is good for."""
_CERTIFICATES: Final = 32
_CERTIFICATE_KEPT: Final = timedelta(hours=12)


class _Room(Protocol):
    """What a provider's module has."""

    def prove(self, post: Post, credentials: Mapping[str, Any], now: datetime) -> None: ...
    def read(self, body: bytes, context: Context) -> Reading: ...


_SIGNED: Final[Mapping[str, _Room]] = {
    "sendgrid": sendgrid, "mailgun": mailgun, "postmark": postmark, "postal": postal,
}  # fmt: skip


class NotNow(Exception):
    """What has to be asked elsewhere cannot be asked now; the provider tells it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a request: events that were new, that had come before, and entries that say nothing."""

    events: int = 0
    repeats: int = 0
    ignored: int = 0
    faults: tuple[Malformed, ...] = ()


class BeTold:
    """Takes what providers tell. `configure` swaps settings and client between requests."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self.room = asyncio.Semaphore(AT_ONCE)
        self._events = asyncio.Semaphore(EVENTS_AT_ONCE)
        self._certificates: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()

    def configure(self, known: Known, client: HttpClient) -> None:
        self._known, self._client = known, client

    async def hook(self, provider: str, opaque: str) -> Hook | None:
        """The hook at an address; None where there is none, or no more."""
        name = hook_keys.name_of(opaque)
        found = await self._store.hook(name) if name is not None else None
        if name is None or found is None or not hmac.compare_digest(found.name, name):
            return None
        known = found.controller_id in self._known.config.controllers
        return found if found.provider == provider and found.revoked_at is None and known else None

    async def __call__(self, hook: Hook, post: Post) -> Told:
        """Take one request into memory. Raises Unproven, Malformed, NotNow, StoreUnavailable."""
        now = self._clock()
        try:
            reading = await self._read(hook, post, now)
        except Unproven as why:
            log.hook_refused(hook=hook.hook_id.hex(), provider=hook.provider, cause=why.cause)
            raise
        except Malformed:
            log.hook_refused(hook=hook.hook_id.hex(), provider=hook.provider, cause="cannot be read")
            raise
        if hook.last_at is None or now - hook.last_at >= NOTED_EVERY:
            await self._store.hook_used(hook.controller_id, hook.hook_id, now)
        noted = await self._heed(hook, reading.pieces, now)
        repeats = sum(one.effect == "repeat" for one in noted)
        told = Told(
            events=len(noted) - repeats, repeats=repeats, ignored=reading.ignored, faults=reading.faults
        )  # fmt: skip
        log.hook_told(
            hook=hook.hook_id.hex(), controller=hook.controller_id, provider=hook.provider, events=told.events,
            repeats=repeats, ignored=told.ignored, faults=len(told.faults),
        )  # fmt: skip
        return told

    async def _heed(self, hook: Hook, pieces: tuple[Piece, ...], now: datetime) -> list[Noted]:
        """Every event, many at one time, so that they share commits."""

        async def one(piece: Piece) -> list[Noted]:
            async with self._events:
                return await heed.heed(
                    self._store, piece.event, known=self._known, controller_id=hook.controller_id, now=now,
                    letter=Letter(raw=piece.raw),
                )  # fmt: skip

        done = await asyncio.gather(*map(one, pieces), return_exceptions=True)
        for failed in done:
            if isinstance(failed, BaseException):
                raise failed
        return [noted for found in done if not isinstance(found, BaseException) for noted in found]

    async def _read(self, hook: Hook, post: Post, now: datetime) -> Reading:
        credentials = hook_keys.opened(self._known.ring, hook)
        if credentials is None:
            raise Unproven("the hook cannot be opened")
        context = Context(rules=self._known.config.bounce_rules, now=now)
        if hook.provider == "ses":
            return await self._ses(hook, post, credentials, context)
        room = _SIGNED[hook.provider]
        await _off_loop(post, partial(room.prove, post, credentials, now))
        if hook.provider == "mailgun":
            await self._spend(hook, post, now)
        return await _off_loop(post, partial(room.read, post.body, context))

    async def _spend(self, hook: Hook, post: Post, now: datetime) -> None:
        token, digest = mailgun.once(post.body)
        name = hmac.digest(self._known.telling_repeats, b"token\0" + token, "sha256")[:16]
        if not await self._store.spend_hook_token(hook.controller_id, hook.hook_id, name, digest, now):
            raise Unproven("a token used again")

    async def _ses(self, hook: Hook, post: Post, credentials: Mapping[str, Any], context: Context) -> Reading:
        own = self._known.config.sns_hosts
        notice = sns.opened(post.body)
        if notice.topic not in credentials["topics"]:
            raise Unproven("another topic")  # before anything is fetched for it
        place = sns.certificate_url(notice, own)
        pem = await self._certificate(place, context.now)
        sns.verify(notice, pem, credentials["topics"], context.now, own=not sns.is_sns(place))
        if notice.kind == "Notification":
            return ses.read(notice.message, notice.message_id, context)
        if notice.kind == "SubscriptionConfirmation":
            await self._get(sns.subscribe_url(notice, own))
            log.hook_subscribed(hook=hook.hook_id.hex(), controller=hook.controller_id, ended=False)
        else:
            log.hook_subscribed(hook=hook.hook_id.hex(), controller=hook.controller_id, ended=True)
        return Reading(ignored=1)

    async def _certificate(self, place: str, now: datetime) -> bytes:
        """The certificate at a place that was allowed, asked for twice a day."""
        kept = self._certificates.get(place)
        if kept is not None and now - kept[0] < _CERTIFICATE_KEPT:
            return kept[1]
        pem = await self._get(place)
        self._certificates[place] = (now, pem)
        while len(self._certificates) > _CERTIFICATES:
            self._certificates.popitem(last=False)
        return pem

    async def _get(self, place: str) -> bytes:
        try:
            answer = await self._client.send(
                Request(method="GET", url=place), sns.peers_for(place, self._known.config.sns_hosts)
            )
        except HttpFailed as failed:
            raise NotNow(f"SNS: {failed}") from None
        if not answer.good or answer.cut:
            raise NotNow(f"SNS answers {answer.status}")
        return answer.body


async def _off_loop(post: Post, work: Callable[[], T]) -> T:
    """Do the work of a large request in a thread."""
    return work() if len(post.body) < LARGE else await asyncio.to_thread(work)
